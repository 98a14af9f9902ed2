from __future__ import annotations

import dataclasses
import math
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmark.machine.device import forget_peak_memory, peak_memory_mib
from benchmark.metrics.classification import (
    collapse_threshold,
    constant_share,
)
from benchmark.records.record import Record
from benchmark.runs import code
from benchmark.runs.evaluation import Checkpoints
from benchmark.runs.failures import is_out_of_memory
from benchmark.runs.job import Context, Job
from benchmark.runs.posing import pose
from benchmark.runs.samples import SampleCache
from benchmark.runs.trial import Trial, attempt, execute
from benchmark.suites.plan import plan
from benchmark.suites.suite import MethodEntry, Suite
from benchmark.tasks.data.digits import read_digits
from benchmark.tasks.digits import Digits
from benchmark.teachers.teacher import TrainedTeacher
from methods.base.errors import described_with_place
from methods.base.problem import AccessError
from methods.base.registry import discover
from methods.base.run import Run
from methods.base.samples import ImageBank
from methods.base.teacher import Teacher
from methods.baselines import KDReal, Noise, StudentSupervised
from methods.networks.predictions import predictions
from tests.helpers import FAULTY_METHODS, tiny_budget

DATA = read_digits().checksum()


def job_of(
    teacher: TrainedTeacher,
    method: str,
    params: Mapping[str, Any] | None = None,
    seed: int = 0,
    folders: tuple[Path, ...] = (),
) -> Job:
    entry = MethodEntry(name=method, params=dict(params or {}))
    suite = Suite(name="s", budget="smoke", tasks=["digits"], seeds=[seed], methods=[entry])
    (run,) = plan(suite, discover(folders))
    spec = run.spec(DATA)
    return Job(spec, spec.run_id(teacher.info.checksum), dict(run.changed), teacher)


@pytest.fixture
def faulty(context: Context) -> Context:
    """A context that knows the misbehaving methods."""
    return dataclasses.replace(context, method_folders=(FAULTY_METHODS,))


def facts(record: Record) -> dict[str, Any]:
    """What must be equal when a run is repeated."""
    ledger = record.ledger.model_dump(exclude={"seconds", "processor_seconds", "peak_memory_mib"})
    return {
        "status": record.status,
        "metrics": record.metrics,
        "curves": record.curves,
        "ledger": ledger,
    }


# A run that goes well


@pytest.mark.parametrize("method", ["rdskd", "dafl", "noise", "kd-real", "student-supervised"])
def test_same_specification_gives_the_same_record(
    context: Context, digits_teacher: TrainedTeacher, method: str
) -> None:
    job = job_of(digits_teacher, method)
    uncached = dataclasses.replace(context, reuse_samples=False)
    torch.manual_seed(1)
    first = execute(job, uncached)
    torch.manual_seed(2)
    assert facts(execute(job, uncached)) == facts(first)
    assert first.status in {"ok", "collapsed"}
    assert facts(execute(job_of(digits_teacher, method, seed=1), uncached)) != facts(first)


def test_a_record_says_what_was_run_and_what_it_cost(
    context: Context, digits_teacher: TrainedTeacher
) -> None:
    job = job_of(digits_teacher, "rdskd", {"temperature": 4.0})
    record = execute(job, context)
    assert Record.from_json(record.to_json()) == record
    assert record.run_id == job.run_id
    assert record.method.changed == {"temperature": 4.0}
    assert record.method.access == "data-free"
    assert record.teacher == digits_teacher.info
    assert record.environment.threads == 1
    assert record.environment.device == "cpu"
    # The smoke budget: 4 steps of 16, a bank of 64 + 16, 8 student steps.
    assert record.ledger.teacher_forward == 4 * 16 + 64
    assert record.ledger.teacher_backward == 4 * 16
    assert record.ledger.synthetic_images == 4 * 16 + 64 + 16
    assert record.ledger.student_steps == 8
    assert set(record.ledger.seconds) == {"synthesis", "distillation", "rest", "evaluation"}
    assert str(Path.home()) not in record.to_json()


