from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from benchmark.errors import UserError
from benchmark.suites.plan import plan
from benchmark.suites.suite import MethodEntry, Suite, load_suite, parse_seeds, suite_names
from benchmark.tasks.registry import all_tasks
from methods.base.registry import discover
from methods.settings.params import ParameterError
from tests.helpers import one_line, write_file

GOOD = """\
title = "Mine"
budget = "smoke"
tasks = ["digits"]
seeds = "0-1"

[[methods]]
name = "noise"

[[methods]]
name = "rdskd"
params = { latent_dim = 20 }

[methods.axes]
temperature = [4, 10]
exponential = [true, false]
"""


def suite(**changes: Any) -> Suite:
    fields: dict[str, Any] = {
        "name": "s",
        "budget": "smoke",
        "tasks": ["digits"],
        "seeds": [0],
        "methods": [MethodEntry(name="noise")],
    }
    return Suite(**{**fields, **changes})


@pytest.mark.parametrize("changes", [{}, {"purpose": "sweep"}])
def test_tables_and_sweeps_have_no_seeds_of_tuning(changes: dict[str, Any]) -> None:
    for own in (suite(seeds="99-100", **changes), suite(**changes)):
        with pytest.raises(UserError) as caught:
            plan(own, discover(), seeds=None if own.seeds != [0] else [0, 100])
        assert "seed 100 is for tuning" in one_line(str(caught.value))
    drawn = suite(draws=2, seeds=[100], methods=[MethodEntry(name="dafl")])
    assert {run.purpose for run in plan(drawn, discover())} == {"draw"}


def refusal(path: Path, content: str) -> str:
    write_file(path, content)
    with pytest.raises(UserError) as caught:
        load_suite(str(path))
    message = one_line(str(caught.value))
    assert str(path) in message
    return message


def plan_refusal(kind: type[Exception] = UserError, /, **changes: Any) -> str:
    options = {key: changes.pop(key) for key in ("only",) if key in changes}
    budget = changes.pop("override", None)
    with pytest.raises(kind) as caught:
        plan(suite(**changes), discover(), budget=budget, **options)
    return one_line(str(caught.value))


# Seeds


@pytest.mark.parametrize(
    ("text", "seeds"),
    [
        ("0", [0]),
        ("0-4", [0, 1, 2, 3, 4]),
        ("0-2,7", [0, 1, 2, 7]),
        (" 3 , 1 - 2 ", [3, 1, 2]),
        ("1,1-3,2", [1, 2, 3]),
        ("5-5", [5]),
    ],
)
def test_seed_ranges_are_understood(text: str, seeds: list[int]) -> None:
    assert parse_seeds(text) == seeds


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "not understood"),
        ("a", "not understood"),
        ("0-", "not understood"),
        ("-1", "not understood"),
        ("0..4", "not understood"),
        ("1,,2", "not understood"),
        ("0-4-5", "not understood"),
        ("1.5", "not understood"),
        ("4-0", "backwards"),
        ("0-99999", "more than 10,000"),
    ],
)
def test_bad_seed_ranges_are_answered_with_an_example(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=says) as caught:
        parse_seeds(text)
    assert f"'{text}'" in one_line(str(caught.value))


# Suite files


def test_shipped_suites_plan_without_complaint() -> None:
    methods = discover()
    assert {"quickstart", "mnist"} <= set(suite_names())
    for name in suite_names():
        assert plan(load_suite(name), methods)


@pytest.mark.parametrize("name", ["svhn", "cifar10", "cifar10-wrn", "cifar10-lite"])
def test_the_suite_of_a_colour_task_runs_every_classification_method_on_it(name: str) -> None:
    methods = discover()
    runs = plan(load_suite(name), methods)
    assert {run.task.name for run in runs} == {name}
    assert {run.method.name for run in runs} == set(methods)
    assert len(runs) == 3 * len(methods)
    assert runs[0].task.proxy == "tiny-imagenet-32"


def test_the_table_of_a_task_chooses_no_rate_weight_or_temperature() -> None:
    """What is neither published nor tuned would have been chosen by somebody, on some data.

    A weight of 0 switches a term off, which a teacher without BatchNorm needs.
    """
    methods = discover()
    chosen = [
        (name, entry.name, parameter, value)
        for name in set(suite_names()) & set(all_tasks())
        for entry in load_suite(name).methods
        for settings in entry.variants()
        for parameter, value in settings.items()
        if methods[entry.name].Params.info(parameter).tune and value != 0
    ]
    assert chosen == []


