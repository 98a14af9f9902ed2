"""Quantisation-aware distillation: converge first, then distil with quantised weights.

The student learns in full precision for a share of its steps, because distilling into a quantised
student that never converged fails. Then its BatchNorms are folded, weights and activations pass
through fake quantisers (Polino et al. 2018; the last phase of QKD, Kim et al. 2019), and it goes on
at a lower rate. Tracing, quantisers and conversion to integers are torch.ao.quantization's.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.ao.quantization import (
    FakeQuantize,
    MovingAverageMinMaxObserver,
    MovingAveragePerChannelMinMaxObserver,
    QConfig,
    get_default_qat_qconfig_mapping,
)
from torch.ao.quantization.quantize_fx import convert_fx, prepare_qat_fx

from methods.base import Problem, Run
from methods.objectives.base import Objective
from methods.objectives.transfer import TransferObjective
from methods.params import MethodParams, param
from methods.sources import Batch, SampleSource
from methods.student import StudentTraining


class QuantizedParams(MethodParams):
    """Hyper-parameters."""

    bits: Literal[8, 4] = param(
        8,
        "bits of weights and activations; 8 are converted to integers in the end, 4 stay simulated",
        source="common practice; the CPU has no 4-bit convolutions",
        phase="distillation",
        tune=(8, 4),
    )
    full_precision_share: float = param(
        0.5,
        "share of the student's steps that it learns in full precision first",
        source="ours",
        phase="distillation",
        tune=(0.25, 0.75),
        gt=0,
        lt=1,
    )
    learning_rate_factor: float = param(
        0.1,
        "learning rate with quantisers over the budget's, which the first phase takes",
        source="common practice of quantisation-aware training",
        phase="distillation",
        tune=(0.01, 1.0),
        gt=0,
    )


class Quantized(TransferObjective):
    """The method's own loss, of a student that is quantised while it learns."""

    name = "quantized"
    title = "Quantisation-aware distillation"
    paper = "Polino et al., ICLR 2018; Kim et al. (QKD), 2019"
    needs_samples_first = True
    Params = QuantizedParams

    full_precision: nn.Module

    def on(self, own: Objective) -> Quantized:
        super().on(own)
        self.needs_teacher = own.needs_teacher
        return self

    def supports(self, problem: Problem) -> str | None:
        try:
            torch.fx.symbolic_trace(problem.make_student())
        except Exception as error:  # torch.fx raises whatever the network trips over
            reason = " ".join(str(error).split())[:120]
            return f"the student cannot be traced by torch.fx, so not be quantised: {reason}"
        return None

    def prepare(
        self, student: nn.Module, problem: Problem, samples: SampleSource, run: Run
    ) -> tuple[nn.Module, int]:
        """Train in full precision, then put the quantisers in."""
        budget = run.budget.student_steps
        steps = min(max(1, round(self.params.full_precision_share * budget)), budget - 1)
        training = StudentTraining(problem, self.own, run, steps, student, "full-precision")
        training.learn_from(samples)
        self.full_precision = copy.deepcopy(student).cpu()
        self.rate = self.params.learning_rate_factor
        example = torch.zeros(1, *problem.image_shape, device=run.device)
        return with_quantizers(student, example, self.params.bits), budget - steps

    def __call__(self, student: nn.Module, batch: Batch) -> Tensor:
        # Rounding to bfloat16 before rounding to a quantiser's levels would move its borders.
        with torch.autocast(batch.images.device.type, enabled=False):
            return self.own(student, batch)

    def variants(self, student: nn.Module) -> Mapping[str, nn.Module]:
        found = {"full_precision": self.full_precision}
        if self.params.bits == 8:
            found["int8"] = to_integers(student)
        return found


class Quantizer(FakeQuantize):
    """torch's fake quantiser that adapts its range in training alone.

    torch's own goes on adapting in eval mode, and so would learn from the test images.
    """

    def train(self, mode: bool = True) -> Quantizer:
        """Set the mode, of the observer too."""
        super().train(mode)
        self.enable_observer(mode)
        return self


def with_quantizers(student: nn.Module, example: Tensor, bits: Literal[8, 4]) -> nn.Module:
    """The student in train mode with its BatchNorms folded and fake quantisers everywhere.

    Weights: symmetric, a scale per output channel. Activations: affine, a scale per tensor,
    following a moving average of minimum and maximum.

    Args:
        student: trained; its parameters move to the result.
        example: an input, 1×C×H×W.
        bits: of weights and activations.
    """
    mapping = get_default_qat_qconfig_mapping("x86").set_global(_qconfig(bits))
    with _without_deprecations():
        prepared: nn.Module = prepare_qat_fx(student.train(), mapping, (example,))
    return prepared.to(example.device).train()


def to_integers(student: nn.Module) -> nn.Module:
    """The 8-bit network that a student with quantisers stands for, on the CPU.

    Args:
        student: as made by `with_quantizers`, and trained; it is left as it is.
    """
    network: Any = copy.deepcopy(student).cpu().eval()
    with _without_deprecations():
        converted: nn.Module = convert_fx(network)
    return converted


def _qconfig(bits: Literal[8, 4]) -> QConfig:
    activation: Any = partial(
        Quantizer,
        observer=MovingAverageMinMaxObserver,
        quant_min=0,
        quant_max=2**bits - 1,
        dtype=torch.quint8,
        qscheme=torch.per_tensor_affine,
        # Without it integer sums of older CPUs overflow; torch's own default for 8 bits.
        reduce_range=bits == 8,
    )
    weight: Any = partial(
        Quantizer,
        observer=MovingAveragePerChannelMinMaxObserver,
        quant_min=-(2 ** (bits - 1)),
        quant_max=2 ** (bits - 1) - 1,
        dtype=torch.qint8,
        qscheme=torch.per_channel_symmetric,
    )
    return QConfig(activation=activation, weight=weight)


@contextmanager
def _without_deprecations() -> Iterator[None]:
    """torch announces that these functions will move to torchao; users can do nothing about it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