def test_a_methods_note_on_the_problem_is_kept(
    faulty: Context, digits_teacher: TrainedTeacher
) -> None:
    notes = {}
    for method in ("fine", "remarks"):
        notes[method] = execute(
            job_of(digits_teacher, method, folders=faulty.method_folders), faulty
        ).method.note
    assert notes == {"fine": "", "remarks": "10 classes"}


def test_headline_is_the_last_step_and_the_oracle_is_beside_it(
    context: Context, digits_teacher: TrainedTeacher
) -> None:
    record = execute(job_of(digits_teacher, "student-supervised"), context)
    curve = record.curves["evaluation/accuracy"]
    assert curve["step"] == [4, 8]
    assert record.metrics["accuracy"] == pytest.approx(curve["value"][-1], rel=1e-6)
    assert record.metrics["accuracy_oracle"] == pytest.approx(max(curve["value"]), rel=1e-6)
    agreement = record.curves["evaluation/agreement"]["value"]
    chosen = max(range(2), key=lambda i: (agreement[i], i))
    assert record.metrics["accuracy_agreement"] == pytest.approx(curve["value"][chosen], rel=1e-6)
    assert record.metrics["agreement"] == pytest.approx(agreement[-1])


def concluded(context: Context, job: Job) -> tuple[Trial, Record]:
    """A run with what was kept on the way."""
    trial = Trial(job, Digits(), dataclasses.replace(context, reuse_samples=False), lambda *_: None)
    trial.set_up()
    return trial, trial.conclude("ok", "", trial.method.fit(trial.problem, trial.run))


@pytest.mark.parametrize(
    ("method", "params"), [("deep-inversion", {"adaptive": True}), ("dafl", {"schedule": "joint"})]
)
def test_agreement_is_that_of_all_checkpoints_on_the_same_images_where_these_change(
    context: Context, digits_teacher: TrainedTeacher, method: str, params: dict[str, Any]
) -> None:
    trial, record = concluded(context, job_of(digits_teacher, method, params))
    kept, student = trial.checkpoints, trial.task.make_student()
    assert kept.images is not None
    expected = predictions(kept.teacher, kept.images).tolist()
    shares = []
    for state in kept.states:
        student.load_state_dict(state)
        answers = predictions(student, kept.images).tolist()
        shares.append(sum(map(int.__eq__, answers, expected)) / len(expected))
    assert shares != kept.agreement  # or this would not tell
    agreement, curve = (record.curves[f"evaluation/{name}"] for name in ("agreement", "accuracy"))
    assert agreement["value"] == pytest.approx(shares, rel=1e-6)
    assert record.metrics["agreement"] == shares[-1]
    chosen = max(range(len(shares)), key=lambda i: (shares[i], i))
    assert record.metrics["accuracy_agreement"] == pytest.approx(curve["value"][chosen], rel=1e-6)
    assert kept.same_since == len(kept.steps) - 1


class Threshold(torch.nn.Module):
    """Tells bright images from dark ones, at a threshold."""

    def __init__(self, bias: float) -> None:
        super().__init__()
        self.bias = torch.nn.Parameter(torch.tensor(bias))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        mean = images.mean((1, 2, 3))
        return torch.stack([mean + self.bias, -mean - self.bias], 1)


def test_an_easy_exam_early_on_does_not_choose_a_bad_checkpoint() -> None:
    # The teacher tells bright from dark. The first student says bright of everything, and is right
    # about the first image; the second is right about five of the six that there are in the end.
    bright, dark, grey = (
        torch.ones(1, 1, 2, 2),
        -torch.ones(1, 1, 2, 2),
        torch.full((1, 1, 2, 2), -0.1),
    )
    first = ImageBank(torch.cat([bright, bright]), 1)
    last = ImageBank(torch.cat([bright, bright, dark, dark, dark, bright, grey]), 6)
    kept = Checkpoints(Threshold(0.0), Run(tiny_budget()))
    kept.take(Threshold(9.0), 1, first)
    kept.take(Threshold(0.5), 2, last)
    assert kept.agreement == [1.0, 5 / 6]
    assert kept.comparable_agreement(Threshold(0.0)) == [2 / 6, 5 / 6]