def test_the_variants_of_inversion_are_rows_of_the_table() -> None:
    runs = plan(load_suite("inversion-variants"), discover(), seeds=[0])
    assert {run.task.name for run in runs} == {"mnist", "cifar10-lite"}
    assert {run.purpose for run in runs} == {"table"}
    settings = [(r.method.name, dict(r.changed)) for r in runs if r.task.name == "mnist"]
    assert settings == [
        ("deep-inversion", {}),
        ("deep-inversion", {"adaptive": True}),
        ("metadata", {"variant": "top-layer"}),
        ("metadata", {}),
        ("metadata", {"variant": "spectral-all"}),
        ("metadata", {"variant": "spectral-pairs"}),
    ]


def test_a_suite_file_is_read_and_named_after_itself(tmp_path: Path) -> None:
    loaded = load_suite(str(write_file(tmp_path / "mine.toml", GOOD)))
    assert loaded.name == "mine"
    assert loaded.seeds == [0, 1]
    assert loaded.methods[1].params == {"latent_dim": 20}


def test_seeds_may_be_a_list(tmp_path: Path) -> None:
    path = write_file(tmp_path / "mine.toml", GOOD.replace('"0-1"', "[3, 5]"))
    assert load_suite(str(path)).seeds == [3, 5]


def test_a_stray_key_is_named_with_its_line(tmp_path: Path) -> None:
    content = GOOD.replace('tasks = ["digits"]', 'tasks = ["digits"]\nbudgte = "cpu"')
    message = refusal(tmp_path / "mine.toml", content)
    assert "line 4: unknown key 'budgte'; did you mean 'budget'?" in message


def test_a_stray_key_of_a_method_is_named_with_its_line(tmp_path: Path) -> None:
    message = refusal(tmp_path / "mine.toml", GOOD.replace("params = {", "parms = {"))
    assert "line 11: unknown key 'parms'; did you mean 'params'?" in message


def test_broken_toml_is_named_with_its_line(tmp_path: Path) -> None:
    message = refusal(tmp_path / "mine.toml", GOOD.replace('"smoke"', "smoke"))
    assert "not valid TOML" in message
    assert "line 2" in message


def test_a_suite_that_is_no_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="not valid TOML"):
        load_suite(str(path))


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('seeds = "0-1"', 'seeds = "4-0"', "line 4: 'seeds': seed range '4-0' runs backwards"),
        ('seeds = "0-1"', "seeds = []", "line 4: 'seeds'"),
        ('tasks = ["digits"]', "tasks = []", "line 3: 'tasks'"),
        ('tasks = ["digits"]', 'tasks = "digits"', "line 3: 'tasks'"),
        ('budget = "smoke"', "budget = 3", "line 2: 'budget'"),
        ('budget = "smoke"\n', "", "the key 'budget' is missing"),
        ('name = "noise"', "", "'methods.0.name' is missing"),
        ("temperature = [4, 10]", "temperature = 4", "line 14: 'methods.1.axes.temperature'"),
    ],
)
def test_a_wrong_value_is_named_with_its_place(
    tmp_path: Path, old: str, new: str, says: str
) -> None:
    assert says in refusal(tmp_path / "mine.toml", GOOD.replace(old, new))


@pytest.mark.parametrize("name", ["../evil", "a/b", "/absolute", "", ".hidden", "a b"])
def test_a_suite_name_that_is_no_folder_name_is_refused(tmp_path: Path, name: str) -> None:
    assert "letters, digits" in refusal(tmp_path / "mine.toml", f'name = "{name}"\n{GOOD}')
    with pytest.raises(ValidationError):
        suite(name=name)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("quickstrat", "did you mean 'quickstart'?"),
        ("zzzzzz", "choose from: "),
        ("../plan", "there is no suite '../plan'"),
        ("absent.toml", "there is no suite 'absent.toml'"),
    ],
)
def test_an_unknown_suite_is_answered_with_the_nearest(name: str, says: str) -> None:
    with pytest.raises(UserError) as caught:
        load_suite(name)
    assert says in one_line(str(caught.value))


# The grid


