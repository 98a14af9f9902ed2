"""What needs a GPU to be shown: skipped, and said so, where there is none."""

from __future__ import annotations

import copy
import dataclasses
import warnings
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

from benchmark.machine import stopping
from benchmark.tasks.data.digits import read_digits
from benchmark.tasks.digits import Digits
from benchmark.tasks.models.wide_resnet import wide_resnet
from benchmark.teachers.training import train_teacher
from methods.acceleration.cuda_graphs import Replayed
from methods.base.ledger import Ledger
from methods.base.objective import Distillation
from methods.base.problem import Access
from methods.base.registry import discover
from methods.base.run import Run
from methods.base.samples import Batch
from methods.base.student import train_student
from methods.baselines import StudentSupervised
from methods.networks.generators import UpsamplingGenerator
from methods.synthesis.activation_statistics import collect_records
from tests.benchmark.grid.test_grid import Grid, grid
from tests.helpers import IMAGE_SHAPE, tiny_budget, tiny_problem
from tests.segmentation import posed

__all__ = ["grid"]

pytestmark = pytest.mark.skipif(
    not torch.cuda.is_available(), reason="needs a CUDA device; what it tests runs nowhere else"
)

CUDA = torch.device("cuda")


@pytest.fixture(autouse=True)
def _exact() -> Iterator[None]:
    """Sums in the same order every time, so that bits can be compared."""
    before = torch.backends.cudnn.deterministic
    torch.backends.cudnn.deterministic = True
    yield
    torch.backends.cudnn.deterministic = before


@pytest.fixture
def on_gpu(grid: Grid) -> Grid:
    grid.context = dataclasses.replace(grid.context, device="cuda", precision="bf16")
    return grid


@pytest.mark.parametrize("method", sorted(discover()))
def test_every_method_runs_on_a_gpu(on_gpu: Grid, method: str) -> None:
    (record,) = on_gpu.run(method)
    assert record.status in {"ok", "collapsed"}, record.reason
    assert record.environment.device == "cuda"


@pytest.mark.parametrize("method", ["rdskd", "deep-inversion", "student-supervised"])
def test_a_run_goes_on_where_it_was_interrupted(on_gpu: Grid, method: str) -> None:
    on_gpu.context = dataclasses.replace(
        on_gpu.context, checkpoint_seconds=1e-9, reuse_samples=False
    )
    seen = []

    def report(run_id: str, phase: str, step: int, total: int, loss: float) -> None:
        seen.append(phase)
        if len(seen) == 3:
            stopping.request(stopping.USER)

    on_gpu.watcher.report = report  # type: ignore[method-assign]
    try:
        with pytest.raises(KeyboardInterrupt):
            on_gpu.run(method)
    finally:
        stopping.forget()
    (record,) = on_gpu.run(method)
    assert record.status in {"ok", "collapsed"}, record.reason


def steps(replay: bool, count: int = 8) -> tuple[list[Tensor], nn.Module]:
    torch.manual_seed(0)
    student = wide_resnet(16, 1, 10).to(CUDA).train()
    optimizer = torch.optim.Adam(student.parameters(), lr=1e-3, fused=True)
    objective = Distillation(4.0)

    parameters = list(student.parameters())

    def differentiate(images: Tensor, logits: Tensor) -> dict[str, Tensor]:
        optimizer.zero_grad()
        with torch.autocast("cuda", torch.bfloat16):
            loss = objective(student, Batch(images, teacher_logits=logits))
        loss.backward()
        return {"loss": loss.detach()}

    gradients = Replayed(differentiate, CUDA, parameters=parameters, replay=replay)
    losses = []
    stream = torch.Generator().manual_seed(1)
    for _ in range(count):
        images = torch.randn(32, 3, 32, 32, generator=stream).to(CUDA)
        logits = torch.randn(32, 10, generator=stream).to(CUDA)
        losses.append(gradients(images, logits)["loss"])
        optimizer.step()
    assert (gradients._recording is not None) == replay
    return losses, student


def test_recorded_steps_are_those_that_were_written() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        (recorded, fast), (written, slow) = steps(True), steps(False)
    assert torch.equal(torch.stack(recorded), torch.stack(written))
    for a, b in zip(fast.state_dict().values(), slow.state_dict().values(), strict=True):
        assert torch.equal(a, b)


def test_a_batch_of_another_shape_is_computed_as_written() -> None:
    network = nn.Linear(4, 2).to(CUDA)

    def differentiate(images: Tensor) -> dict[str, Tensor]:
        network.zero_grad()
        loss = network(images).square().sum()
        loss.backward()
        return {"loss": loss.detach()}

    gradients = Replayed(differentiate, CUDA, parameters=[*network.parameters()])
    for size in (8, 8, 8, 8, 8, 5, 8):
        images = torch.randn(size, 4, device=CUDA)
        (loss,) = gradients(images).values()
        alone = copy.deepcopy(network)
        expected = alone(images).square().sum()
        (grad,) = torch.autograd.grad(expected, [alone.weight])
        torch.testing.assert_close(loss, expected.detach())
        torch.testing.assert_close(network.weight.grad, grad)
    assert gradients._recording is not None


