"""Putting fake quantisers into a network, and converting such a network to integers.

Tracing, quantisers and conversion are those of torch.ao.quantization; this module configures them.
"""

from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.ao.quantization import (
    FakeQuantize,
    FakeQuantizeBase,
    MovingAverageMinMaxObserver,
    MovingAveragePerChannelMinMaxObserver,
    QConfig,
    get_default_qat_qconfig_mapping,
)
from torch.ao.quantization.quantize_fx import convert_fx, prepare_qat_fx

# torch warns so of a pyramid whose pooled branch is resized before it joins: it requantises it.
warnings.filterwarnings("ignore", message="All inputs of this cat operator")

SCALE_BYTES = 4

MODAL = {F.batch_norm, F.dropout}
"""Functions that a trace would freeze in train mode; as modules they follow the network's mode."""


class ActivationQuantizer(FakeQuantize):
    """torch's fake quantiser that adapts its range in training alone.

    torch's own adapts in eval mode too, and so would learn from the test images. The quantisers of
    the weights may do so: they see no images.
    """

    def train(self, mode: bool = True) -> ActivationQuantizer:
        """Set the mode, of the observer too."""
        super().train(mode)
        self.enable_observer(mode)
        return self


def why_not(network: nn.Module) -> str:
    """One sentence on why a network cannot be quantised; empty where it can."""
    try:
        graph = torch.fx.symbolic_trace(_traceable(network)).graph
    except Exception as error:  # torch.fx raises whatever the network trips over
        reason = " ".join(str(error).split())[:120]
        return f"the student cannot be traced by torch.fx, so not be quantised: {reason}"
    frozen = sorted({node.target.__name__ for node in graph.nodes if node.target in MODAL})
    if frozen:
        return f"the student calls {' and '.join(frozen)} as functions; quantising needs modules"
    return ""


def with_quantizers(network: nn.Module, example: Tensor, bits: Literal[8, 4]) -> nn.Module:
    """The network in train mode with its BatchNorms folded and fake quantisers everywhere.

    Weights: symmetric, a scale per output channel. Activations: affine, a scale per tensor,
    following a moving average of minimum and maximum; of 8 bits they use 7 (torch's
    ``reduce_range``), so that products of two do not overflow on older processors.

    Args:
        network: trained; the result has copies of its parameters.
        example: an input, 1×C×H×W.
        bits: bits of weights and activations.
    """
    mapping = get_default_qat_qconfig_mapping("x86").set_global(_qconfig(bits))
    with _without_deprecations():
        prepared: nn.Module = prepare_qat_fx(_traceable(network).train(), mapping, (example,))
    return prepared.to(example.device).train()


def to_integers(network: nn.Module) -> nn.Module:
    """The 8-bit network that a network with quantisers simulates, on the CPU.

    Args:
        network: made by `with_quantizers` and trained; it is left as it is.
    """
    simulated: Any = copy.deepcopy(network).cpu().eval()
    with _without_deprecations():
        converted: nn.Module = convert_fx(simulated)
    return converted


def packed_kib(network: nn.Module, bits: Literal[8, 4]) -> float:
    """The size of a network with quantisers, with its weights packed to ``bits`` each, in KiB.

    It is computed and not the size of a file: torch converts to 8 bits at least, and a file holds
    more than the weights. It counts the weights of every layer with a quantiser, to a whole byte a
    layer; per output channel a float32 scale and, where the layer has a bias or a BatchNorm to fold
    into one, a float32 bias; per activation quantiser a float32 scale and a zero point of one byte;
    and everything that is not quantised, in its own type.

    Args:
        network: made by `with_quantizers`; it is left as it is.
        bits: bits of a weight.
    """
    total, counted = 0, set[nn.Module]()
    for module in network.modules():
        if module in counted:
            continue
        weight = getattr(module, "weight", None)
        if isinstance(module, FakeQuantizeBase):
            total += SCALE_BYTES + 1
        elif hasattr(module, "weight_fake_quant") and isinstance(weight, Tensor):
            biased = getattr(module, "bias", None) is not None or hasattr(module, "bn")
            total += math.ceil(bits * weight.numel() / 8) + SCALE_BYTES * len(weight) * (1 + biased)
        else:
            floats = [b for b in module.buffers(recurse=False) if b.is_floating_point()]
            total += sum(t.nbytes for t in [*module.parameters(recurse=False), *floats])
            continue
        counted.update(module.modules())
    return total / 1024


def _traceable(network: nn.Module) -> nn.Module:
    """A copy of torch's own layers.

    timm's BatchNorms with an activation are taken apart, and a layer that computes a function of
    torch's in a way of its own (it has ``as_plain``) becomes the plain one.
    """
    copied = copy.deepcopy(network)
    for parent in list(copied.modules()):
        for name, layer in parent.named_children():
            if callable(as_plain := getattr(layer, "as_plain", None)):
                setattr(parent, name, as_plain())
            elif isinstance(layer, nn.BatchNorm2d) and isinstance(
                activation := getattr(layer, "act", None), nn.Module
            ):
                norm = nn.BatchNorm2d(layer.num_features, layer.eps, layer.momentum)
                norm.load_state_dict(layer.state_dict())
                dropout = getattr(layer, "drop", nn.Identity())
                setattr(parent, name, nn.Sequential(norm, dropout, activation))
    return copied


def _qconfig(bits: Literal[8, 4]) -> QConfig:
    activation: Any = partial(
        ActivationQuantizer,
        observer=MovingAverageMinMaxObserver,
        quant_min=0,
        quant_max=2**bits - 1,
        dtype=torch.quint8,
        qscheme=torch.per_tensor_affine,
        # Without it integer sums overflow on older CPUs; it is torch's own default for 8 bits.
        reduce_range=bits == 8,
    )
    weight: Any = partial(
        FakeQuantize,
        observer=MovingAveragePerChannelMinMaxObserver,
        averaging_constant=1.0,  # the weights' own range, not that of earlier steps
        quant_min=-(2 ** (bits - 1)),
        quant_max=2 ** (bits - 1) - 1,
        dtype=torch.qint8,
        qscheme=torch.per_channel_symmetric,
    )
    return QConfig(activation=activation, weight=weight)


@contextmanager
def _without_deprecations() -> Iterator[None]:
    """Hide the notice that these functions move to torchao; users can do nothing about it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