def test_axes_multiply_and_seeds_are_outermost(tmp_path: Path) -> None:
    runs = plan(load_suite(str(write_file(tmp_path / "mine.toml", GOOD))), discover())
    cells = [
        (run.seed, run.method.name, run.changed.get("temperature"), run.changed.get("exponential"))
        for run in runs
    ]
    one_seed = [
        ("noise", None, None),
        ("rdskd", 4.0, None),
        ("rdskd", 4.0, False),
        ("rdskd", None, None),
        ("rdskd", None, False),
    ]
    assert cells == [(seed, *cell) for seed in (0, 1) for cell in one_seed]
    assert all(run.params.latent_dim == 20 for run in runs if run.method.name == "rdskd")
    ids = {run.spec("data").run_id("teacher") for run in runs}
    assert len(ids) == len(runs)


def test_variants_of_a_method_are_the_product_of_its_axes() -> None:
    entry = MethodEntry(name="x", params={"a": 1}, axes={"b": [2, 3], "c": [4, 5, 6]})
    assert entry.variants() == [{"a": 1, "b": b, "c": c} for b in (2, 3) for c in (4, 5, 6)]
    assert MethodEntry(name="x", params={"a": 1}).variants() == [{"a": 1}]


def test_only_what_differs_from_the_usual_counts_as_changed() -> None:
    entry = MethodEntry(
        name="rdskd", params={"temperature": 10, "latent_dim": 100, "entropy": False}
    )
    (run,) = plan(suite(methods=[entry]), discover())
    assert run.changed == {"entropy": False}


def test_budget_seeds_and_methods_can_be_overruled() -> None:
    grid = suite(methods=[MethodEntry(name="noise"), MethodEntry(name="dafl")])
    runs = plan(grid, discover(), budget="cpu", seeds=[7, 9], only=["dafl"])
    assert [(run.method.name, run.seed, run.budget.name) for run in runs] == [
        ("dafl", 7, "cpu"),
        ("dafl", 9, "cpu"),
    ]


def test_a_spec_carries_everything_the_run_needs() -> None:
    (run,) = plan(suite(), discover())
    spec = run.spec("checksum")
    assert (spec.suite, spec.task, spec.data, spec.method) == ("s", "digits", "checksum", "noise")
    assert spec.budget == run.task.budgets["smoke"].of_method(inverts_pixels=False)
    assert spec.params == run.params.model_dump(mode="json")


def test_unknown_names_are_answered_with_the_nearest() -> None:
    unknown = [MethodEntry(name="rdksd")]
    assert "no task 'digitz'; did you mean 'digits'?" in plan_refusal(tasks=["digitz"])
    assert "no method 'rdksd'; did you mean 'rdskd'?" in plan_refusal(methods=unknown)
    assert "no budget 'smoek'; did you mean 'smoke'?" in plan_refusal(budget="smoek")
    assert "no budget 'paper'" in plan_refusal(override="paper")
    assert "no method 'nosie'" in plan_refusal(only=["nosie"])
    assert "suite 's' has no method 'dafl'" in plan_refusal(only=["dafl"])


def paper_runs(*names: str, **changes: Any) -> tuple[dict[str, tuple[str, int]], list[str]]:
    """The schedule of methods at the budget ``paper``, their student's steps, and what is said."""
    said: list[str] = []
    entries = [MethodEntry(name=name) for name in names]
    own = suite(**{"budget": "paper", "tasks": ["cifar10"], "methods": entries, **changes})
    runs = plan(own, discover(), say=said.append)
    return {r.method.name: (r.budget.title, r.budget.student_steps) for r in runs}, said


def test_the_budget_paper_is_the_schedule_of_a_methods_own_paper() -> None:
    found, said = paper_runs("rdskd", "dafl", "zskd", "kd-real", seeds=[0, 1])
    assert found == {
        "rdskd": ("paper (RDSKD)", 120_000),
        "dafl": ("paper (DAFL)", 240_000),
        "kd-real": ("paper (RDSKD)", 120_000),
    }
    assert said == [
        "left out: zskd has no published schedule for cifar10; use --budget gpu, which is the same "
        "for all"
    ]
    refused = plan_refusal(
        budget="paper", tasks=["svhn"], methods=[MethodEntry(name="dafl")], seeds=[0, 1]
    )
    assert refused.startswith("dafl has no published schedule for svhn; use --budget gpu")