def test_agreement_on_images_that_stay_is_measured_once(
    context: Context, digits_teacher: TrainedTeacher
) -> None:
    for images in (64, 0):  # a bank, and fresh ones of the same stream
        job = job_of(digits_teacher, "rdskd")
        spec = job.spec.model_copy(
            update={"budget": job.spec.budget.model_copy(update={"images": images})}
        )
        trial, record = concluded(context, dataclasses.replace(job, spec=spec))
        assert trial.checkpoints.same_since == 0
        untouched = Threshold(3.0)
        assert trial.checkpoints.comparable_agreement(untouched) == trial.checkpoints.agreement
        assert untouched.bias.item() == 3.0
        value = record.curves["evaluation/agreement"]["value"]
        assert value == pytest.approx(trial.checkpoints.agreement, rel=1e-6)


def test_a_state_that_does_not_say_how_long_the_images_were_the_same_is_measured_again() -> None:
    bank = ImageBank(torch.randn(5, 1, 2, 2), 3)
    kept = Checkpoints(Threshold(0.0), Run(tiny_budget()))
    for step in (1, 2):
        kept.take(Threshold(0.5), step, bank)
    state = {**kept.state_dict(), "states": kept.states}
    assert state.pop("same_since") == 0
    again = Checkpoints(Threshold(0.0), Run(tiny_budget()))
    again.load_state_dict(state)
    assert again.same_since == 1
    assert again.comparable_agreement(Threshold(0.0)) == kept.agreement


def test_evaluation_is_not_charged_to_the_method(
    context: Context, digits_teacher: TrainedTeacher
) -> None:
    record = execute(job_of(digits_teacher, "student-supervised"), context)
    assert record.ledger.teacher_forward == record.ledger.teacher_backward == 0


def test_what_hangs_on_a_student_is_not_scored_with_it(
    faulty: Context, digits_teacher: TrainedTeacher
) -> None:
    found = [
        execute(job_of(digits_teacher, method, folders=faulty.method_folders), faulty)
        for method in ("leans-on-the-teacher", "fine")
    ]
    assert found[0].metrics["accuracy"] == found[1].metrics["accuracy"]


