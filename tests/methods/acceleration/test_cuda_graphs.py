"""Recorded steps, as far as a CPU can show them; `tests/test_cuda.py` has the rest."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from methods.acceleration.cuda_graphs import Gradients, Replayed
from methods.base.objective import Distillation
from methods.base.problem import Access
from methods.base.registry import discover
from methods.base.run import Run
from methods.base.samples import Batch
from methods.base.teacher import Ledger
from methods.objectives.registry import discover_objectives
from tests.helpers import IMAGE_SHAPE, NUM_CLASSES, tiny_budget, tiny_network, tiny_problem


def batch(seed: int, size: int = 6) -> Batch:
    stream = torch.Generator().manual_seed(seed)
    images = torch.randn(size, *IMAGE_SHAPE, generator=stream)
    return Batch(images, torch.randint(NUM_CLASSES, (size,), generator=stream))


def test_losses_and_gradients_are_those_of_each_network_alone() -> None:
    networks = [tiny_network(0), tiny_network(1)]
    gradients = Gradients(
        [lambda b, n=n: F.cross_entropy(n(b.images), b.labels) for n in networks],  # type: ignore[misc]
        [parameter for network in networks for parameter in network.parameters()],
        torch.device("cpu"),
    )
    for step in range(5):
        batches = [batch(step), batch(100 + step)]
        losses = gradients(batches)
        for seed, (network, seen, loss) in enumerate(zip(networks, batches, losses, strict=True)):
            alone = tiny_network(seed)
            expected = F.cross_entropy(alone(seen.images), seen.labels)
            expected.backward()
            assert torch.equal(loss, expected.detach())
            assert not loss.requires_grad
            for a, b in zip(network.parameters(), alone.parameters(), strict=True):
                assert torch.equal(a.grad, b.grad)  # type: ignore[arg-type]


def test_a_cpu_calls_a_function_as_it_is_written() -> None:
    calls = []

    def compute(x: Tensor) -> list[Tensor]:
        calls.append(len(x))
        return [2 * x]

    replayed = Replayed(compute, torch.device("cpu"))
    for size in (1, 2, 3, 4, 5):
        (doubled,) = replayed(torch.ones(size))
        assert torch.equal(doubled, torch.full((size,), 2.0))
    assert calls == [1, 2, 3, 4, 5]
    assert not replayed.replays


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
        for func, args, kwargs, out in self.operations:
            again = func(*args, **kwargs)
            for kept, new in zip(tree_leaves(out), tree_leaves(again), strict=True):
                if isinstance(kept, Tensor) and kept.numel() and kept.data_ptr() != new.data_ptr():
                    kept.detach().copy_(new)


def record_on_a_cpu(monkeypatch: pytest.MonkeyPatch, fail_at: int | None = None) -> list[Tape]:
    """Have every `Replayed` record on a `Tape`; those there are."""
    tapes: list[Tape] = []

    def recorded(
        compute: Callable[[], list[Tensor]], device: torch.device
    ) -> tuple[Tape, list[Tensor]] | None:
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

    def beginning(self: Replayed, *args: Any, replay: bool = True) -> None:
        begin(self, *args[:3])
        self._replay = args[3] if len(args) > 3 else replay

    monkeypatch.setattr("methods.acceleration.cuda_graphs._recorded", recorded)
    monkeypatch.setattr(Replayed, "__init__", beginning)
    monkeypatch.setattr(Replayed, "_beside", lambda self, inputs: list(self._function(*inputs)))
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


@pytest.mark.parametrize("method", ["rdskd", "mskd", "dafl", "dcgan", "degan"])
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
    assert replayed.curves == written.curves
    for a, b in zip(fast.state_dict().values(), slow.state_dict().values(), strict=True):
        assert torch.equal(a, b)


def test_what_a_replay_spends_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = Ledger()

    def compute(x: Tensor) -> list[Tensor]:
        ledger.synthetic_images += len(x)
        return [2 * x]

    for fail_at in (None, 0):
        with monkeypatch.context() as patched:
            record_on_a_cpu(patched, fail_at)
            replayed = Replayed(compute, torch.device("cpu"), ledger)
            before = ledger.synthetic_images
            found = [replayed(torch.full((3,), float(step))) for step in range(7)]
        assert replayed.replays == (fail_at is None)
        assert ledger.synthetic_images - before == 21
        assert [float(x[0]) for (x,) in found] == [0.0, 2.0, 4.0, 6.0, 8.0, 10.0, 12.0]
