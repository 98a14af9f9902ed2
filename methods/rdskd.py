"""RDSKD and MSKD: a generator with a diversity term, then an ordinary student.

Han et al., "Robustness and Diversity Seeking Data-Free Knowledge Distillation", ICASSP 2021.

Algorithm: (1) train G on  exp(L_oh − L_oh^prev) + exp(L_ie − L_ie^prev) + L_ds  (Eqs. 1-4);
(2) freeze G and train the student on its images with τ²·KL. MSKD is the paper's ablation that
measures diversity against the latents (MSGAN) instead of against the teacher.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from methods.base.drawn_images import samples_from
from methods.base.method import Method
from methods.base.problem import Problem
from methods.base.run import Run
from methods.base.samples import SampleSource
from methods.losses.images import diversity_seeking_loss, mode_seeking_loss
from methods.losses.predictions import increment_penalty, information_entropy_loss, one_hot_loss
from methods.settings.params import param
from methods.settings.schedule import PaperSchedule
from methods.synthesis.generator import (
    GeneratedBatch,
    GeneratorParams,
    build_generator,
    drawing_from,
    train_generator,
)


class IncrementParams(GeneratorParams):
    """Hyper-parameters that RDSKD and MSKD share."""

    generator_lr: float = param(
        5e-3,
        "Adam learning rate of the generator; of the three rates the paper tests per dataset, the "
        "middle one, which is the same for all of them",
        source="paper, Table 2",
        tune="rate",
        gt=0,
    )
    one_hot: bool = param(True, "use the one-hot loss", source="paper, Eq. 1")
    entropy: bool = param(True, "use the information entropy loss", source="paper, Eq. 2")
    exponential: bool = param(
        True,
        "punish growing losses by exp(loss − previous); off adds the plain losses",
        source="paper, Eq. 4",
    )
    previous: Literal["released", "epoch-mean"] = param(
        "released",
        "what 'the previous epoch's loss' is: that of the second step of the epoch, as the "
        "released code stores it, or the previous epoch's mean",
        source="released code; paper, Eq. 4",
        needs=("exponential",),
    )
    generator_mode: Literal["eval", "train"] = param(
        "eval",
        "mode of the generator's BatchNorms while the student's images are drawn",
        source="released code",
    )
    temperature: float = param(
        10.0,
        "temperature τ of the student's KD loss, which the paper does not state",
        source="released code, default",
        phase="distillation",
        tune="temperature",
        gt=0,
    )


RELEASED = PaperSchedule(
    "RDSKD",
    "20 generator epochs: paper; the student's 1,000 epochs of 120 steps: released code",
    synthesis_steps=20 * 120,
    synthesis_batch=512,
    epoch_steps=120,
    images=0,
    student_steps=1000 * 120,
    student_batch=512,
    student_optimizer="adam",
    student_lr=2e-3,
    student_schedule="constant",
)
# The rate falls after 800 epochs.
RELEASED_CIFAR10 = PaperSchedule(
    RELEASED.paper, RELEASED.source, **{**RELEASED.numbers, "student_schedule": "step"}
)


class _IncrementalMethod(Method):
    """The training of the generator; RDSKD and MSKD differ in `diversity` alone."""

    Params = IncrementParams
    settings = {
        "svhn": {"latent_dim": 1000},
        "cifar10": {"latent_dim": 1000},
    }
    schedules = {"mnist": RELEASED, "svhn": RELEASED, "cifar10": RELEASED_CIFAR10}

    def diversity(self, batch: GeneratedBatch) -> Tensor:
        """The diversity term of one batch, a scalar."""
        raise NotImplementedError

    def synthesize(self, problem: Problem, run: Run) -> SampleSource:
        p = self.params
        generator = build_generator(p, problem, run)
        history = _PreviousLoss(run.budget.epoch_steps, p.previous, run.device)

        def loss(batch: GeneratedBatch) -> dict[str, Tensor]:
            terms: dict[str, Tensor] = {}
            if p.one_hot:
                terms["one_hot"] = one_hot_loss(batch.logits)
            if p.entropy:
                terms["entropy"] = information_entropy_loss(batch.logits)
            diversity = self.diversity(batch)
            total = diversity
            for name, term in terms.items():
                previous = history.of(name)
                total = total + (increment_penalty(term, previous) if p.exponential else term)
            return {"loss": total, **terms, "diversity": diversity}

        def remember(terms: Mapping[str, Tensor], step: int) -> None:
            for name in terms.keys() & {"one_hot", "entropy"}:
                history.after(name, step, terms[name])

        train_generator(
            problem,
            run,
            generator,
            p.generator_lr,
            loss,
            {"history": history},
            after=remember,
            replay=True,
        )
        return samples_from(drawing_from(generator, p.generator_mode, run), run)


class _PreviousLoss:
    """The reference value of each loss term in exp(loss − previous); 0 in the beginning.

    A value keeps its tensor, so that a recorded step finds it in the same memory.
    """

    def __init__(
        self,
        epoch_steps: int,
        rule: Literal["released", "epoch-mean"],
        device: torch.device | str = "cpu",
    ) -> None:
        self.device = device
        self.epoch_steps = epoch_steps
        self.rule = rule
        # The released code stores the loss of step 1 (from 0) of every epoch, so that most of an
        # epoch is compared with its own second step.
        self.stored_at = min(1, epoch_steps - 1)
        self.value: dict[str, Tensor] = {}
        self.sum: dict[str, Tensor] = {}

    def state_dict(self) -> dict[str, dict[str, Tensor]]:
        return {"value": dict(self.value), "sum": dict(self.sum)}

    def load_state_dict(self, state: Mapping[str, Mapping[str, Tensor]], /) -> None:
        for term, value in state["value"].items():
            self.of(term).copy_(value)
        self.sum = {term: value.to(self.device) for term, value in state["sum"].items()}

    def of(self, name: str) -> Tensor:
        """The reference value of a term, a scalar."""
        return self.value.setdefault(name, torch.zeros((), device=self.device))

    def after(self, name: str, step: int, loss: Tensor) -> None:
        """Note the term's value at a step."""
        position = step % self.epoch_steps
        if self.rule == "released":
            if position == self.stored_at:
                self.of(name).copy_(loss)
            return
        self.sum[name] = self.sum.get(name, 0.0) + loss
        if position == self.epoch_steps - 1:
            self.of(name).copy_(self.sum.pop(name) / self.epoch_steps)


