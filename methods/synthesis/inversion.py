"""What images are fitted to when a generator is to invert the teacher; parts of many methods.

    λ_bn·L_bn + λ_oh·CE(t(x), y) + λ_adv·L_adv

The images have the teacher's BatchNorm statistics, each is of its target class, and the student
gets wrong what the teacher knows of them. Each method picks its weights.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from methods.base.problem import Problem
from methods.base.run import Run
from methods.base.states import Part
from methods.losses.adversarial import masked_disagreement_loss
from methods.losses.images import LayerStatistics
from methods.losses.predictions import one_hot_loss
from methods.networks.batch_norm import watch_batch_norms
from methods.synthesis.augmentation import Augmentation, changed
from methods.synthesis.statistics_matching import StatisticsMatching

Labels = Literal["random", "balanced"]
"""Target classes of a batch: drawn at random, or all equally often."""


def target_labels(labels: Labels, count: int, classes: int, stream: torch.Generator) -> Tensor:
    """The target classes of a batch, ``count`` numbers below ``classes``, on the CPU.

    Balanced ones are every class in turn, and of the last, broken turn a random part.
    """
    if labels == "random":
        return torch.randint(classes, (count,), generator=stream)
    turns = [torch.randperm(classes, generator=stream) for _ in range(-(-count // classes))]
    return torch.cat(turns)[:count]


def target_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy with the target classes.

    A map has no class of its own: of its pixels each is to be sure of one, whichever it is.

    Args:
        logits: B×K, or B×K×H×W.
        labels: B; not used for maps.
    """
    return F.cross_entropy(logits, labels) if logits.ndim == 2 else one_hot_loss(logits)


class Inversion:
    """The loss of a batch of images that is fitted to the teacher.

    Args:
        problem: gives teacher and normalisation.
        run: precision and random streams.
        bn_weight: weight of the BatchNorm statistics; 0 leaves them out.
        one_hot: weight of the target classes.
        adversarial: weight of the term against the student; 0 leaves it out.
        momentum: see `StatisticsMatching`.
        augmentation: how images are changed before teacher and student see them.
    """

    def __init__(
        self,
        problem: Problem,
        run: Run,
        *,
        bn_weight: float,
        one_hot: float,
        adversarial: float = 0.0,
        momentum: float = 0.0,
        augmentation: Augmentation = "none",
    ) -> None:
        self.problem, self.run = problem, run
        self.weights = {
            "one_hot": one_hot,
            "statistics": bn_weight,
            "adversarial": adversarial,
        }
        self.augmentation = augmentation
        self.statistics = StatisticsMatching(momentum)
        self.changes = run.stream("generator-augmentation")
        self._seen: list[LayerStatistics] = []

    def parts(self) -> dict[str, Part]:
        """What turns change and read again."""
        return {"statistics": self.statistics, "changes": self.changes}

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Within the block the teacher's BatchNorms are watched; at its end the momentum moves."""
        with watch_batch_norms(self.problem.teacher.network) as self._seen:
            yield
            self.statistics.update(self._seen)

    def terms(self, images: Tensor, labels: Tensor, student: nn.Module | None) -> dict[str, Tensor]:
        """The loss of images, with gradient, and its terms; ``loss``, their weighted sum, first.

        Args:
            images: B×C×H×W in the teacher's input space, in float32.
            labels: B, target classes.
            student: the student to play against; None leaves the term out.
        """
        views = changed(images, self.augmentation, self.problem.normalization, self.changes)
        self._seen.clear()
        with self.run.autocast():
            logits = self.problem.teacher(views).float()
        terms = {"one_hot": target_loss(logits, labels)}
        if self.weights["statistics"]:
            terms["statistics"] = self.statistics.loss(self._seen)
        if self.weights["adversarial"] and student is not None:
            with self.run.autocast():
                answers = student(views).float()
            terms["adversarial"] = masked_disagreement_loss(answers, logits)
        total = torch.stack([self.weights[name] * term for name, term in terms.items()]).sum()
        return {"loss": total, **terms}


class BestIterate:
    """The images with the least loss of a turn, as they were before the step that changed them.

    Attributes:
        images: the images.
        others: what else was said of them, such as their features.
    """

    images: Tensor
    others: tuple[Tensor, ...]

    def __init__(self) -> None:
        self._least: Tensor | None = None

    @torch.no_grad()
    def remember(self, images: Tensor, loss: Tensor, *others: Tensor) -> None:
        """Keep a copy of the images, and of ``others``, if their loss is the least so far."""
        if self._least is None:
            self.images, self._least = images.detach().clone(), loss.detach()
            self.others = tuple(other.detach().clone() for other in others)
            return
        lower = loss < self._least
        self.images = torch.where(lower, images, self.images)
        self.others = tuple(
            torch.where(lower, other, kept) for other, kept in zip(others, self.others, strict=True)
        )
        self._least = torch.where(lower, loss, self._least)
