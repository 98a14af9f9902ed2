from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, get_args

import pytest

import methods.rdskd
from benchmark.analysis.leaderboard.tables import tables
from benchmark.errors import UserError
from benchmark.grid.agenda import Agenda, add, prepare, preview, repeat
from benchmark.grid.execution import run_grid
from benchmark.grid.executors.local import InProcess, Processes
from benchmark.machine import stopping
from benchmark.records.files import check_writable
from benchmark.records.record import Record
from benchmark.records.store import Overwrite, Store
from benchmark.runs.job import Context
from benchmark.suites.plan import PlannedRun, plan
from benchmark.suites.suite import MethodEntry, Suite
from benchmark.tasks.data.base import DataError, Dataset
from benchmark.tasks.data.digits import read_digits
from benchmark.teachers.teacher import TrainedTeacher
from methods.base.registry import discover
from methods.base.run import Progress
from tests.helpers import FAULTY_METHODS, make_record, one_line, write_file


class Watcher:
    """A display that remembers."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.reported: set[str] = set()
        self.records: list[Record] = []

    @property
    def preparing(self) -> tuple[Callable[[str], None], Progress]:
        """What `prepare` tells of: its sentences, and the training of a teacher."""
        return self.say, self.teacher

    def say(self, message: str) -> None:
        self.said.append(message)

    def teacher(self, phase: str, step: int, total: int, loss: float) -> None:
        pytest.fail("the cached teacher was trained again")

    def report(self, run_id: str, phase: str, step: int, total: int, loss: float) -> None:
        self.reported.add(run_id)

    def finished(self, record: Record) -> None:
        self.records.append(record)


class Grid:
    """Runs suites of the digits task at the smoke budget in one results folder."""

    def __init__(self, context: Context, root: Path) -> None:
        self.context = context
        self.store = Store(root)
        self.watcher = Watcher()

    def run(
        self,
        *entries: MethodEntry | str,
        seeds: Sequence[int] = (0,),
        overwrite: Any = "never",
        executor: Any = None,
    ) -> list[Record]:
        """Run what is missing and return the new records."""
        agenda = self.agenda(*entries, seeds=seeds, overwrite=overwrite)
        return run_grid(agenda, self.store, self.context, executor or InProcess(), self.watcher)

    def agenda(
        self, *entries: MethodEntry | str, seeds: Sequence[int] = (0,), overwrite: Any = "never"
    ) -> Agenda:
        """What there is to do."""
        wanted = [MethodEntry(name=e) if isinstance(e, str) else e for e in entries]
        suite = Suite(name="s", budget="smoke", tasks=["digits"], seeds=list(seeds), methods=wanted)
        planned = plan(suite, discover(self.context.method_folders))
        return prepare(planned, self.store, self.context, overwrite, *self.watcher.preparing)


@pytest.fixture
def grid(tmp_path: Path, context: Context) -> Grid:
    context = dataclasses.replace(context, method_folders=(FAULTY_METHODS,))
    return Grid(context, tmp_path / "results")


def names(records: Sequence[Record]) -> list[tuple[str, int]]:
    return [(record.spec.method, record.spec.seed) for record in records]


def facts(record: Record) -> dict[str, Any]:
    """What must be equal however the run came about."""
    ledger = record.ledger.model_dump(exclude={"seconds", "processor_seconds", "peak_memory_mib"})
    return {
        "run_id": record.run_id,
        "status": record.status,
        "metrics": record.metrics,
        "curves": record.curves,
        "ledger": ledger,
    }


# Resuming


def test_only_what_is_missing_is_run(grid: Grid) -> None:
    assert names(grid.run("noise", seeds=[0, 1])) == [("noise", 0), ("noise", 1)]
    assert grid.run("noise", seeds=[0, 1]) == []
    assert names(grid.run("noise", "fine", seeds=[0, 1, 2])) == [
        ("fine", 0),
        ("fine", 1),
        ("noise", 2),
        ("fine", 2),
    ]
    assert len(grid.store.scan().records) == 6


def test_a_deleted_or_damaged_record_is_made_again_and_equal(grid: Grid) -> None:
    first, second = grid.run("rdskd", "noise")
    path = grid.store.path(first.spec, first.run_id)
    path.unlink()
    grid.store.path(second.spec, second.run_id).write_text("{", encoding="utf-8")
    again = grid.run("rdskd", "noise")
    assert [facts(record) for record in again] == [facts(first), facts(second)]
    assert grid.store.scan().unreadable == []


@pytest.mark.parametrize(
    ("status", "repeated"),
    [
        ("ok", {"always"}),
        ("collapsed", {"always"}),
        ("skipped", {"always"}),
        ("error", {"failed", "always"}),
        ("diverged", {"failed", "always"}),
        ("out_of_memory", {"failed", "always"}),
        ("timeout", {"failed", "always"}),
        ("over_budget", {"always"}),
        ("interrupted", {"never", "failed", "stale", "always"}),
    ],
)
def test_overwrite_decides_by_the_status_and_the_code(status: str, repeated: set[str]) -> None:
    record = by_code("a" * 16, make_record(status=status))
    words: tuple[Overwrite, ...] = get_args(Overwrite)
    assert {word for word in words if repeat(record, word, "a" * 16)} == repeated
    for made_by in ("b" * 16, ""):  # records older than fingerprints have none
        other = by_code(made_by, record)
        assert {word for word in words if repeat(other, word, "a" * 16)} == repeated | {"stale"}


def test_overwrite_runs_the_failed_or_everything_again(grid: Grid) -> None:
    grid.run("fine", "raises")
    assert grid.run("fine", "raises") == []
    assert names(grid.run("fine", "raises", overwrite="failed")) == [("raises", 0)]
    assert names(grid.run("fine", "raises", overwrite="always")) == [("fine", 0), ("raises", 0)]


def test_a_finished_record_outlives_an_interrupted_attempt_to_make_it_again(grid: Grid) -> None:
    (done,) = grid.run("rdskd")
    report = grid.watcher.report

    def stop(*_: Any) -> None:
        stopping.request(stopping.USER)

    grid.watcher.report = stop  # type: ignore[method-assign]
    try:
        with pytest.raises(KeyboardInterrupt):
            grid.run("rdskd", overwrite="always")
    finally:
        stopping.forget()
        grid.watcher.report = report  # type: ignore[method-assign]
    assert grid.store.scan().records == [done]


class Ending(InProcess):
    """Gives every run another end than it had.

    Args:
        changes: the changed fields of its record.
    """

    def __init__(self, **changes: Any) -> None:
        self.changes = changes

    def run(self, *arguments: Any) -> Any:
        for record in super().run(*arguments):
            yield record.model_copy(update={"reason": "", **self.changes})


BROKEN = ("error", "out_of_memory", "timeout", "interrupted")
VERDICTS = ("diverged", "over_budget", "skipped", "collapsed")


@pytest.mark.parametrize("overwrite", ["stale", "always"])
@pytest.mark.parametrize("status", [*BROKEN, *VERDICTS])
def test_a_finished_record_gives_way_to_a_verdict_and_not_to_an_accident(
    grid: Grid, status: str, overwrite: str
) -> None:
    (done,) = grid.run("noise")
    old = by_code("b" * 16, done)
    grid.store.put(old)
    try:
        (made,) = grid.run("noise", overwrite=overwrite, executor=Ending(status=status))
    except KeyboardInterrupt:
        assert status == "interrupted"
        return
    finally:
        kept = grid.store.scan().records
        assert [record.status for record in kept] == [old.status if status in BROKEN else status]
    assert kept == [old if status in BROKEN else made]


# Other code


def by_code(fingerprint: str, record: Record) -> Record:
    """The record as if other code had made it."""
    environment = record.environment.model_copy(update={"fingerprint": fingerprint})
    return record.model_copy(update={"environment": environment})


def test_records_of_other_code_are_counted_and_made_again_if_asked_for(grid: Grid) -> None:
    noise, fine, _ = grid.run("noise", "fine", "raises")
    grid.store.put(by_code("", noise))
    grid.store.put(by_code("b" * 16, fine))
    agenda = grid.agenda("noise", "fine", "raises")
    assert (agenda.jobs, agenda.stale) == ([], {noise.run_id, fine.run_id})
    again = grid.run("noise", "fine", "raises", overwrite="stale")
    assert [facts(record) for record in again] == [facts(noise), facts(fine)]
    assert grid.agenda("noise", "fine", "raises", overwrite="stale").jobs == []
    assert grid.agenda("noise", "fine", "raises").stale == set()


def test_what_other_suites_have_of_a_stale_run_is_replaced_with_it(grid: Grid) -> None:
    (done,) = grid.run("noise")
    grid.store.put(by_code("b" * 16, done))
    spec = done.spec.model_copy(update={"suite": "another", "purpose": "draw"})
    grid.store.put(by_code("c" * 16, done.model_copy(update={"spec": spec})))
    (made,) = grid.run("noise", overwrite="stale")
    assert grid.store.get(spec, done.run_id) == made.model_copy(update={"spec": spec})
    assert {r.environment.fingerprint for r in grid.store.scan().records} == {
        done.environment.fingerprint
    }


def test_a_record_of_the_present_code_in_another_suite_saves_the_run(grid: Grid) -> None:
    (done,) = grid.run("noise")
    grid.store.put(
        done.model_copy(update={"spec": done.spec.model_copy(update={"suite": "another"})})
    )
    grid.store.put(by_code("b" * 16, done))
    agenda = grid.agenda("noise", overwrite="stale")
    assert (agenda.jobs, agenda.kept) == ([], [done])


def test_a_verdict_of_the_present_code_comes_before_what_other_code_finished(grid: Grid) -> None:
    (done,) = grid.run("noise")
    spec = done.spec.model_copy(update={"suite": "another"})
    grid.store.put(by_code("b" * 16, done.model_copy(update={"spec": spec})))
    verdict = done.model_copy(update={"status": "over_budget", "reason": "", "metrics": {}})
    grid.store.put(verdict)
    assert grid.agenda("noise").kept == [verdict]
    broken = done.model_copy(update={"status": "error", "reason": "", "metrics": {}})
    grid.store.put(broken)
    assert [record.status for record in grid.agenda("noise").kept] == [done.status]


def test_a_run_that_a_worker_made_with_other_code_is_said_once(grid: Grid) -> None:
    environment = make_record().environment.model_copy(update={"fingerprint": "b" * 16})
    grid.run("noise", "fine", executor=Ending(environment=environment))
    assert sum("other code" in message for message in grid.watcher.said) == 1
    assert len(grid.agenda("noise", "fine").stale) == 2


def test_workers_have_the_code_of_their_command(grid: Grid) -> None:
    grid.run("fine", "rdskd", executor=Processes(1))
    assert not any("other code" in message for message in grid.watcher.said)
    assert grid.agenda("fine", "rdskd").stale == set()


def test_equal_runs_of_one_suite_are_run_once(grid: Grid) -> None:
    assert len(grid.run("noise", MethodEntry(name="noise", params={"std": 1.0}))) == 1


def test_a_preview_runs_nothing_and_says_what_would_run(grid: Grid, tmp_path: Path) -> None:
    grid.run("noise")
    wanted = [MethodEntry(name="noise"), MethodEntry(name="fine")]
    suite = Suite(name="s", budget="smoke", tasks=["digits"], seeds=[0], methods=wanted)
    planned = plan(suite, discover(grid.context.method_folders))
    agenda, untrained = preview(planned, grid.store, grid.context, "never")
    assert names(agenda.kept) == [("noise", 0)]
    assert [job.spec.method for job in agenda.jobs] == ["fine"]
    assert untrained == []
    bare = dataclasses.replace(grid.context, teacher_folders=(tmp_path / "absent",))
    agenda, untrained = preview(planned, grid.store, bare, "never")
    assert untrained == ["digits"]
    assert not (tmp_path / "absent").exists()


def test_what_another_suite_has_finished_is_not_run_again(grid: Grid) -> None:
    first = grid.run("noise", "raises")
    wanted = [MethodEntry(name="noise"), MethodEntry(name="raises")]
    suite = Suite(name="other", budget="smoke", tasks=["digits"], seeds=[0, 1], methods=wanted)
    planned = plan(suite, discover(grid.context.method_folders))
    agenda, _ = preview(planned, grid.store, grid.context, "never")
    (kept,) = agenda.kept  # a failed run is no answer to another suite
    assert kept.run_id == first[0].run_id
    assert kept.spec.suite == "other"
    assert [(job.spec.method, job.spec.seed) for job in agenda.jobs] == [
        ("raises", 0),
        ("noise", 1),
        ("raises", 1),
    ]


def test_a_run_of_another_suite_stands_in_the_asking_suite_s_plan_and_table(grid: Grid) -> None:
    (made,) = grid.run("noise")
    suite = Suite(
        name="other",
        budget="smoke",
        purpose="sweep",
        tasks=["digits"],
        seeds=[0],
        methods=[MethodEntry(name="noise")],
    )
    agenda, _ = preview(plan(suite, discover()), grid.store, grid.context, "never")
    assert run_grid(agenda, grid.store, grid.context, InProcess(), grid.watcher) == []
    scan = grid.store.scan()
    assert scan.records == [made]  # read where it is
    entry = scan.planned["other"][made.run_id]
    assert (entry.purpose, entry.seed) == ("sweep", 0)
    assert [r.run_id for r in agenda.present(grid.store)] == [made.run_id]
    (table,) = tables(scan, "sweep")
    assert [row.records for row in table.rows] == [[made]]


@pytest.mark.parametrize("tuned_first", [True, False])
@pytest.mark.parametrize("there", [True, False])
def test_a_run_planned_as_published_and_as_tuned_is_one_and_its_plan_says_so(
    grid: Grid, cached_teacher: TrainedTeacher, tuned_first: bool, there: bool
) -> None:
    if there:
        grid.run("noise")
    wanted = [MethodEntry(name="noise")]
    suite = Suite(name="s", budget="smoke", tasks=["digits"], seeds=[0], methods=wanted)
    (run,) = plan(suite, discover())
    data = read_digits()
    published = run.spec(data.checksum())
    tuned = published.model_copy(update={"tuned": "16 trials, by agreement"})
    agenda = Agenda()
    for spec in (tuned, published) if tuned_first else (published, tuned):
        add(agenda, run, spec, data, cached_teacher, grid.store, "never")
    assert len(agenda.jobs + agenda.kept) == 1
    run_grid(agenda, grid.store, grid.context, InProcess(), grid.watcher)
    scan = grid.store.scan()
    assert len(scan.records) == 1
    assert [entry.tuned for entry in scan.planned["s"].values()] == [tuned.tuned]


def test_an_interrupted_run_is_missing(grid: Grid) -> None:
    noise, _ = grid.run("noise", "fine")
    grid.store.put(noise.model_copy(update={"status": "interrupted", "metrics": {}}))
    present = grid.agenda("noise", "fine", "rdskd").present(grid.store)
    assert names(present) == [("fine", 0)]


def test_what_was_planned_is_written_down_and_the_teacher_kept(grid: Grid) -> None:
    records = grid.run("noise", "raises", seeds=[0, 1])
    planned = grid.store.scan().planned["s"]
    assert planned.keys() == {record.run_id for record in records}
    assert len(list((grid.store.root / "teachers").glob("digits-*.safetensors"))) == 1


# Data


def several_tasks(*tasks: str) -> list[PlannedRun]:
    suite = Suite(
        name="s",
        budget="smoke",
        tasks=list(tasks),
        seeds=[0, 1],
        methods=[MethodEntry(name="noise")],
    )
    return plan(suite, discover())


def test_missing_data_are_said_before_a_teacher_of_another_task_is_trained(
    grid: Grid, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "benchmark.grid.agenda.obtain_teacher", lambda *args: pytest.fail("a teacher was asked for")
    )
    planned = several_tasks("digits", "svhn")
    assert planned[0].task.name == "digits"
    context = dataclasses.replace(grid.context, data_dir=tmp_path / "empty")
    with pytest.raises(DataError, match="SVHN is not here"):
        prepare(planned, grid.store, context, "never", *grid.watcher.preparing)


def test_the_data_of_many_tasks_are_loaded_once(
    grid: Grid, digits_teacher: TrainedTeacher, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded: list[str] = []

    def load(task: str, data_dir: Path | None) -> Dataset:
        loaded.append(task)
        return read_digits()

    monkeypatch.setattr("benchmark.grid.agenda.dataset", load)
    monkeypatch.setattr("benchmark.grid.agenda.obtain_teacher", lambda *args: digits_teacher)
    agenda = prepare(
        several_tasks("digits", "mnist", "svhn"),
        grid.store,
        grid.context,
        "never",
        *grid.watcher.preparing,
    )
    assert loaded == ["digits", "mnist", "svhn"]
    assert len(agenda.jobs) == 6


# Failures


def test_one_failure_does_not_stop_the_others(grid: Grid) -> None:
    entries = ("raises", "diverges", "exits", "tampers", "declines", "fine")
    records = grid.run(*entries, seeds=[0])
    assert [record.status for record in records[:5]] == [
        "error",
        "diverged",
        "error",
        "error",
        "skipped",
    ]
    assert records[5].status in {"ok", "collapsed"}
    assert grid.store.scan().records == sorted(records, key=lambda r: (r.spec.method, r.run_id))
    assert grid.watcher.records == records
    assert grid.watcher.reported == {record.run_id for record in records}


@pytest.mark.parametrize("method", ["misshapes", "unbuildable", "mumbles", "garbles"])
def test_no_failure_of_a_method_stops_the_others(grid: Grid, method: str) -> None:
    failed, fine = grid.run(method, "fine")
    assert failed.status == "error"
    assert fine.status in {"ok", "collapsed"}


def test_tampering_does_not_reach_the_next_run(grid: Grid) -> None:
    (alone,) = grid.run("fine")
    _, after = grid.run("tampers", "fine", overwrite="always")
    assert facts(after) == facts(alone)


def test_results_that_cannot_be_written_are_noticed_before_the_work(tmp_path: Path) -> None:
    blocker = write_file(tmp_path / "file", "")
    with pytest.raises(UserError) as caught:
        check_writable(blocker / "results")
    assert str(blocker) in one_line(str(caught.value))
    check_writable(tmp_path / "new")
    assert list((tmp_path / "new").iterdir()) == []


# Interruption and the cache of images


def interrupt(*args: Any) -> Any:
    raise KeyboardInterrupt


def banks(grid: Grid) -> list[Path]:
    return sorted((grid.context.cache / "samples").glob("*"))


def test_an_interrupted_run_goes_on_where_its_images_are_ready(
    grid: Grid, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = dataclasses.replace(grid.context, cache=tmp_path / "other-cache")
    undisturbed = Grid(elsewhere, tmp_path / "other-results").run("rdskd", "dafl")

    with monkeypatch.context() as patch:
        patch.setattr("methods.base.method.train_student", interrupt)
        with pytest.raises(KeyboardInterrupt):
            grid.run("rdskd", "dafl")
    (record,) = grid.store.scan().records
    assert (record.status, record.reason) == ("interrupted", "stopped by the user")
    assert len(banks(grid)) == 1

    monkeypatch.setattr(
        methods.rdskd, "train_generator", lambda *args, **options: pytest.fail("made again")
    )
    resumed = grid.run("rdskd", "dafl")
    assert [facts(r) for r in resumed] == [facts(r) for r in undisturbed]
    assert resumed[0].ledger.seconds["synthesis"] > 0
    assert {record.status for record in grid.store.scan().records} <= {"ok", "collapsed"}


def test_two_temperatures_share_one_generator(grid: Grid, monkeypatch: pytest.MonkeyPatch) -> None:
    trained = []
    train = methods.rdskd.train_generator

    def counted(*args: Any, **options: Any) -> None:
        trained.append(1)
        train(*args, **options)

    monkeypatch.setattr(methods.rdskd, "train_generator", counted)
    axes = {"temperature": [4.0, 10.0]}
    cool, warm = grid.run(MethodEntry(name="rdskd", axes=axes))
    assert len(trained) == 1
    assert len(banks(grid)) == 1
    assert cool.curves["synthesis/loss"] == warm.curves["synthesis/loss"]
    assert cool.curves["distillation/loss"] != warm.curves["distillation/loss"]
    assert cool.ledger.teacher_forward == warm.ledger.teacher_forward

    grid.run(MethodEntry(name="rdskd", axes={"exponential": [False]}))
    grid.run("rdskd", seeds=[1])
    assert len(trained) == len(banks(grid)) == 3


def test_a_run_from_the_cache_writes_the_record_of_a_run_without(
    grid: Grid, tmp_path: Path
) -> None:
    (made,) = grid.run("dafl")
    (found,) = grid.run("dafl", overwrite="always")
    assert facts(found) == facts(made)
    uncached = dataclasses.replace(grid.context, reuse_samples=False)
    (fresh,) = Grid(uncached, tmp_path / "other").run("dafl")
    assert facts(fresh) == facts(made)


@pytest.mark.parametrize("kept", [0, 200, -1])
def test_a_damaged_bank_is_made_again(grid: Grid, kept: int) -> None:
    (first,) = grid.run("rdskd")
    (bank,) = banks(grid)
    content = bank.read_bytes()
    bank.write_bytes(content[:kept])
    (again,) = grid.run("rdskd", overwrite="always")
    assert facts(again) == facts(first)
    assert len(bank.read_bytes()) > len(content) // 2


def test_banks_of_real_images_are_not_stored(grid: Grid) -> None:
    grid.run("kd-real", "student-supervised")
    assert banks(grid) == []


# Several processes


def test_two_processes_give_the_numbers_of_one(grid: Grid, tmp_path: Path) -> None:
    entries = ("rdskd", "raises", "student-supervised")
    alone = {record.run_id: facts(record) for record in grid.run(*entries)}
    elsewhere = dataclasses.replace(grid.context, cache=tmp_path / "other-cache")
    pair = Grid(elsewhere, tmp_path / "other-results")
    records = pair.run(*entries, executor=Processes(2))
    assert {record.run_id: facts(record) for record in records} == alone
    assert {record.environment.threads for record in records} == {1}
    assert pair.watcher.reported == alone.keys()
    assert len(pair.store.scan().records) == 3


def test_workers_see_the_environment_of_their_command(
    grid: Grid, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not that of the command before, at which the process they are forked from may be older."""
    for seed, value in enumerate(("first", "second")):
        monkeypatch.setenv("DFKD_TEST_VALUE", value)
        (record,) = grid.run("tells", seeds=[seed], executor=Processes(1))
        assert value in record.reason


def test_a_worker_that_is_killed_leaves_an_error_record(grid: Grid) -> None:
    (record,) = grid.run("dies", executor=Processes(2))
    assert record.status == "error"
    assert "worker process died" in record.reason
    assert grid.store.scan().records == [record]


def test_the_neighbour_of_a_killed_worker_finishes(grid: Grid) -> None:
    statuses = {
        record.spec.method: record.status
        for record in grid.run("neighbour", "drags", executor=Processes(2))
    }
    assert statuses["drags"] == "error"
    assert statuses["neighbour"] in {"ok", "collapsed"}
