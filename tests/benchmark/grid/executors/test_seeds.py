from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch

from benchmark.grid.executors.local import InProcess
from benchmark.grid.executors.seeds import can_share, execute_together, groups
from benchmark.records.record import SCORED
from benchmark.runs.job import Context, Job
from benchmark.runs.trial import execute
from benchmark.suites.plan import plan
from benchmark.suites.suite import MethodEntry, Suite
from benchmark.tasks.loaded import dataset
from benchmark.tasks.registry import get_task
from benchmark.teachers.teacher import TrainedTeacher, train_teacher
from methods.base.method import Method
from methods.base.registry import discover
from methods.base.samples import SampleSource
from methods.dafl import DAFL
from methods.rdskd import RDSKD

FOLDERS: tuple[Path, ...] = ()


@pytest.fixture(scope="module")
def teacher() -> TrainedTeacher:
    return train_teacher(get_task("tiny"), dataset("tiny", None), lambda *_: None)


def jobs(teacher: TrainedTeacher, method: str, seeds: list[int], **params: object) -> list[Job]:
    suite = Suite(
        name="s",
        budget="smoke",
        tasks=["tiny"],
        seeds=seeds,
        methods=[MethodEntry(name=method, params=params)],
    )
    specs = [run.spec("data") for run in plan(suite, discover(FOLDERS))]
    return [Job(spec, spec.run_id(teacher.info.checksum), {}, teacher) for spec in specs]


@pytest.fixture
def cpu(tmp_path: Path) -> Context:
    return Context(cache=tmp_path / "cache", teacher_folders=(), threads=1)


@pytest.mark.parametrize("method", ["rdskd", "student-supervised", "noise"])
def test_every_seed_gets_the_record_it_would_have_had_alone(
    teacher: TrainedTeacher, cpu: Context, tmp_path: Path, method: str
) -> None:
    wanted = jobs(teacher, method, [0, 1, 2])
    together = execute_together(wanted, cpu, lambda job: lambda *_: None)
    alone = [execute(job, dataclasses.replace(cpu, cache=tmp_path / "other")) for job in wanted]
    for mine, theirs in zip(together, alone, strict=True):
        assert mine.run_id == theirs.run_id
        assert mine.status == theirs.status
        assert mine.metrics == pytest.approx(theirs.metrics, abs=1e-6)
        assert mine.ledger.model_dump(exclude={"seconds", "peak_memory_mib"}) == (
            theirs.ledger.model_dump(exclude={"seconds", "peak_memory_mib"})
        )
        assert mine.curves.keys() == theirs.curves.keys()
        for name, curve in mine.curves.items():
            assert curve["step"] == theirs.curves[name]["step"]
            assert curve["value"] == pytest.approx(theirs.curves[name]["value"], rel=1e-3)


def test_seeds_are_not_mixed_up(teacher: TrainedTeacher, cpu: Context) -> None:
    wanted = jobs(teacher, "rdskd", [3, 4])
    first, second = execute_together(wanted, cpu, lambda job: lambda *_: None)
    swapped = execute_together(wanted[::-1], cpu, lambda job: lambda *_: None)
    assert first.curves["distillation/loss"] != second.curves["distillation/loss"]
    assert [record.spec.seed for record in swapped] == [4, 3]
    assert swapped[1].metrics == pytest.approx(first.metrics)


def test_a_seed_that_fails_does_not_hold_up_the_others(
    teacher: TrainedTeacher, cpu: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    synthesize = RDSKD.synthesize

    def sometimes(self: RDSKD, problem: object, run: object) -> SampleSource:
        if run.seed == 1:  # type: ignore[attr-defined]
            raise ValueError("no luck")
        source = synthesize(self, problem, run)  # type: ignore[arg-type]
        if run.seed == 2:  # type: ignore[attr-defined]
            source.images.fill_(float("nan"))  # type: ignore[attr-defined]
        return source

    monkeypatch.setattr(RDSKD, "synthesize", sometimes)
    records = execute_together(
        jobs(teacher, "rdskd", [0, 1, 2, 3]), cpu, lambda job: lambda *_: None
    )
    assert [record.status for record in records[1:3]] == ["error", "diverged"]
    assert {records[0].status, records[3].status} <= SCORED
    assert "no luck" in records[1].reason
    assert "step 0" in records[2].reason
    alone = execute(jobs(teacher, "rdskd", [3])[0], dataclasses.replace(cpu, reuse_samples=False))
    assert records[3].metrics == pytest.approx(alone.metrics)


def test_jobs_are_grouped_by_everything_but_the_seed(teacher: TrainedTeacher) -> None:
    mixed = [
        *jobs(teacher, "rdskd", [0, 1]),
        *jobs(teacher, "noise", [0, 1]),
        *jobs(teacher, "rdskd", [0], temperature=3.0),
        *jobs(teacher, "rdskd", [2]),
    ]
    seeds = [[job.spec.seed for job in group] for group in groups(mixed, discover())]
    assert seeds == [[0, 1, 2], [0, 1], [0]]


def test_methods_with_a_loop_of_their_own_stay_alone(teacher: TrainedTeacher) -> None:
    class Own(RDSKD):
        def fit(self, problem, run):  # type: ignore[no-untyped-def]
            return super().fit(problem, run)

    assert can_share(RDSKD)
    assert not can_share(Own)
    assert not can_share(DAFL) or DAFL.fit is Method.fit
    dafl = groups(jobs(teacher, "dafl", [0, 1]), {**discover(), "dafl": Own})
    assert [len(group) for group in dafl] == [1, 1]


def test_the_executor_trains_that_many_seeds_at_once(
    teacher: TrainedTeacher, cpu: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    import benchmark.grid.executors.local as local

    parts: list[int] = []

    def watched(part, context, progress):  # type: ignore[no-untyped-def]
        parts.append(len(part))
        return execute_together(part, context, progress)

    monkeypatch.setattr(local, "execute_together", watched)
    reported: set[str] = set()
    wanted = jobs(teacher, "noise", [0, 1, 2, 3, 4])
    records = list(InProcess(2).run(wanted, cpu, lambda id, *event: reported.add(id)))
    assert [record.run_id for record in records] == [job.run_id for job in wanted]
    assert parts == [2, 2]
    assert reported == {job.run_id for job in wanted}


def test_a_network_with_batch_norm_keeps_its_own_statistics_for_every_seed(
    teacher: TrainedTeacher, cpu: Context
) -> None:
    from benchmark.runs.trial import Trial
    from methods.base.objective import Distillation
    from methods.base.seeds import train_students

    trials = [Trial(job, cpu, lambda *_: None) for job in jobs(teacher, "noise", [0, 1])]
    for trial in trials:
        trial.set_up()
    students = train_students(
        [trial.problem for trial in trials],
        [trial.method.synthesize(trial.problem, trial.run) for trial in trials],
        Distillation(4.0),
        [trial.run for trial in trials],
    )
    means = [student.norm1.running_mean for student in students]  # type: ignore[union-attr]
    assert not torch.equal(means[0], means[1])
    assert all(int(student.norm1.num_batches_tracked) == 6 for student in students)  # type: ignore[union-attr]
