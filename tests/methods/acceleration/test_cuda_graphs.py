"""Recorded steps, as far as a CPU can show them; `tests/test_cuda.py` has the rest."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes
from torch.utils._pytree import tree_leaves

from methods.acceleration.cuda_graphs import Replayed
from methods.base.ledger import Ledger
from methods.base.objective import Distillation
from methods.base.problem import Access, Problem
from methods.base.registry import discover
from methods.base.run import Run
from methods.base.student import StudentTraining
from methods.objectives.registry import discover_objectives
from tests.helpers import IMAGE_SHAPE, NUM_CLASSES, tiny_budget, tiny_network, tiny_problem

CPU = torch.device("cpu")


def test_a_cpu_calls_a_function_as_it_is_written() -> None:
    calls = []

    def compute(x: Tensor) -> dict[str, Tensor]:
        calls.append(len(x))
        return {"doubled": 2 * x}

    replayed = Replayed(compute, CPU)
    for size in (1, 2, 3, 4, 5):
        assert torch.equal(replayed(torch.ones(size))["doubled"], torch.full((size,), 2.0))
    assert calls == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("name", sorted(discover_objectives()))
def test_what_trains_more_than_the_student_is_not_recorded(name: str) -> None:
    """An objective of the registry keeps things of its own, unless it says otherwise."""
    assert not discover_objectives()[name].replayable
    assert Distillation(1.0).replayable


# What a recording does to memory, played on a CPU


class Tape(TorchDispatchMode):
    """Notes operations, takes their effects back, and repeats them on the same memory."""

    RUNNING_STATISTICS = ("aten::native_batch_norm", "aten::_native_batch_norm_legit")

    def __init__(self, fail_at: int | None) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.fail_at = fail_at
        self.operations: list[tuple[Any, Any, Any, Any]] = []
        self.before: list[tuple[Tensor, Tensor]] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if len(self.operations) == self.fail_at:
            raise RuntimeError("this operation cannot be recorded")
        schema = func._schema
        written = [
            args[i] if i < len(args) else kwargs.get(argument.name)
            for i, argument in enumerate(schema.arguments)
            if argument.alias_info is not None and argument.alias_info.is_write
        ]
        if schema.name in self.RUNNING_STATISTICS:  # written to, though the schema does not say so
            written += args[3:5]
        for tensor in tree_leaves(written):
            if isinstance(tensor, Tensor):
                self.before.append((tensor, tensor.detach().clone()))
        out = func(*args, **kwargs)
        self.operations.append((func, args, kwargs, out))
        return out

    @torch.no_grad()
    def take_back(self) -> None:
        for tensor, value in reversed(self.before):
            tensor.data.copy_(value)

    @torch.no_grad()
    def replay(self) -> None:
        with _disable_current_modes():  # no counter sees what a GPU replays
            for func, args, kwargs, out in self.operations:
                again = func(*args, **kwargs)
                for kept, new in zip(tree_leaves(out), tree_leaves(again), strict=True):
                    if (
                        isinstance(kept, Tensor)
                        and kept.numel()
                        and kept.data_ptr() != new.data_ptr()
                    ):
                        kept.detach().copy_(new)


def record_on_a_cpu(monkeypatch: pytest.MonkeyPatch, fail_at: int | None = None) -> list[Tape]:
    """Have every `Replayed` record on a `Tape`; those there are."""
    tapes: list[Tape] = []

    def captured(
        compute: Callable[[], dict[str, Tensor]], device: torch.device
    ) -> tuple[Tape, dict[str, Tensor]] | None:
        tape = Tape(fail_at)
        try:
            with tape:
                out = compute()
        except RuntimeError:
            return None
        finally:
            tape.take_back()
        tapes.append(tape)
        return tape, out

    begin = Replayed.__init__

    def beginning(self: Replayed, *args: Any, replay: bool = True, **options: Any) -> None:
        begin(self, *args, **options)
        self._replay = replay

    def replayable(self: StudentTraining, problem: Problem) -> bool:
        return self._objective.replayable

    monkeypatch.setattr("methods.acceleration.cuda_graphs._captured", captured)
    monkeypatch.setattr(Replayed, "__init__", beginning)
    monkeypatch.setattr(Replayed, "_as_written", lambda self, given: dict(self._function(*given)))
    monkeypatch.setattr(StudentTraining, "_replayable", replayable)
    return tapes


def fitted(method: str, online: bool) -> tuple[Run, nn.Module]:
    kind = discover()[method]
    sizes = {"latent_dim": 5, "generator_width": 4, "width": 4}
    params = kind.build_params({n: v for n, v in sizes.items() if n in kind.Params.model_fields})
    stream = torch.Generator().manual_seed(0)
    proxies = {Access.PROXY_IMAGES: torch.randn(40, *IMAGE_SHAPE, generator=stream)}
    images = 0 if online else 64
    run = Run(tiny_budget(synthesis_steps=12, epoch_steps=4, student_steps=9, images=images))
    granted = proxies if kind.access else None
    problem = tiny_problem(kind.access, granted, ledger=run.ledger)
    return run, kind(params).fit(problem, run)


@pytest.mark.parametrize(
    "method", ["rdskd", "mskd", "dafl", "dcgan", "degan", "noise", "alternative-data"]
)
@pytest.mark.parametrize("online", [False, True])
@pytest.mark.parametrize("fail_at", [None, 5, 60])
def test_replayed_steps_make_the_run_that_was_written(
    method: str, online: bool, fail_at: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    written, slow = fitted(method, online)
    tapes = record_on_a_cpu(monkeypatch, fail_at)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        replayed, fast = fitted(method, online)
    if fail_at != 60:  # which is more operations than some of the functions have
        assert bool(tapes) == (fail_at is None)
    assert replayed.ledger.counts() == written.ledger.counts()
    assert replayed.ledger.work == written.ledger.work
    assert replayed.curves == written.curves
    for a, b in zip(fast.state_dict().values(), slow.state_dict().values(), strict=True):
        assert torch.equal(a, b)


def test_what_a_replay_spends_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = Ledger()

    def compute(x: Tensor) -> dict[str, Tensor]:
        ledger.synthetic_images += len(x)
        return {"doubled": 2 * x}

    for fail_at in (None, 0):
        with monkeypatch.context() as patched:
            tapes = record_on_a_cpu(patched, fail_at)
            replayed = Replayed(compute, CPU, counters=ledger)
            before = ledger.synthetic_images
            found = [replayed(torch.full((3,), float(step)))["doubled"] for step in range(7)]
        assert len(tapes) == (fail_at is None)
        assert ledger.synthetic_images - before == 21
        assert [float(x[0]) for x in found] == [0.0, 2.0, 4.0, 6.0, 8.0, 10.0, 12.0]


@pytest.mark.parametrize("fail_at", [None, 2])
def test_gradients_are_left_where_the_function_leaves_them(
    fail_at: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    network, alone = tiny_network(0), tiny_network(0)
    parameters = list(network.parameters())

    def compute(images: Tensor, labels: Tensor | None) -> dict[str, Tensor]:
        for parameter in parameters:
            parameter.grad = None
        logits = network(images)
        loss = logits.square().mean() if labels is None else F.cross_entropy(logits, labels)
        loss.backward()
        return {"loss": loss.detach()}

    tapes = record_on_a_cpu(monkeypatch, fail_at)
    replayed = Replayed(compute, CPU, parameters=parameters)
    stream, kept = torch.Generator().manual_seed(0), []
    # A batch of another shape, and one without labels, are computed as written.
    for size, labelled in zip((6, 6, 6, 6, 6, 4, 6, 6), (1, 1, 1, 1, 1, 1, 0, 1), strict=True):
        images = torch.randn(size, *IMAGE_SHAPE, generator=stream)
        labels = torch.randint(NUM_CLASSES, (size,), generator=stream) if labelled else None
        (loss,) = replayed(images, labels).values()
        logits = alone(images)
        expected = logits.square().mean() if labels is None else F.cross_entropy(logits, labels)
        gradients = torch.autograd.grad(expected, list(alone.parameters()))
        assert torch.equal(loss, expected.detach())
        assert not loss.requires_grad
        for parameter, gradient in zip(parameters, gradients, strict=True):
            assert parameter.grad is not None
            assert torch.equal(parameter.grad, gradient)
        kept.append((loss, loss.clone()))
    assert all(torch.equal(*pair) for pair in kept), "a later call wrote to what was returned"
    assert len(tapes) == (fail_at is None)


def test_a_change_of_other_tensors_in_place_is_made_once_a_call(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    weight = torch.ones(3)

    def compute(x: Tensor) -> dict[str, Tensor]:
        weight.add_(1)
        return {"product": x * weight}

    record_on_a_cpu(monkeypatch)
    replayed = Replayed(compute, CPU)
    for step in range(8):
        (product,) = replayed(torch.full((2, 3), float(step))).values()
        assert torch.equal(product, torch.full((2, 3), step * (step + 2.0)))
