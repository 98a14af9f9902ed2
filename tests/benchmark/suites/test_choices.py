from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import pytest

from benchmark.errors import UserError
from benchmark.suites.choices import Choice, Choices, check_teacher, load_choices
from benchmark.suites.plan import plan
from benchmark.suites.suite import MethodEntry, Suite, load_suite
from methods.base.registry import discover
from tests.helpers import one_line, write_file

SUITE = """\
budget = "smoke"
tasks = ["digits"]
seeds = "0"
tuned = "chosen.toml"

[[methods]]
name = "degan"
params = { width = 32 }

[[methods]]
name = "degan"
params = "tuned"
"""


def choice(**changes: Any) -> Choice:
    fields: dict[str, Any] = {
        "version": 1,
        "trials": 16,
        "chosen": 3,
        "params": {"width": 32, "learning_rate": 5e-5},
        "score": 0.75,
        "failed": 0,
        "runs": ["0123456789abcdef"],
    }
    return Choice(**{**fields, **changes})


def choices(**changes: Any) -> Choices:
    fields: dict[str, Any] = {
        "task": "digits",
        "budget": "smoke",
        "by": "agreement",
        "seeds": [100, 101],
        "teacher": "0123456789abcdef",
        "methods": {"degan": choice(), "dafl": choice(trials=1, params={}, published=0.5)},
    }
    return Choices(**{**fields, **changes})


def suite_in(folder: Path, found: Choices | None) -> Suite:
    write_file(folder / "mine.toml", SUITE)
    if found is not None:
        write_file(folder / "chosen.toml", found.to_toml())
    return load_suite(str(folder / "mine.toml"))


def refused(suite: Suite, **options: Any) -> str:
    with pytest.raises(UserError) as caught:
        plan(suite, discover(), **options)
    return one_line(str(caught.value))


def test_the_file_of_choices_reads_as_what_was_written(tmp_path: Path) -> None:
    path = write_file(tmp_path / "chosen.toml", choices().to_toml())
    assert load_choices(path, "digits", "smoke") == choices()
    backwards = choices(methods=dict(reversed(choices().methods.items())))
    assert backwards.to_toml() == choices().to_toml()


def test_how_a_setting_was_chosen_is_said_with_its_own_number_of_trials() -> None:
    assert choices().how("degan") == "16 trials, by agreement"
    assert choices(by="dev").how("dafl") == "1 trial, by dev"


def test_choices_of_other_methods_stay_if_they_were_made_the_same_way() -> None:
    newer = choices(methods={"rdskd": choice(), "dafl": choice(chosen=5)})
    assert newer.with_those_of(choices()).methods.keys() == {"degan", "dafl", "rdskd"}
    assert newer.with_those_of(choices()).methods["dafl"].chosen == 5
    for otherwise in (choices(by="dev"), choices(teacher="f" * 16), choices(seeds=[100])):
        assert newer.with_those_of(otherwise) == newer


def test_an_entry_takes_the_chosen_settings_and_says_how_they_were_chosen(tmp_path: Path) -> None:
    published, tuned = plan(suite_in(tmp_path, choices()), discover())
    assert dict(published.changed) == {"width": 32}
    assert dict(tuned.changed) == choices().methods["degan"].params
    assert [published.tuned, tuned.tuned] == ["", "16 trials, by agreement"]
    specs = [run.spec("data") for run in (published, tuned)]
    assert specs[1].tuned == "16 trials, by agreement"
    untold = specs[1].model_copy(update={"tuned": ""})
    assert untold.run_id("teacher") == specs[1].run_id("teacher") != specs[0].run_id("teacher")


def test_a_missing_choice_is_answered_with_the_command_that_makes_it(tmp_path: Path) -> None:
    message = refused(suite_in(tmp_path, None))
    assert f"'{tmp_path / 'chosen.toml'}'" in message
    assert "`dfkd tune digits --budget smoke --write" in message
    message = refused(suite_in(tmp_path, choices(methods={"dafl": choice()})))
    assert "no tuned setting of 'degan'" in message
    assert "`dfkd tune digits --budget smoke --method degan`" in message
    message = refused(suite_in(tmp_path, choices(methods={"degan": choice(version=7)})))
    assert "chosen for version 7 of 'degan'" in message


class Revised(discover()["degan"]):
    """A method of which one value means something else since version 2."""

    name = "revised"
    revised: ClassVar[Any] = {"diversity": {"weighted": 2}}


@pytest.mark.parametrize(("version", "accepted"), [(1, False), (2, True)])
def test_the_version_is_that_of_runs_with_the_chosen_parameters(
    tmp_path: Path, version: int, accepted: bool
) -> None:
    weighted = choice(version=version, params={"diversity": "weighted"})
    suite = suite_in(tmp_path, choices(methods={"revised": weighted}))
    suite = suite.model_copy(update={"methods": [MethodEntry(name="revised", params="tuned")]})
    if accepted:
        (run,) = plan(suite, {"revised": Revised})
        assert run.spec("data").method_version == version
        return
    with pytest.raises(UserError, match="for version 1 of 'revised', which is at version 2"):
        plan(suite, {"revised": Revised})


def test_settings_chosen_with_another_teacher_are_refused_naming_both(tmp_path: Path) -> None:
    published, tuned = plan(suite_in(tmp_path, choices()), discover())
    assert (published.chosen_with, tuned.chosen_with) == ("", "0123456789abcdef")
    check_teacher(tuned.chosen_with, "0123456789abcdef", "digits", "smoke")
    with pytest.raises(UserError) as caught:
        check_teacher(tuned.chosen_with, "f" * 16, "digits", "smoke")
    message = one_line(str(caught.value))
    assert "0123456789abcdef" in message
    assert "f" * 16 in message
    assert "`dfkd tune digits --budget smoke`" in message