def test_a_suite_may_give_all_methods_the_schedule_of_one_paper() -> None:
    found, said = paper_runs("rdskd", "dafl", "zskd", schedule_of="rdskd")
    assert set(found.values()) == {("paper (RDSKD)", 120_000)}
    assert (len(found), said) == (3, [])
    unknown = plan_refusal(schedule_of="rdksd")
    assert "no method 'rdksd'; did you mean 'rdskd'?" in unknown


def test_runs_that_had_a_papers_numbers_before_it_was_named_keep_their_identity() -> None:
    entry = MethodEntry(name="rdskd")
    (run,) = plan(suite(budget="paper", tasks=["mnist"], methods=[entry]), discover())
    unnamed = dataclasses.replace(run, budget=run.budget.model_copy(update={"schedule": ""}))
    assert run.spec("data").run_id("teacher") == unnamed.spec("data").run_id("teacher")


def test_parameters_are_checked_before_anything_runs() -> None:
    for params, says in (
        ({"temprature": 4}, "did you mean 'temperature'?"),
        ({"temperature": -1}, "greater than 0"),
        ({"exponential": False, "previous": "epoch-mean"}, "has no effect"),
    ):
        entries = [MethodEntry(name="noise"), MethodEntry(name="rdskd", params=params)]
        assert says in plan_refusal(ParameterError, methods=entries)


def test_numbers_that_a_method_does_not_use_are_not_part_of_its_identity() -> None:
    (run,) = plan(suite(), discover())
    more = run.budget.model_copy(update={"inversion_steps": 999})
    spec = run.spec("checksum")
    again = dataclasses.replace(run, budget=more).spec("checksum")
    assert spec.run_id("teacher") == again.run_id("teacher")
    assert run.budget.identity() != more.identity()
    assert "inversion_steps" not in spec.budget.identity()


def test_an_entry_may_be_meant_for_some_of_the_tasks() -> None:
    entries = [MethodEntry(name="noise", tasks=["tiny"]), MethodEntry(name="rdskd")]
    runs = plan(suite(tasks=["digits", "tiny"], methods=entries), discover())
    found = {(run.task.name, run.method.name) for run in runs}
    assert found == {("tiny", "noise"), ("digits", "rdskd"), ("tiny", "rdskd")}


def test_an_entry_for_a_task_the_suite_has_not_got_is_refused() -> None:
    wrong = suite(methods=[MethodEntry(name="noise", tasks=["digitz"])])
    with pytest.raises(UserError) as error:
        plan(wrong, discover())
    assert "'digitz'" in one_line(str(error.value))
    assert "digits" in str(error.value)


@pytest.mark.parametrize(
    ("name", "task", "expected"),
    [("rdskd-table2", "mnist", 11), ("rdskd-table2", "cifar10", 8), ("dafl-mnist", "mnist", 15)],
)
def test_the_papers_tables_have_all_their_rows(name: str, task: str, expected: int) -> None:
    runs = plan(load_suite(name), discover(), budget="cpu", seeds=[0])
    mine = [run for run in runs if run.task.name == task]
    assert len(mine) == expected
    assert len({run.spec("data").run_id("teacher") for run in mine}) == expected


def test_rdskds_table_2_runs_zskd_at_the_rates_of_the_paper() -> None:
    runs = plan(load_suite("rdskd-table2"), discover(), seeds=[0], only=["zskd"])
    rates = {run.task.name: run.params.model_dump()["learning_rate"] for run in runs}
    assert rates == {"mnist": 3.0, "svhn": 0.01, "cifar10": 0.01}


def test_a_suite_can_be_cut_down_to_one_task() -> None:
    whole = load_suite("rdskd-table2")
    runs = plan(whole.only_task("mnist"), discover(), budget="cpu", seeds=[0])
    assert {run.task.name for run in runs} == {"mnist"}
    assert len(runs) == 11
    with pytest.raises(UserError, match="'mnost'"):
        whole.only_task("mnost")


def test_another_task_of_the_family_may_stand_in_a_suites_place() -> None:
    whole = load_suite("degan-table1")
    usual = plan(whole, discover(), seeds=[0])
    runs = plan(whole.only_task("camvid"), discover(), budget="paper", seeds=[0])
    assert {(run.task.name, run.budget.name, run.suite) for run in runs} == {
        ("camvid", "paper", "degan-table1")
    }
    assert [(run.method, run.params) for run in runs] == [(r.method, r.params) for r in usual]


