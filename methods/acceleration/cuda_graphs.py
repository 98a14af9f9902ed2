"""Steps of small networks, recorded on a GPU as one CUDA graph and replayed.

Such a step is a hundred kernels, each of which takes longer to launch than to run. Recorded once
and replayed, they are one launch.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from methods.acceleration.operations import OperationCounter, add_operations


class Counters(Protocol):
    """What a function counts while it is called, such as `methods.base.teacher.Ledger`."""

    def counts(self) -> dict[str, int]:
        """The counts so far, by name."""

    def add(self, counts: Mapping[str, int], /) -> None:
        """Add to the named counts."""


@dataclass(frozen=True)
class _Recording:
    """The kernels of one call, the memory they read and write, and what the call counted.

    ``operations`` are floating-point operations, which no counter sees when they are replayed.
    """

    graph: torch.cuda.CUDAGraph
    inputs: list[Tensor | None]
    outputs: dict[str, Tensor]
    gradients: list[Tensor | None]
    counts: dict[str, int]
    operations: int


class Replayed:
    """A function of tensors that is recorded after a few calls, and replayed from then on.

    The first calls, all calls on a CPU, and calls with inputs of other shapes than those recorded
    run the function as it is written. A replay runs the same kernels on the same memory, so that
    its values are those of the function.

    Args:
        function: of tensors, some of which may be None, to named tensors. It may change others in
            place, such as parameters and the state of an optimiser, but what Python does in it is
            done while it is recorded, and never again.
        device: where it computes.
        parameters: those into whose ``grad`` the function leaves gradients for its caller.
        counters: what the function counts in them is counted for every replay too.
        replay: whether to record at all.
    """

    WARM_UP = 3
    """Calls that let libraries choose their kernels before these are recorded."""

    def __init__(
        self,
        function: Callable[..., Mapping[str, Tensor]],
        device: torch.device,
        *,
        parameters: Sequence[nn.Parameter] = (),
        counters: Counters | None = None,
        replay: bool = True,
    ) -> None:
        self._function = function
        self._device = device
        self._parameters = parameters
        self._counters = counters
        self._replay = replay and device.type == "cuda"
        self._calls = 0
        self._recording: _Recording | None = None
        if self._replay:
            self._side = torch.cuda.Stream(device)

    def __call__(self, *inputs: Tensor | None) -> dict[str, Tensor]:
        """What the function returns, in memory that no later call writes to."""
        if not self._replay:
            return dict(self._function(*inputs))
        if self._recording is None:
            if self._calls < self.WARM_UP:
                self._calls += 1
                return self._as_written(inputs)
            self._record(inputs)
            return self(*inputs)
        if _signature(inputs) != _signature(self._recording.inputs):
            return self._as_written(inputs)
        return self._replayed(self._recording, inputs)

    def _as_written(self, inputs: Sequence[Tensor | None]) -> dict[str, Tensor]:
        """Call the function on a stream of its own, as what is recorded later must be."""
        current = torch.cuda.current_stream(self._device)
        self._side.wait_stream(current)
        with torch.cuda.stream(self._side):
            outputs = dict(self._function(*inputs))
        current.wait_stream(self._side)
        gradients = [parameter.grad for parameter in self._parameters]
        for tensor in (*inputs, *outputs.values(), *gradients):
            if tensor is not None:  # it is used on both streams, whichever it was made on
                tensor.record_stream(current)
                tensor.record_stream(self._side)
        return outputs

    def _record(self, inputs: Sequence[Tensor | None]) -> None:
        kept = [None if tensor is None else tensor.clone() for tensor in inputs]
        before = self._counts()
        with OperationCounter() as operations:
            captured = _captured(lambda: dict(self._function(*kept)), self._device)
        # Nothing was computed yet: what was counted is taken back, and counted with every replay.
        add_operations(-operations.operations)
        counts = {name: n - before[name] for name, n in self._counts().items()}
        self._count({name: -n for name, n in counts.items()})
        if captured is None:
            self._replay = False
            return
        gradients = [parameter.grad for parameter in self._parameters]
        self._recording = _Recording(
            captured[0], kept, captured[1], gradients, counts, operations.operations
        )

    def _replayed(
        self, recording: _Recording, inputs: Sequence[Tensor | None]
    ) -> dict[str, Tensor]:
        for kept, given in zip(recording.inputs, inputs, strict=True):
            if kept is not None and given is not None:
                kept.copy_(given)
        recording.graph.replay()
        self._count(recording.counts)
        add_operations(recording.operations)
        for parameter, gradient in zip(self._parameters, recording.gradients, strict=True):
            parameter.grad = gradient
        return {name: output.clone() for name, output in recording.outputs.items()}

    def _counts(self) -> dict[str, int]:
        return {} if self._counters is None else self._counters.counts()

    def _count(self, counts: Mapping[str, int]) -> None:
        if self._counters is not None:
            self._counters.add(counts)


def _signature(tensors: Sequence[Tensor | None]) -> list[tuple[torch.Size, torch.dtype] | None]:
    """What must be equal for one recording to do for both."""
    return [None if tensor is None else (tensor.shape, tensor.dtype) for tensor in tensors]


def _captured(
    compute: Callable[[], dict[str, Tensor]], device: torch.device
) -> tuple[torch.cuda.CUDAGraph, dict[str, Tensor]] | None:
    """The kernels of ``compute`` and where they leave its results; None, and a warning, if not."""
    graph = torch.cuda.CUDAGraph()
    # Not the stream that torch would record, which is of the first GPU asked for.
    with torch.cuda.device(device):
        stream = torch.cuda.Stream(device)
        try:
            with torch.cuda.graph(graph, stream=stream):
                return graph, compute()
        except RuntimeError as error:
            reason = error
        torch.cuda.synchronize(device)
        # torch's random generator still waits for the end of the recording that failed.
        with torch.cuda.graph(torch.cuda.CUDAGraph(), stream=stream):
            torch.zeros(1, device=device)
    warnings.warn(f"these steps cannot be recorded as a CUDA graph: {reason}", stacklevel=3)
    return None


@torch.no_grad()
def draws_random_numbers(network: nn.Module, image_shape: tuple[int, int, int]) -> bool:
    """Whether a network, in the mode it is in, draws from torch's own generators when it is called.

    Not every layer that does so is a dropout module: some call functions, or drop whole branches.

    Args:
        network: stays as it is, and so do the generators.
        image_shape: (C, H, W) of its input.
    """
    device = next(network.parameters()).device
    on_gpu = device.type == "cuda"

    def states() -> list[Tensor]:
        return [torch.get_rng_state(), *([torch.cuda.get_rng_state(device)] if on_gpu else [])]

    with torch.random.fork_rng(devices=[device] if on_gpu else []):
        before = states()
        copy.deepcopy(network)(torch.zeros(2, *image_shape, device=device))
        return not all(map(torch.equal, before, states()))