def test_the_command_is_that_of_the_shipped_tuning_where_there_is_one(tmp_path: Path) -> None:
    message = refused(
        suite_in(tmp_path, None).only_task("digits").model_copy(update={"tasks": ["mnist"]})
    )
    assert "`dfkd tune tune-mnist --budget smoke --write" in message


def test_a_damaged_file_of_choices_is_answered_in_one_line(tmp_path: Path) -> None:
    for text, says in (("task = ", "not valid TOML"), ('task = "digits"\n', "no file of `dfkd")):
        suite = suite_in(tmp_path, None)
        write_file(tmp_path / "chosen.toml", text)
        assert says in refused(suite)


def test_choices_of_another_task_or_budget_are_left_out_in_a_sentence(tmp_path: Path) -> None:
    suite, said = suite_in(tmp_path, choices(budget="cpu")), []
    (run,) = plan(suite, discover(), say=said.append)
    assert dict(run.changed) == {"width": 32}
    (sentence,) = said
    assert "left out: the tuned settings of degan" in sentence
    assert "'digits' at the budget 'cpu'" in sentence
    said.clear()
    (run,) = plan(suite_in(tmp_path, choices(task="mnist")), discover(), say=said.append)
    assert run.tuned == ""
    assert said
    alone = suite.model_copy(update={"methods": [MethodEntry(name="degan", params="tuned")]})
    assert "nothing to run" in refused(alone)


def test_without_tuned_entries_nothing_is_read(tmp_path: Path) -> None:
    assert (
        len(
            plan(
                suite_in(tmp_path, None).model_copy(
                    update={"methods": [MethodEntry(name="degan")]}
                ),
                discover(),
            )
        )
        == 1
    )
    (run,) = plan(
        load_suite("quickstart").only_task("digits"), discover(), only=["dafl"], seeds=[0]
    )
    assert run.tuned == ""


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (SUITE.replace('"tuned"', '"tunned"'), "line 12: 'methods.1.params': is 'tunned'"),
        (SUITE.replace('tuned = "chosen.toml"\n', ""), "needs the file of the choices"),
        (f"{SUITE}axes = {{ width = [16, 32] }}\n", "not both"),
    ],
)
def test_tuned_entries_that_cannot_be_are_refused(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(UserError) as caught:
        load_suite(str(write_file(tmp_path / "mine.toml", text)))
    assert says in one_line(str(caught.value))


# Suites that tune


def tuning(**changes: Any) -> Suite:
    fields: dict[str, Any] = {
        "name": "t",
        "purpose": "tune",
        "trials": 4,
        "budget": "smoke",
        "tasks": ["digits"],
        "seeds": [100, 101],
        "methods": [
            MethodEntry(name="student-supervised"),
            MethodEntry(name="dafl"),
            MethodEntry(name="degan", params={"width": 32}),
        ],
    }
    return Suite(**{**fields, **changes})


def test_a_tuning_advances_all_methods_together_and_starts_from_what_is_published() -> None:
    runs = plan(tuning(), discover())
    assert [run.trial for run in runs] == sorted(run.trial for run in runs)
    assert {run.suite for run in runs} == {"tune-digits-smoke"}
    assert {run.purpose for run in runs} == {"tune"}
    counts = {name: sum(run.method.name == name for run in runs) for name in ("dafl", "degan")}
    assert counts == {"dafl": 8, "degan": 8}
    assert [run.trial for run in runs if run.method.name == "student-supervised"] == [0, 0]
    first = {run.method.name: dict(run.changed) for run in runs if run.trial == 0}
    assert first == {"student-supervised": {}, "dafl": {}, "degan": {"width": 32}}
    assert all(run.params.width == 32 for run in runs if run.method.name == "degan")


def test_the_draws_of_a_robustness_score_are_the_trials_after_the_published_one() -> None:
    trials = plan(tuning(tasks=["mnist"]), discover(), only=["dafl"], seeds=[100])
    drawn = Suite(
        name="d",
        budget="smoke",
        tasks=["mnist"],
        seeds=[100],
        draws=3,
        methods=[MethodEntry(name="dafl")],
    )
    ids = [run.spec("data").run_id("teacher") for run in plan(drawn, discover())]
    assert [run.spec("data").run_id("teacher") for run in trials[1:]] == ids


def test_the_shipped_tuning_and_draws_share_their_runs() -> None:
    trials = plan(load_suite("tune-mnist"), discover())
    assert len(trials) == 16 * 16
    assert {run.suite for run in trials} == {"tune-mnist-cpu"}
    ids = {run.spec("data").run_id("teacher") for run in trials if run.trial}
    draws = plan(load_suite("robustness-draws"), discover())
    assert sum(run.spec("data").run_id("teacher") in ids for run in draws) == 10 * 15


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"seeds": [0]}, "seed 0 is for tables"),
        ({"trials": 0}, "needs them"),
        ({"purpose": "table"}, "needs them"),
        ({"draws": 2}, "leave draws and axes"),
        ({"methods": [MethodEntry(name="dafl"), MethodEntry(name="dafl")]}, "tuned once"),
        ({"tuned": "f", "methods": [MethodEntry(name="dafl", params="tuned")]}, "is to be tuned"),
    ],
)
def test_tunings_that_cannot_be_are_refused(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        tuning(**changes)


def test_seeds_of_tables_are_refused_when_given_to_a_tuning() -> None:
    assert "seed 3 is for tables" in refused(tuning(), seeds=[3])
