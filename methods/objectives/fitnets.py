"""FitNets: a regressor from the student's features to the teacher's (Romero et al. 2015)."""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor, nn

from methods.base.problem import Problem
from methods.base.run import Run
from methods.base.samples import Batch
from methods.losses.features import hint_loss
from methods.objectives.features import FeatureObjective, Maps, feature_shape, resized
from methods.settings.params import MethodParams, param


class FitNets(FeatureObjective):
    """The method's own loss + the squared distance of regressed features from the teacher's hint.

    One stage, as in RepDistiller; the paper trains on the hint first. The regressor is a
    convolution 1×1, whose map is resized bilinearly to the teacher's where they differ.
    RepDistiller's is a convolution, or a transposed one, that gives the teacher's size, with
    BatchNorm and ReLU behind it; the paper's is a convolution with the difference as its kernel.
    """

    name = "fitnets"
    title = "FitNets"
    paper = "Romero et al., ICLR 2015"

    class Params(MethodParams):
        """Hyper-parameters."""

        hint_weight: float = param(
            100.0,
            "weight of the hint loss",
            source="RepDistiller",
            phase="distillation",
            tune="weight",
            gt=0,
        )

    def attach(self, student: nn.Module, problem: Problem, run: Run) -> None:
        super().attach(student, problem, run)
        shape = problem.image_shape
        mine, theirs = feature_shape(student, shape), feature_shape(problem.teacher.network, shape)
        with run.seeded("regressor"):
            self.regressor = nn.Conv2d(mine[0], theirs[0], 1).to(run.device)

    def parameters(self) -> Iterable[nn.Parameter]:
        return self.regressor.parameters()

    def of_maps(self, student: Maps, teacher: Maps, batch: Batch) -> Tensor:
        weight: float = self.params.hint_weight
        guided = resized(self.regressor(student.features), teacher.features)
        return self.own.of_logits(student.logits, batch) + weight * hint_loss(
            guided, teacher.features
        )
