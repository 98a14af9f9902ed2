"""An objective on a method, from the suite to the record and its row."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from typer.testing import CliRunner

from benchmark.analysis.leaderboard.tables import tables
from benchmark.cli.program import app
from benchmark.errors import UserError
from benchmark.records.record import Record
from benchmark.records.spec import ObjectiveSpec, PlannedEntry
from benchmark.records.store import Store
from benchmark.runs.job import Context, Job
from benchmark.runs.trial import execute
from benchmark.suites.plan import PlannedRun, plan
from benchmark.suites.suite import MethodEntry, Suite, load_suite
from benchmark.tasks.tiny import Tiny
from methods.base.registry import discover
from methods.objectives.registry import OWN, discover_objectives
from methods.settings.params import ParameterError
from tests.helpers import make_record, one_line, write_file

NOISE = ("--task", "tiny", "--method", "noise")


def dfkd(*arguments: Any) -> Any:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def planned(**entry: Any) -> list[PlannedRun]:
    methods = [MethodEntry(name="noise", **entry)]
    suite = Suite(name="s", budget="smoke", tasks=["tiny"], seeds=[0], methods=methods)
    return plan(suite, discover())


def ids(runs: list[PlannedRun]) -> list[str]:
    return [run.spec("d" * 16).run_id("t" * 16) for run in runs]


# Identity


def test_the_methods_own_objective_leaves_the_identity_alone() -> None:
    (plain,), (own,) = planned(), planned(objective=OWN)
    assert ids([plain]) == ids([own])
    assert own.changed == {}
    spec = plain.spec("d" * 16)
    assert spec.objective is None
    assert "objective" not in spec.model_dump(mode="json")
    assert "objective" not in PlannedEntry.of(spec, "t").model_dump(mode="json")
    assert '"objective"' not in make_record().to_json()


def test_runs_recorded_before_parameters_and_objectives_were_added_keep_their_ids() -> None:
    """Another id would orphan records that are there: leave new fields out at their defaults."""
    found = {
        run.method.name: run.spec("d" * 16, "p" * 16).run_id("t" * 16)
        for run in plan(
            load_suite("mnist"),
            discover(),
            seeds=[0],
            only=["degan", "dcgan", "student-supervised", "kd-real"],
        )
        if not run.tuned
    }
    assert found == {
        "degan": "83f94e14a778c6eb",
        "dcgan": "93d5b7f87d084bca",
        "student-supervised": "1361cca5356c0628",
        "kd-real": "e711d3a4a62eda2f",
    }


def test_methods_still_write_the_parameters_of_the_committed_records() -> None:
    records = Store(Path(__file__).parents[3] / "results").scan().records
    assert records
    known = discover()
    for record in records:
        spec = record.spec
        assert known[spec.method].Params(**spec.params).recorded() == spec.params, record.run_id


def test_objective_and_its_parameters_are_part_of_the_identity() -> None:
    runs = [
        *planned(),
        *planned(objective="fitnets"),
        *planned(objective="attention-transfer"),
        *planned(objective="fitnets", objective_params={"hint_weight": 1.0}),
    ]
    assert len(set(ids(runs))) == 4
    assert runs[3].changed == {"objective": "fitnets", "hint_weight": 1.0}
    assert runs[3].spec("d").objective == ObjectiveSpec(
        name="fitnets", version=1, params={"hint_weight": 1.0}
    )
    (usual,) = planned(objective="fitnets", objective_params={"hint_weight": 100.0})
    assert ids([usual]) == ids([runs[1]])


def test_a_record_with_an_objective_is_read_back_and_has_its_own_row(tmp_path: Path) -> None:
    plain = make_record()
    objective = ObjectiveSpec(name="fitnets", version=1, params={"hint_weight": 100.0})
    spec = plain.spec.model_copy(update={"objective": objective})
    method = plain.method.model_copy(update={"changed": {"objective": "fitnets"}})
    other = plain.model_copy(
        update={"spec": spec, "run_id": spec.run_id(plain.teacher.checksum), "method": method}
    )
    assert Record.from_json(other.to_json()) == other
    store = Store(tmp_path)
    for record in (plain, other):
        store.put(record)
        store.add_plan("suite", [(record.spec, record.teacher.checksum)])
    (table,) = tables(store.scan())
    assert {row.label for row in table.rows} == {"RDSKD", "RDSKD (objective=fitnets)"}
    assert all(len(row.planned) == 1 for row in table.rows)


# Suites


def test_objectives_are_an_axis_of_an_entry_and_of_a_suite() -> None:
    runs = planned(objectives=["kd", "fitnets", "quantized"])
    assert [run.changed.get("objective") for run in runs] == [None, "fitnets", "quantized"]
    entries = [MethodEntry(name="noise"), MethodEntry(name="rdskd", objective="quantized")]
    suite = Suite(
        name="s",
        budget="smoke",
        tasks=["tiny"],
        seeds=[0],
        objectives=["kd", "fitnets"],
        methods=entries,
    )
    runs = plan(suite, discover())
    assert [(run.method.name, run.changed.get("objective")) for run in runs] == [
        ("noise", None),
        ("noise", "fitnets"),
        ("rdskd", "quantized"),
    ]


def test_wrong_objectives_are_answered_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        planned(objective="fitnet")
    assert "did you mean 'fitnets'?" in one_line(str(caught.value))
    with pytest.raises(UserError, match="no parameters"):
        planned(objective_params={"temperature": 3.0})
    with pytest.raises(ParameterError, match="did you mean 'hint_weight'"):
        planned(objective="fitnets", objective_params={"hint_wieght": 3.0})
    with pytest.raises(ValidationError, match="use two entries"):
        MethodEntry(name="noise", objective="fitnets", objectives=["kd"])
    path = write_file(
        tmp_path / "mine.toml",
        'budget = "smoke"\ntasks = ["tiny"]\nseeds = "0"\n\n[[methods]]\nname = "noise"\n'
        'objektive = "fitnets"\n',
    )
    with pytest.raises(
        UserError, match="line 7: unknown key 'objektive'; did you mean 'objective'"
    ):
        load_suite(str(path))


@pytest.mark.parametrize(
    ("name", "runs"),
    [
        ("degan-table1", 9),
        ("degan-table2", 8),
        ("degan-mixing", 9),
        ("segmentation-objectives", 42),
    ],
)
def test_the_segmentation_suites_have_all_their_rows(
    name: str, runs: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    class CamVid(Tiny):
        name = "camvid-lite"
        family = "camvid"

    monkeypatch.setattr("benchmark.tasks.registry.get_task", lambda name: CamVid())
    suite = load_suite(name)
    assert suite.tasks == ["camvid-lite"]
    found = plan(suite, discover(), budget="smoke", seeds=[0])
    assert len(found) == runs
    assert len(set(ids(found))) == runs
    temperatures = {
        run.params.temperature for run in found if "temperature" in type(run.params).model_fields
    }
    assert temperatures == {1.0}


# Runs


def job(run: PlannedRun, teacher: Any, data: str) -> Job:
    spec = run.spec(data)
    return Job(spec, spec.run_id(teacher.info.checksum), dict(run.changed), teacher)


@pytest.fixture
def tiny(context: Context) -> Any:
    """Executes planned runs on the tiny task."""
    from benchmark.contract.testbed import tiny_teacher
    from benchmark.tasks.loaded import dataset

    checksum = dataset("tiny", None).checksum()
    return lambda run: execute(job(run, tiny_teacher(), checksum), context)


def test_a_quantised_student_is_scored_beside_its_integers_and_its_full_precision(
    tiny: Any,
) -> None:
    (eight,), (four,) = (
        planned(objective="quantized", objective_params={"bits": bits}) for bits in (8, 4)
    )
    record = tiny(eight)
    assert record.status in {"ok", "collapsed"}, record.reason
    for name in ("accuracy", "accuracy_int8", "accuracy_full_precision", "accuracy_oracle"):
        assert 0 <= record.metrics[name] <= 1
    assert record.metrics["kib_int8"] > 0
    assert record.ledger.student_steps == eight.budget.student_steps
    assert len(record.curves["evaluation/accuracy"]["step"]) == 3
    assert "kib_int4" not in record.metrics
    packed = tiny(four).metrics
    assert "accuracy_int8" not in packed
    assert 0 < packed["kib_int4"] < packed["kib_full_precision"] / 4


def test_integers_take_a_fraction_of_the_space() -> None:
    import torch

    from benchmark.runs.returned import stored_kib
    from benchmark.tasks.models.small_cnn import SmallCNN
    from methods.networks.quantization import to_integers, with_quantizers

    network = SmallCNN(10, (1, 16, 16), width=32)
    whole = stored_kib(network)
    student = with_quantizers(network, torch.zeros(1, 1, 16, 16), 8)
    student(torch.randn(4, 1, 16, 16))
    assert stored_kib(to_integers(student)) < 0.35 * whole


def test_an_objective_that_cannot_go_there_skips_the_run_with_its_reason(tiny: Any) -> None:
    record = tiny(*planned(objective="structured"))
    assert record.status == "skipped"
    assert "classification" in one_line(record.reason)


def test_a_method_that_ignores_the_objective_is_an_error_and_no_result(
    tiny: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stubborn(self: Any, problem: Any, samples: Any, run: Any) -> Any:
        from methods.base.student import train_student

        return train_student(problem, samples, self.objective(problem), run)

    monkeypatch.setattr("methods.baselines.Noise.distill", stubborn, raising=False)
    record = tiny(*planned(objective="fitnets"))
    assert record.status == "error"
    assert "'fitnets'" in one_line(record.reason)


# The command


def test_run_takes_an_objective_and_its_parameters(tmp_path: Path) -> None:
    one = ("run", *NOISE, "--budget", "smoke", "--results", tmp_path)
    done = dfkd(*one, "--objective", "fitnets", "--objective-set", "hint_weight=2.5")
    assert done.exit_code == 0, done.output
    assert "objective=fitnets" in done.output
    (record,) = Store(tmp_path).scan().records
    assert record.spec.objective is not None
    assert record.spec.objective.params == {"hint_weight": 2.5}
    again = dfkd("replay", record.run_id, "--results", tmp_path)
    assert again.exit_code == 0, again.output
    assert "fitnets: hint_weight=2.5" in dfkd("show", record.run_id, "--results", tmp_path).output


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((*NOISE, "--objective", "fitnetz"), "'fitnets'"),
        ((*NOISE, "--objective-set", "a=1"), "no parameters"),
        (
            (*NOISE, "--objective", "fitnets", "--objective-set", "hint_weight"),
            "--objective-set 'hint_weight' is not a setting; write it like",
        ),
        (("quickstart", "--objective", "fitnets"), "a suite names its objectives itself"),
    ],
)
def test_wrong_arguments_are_answered_in_one_line_with_exit_code_2(
    tmp_path: Path, arguments: tuple[str, ...], says: str
) -> None:
    result = dfkd("run", *arguments, "--budget", "smoke", "--results", tmp_path)
    assert result.exit_code == 2
    assert says in one_line(result.stderr)


def test_list_and_show_know_the_objectives() -> None:
    listed = " ".join(dfkd("list").output.split())
    for name, cls in discover_objectives().items():
        assert name in listed
        shown = " ".join(dfkd("show", name).output.split())
        assert cls.paper in shown
        assert "--objective-set" in shown
        for parameter in cls.Params.model_fields:
            assert parameter in shown
    assert "did you mean 'structured'?" in dfkd("show", "structurd").stderr
