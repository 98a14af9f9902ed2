"""Methods that invert the teacher in rounds: what CMI, Fast and NAYER have in common.

Each round fits one batch of images to the teacher in a few steps (`Inversion`); the best images of
these steps join a growing pool, from which the student learns.
"""

from __future__ import annotations

import copy
from typing import Any

from methods.base.problem import Problem
from methods.base.run import Run
from methods.base.samples import SampleSource
from methods.settings.params import MethodParams, param
from methods.synthesis.augmentation import Augmentation, augmented, unsuitable
from methods.synthesis.inversion import Inversion
from methods.synthesis.rounds import AlternatingMethod
from methods.synthesis.statistics_matching import refuse_without_batch_norm

BETAS = (0.5, 0.999)
"""Adam's decays, of everything that is fitted."""


class InversionParams(MethodParams):
    """Hyper-parameters of every such method. The defaults are those of CMI, the first of them."""

    inner_steps: int = param(
        200, "optimiser steps that make one batch of images", source="released code", ge=1
    )
    latent_dim: int = param(
        256, "length of the generator's input vector", source="released code", ge=1
    )
    width: int = param(
        128, "channels of the generator's first convolution", source="released code", ge=2
    )
    generator_lr: float = param(
        1e-3, "Adam learning rate of the generator", source="released code", tune="rate", gt=0
    )
    bn_weight: float = param(
        1.0, "weight of the BatchNorm statistics", source="released code", tune="weight", ge=0
    )
    one_hot: float = param(
        1.0,
        "weight of the cross-entropy with the target classes",
        source="released code",
        tune="weight",
        ge=0,
    )
    adversarial: float = param(
        0.5,
        "weight of the term that the student gets wrong what the teacher knows",
        source="released code",
        tune="weight",
        ge=0,
    )
    augmentation: Augmentation = param(
        "crop-flip",
        "random change of images, before the teacher sees them in a generator's step and in the "
        "student's batches",
        source="released code",
    )
    temperature: float = param(
        20.0,
        "temperature τ of the student's KD loss",
        source="released code",
        tune="temperature",
        gt=0,
    )

    @classmethod
    def published(
        cls, name: str, default: Any, source: str = "released code", description: str = ""
    ) -> Any:
        """Declare field ``name`` again with another method's default; all else stays.

        Args:
            name: a field of this class.
            default: the other paper's value.
            source: where it is from.
            description: one sentence, where the parameter acts on something else too.
        """
        field = copy.deepcopy(cls.model_fields[name])
        assert isinstance(field.json_schema_extra, dict)
        constraints = {
            bound: getattr(entry, bound)
            for entry in field.metadata
            for bound in ("gt", "ge", "lt", "le")
            if hasattr(entry, bound)
        }
        settings: dict[str, Any] = {**field.json_schema_extra, "source": source}
        return param(default, description or str(field.description), **settings, **constraints)


class SmoothedInversionParams(InversionParams):
    """The same of methods that smooth statistics over batches and begin without an opponent."""

    momentum: float = param(
        0.9,
        "momentum of the batches' statistics; 0 compares every batch alone",
        source="released code",
        ge=0,
        lt=1,
        needs=("bn_weight",),
    )
    warm_up: float = param(
        0.1,
        "share of the rounds before the student begins and the adversarial term acts",
        source="released code",
        ge=0,
        lt=1,
    )


class InvertingMethod(AlternatingMethod):
    """A method in which every round inverts the teacher for one batch of a growing pool.

    Its ``Params`` are `InversionParams`.
    """

    def supports(self, problem: Problem) -> str | None:
        p: InversionParams = self.params
        return (
            super().supports(problem)
            or refuse_without_batch_norm(problem.teacher.network, p.bn_weight, "bn_weight")
            or unsuitable(p.augmentation, problem)
        )

    def student_samples(self, problem: Problem, samples: SampleSource, run: Run) -> SampleSource:
        return augmented(samples, self.params.augmentation, problem, run)


def inversion_of(
    params: InversionParams, problem: Problem, run: Run, momentum: float = 0.0
) -> Inversion:
    """The loss of a batch with the weights of ``params``."""
    return Inversion(
        problem,
        run,
        bn_weight=params.bn_weight,
        one_hot=params.one_hot,
        adversarial=params.adversarial,
        momentum=momentum,
        augmentation=params.augmentation,
    )
