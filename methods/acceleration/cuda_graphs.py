"""Steps of small networks, replayed on a GPU as one CUDA graph.

Such a step is a hundred kernels, each of which takes longer to launch than to run. Recorded once
and replayed, they are one launch; and the kernels of several networks, recorded side by side, run
at the same time.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from methods.base.samples import Batch
from methods.base.teacher import Ledger

LossOf = Callable[[Batch], Tensor]

Signature = list[tuple[str, torch.Size, torch.dtype]]


class Gradients:
    """Puts the gradients of losses into their parameters' ``grad``.

    The first calls, and all calls on a CPU, compute as they are written. Then the kernels are
    recorded, and later calls replay them: the same kernels on the same memory, so that values are
    those of the calls before. A batch of another shape is computed as written.

    Args:
        losses: each of a batch, a scalar; one network each. They must do nothing else than compute:
            what Python does in them is done while they are recorded, and never again.
        parameters: of all of them.
        device: where they are.
        replay: whether to record at all.
    """

    WARM_UP = 3
    """Calls that let libraries choose their kernels before these are recorded."""

    def __init__(
        self,
        losses: Sequence[LossOf],
        parameters: Sequence[nn.Parameter],
        device: torch.device,
        replay: bool = True,
    ) -> None:
        self._losses = losses
        self._parameters = parameters
        self._device = device
        self._replay = replay and device.type == "cuda"
        self._streams: list[torch.cuda.Stream] = []
        if self._replay:
            self._side = torch.cuda.Stream(device)
            if len(losses) > 1:
                self._streams = [torch.cuda.Stream(device) for _ in losses]
        self._calls = 0
        self._graph: torch.cuda.CUDAGraph | None = None

    def __call__(self, batches: Sequence[Batch]) -> list[Tensor]:
        """The losses of one batch each, detached."""
        if not self._replay:
            return self._compute(batches)
        if self._graph is None and self._calls == self.WARM_UP:
            self._record(batches)
        if self._graph is None:
            self._calls += 1
            return self._beside(batches)
        if _signature(batches) != self._shape:
            return self._beside(batches)
        for kept, given in zip(self._fields(self._batches), self._fields(batches), strict=True):
            kept.copy_(given)
        self._graph.replay()
        for parameter, gradient in zip(self._parameters, self._kept_gradients, strict=True):
            parameter.grad = gradient
        return [loss.clone() for loss in self._kept_losses]

    def _compute(self, batches: Sequence[Batch]) -> list[Tensor]:
        for parameter in self._parameters:
            parameter.grad = None
        if not self._streams:
            return [_differentiated(of(b)) for of, b in zip(self._losses, batches, strict=True)]
        found = []
        outer = torch.cuda.current_stream()
        for stream, of, batch in zip(self._streams, self._losses, batches, strict=True):
            stream.wait_stream(outer)
            with torch.cuda.stream(stream):
                found.append(_differentiated(of(batch)))
        for stream in self._streams:
            outer.wait_stream(stream)
        return found

    def _beside(self, batches: Sequence[Batch]) -> list[Tensor]:
        """As written, on a stream of its own, as what is recorded later must be."""
        current = torch.cuda.current_stream(self._device)
        self._side.wait_stream(current)
        with torch.cuda.stream(self._side):
            losses = self._compute(batches)
        current.wait_stream(self._side)
        return losses

    def _record(self, batches: Sequence[Batch]) -> None:
        self._shape = _signature(batches)
        self._batches = [
            Batch(**{name: f.clone() for name, f in batch._asdict().items() if f is not None})
            for batch in batches
        ]
        recorded = _recorded(lambda: self._compute(self._batches), self._device)
        if recorded is None:
            self._replay = False
            self._streams = []
            return
        self._graph, self._kept_losses = recorded
        self._kept_gradients = [parameter.grad for parameter in self._parameters]

    @staticmethod
    def _fields(batches: Sequence[Batch]) -> list[Tensor]:
        return [field for batch in batches for field in batch if field is not None]


class Replayed:
    """A function of tensors that is recorded after a few calls, and replayed from then on.

    On a CPU, and for inputs of other shapes than those recorded, it is called as it is written.

    Args:
        function: of tensors, to tensors. It may change others in place, such as parameters and the
            state of an optimiser, but what Python does in it is done while it is recorded, and
            never again.
        device: where it computes.
        ledger: what the function spends in it is counted for every replay too.
        replay: whether to record at all.
    """

    WARM_UP = Gradients.WARM_UP
    """Calls that let libraries choose their kernels before these are recorded."""

    def __init__(
        self,
        function: Callable[..., Sequence[Tensor]],
        device: torch.device,
        ledger: Ledger | None = None,
        replay: bool = True,
    ) -> None:
        self._function = function
        self._device = device
        self._ledger = ledger or Ledger()
        self._replay = replay and device.type == "cuda"
        self._calls = 0
        self._graph: torch.cuda.CUDAGraph | None = None
        if self._replay:
            self._side = torch.cuda.Stream(device)

    @property
    def replays(self) -> bool:
        """Whether it has been recorded."""
        return self._graph is not None

    def __call__(self, *inputs: Tensor) -> list[Tensor]:
        """What the function returns, in memory that no later call writes to."""
        if not self._replay:
            return list(self._function(*inputs))
        if self._graph is not None and self._fits(inputs):
            for kept, given in zip(self._inputs, inputs, strict=True):
                kept.copy_(given)
            self._graph.replay()
            self._ledger.add(self._spends)
        elif self._graph is None and self._calls == self.WARM_UP:
            self._record(inputs)
            return self(*inputs)
        else:
            self._calls += self._graph is None
            return self._beside(inputs)
        return [output.clone() for output in self._outputs]

    def _fits(self, inputs: Sequence[Tensor]) -> bool:
        return [(x.shape, x.dtype) for x in inputs] == [(x.shape, x.dtype) for x in self._inputs]

    def _beside(self, inputs: Sequence[Tensor]) -> list[Tensor]:
        """As written, on a stream of its own, as what is recorded later must be."""
        current = torch.cuda.current_stream(self._device)
        self._side.wait_stream(current)
        with torch.cuda.stream(self._side):
            outputs = list(self._function(*inputs))
        current.wait_stream(self._side)
        for tensor in (*inputs, *outputs):
            tensor.record_stream(current)
            tensor.record_stream(self._side)
        return outputs

    def _record(self, inputs: Sequence[Tensor]) -> None:
        self._inputs = [tensor.clone() for tensor in inputs]
        before = self._ledger.counts()
        recorded = _recorded(lambda: list(self._function(*self._inputs)), self._device)
        # Nothing was computed yet: the first replay is what will have been spent.
        self._spends = {name: n - before[name] for name, n in self._ledger.counts().items()}
        self._ledger.add({name: -n for name, n in self._spends.items()})
        if recorded is None:
            self._replay = False
        else:
            self._graph, self._outputs = recorded


def _recorded(
    compute: Callable[[], list[Tensor]], device: torch.device
) -> tuple[torch.cuda.CUDAGraph, list[Tensor]] | None:
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


def _differentiated(loss: Tensor) -> Tensor:
    loss.backward()
    return loss.detach()


def _signature(batches: Sequence[Batch]) -> list[Signature]:
    """What must be equal for one graph to do for both."""
    return [
        [
            (name, field.shape, field.dtype)
            for name, field in batch._asdict().items()
            if field is not None
        ]
        for batch in batches
    ]


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