def halves(tensor: Tensor) -> tuple[Tensor, Tensor]:
    """The two halves of a batch, whose pairs the diversity terms compare."""
    middle = len(tensor) // 2
    return tensor[:middle], tensor[middle : 2 * middle]


class RDSKDParams(IncrementParams):
    """RDSKD's own hyper-parameters."""

    diversity_weight: float = param(
        1.0,
        "weight of the diversity-seeking loss, which the paper adds without one; 0 switches it off",
        source="paper, Eq. 4",
        tune="weight",
        ge=0,
    )


class RDSKD(_IncrementalMethod):
    """Robustness and diversity seeking data-free KD."""

    name = "rdskd"
    title = "RDSKD"
    paper = "Han et al., ICASSP 2021"
    Params = RDSKDParams

    def diversity(self, batch: GeneratedBatch) -> Tensor:
        images, probs = halves(batch.images), halves(F.softmax(batch.logits, dim=1))
        weight: float = self.params.diversity_weight
        return weight * diversity_seeking_loss(*images, *probs)


class MSKDParams(IncrementParams):
    """MSKD's own hyper-parameters."""

    diversity_weight: float = param(
        1.0,
        "weight of the mode-seeking loss; 0 switches it off",
        source="MSGAN, released code",
        tune="weight",
        ge=0,
    )
    norm: Literal["l1-mean", "frobenius"] = param(
        "l1-mean",
        "distance of images and of latents; the paper does not say which it used",
        source="MSGAN, released code",
        needs=("diversity_weight",),
    )


class MSKD(_IncrementalMethod):
    """Mode-seeking KD: RDSKD with latents instead of the teacher's predictions."""

    name = "mskd"
    title = "MSKD"
    paper = "Han et al., ICASSP 2021, ablation; Mao et al., CVPR 2019"
    Params = MSKDParams

    def diversity(self, batch: GeneratedBatch) -> Tensor:
        weight: float = self.params.diversity_weight
        return weight * mode_seeking_loss(
            *halves(batch.images), *halves(batch.latents), norm=self.params.norm
        )
