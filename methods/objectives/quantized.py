"""Quantisation-aware distillation: converge first, then distil with quantised weights.

The student learns in full precision for a share of its steps, so that what is quantised is a
student that has converged. Then its BatchNorms are folded, weights and activations pass
through fake quantisers (Polino et al. 2018; the last phase of QKD, Kim et al. 2019), and it goes on
at a lower rate (see `methods.networks.quantization`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor, nn

from methods.base.objective import Objective, TransferObjective
from methods.base.problem import Problem
from methods.base.run import Run
from methods.base.samples import Batch, SampleSource
from methods.base.student import StudentTraining
from methods.settings.params import MethodParams, param


class QuantizedParams(MethodParams):
    """Hyper-parameters."""

    bits: Literal[8, 4] = param(
        8,
        "bits of weights and activations; 8 are converted to integers in the end (activations "
        "then use 7 of them, which torch's x86 kernels ask for), 4 stay simulated",
        source="common practice; the CPU has no 4-bit convolutions",
        phase="distillation",
    )
    full_precision_share: float = param(
        0.5,
        "share of the student's steps that it learns in full precision first",
        source="ours",
        phase="distillation",
        gt=0,
        lt=1,
    )
    learning_rate_factor: float = param(
        0.1,
        "learning rate with quantisers over the budget's, which the first phase takes",
        source="common practice of quantisation-aware training",
        phase="distillation",
        tune="rate",
        gt=0,
    )


class Quantized(TransferObjective):
    """The method's own loss, for a student that is quantised while it learns."""

    name = "quantized"
    title = "Quantisation-aware distillation"
    paper = "Polino et al., ICLR 2018; Kim et al. (QKD), 2019"
    needs_samples_first = True
    rebuilds = True
    Params = QuantizedParams

    full_precision: nn.Module

    def on(self, own: Objective) -> Quantized:
        super().on(own)
        self.needs_teacher = own.needs_teacher
        return self

    def supports(self, problem: Problem) -> str | None:
        from methods.networks.quantization import why_not

        return why_not(problem.make_student()) or None

    def prepare(
        self, student: nn.Module, problem: Problem, samples: SampleSource, run: Run
    ) -> tuple[nn.Module, int]:
        """Train in full precision, then insert the quantisers."""
        from methods.networks.quantization import with_quantizers

        budget = run.budget.student_steps
        steps = min(max(1, round(self.params.full_precision_share * budget)), budget - 1)
        training = StudentTraining(problem, self.own, run, steps, student, "full-precision")
        training.learn_from(samples)
        example = torch.zeros(1, *problem.image_shape, device=run.device)
        quantized = with_quantizers(student, example, self.params.bits)
        self.full_precision = student.cpu()
        self.rate = self.params.learning_rate_factor
        return quantized, budget - steps

    def __call__(self, student: nn.Module, batch: Batch) -> Tensor:
        # Rounding to bfloat16 first would move the borders between a quantiser's levels.
        with torch.autocast(batch.images.device.type, enabled=False):
            return self.own(student, batch)

    def variants(self, student: nn.Module) -> Mapping[str, nn.Module]:
        from methods.networks.quantization import to_integers

        found = {"full_precision": self.full_precision}
        if self.params.bits == 8:
            found["int8"] = to_integers(student)
        return found

    def sizes(self, student: nn.Module) -> Mapping[str, float]:
        from methods.networks.quantization import packed_kib

        return {"int4": packed_kib(student, 4)} if self.params.bits == 4 else {}