def test_entries_meant_for_the_task_that_is_replaced_are_for_its_substitute() -> None:
    whole = load_suite("rdskd-table2")
    runs = plan(whole.only_task("cifar10-wrn"), discover(), budget="cpu", seeds=[0])
    usual = plan(whole.only_task("cifar10"), discover(), budget="cpu", seeds=[0])
    assert {run.task.name for run in runs} == {"cifar10-wrn"}
    assert [run.params for run in runs] == [run.params for run in usual]


def test_a_task_of_another_family_is_refused() -> None:
    with pytest.raises(UserError) as error:
        load_suite("degan-table1").only_task("mnist")
    message = one_line(str(error.value))
    assert "'degan-table1'" in message
    assert "family 'mnist'" in message
    assert "camvid-lite" in message


# Sweeps and draws


def test_budget_axes_vary_the_numbers_of_the_budget() -> None:
    usual = plan(suite(), discover())[0]
    own = usual.budget.synthesis_steps
    runs = plan(suite(budget_axes={"synthesis_steps": [own, 99]}), discover())
    assert [run.budget.synthesis_steps for run in runs] == [own, 99]
    assert [run.budget.title for run in runs] == ["smoke", "smoke, synthesis_steps=99"]
    ids = [run.spec("data").run_id("teacher") for run in runs]
    assert ids[0] == usual.spec("data").run_id("teacher")
    assert ids[1] != ids[0]


def test_what_is_no_number_of_a_budget_is_refused(tmp_path: Path) -> None:
    message = refusal(tmp_path / "mine.toml", f"budget_axes = {{ sinthesis_steps = [1] }}\n{GOOD}")
    assert "'sinthesis_steps'; did you mean 'synthesis_steps'?" in message
    assert "line 1" in message
    assert "budget_axes.synthesis_steps has 0" in plan_refusal(budget_axes={"synthesis_steps": [0]})


def test_purpose_is_carried_to_the_spec_and_is_no_part_of_its_identity() -> None:
    (usual,) = plan(suite(), discover())
    (swept,) = plan(suite(purpose="sweep"), discover())
    (drawn,) = plan(suite(draws=1), discover(), only=[])
    purposes = [run.spec("data").purpose for run in (usual, swept, drawn)]
    assert purposes == ["table", "sweep", "draw"]
    assert usual.spec("data").run_id("t") == swept.spec("data").run_id("t")


def test_draws_run_every_method_at_as_many_random_settings() -> None:
    entries = [
        MethodEntry(name="rdskd", params={"latent_dim": 20}),
        MethodEntry(name="dafl"),
    ]
    runs = plan(suite(methods=entries, draws=3, seeds=[0, 1]), discover())
    for method in ("rdskd", "dafl"):
        own = [run for run in runs if run.method.name == method]
        assert len(own) == 6
        assert len({str(run.params) for run in own}) == 3
    assert all(run.params.latent_dim == 20 for run in runs if run.method.name == "rdskd")


def test_draws_and_axes_exclude_each_other(tmp_path: Path) -> None:
    message = refusal(tmp_path / "mine.toml", f"draws = 2\n{GOOD}")
    assert "give draws, or methods with axes; not both" in message


@pytest.mark.parametrize(
    ("name", "runs", "purpose"),
    [
        ("rdskd-robustness-lr", 90, "sweep"),
        ("rdskd-robustness-temperature", 60, "sweep"),
        ("rdskd-robustness-epochs", 72, "sweep"),
        ("rdskd-robustness-weights", 35, "sweep"),
        ("robustness-draws", 160, "draw"),
    ],
)
def test_robustness_suites_have_all_their_runs(name: str, runs: int, purpose: str) -> None:
    planned = plan(load_suite(name), discover())
    assert len({run.spec("data").run_id("teacher") for run in planned}) == runs
    assert {run.purpose for run in planned} == {purpose}


def test_a_value_that_was_revised_has_its_own_version_and_no_other_run_does(tmp_path: Path) -> None:
    text = """
title = "mine"
budget = "smoke"
tasks = ["digits"]
seeds = "0"
[[methods]]
name = "zskd"
axes = { legacy = [false, true] }
"""
    suite = load_suite(str(write_file(tmp_path / "mine.toml", text)))
    usual, legacy = (run.spec("d" * 16) for run in plan(suite, discover()))
    assert (usual.method_version, legacy.method_version) == (1, 2)
    before = legacy.model_copy(update={"method_version": 1})
    assert legacy.run_id("t") != before.run_id("t")  # a record of version 1 is not taken for it