def test_what_cannot_be_recorded_is_said_and_computed_as_written() -> None:
    network = nn.Linear(4, 2).to(CUDA)

    def compute(images: Tensor) -> dict[str, Tensor]:
        out = network(images).detach()
        return {"loss": out.square().sum() * (1 + float(out.sum() > 1e9))}  # waits for the GPU

    replayed = Replayed(compute, CUDA)
    images = torch.randn(8, 4, device=CUDA)
    with pytest.warns(UserWarning, match="cannot be recorded"):
        losses = [replayed(images)["loss"] for _ in range(6)]
    assert torch.equal(torch.stack(losses), losses[0].expand(6))
    assert torch.rand(3, device=CUDA).isfinite().all()


@pytest.mark.parametrize("method", ["rdskd", "mskd", "dafl", "dcgan", "degan"])
@pytest.mark.parametrize("online", [False, True])
def test_a_recorded_generator_is_the_one_that_was_written(
    method: str, online: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind = discover()[method]
    sizes = {"latent_dim": 5, "generator_width": 4, "width": 4}
    params = kind.build_params({n: v for n, v in sizes.items() if n in kind.Params.model_fields})
    granted = {Access.PROXY_IMAGES: torch.randn(40, *IMAGE_SHAPE)} if kind.access else None

    def fitted() -> tuple[Run, nn.Module]:
        images = 0 if online else 64
        budget = tiny_budget(synthesis_steps=12, student_steps=12, images=images)
        run = Run(budget, device="cuda")
        problem = tiny_problem(kind.access, granted, ledger=run.ledger)
        problem.teacher.to(CUDA)
        return run, kind(params).fit(problem, run)

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        recorded, fast = fitted()
    monkeypatch.setattr(Replayed, "WARM_UP", 1000)
    written, slow = fitted()
    assert recorded.ledger.counts() == written.ledger.counts()
    assert recorded.ledger.work == written.ledger.work
    assert recorded.curves.keys() == written.curves.keys()
    for name, curve in recorded.curves.items():
        assert curve["value"] == pytest.approx(written.curves[name]["value"], rel=1e-3, abs=1e-5)
    for a, b in zip(fast.state_dict().values(), slow.state_dict().values(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-2, atol=1e-3)


def test_what_a_replay_returns_is_not_written_over() -> None:
    ledger = Ledger()
    weight = torch.ones(3, device=CUDA)

    def compute(x: Tensor) -> dict[str, Tensor]:
        ledger.teacher_forward += len(x)
        weight.add_(1)
        return {"product": x * weight, "total": x.sum()}

    replayed = Replayed(compute, CUDA, counters=ledger)
    found = [replayed(torch.full((2, 3), float(step), device=CUDA)) for step in range(8)]
    assert replayed._recording is not None
    assert ledger.teacher_forward == 16
    for step, values in enumerate(found):
        assert torch.equal(values["product"].cpu(), torch.full((2, 3), step * (step + 2.0)))
        assert values["total"].item() == 6 * step
    other = replayed(torch.ones(4, 3, device=CUDA))
    assert torch.equal(other["product"].cpu(), torch.full((4, 3), 10.0))


def test_the_generator_computes_what_it_computes_on_a_cpu() -> None:
    torch.manual_seed(0)
    generator = UpsamplingGenerator(10, (3, 16, 16), 8).double()
    latents = torch.randn(6, 10, dtype=torch.float64)
    there = generator(latents)
    here = generator.to(CUDA)(latents.to(CUDA))
    torch.testing.assert_close(here.cpu(), there)


def test_metadata_are_those_a_cpu_collects() -> None:
    problem = tiny_problem()
    images = torch.randn(60, *IMAGE_SHAPE, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(60) % 3
    there = collect_records(problem.teacher.network, images, labels, 3)
    here = collect_records(problem.teacher.network.to(CUDA), images, labels, 3)
    for a, b in zip(here.layers, there.layers, strict=True):
        torch.testing.assert_close(a.mean, b.mean, atol=2e-3, rtol=2e-3)
        torch.testing.assert_close(a.std, b.std, atol=2e-3, rtol=2e-3)


def test_a_teacher_is_trained_there() -> None:
    task = Digits()
    task.teacher_recipe = task.teacher_recipe.model_copy(update={"epochs": 3})
    teacher = train_teacher(task, read_digits(), lambda *_: None, device="cuda", precision="bf16")
    assert teacher.info.score > 0.8


def test_balanced_classes_of_changed_images_can_be_recorded() -> None:
    losses = []
    for replayed in (True, False):
        problem, run = posed(StudentSupervised.access, student_steps=12)
        run.device = CUDA
        problem.teacher.network.to(CUDA)
        params = {"augmentation": "scale-crop-flip", "class_balanced": True}
        method = StudentSupervised(StudentSupervised.build_params(params))
        objective = method.objective(problem)
        objective.replayable = replayed
        samples = method.student_samples(problem, method.synthesize(problem, run), run)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            train_student(problem, samples, objective, run)
        losses.append(run.curves["distillation/loss"]["value"])
    # Gradients of bilinear upsampling are summed in no fixed order there.
    assert losses[0] == pytest.approx(losses[1], rel=0.02)