def test_a_record_has_the_score_on_the_development_split(
    context: Context, digits_teacher: TrainedTeacher, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = execute(job_of(digits_teacher, "noise"), context).metrics
    data = read_digits()
    data.__dict__["development"] = data.test
    monkeypatch.setattr("benchmark.runs.job.dataset", lambda *args: data)
    after = execute(job_of(digits_teacher, "noise"), context).metrics
    assert after["accuracy_dev"] == after["accuracy"] == before["accuracy"]
    assert before["accuracy_dev"] != before["accuracy"]


def test_a_record_has_the_work_of_its_phases(
    context: Context, digits_teacher: TrainedTeacher
) -> None:
    ledger = execute(job_of(digits_teacher, "rdskd"), context).ledger
    assert set(ledger.work) == {"synthesis", "distillation"}
    assert all(value > 0 for value in ledger.work.values())
    assert ledger.student_images == 8 * 16
    assert ledger.processor_seconds.keys() == ledger.seconds.keys()


def test_a_student_at_chance_is_collapsed_with_its_score(
    context: Context, digits_teacher: TrainedTeacher, monkeypatch: pytest.MonkeyPatch
) -> None:
    def constant(problem: Any, samples: Any, objective: Any, run: Any) -> Any:
        student = problem.make_student()
        torch.optim.SGD(student.parameters(), lr=1.0).step()
        torch.nn.init.zeros_(student.classifier.weight)
        return student

    monkeypatch.setattr("methods.base.method.train_student", constant)
    record = execute(job_of(digits_teacher, "noise"), context)
    assert record.status == "collapsed"
    assert "not above chance" in record.reason
    assert record.metrics["accuracy"] == pytest.approx(0.1, abs=0.02)


def test_the_student_starts_from_the_seed_not_from_the_method(
    context: Context, digits_teacher: TrainedTeacher
) -> None:
    def start(method: Any, seed: int) -> torch.Tensor:
        teacher = Teacher(digits_teacher.build(Digits()))
        problem = pose(Digits(), method(), teacher, seed, context)
        torch.rand(3)
        return problem.make_student().conv1.weight  # type: ignore[union-attr, return-value]

    assert torch.equal(start(Noise, 4), start(KDReal, 4))
    assert not torch.equal(start(Noise, 4), start(Noise, 5))


def test_only_declared_data_is_handed_over(
    context: Context, digits_teacher: TrainedTeacher, monkeypatch: pytest.MonkeyPatch
) -> None:
    teacher = Teacher(digits_teacher.build(Digits()))
    both = pose(Digits(), StudentSupervised(), teacher, 0, context)
    assert len(both.train_images) == len(both.train_labels) == 1437 - 143
    images = pose(Digits(), KDReal(), teacher, 0, context)
    with pytest.raises(AccessError):
        _ = images.train_labels
    monkeypatch.setattr("benchmark.runs.job.dataset", lambda *args: pytest.fail("data was read"))
    nothing = pose(Digits(), Noise(), teacher, 0, context)
    with pytest.raises(AccessError):
        _ = nothing.train_images


# Runs that go wrong


@pytest.mark.parametrize(
    ("method", "status", "says"),
    [
        (
            "raises",
            "error",
            "RuntimeError: a cable came loose behind the rack (faulty_methods.py, line ",
        ),
        ("diverges", "diverged", "loss became nan at step 1 of 3 in synthesis"),
        ("exits", "error", "SystemExit: 0"),
        ("tampers", "error", "changed the teacher's weights or BatchNorm statistics"),
        ("peeks", "error", "AccessError: method 'peeks' asked for the training images"),
        ("exits-early", "error", "SystemExit: 0"),
        ("exhausts", "out_of_memory", "no room"),
        ("exhausts-early", "out_of_memory", "no room"),
        ("declines", "skipped", "it wants bigger images"),
        ("forgets", "error", "fit returned NoneType, not the trained student"),
        ("overtrains", "over_budget", "it spent 9 of 8 student steps"),
        ("trains-aside", "over_budget", "it spent 9 of 8 student steps"),
        ("large-batches", "over_budget", " student images"),
        ("asks-around", "over_budget", " teacher forward"),
        ("makes-too-many", "over_budget", " synthetic images"),
        ("returns-the-teacher", "error", "another network than the task's student: '"),
        ("no-optimizer", "error", "the student changed without a step of an optimiser"),
        ("fine", ("ok", "collapsed"), ""),
    ],
)
def test_whatever_a_method_does_becomes_a_record(
    faulty: Context, digits_teacher: TrainedTeacher, method: str, status: Any, says: str
) -> None:
    record = execute(job_of(digits_teacher, method, folders=faulty.method_folders), faulty)
    assert record.status in ((status,) if isinstance(status, str) else status)
    assert says in record.reason
    assert "\n" not in record.reason
    assert "/" not in record.reason.replace("/step", "")
    if method != "fine":
        assert record.metrics == {}
    assert Record.from_json(record.to_json()) == record


def test_a_diverged_run_keeps_its_curves_and_an_error_does_not(
    faulty: Context, digits_teacher: TrainedTeacher
) -> None:
    diverged = execute(job_of(digits_teacher, "diverges", folders=faulty.method_folders), faulty)
    assert diverged.curves["synthesis/loss"] == {"step": [0], "value": [1.0]}
    failed = execute(job_of(digits_teacher, "raises", folders=faulty.method_folders), faulty)
    assert failed.curves == {}


def test_an_interruption_is_a_status_of_its_own(
    faulty: Context, digits_teacher: TrainedTeacher
) -> None:
    trial = Trial(job_of(digits_teacher, "noise"), Digits(), faulty, lambda *_: None)
    trial.set_up()

    def stop() -> None:
        raise KeyboardInterrupt

    assert attempt(stop, trial) == ("interrupted", "stopped by the user", None)


def test_a_reason_is_one_short_line() -> None:
    try:
        raise ValueError("first\n\nsecond   third " + "x" * 1000)
    except ValueError as error:
        text = described_with_place(error)
    assert text.startswith("ValueError: first second third xxx")
    assert text.count("\n") == 0
    assert len(text) < 400
    assert "(test_trial.py, line " in text
    assert described_with_place(KeyError("never raised")) == "KeyError: 'never raised'"


# Metrics


def test_chance_is_the_share_of_the_most_frequent_class() -> None:
    labels = torch.tensor([0] * 70 + [1] * 30)
    assert constant_share(labels) == pytest.approx(0.7)
    assert collapse_threshold(labels) == pytest.approx(0.7 + 2 * math.sqrt(0.7 * 0.3 / 100))
    assert collapse_threshold(torch.zeros(5, dtype=torch.long)) == 1.0


def test_the_cpu_allocator_s_complaint_is_out_of_memory() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(1 << 60)
    assert is_out_of_memory(caught.value)
    assert not is_out_of_memory(RuntimeError("shapes do not match"))


# What a bank of images, and a run's memory, are of


def test_a_bank_is_kept_by_all_that_decides_its_images(
    context: Context, digits_teacher: TrainedTeacher, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = job_of(digits_teacher, "rdskd")
    method = discover()["rdskd"](discover()["rdskd"].build_params({}))

    def path(where: Context = context, **changes: Any) -> Path:
        spec = job.spec.model_copy(update=changes)
        run = Run(spec.budget, spec.seed)
        return SampleCache(where, spec, method, digits_teacher.info, run, "code").path

    def budget(**changes: Any) -> Path:
        return path(budget=job.spec.budget.model_copy(update=changes))

    usual = path()
    assert budget(student_steps=9) == usual
    others = [
        budget(synthesis_steps=5),
        budget(images=128),
        path(seed=1),
        path(data="e" * 16),
        path(proxy="p"),
        path(method_version=2),
        path(dataclasses.replace(context, precision="bf16")),
    ]
    monkeypatch.setattr(torch, "get_num_threads", lambda: 7)
    others.append(path())
    monkeypatch.undo()
    monkeypatch.setattr(torch, "__version__", "0.0")
    others.append(path())
    assert len({usual, *others}) == 1 + len(others)


@pytest.mark.skipif(sys.platform != "linux", reason="the peak is reset through /proc")
def test_the_peak_of_memory_is_a_runs_own() -> None:
    block = torch.ones(128 << 20)  # half a GiB
    with_block = peak_memory_mib()
    del block
    forget_peak_memory()
    assert peak_memory_mib() < with_block - 400


def test_the_code_of_a_record_is_that_of_its_score_too(
    digits_teacher: TrainedTeacher, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    spec = job_of(digits_teacher, "noise").spec
    before = code.code_of(spec, Noise)
    for file in code.SCORING:
        altered = tmp_path / file.name
        altered.write_text(file.read_text() + "\nALTERED = True\n")
        files = [altered if other == file else other for other in code.SCORING]
        with monkeypatch.context() as patched:
            patched.setattr(code, "SCORING", tuple(files))
            assert code.code_of(spec, Noise) != before, file.name
    assert code.code_of(spec, Noise) == before
