from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchmark.analysis.leaderboard.cells import headline_grid
from benchmark.analysis.leaderboard.markdown import markdown
from benchmark.analysis.leaderboard.quotes import quote, quoted_cells
from benchmark.analysis.leaderboard.tables import Table, tables
from benchmark.errors import UserError
from benchmark.published.papers import (
    Paper,
    Protocol,
    find_table,
    load_paper,
    load_published,
    protocol,
    published_tables,
)
from benchmark.records.store import Scan
from benchmark.suites.plan import plan
from benchmark.suites.suite import load_suite, suite_names
from benchmark.tasks.registry import all_tasks, get_task
from methods.base.registry import discover
from tests.helpers import make_record, one_line, write_file

PAPERS = load_published()
ELSEWHERE = {
    *("adadfkd", "attention-transfer", "cudfkd", "fitnets", "kd-at", "kd-unrelated", "kimura"),
    *("knowledge-adaptation", "structured"),
}
"""Methods that the files quote and the benchmark has not got."""

FILE = """\
paper = "Someone, Somewhere 2020"
short = "Some"
proposes = ["mine"]

[[tables]]
name = "table1"
title = "Table 1"
selection = "last"
source = "paper"
budget = "paper"

[[tables.pairs]]
task = "digits"
dataset = "Digits"
teacher = "big"
student = "small"
teacher_score = 0.99
results = [{ method = "mine", accuracy = 0.9 }]
"""


# The numbers


@pytest.mark.parametrize(
    ("table", "dataset", "student", "method", "settings", "numbers"),
    [
        (
            *("rdskd-table2", "MNIST", "LeNet-5-Half", "rdskd", {"generator_lr": 0.2}),
            {"accuracy": 0.976, "inception_score": 1.62, "fid": 226, "lpips": 0.085},
        ),
        (
            *("rdskd-table2", "MNIST", "LeNet-5-Half", "mskd", {"generator_lr": 0.005}),
            {"accuracy": 0.967, "inception_score": 1.74, "fid": 353, "lpips": 0.053},
        ),
        (
            *("rdskd-table2", "SVHN", "WRN-16-1", "dafl", {"generator_lr": 0.02}),
            {"accuracy": 0.826, "inception_score": 1.47, "fid": 374, "lpips": 0.074},
        ),
        (
            *("rdskd-table2", "CIFAR-10", "ResNet-18", "dafl", {"generator_lr": 0.01}),
            {"accuracy": 0.820, "inception_score": 1.80, "fid": 338, "lpips": 0.104},
        ),
        (
            *("rdskd-table2", "CIFAR-10", "ResNet-18", "zskd", {}),
            {"accuracy": 0.105, "inception_score": 1.06, "fid": 359, "lpips": 0.042},
        ),
        (
            *("rdskd-table3", "MNIST", "LeNet-5-Half", "dafl", {"generator_epochs": 600}),
            {"accuracy": 0.660, "lpips": 0.016},
        ),
        ("dafl-table1", "MNIST", "HintonNet 800", "alternative-data", {}, {"accuracy": 0.9399}),
        ("dafl-table3", "CIFAR-100", "ResNet-18", "noise", {}, {"accuracy": 0.0144}),
        (
            *("dafl-ablation", "MNIST", "LeNet-5-Half", "dafl"),
            {"one_hot": 1.0, "entropy": 5.0, "activation": 0.0},
            {"accuracy": 0.9725},
        ),
        ("zskd-mnist", "MNIST", "LeNet-5-Half (35,820)", "zskd", {}, {"accuracy": 0.9877}),
        (
            *("degan-table1", "CamVid", "DeepLabV3 MobileNetV2, output stride 16", "degan"),
            {"diversity": "weighted", "mix": 0.5},
            {"miou": 0.3052, "pixel_accuracy": 0.7502},
        ),
        (
            *("degan-table2", "CamVid", "DeepLabV3 MobileNetV2, output stride 16", "degan"),
            {"entropy_weight": 10.0, "diversity": "weighted"},
            {"miou": 0.1811},
        ),
        (
            *("degan-table2", "CamVid", "DeepLabV3 MobileNetV2, output stride 16", "dcgan", {}),
            {"miou": 0.2274, "pixel_accuracy": 0.6691},
        ),
        (
            *("degan-table2", "CamVid", "DeepLabV3 MobileNetV2, output stride 16", "degan"),
            {"entropy_weight": 0.0, "diversity": "weighted"},
            {"miou": 0.2595, "pixel_accuracy": 0.7311},
        ),
        ("cmi-cifar10", "CIFAR-10", "WRN-16-1", "dafl", {}, {"accuracy": 0.6571}),
        ("cmi-cifar100", "CIFAR-100", "WRN-40-1", "dfq", {}, {"accuracy": 0.6292}),
        ("fast-cifar100", "CIFAR-100", "WRN-40-1", "dfq", {}, {"accuracy": 0.5443}),
        ("dfad-segmentation", "NYUv2", "DeepLabV3 MobileNetV2", "dfad", {}, {"miou": 0.364}),
        ("zskt-main", "SVHN", "WRN-16-1", "zskt", {}, {"accuracy": 0.9441}),
    ],
)
def test_cells_are_as_printed(
    table: str,
    dataset: str,
    student: str,
    method: str,
    settings: dict[str, Any],
    numbers: dict[str, float],
) -> None:
    _, found = find_table(table, PAPERS)
    results = [
        result
        for pair, result in found.results()
        if (pair.dataset, pair.student, result.method) == (dataset, student, method)
        and settings.items()
        <= {**result.params, "generator_epochs": result.generator_epochs}.items()
    ]
    assert [result.numbers for result in results] == [numbers]


def test_teachers_are_as_printed() -> None:
    scores = {
        name: {pair.dataset: pair.teacher_score for pair in find_table(name, PAPERS)[1].pairs}
        for name in ("rdskd-table2", "dafl-table3", "deep-inversion-cifar10")
    }
    assert scores["rdskd-table2"] == {"MNIST": 0.9794, "SVHN": 0.9596, "CIFAR-10": 0.9386}
    assert scores["dafl-table3"] == {"CIFAR-10": 0.9558, "CIFAR-100": 0.7784}
    assert find_table("deep-inversion-cifar10", PAPERS)[1].pairs[0].teacher_score == 0.9542


def test_numbers_that_were_not_checked_are_marked() -> None:
    ablation = [result for _, result in find_table("dafl-ablation", PAPERS)[1].results()]
    assert [r.numbers["accuracy"] for r in ablation if r.verified] == [0.8801, 0.9820]
    assert len(ablation) == 8


def test_names_are_those_of_the_benchmark_or_known_not_to_be() -> None:
    known = discover()
    for paper in PAPERS:
        for _, pair, result in paper.rows():
            assert result.method in known or result.method in ELSEWHERE, (paper.key, result.method)
            if result.method in known and pair.task in all_tasks():
                fields = known[result.method].Params.model_fields
                assert result.params.keys() <= fields.keys(), (paper.key, result.params)


def test_suites_that_tables_name_exist() -> None:
    named = {table.suite for _, table in published_tables(PAPERS).values()} - {""}
    assert named <= set(suite_names())


@pytest.mark.parametrize(
    ("name", "suite", "besides"),
    [
        ("rdskd-table2", "rdskd-table2", set()),
        ("rdskd-table3", "rdskd-table3", set()),
        ("degan-table1", "degan-table1", set()),
        ("degan-table2", "degan-table2", set()),
        ("dafl-table1", "dafl-mnist", set()),
        ("dafl-ablation", "dafl-mnist", {"generator_lr", "temperature"}),
    ],
)
def test_its_suite_runs_every_row_with_the_published_settings(
    name: str, suite: str, besides: set[str]
) -> None:
    planned = plan(load_suite(suite), discover(), seeds=[0])
    for pair, result in find_table(name, PAPERS)[1].results():
        fitting = [
            run
            for run in planned
            if run.task.name in (pair.task, pair.stand_in)
            and run.method.name == result.method
            and result.generator_epochs
            in (
                run.budget.synthesis_steps // run.budget.epoch_steps,
                *([] if run.budget.variant else [None]),
            )
            and result.settings_match(run.params.model_dump(mode="json"))
            and set(run.changed) - set(result.params) <= besides
        ]
        assert fitting or not pair.task, (pair.task, result)


def test_the_tasks_own_numbers_of_the_budget_paper_are_a_papers() -> None:
    for name, method in (("mnist", "rdskd"), ("svhn", "rdskd"), ("cifar10", "rdskd")):
        budget = get_task(name).budgets["paper"]
        assert discover()[method].schedules[name].on(budget) == budget
    camvid = get_task("camvid").budgets["paper"]
    assert discover()["degan"].schedules["camvid"].on(camvid) == camvid


def test_a_table_at_the_budget_paper_has_runs_by_the_schedule_of_its_paper() -> None:
    families = {get_task(name).family for name in all_tasks()} | {"cifar100"}
    followed = {
        schedule.paper
        for method in discover().values()
        for family in families
        if (schedule := method.schedule_of(method.build_params({}, family), family))
    }
    told = {p.short for p in PAPERS if any(table.budget == "paper" for table in p.tables)}
    assert told <= followed
    assert followed - told == {"DFQ"}, "whose own paper's numbers are not at hand"


# Protocols


def protocols(table: str, method: str) -> list[Protocol]:
    _, found = find_table(table, PAPERS)
    return [protocol(found, pair, r) for pair, r in found.results() if r.method == method]


def test_the_protocol_of_a_number_tells_schedule_checkpoint_and_teacher() -> None:
    (main, _) = protocols("zskt-main", "zskt")
    assert main.text == (
        "80,000 rounds of 1 generator step and 10 student steps of 128; last step; mean of 3 runs; "
        "teacher 96.50; read in the authors' repository"
    )
    mnist, *_ = protocols("dafl-table1", "dafl")
    assert mnist.text.startswith("200 epochs of 120 steps of 512")
    assert "best on test; teacher 98.91 (Adam, 10 epochs)" in mnist.text


def test_a_row_comes_before_its_pair_and_a_pair_before_its_table(tmp_path: Path) -> None:
    def loaded(text: str) -> Paper:
        return load_paper(write_file(tmp_path / "some.toml", text))

    def of(paper: Paper) -> str:
        ((table, pair, result),) = paper.rows()
        return protocol(table, pair, result).schedule

    assert of(loaded(FILE)) == ""
    every = FILE.replace("budget =", 'schedules = { "*" = "all" }\nbudget =')
    assert of(loaded(every)) == "all"
    table = FILE.replace("budget =", 'schedules = { "*" = "all", mine = "table" }\nbudget =')
    assert of(loaded(table)) == "table"
    pair = table.replace("results =", 'schedules = { mine = "pair" }\nresults =')
    assert of(loaded(pair)) == "pair"
    row = pair.replace("accuracy = 0.9", 'accuracy = 0.9, schedule = "row"')
    assert of(loaded(row)) == "row"


def test_a_copied_number_has_no_protocol_of_the_table_that_copies_it() -> None:
    for copied in protocols("dfnd-main", "dafl"):
        assert copied.teacher_score is None
        assert "copied from DAFL" in copied.text
        assert "teacher" not in copied.text
    (lopes,) = (p for p in protocols("dafl-table1", "metadata") if p.unlike)
    assert lopes.schedule == ""
    assert lopes.selection == "unknown"


def test_a_repository_that_prints_its_own_numbers_is_their_source() -> None:
    assert {p.source for p in protocols("cudfkd-cifar10", "cudfkd")} == {"repository"}
    assert {p.source for p in protocols("adadfkd-cifar10", "adadfkd")} == {"repository"}
    assert {p.source for p in protocols("pre-dfkd-cifar10", "pre-dfkd")} == {"later papers"}
    assert all(p.verified for p in protocols("cudfkd-stability", "dafl"))


def test_the_temperature_that_rdskd_released_is_not_said_to_be_the_papers() -> None:
    _, table = find_table("rdskd-table2", PAPERS)
    assert "τ" not in table.caption
    assert any("τ = 10 are the released defaults" in note for note in table.notes)


# Files


@pytest.mark.parametrize(
    ("before", "after", "says"),
    [
        (
            'method = "mine", accuracy',
            'method = "mine", acuracy = 0.1, accuracy',
            "unknown key 'tables.0.pairs.0.results.0.acuracy'; did you mean 'accuracy'?",
        ),
        ("teacher = ", "techer = ", "did you mean 'teacher'?"),
        ("budget = ", "budgte = ", "did you mean 'budget'?"),
        ("short = ", "shrot = ", "did you mean 'short'?"),
        ('title = "Table 1"\n', "", "the key 'tables.0.title' is missing"),
        ("accuracy = 0.9", "accuracy = 90.0", "results.0.accuracy': input should be less than"),
        (", accuracy = 0.9", "", "a result needs at least one number"),
        ('selection = "last"', 'selection = "first"', "'tables.0.selection': input should be"),
        ("[[tables]]", "[[tables]", "is not valid TOML"),
    ],
)
def test_a_wrong_file_is_one_clear_line(tmp_path: Path, before: str, after: str, says: str) -> None:
    assert before in FILE
    path = write_file(tmp_path / "some.toml", FILE.replace(before, after, 1))
    with pytest.raises(UserError) as raised:
        load_paper(path)
    message = one_line(str(raised.value))
    assert says in message
    assert str(path) in message


def test_a_task_and_method_have_one_headline(tmp_path: Path) -> None:
    headline = FILE.replace("accuracy = 0.9", "accuracy = 0.9, headline = true")
    write_file(tmp_path / "a.toml", headline)
    write_file(tmp_path / "b.toml", headline)
    with pytest.raises(UserError, match=r"two headlines, in a-table1 and in b-table1") as raised:
        load_published(tmp_path)
    one_line(str(raised.value))


def test_an_unknown_table_is_answered_with_the_nearest() -> None:
    with pytest.raises(UserError, match=r"'rdskd-tabel2'; did you mean 'rdskd-table2'\?"):
        find_table("rdskd-tabel2", PAPERS)


# Quotes

DAFL = {"one_hot": 1.0, "entropy": 5.0, "activation": 0.1, "generator_lr": 0.2, "temperature": 1.0}


@pytest.mark.parametrize(
    ("task", "method", "params", "value", "source"),
    [
        ("mnist", "dafl", DAFL, 0.982, "DAFL, Table 1 (200 epochs of 120 steps"),
        ("mnist", "dafl", {**DAFL, "temperature": 10.0}, 0.976, "RDSKD, Table 2"),
        ("mnist", "dafl", {**DAFL, "entropy": 0.0}, 0.4207, "not verified)"),
        ("mnist", "rdskd", {"generator_lr": 0.005}, 0.973, "RDSKD, Table 2"),
        ("mnist", "noise", {}, 0.8801, "DAFL, Table 1"),
        ("mnist", "zskd", {}, 0.9877, "student of 35,820 parameters"),
        ("cifar10", "deep-inversion", {"adaptive": True}, 0.9326, "DeepInversion, CIFAR-10"),
        ("cifar10-wrn", "zskt", {}, 0.8369, "last step; mean of 3 runs; teacher 95.13"),
        ("cifar10-wrn", "spaceship", {}, 0.9038, "NAYER, CIFAR-10, 300 epochs (200 epochs"),
        ("cifar100-wrn", "spaceship", {}, 0.6995, "NAYER, CIFAR-100, 300 epochs (200 epochs"),
        ("camvid", "alternative-data", {}, 0.2943, "DeGAN for segmentation, Table 1"),
    ],
)
def test_a_number_is_quoted_with_its_protocol_where_its_settings_are_the_rows(
    task: str, method: str, params: dict[str, Any], value: float, source: str
) -> None:
    found = quote(PAPERS, task, method, params)
    assert found is not None
    assert found.value == value
    assert source in found.source


@pytest.mark.parametrize(
    ("task", "method"),
    [("digits", "rdskd"), ("cifar10-lite", "dafl"), ("mnist", "untrained-generator"), ("", "dafl")],
)
def test_what_was_never_published_is_not_quoted(task: str, method: str) -> None:
    assert quote(PAPERS, task, method, {}) is None


@pytest.mark.parametrize(
    ("method", "params", "changed"),
    [
        ("dafl", {**DAFL, "entropy": 3.0}, ["entropy"]),
        ("dafl", {**DAFL, "entropy": 3.0}, []),
        ("rdskd", {"generator_lr": 0.07}, ["generator_lr"]),
        # Everything that the result names, and a setting more that is not the paper's.
        ("dafl", {**DAFL, "generator_lr": 0.02}, ["generator_lr"]),
        ("dafl", {**DAFL, "log_base": "10"}, ["log_base"]),
        ("noise", {"clip": 3.0}, ["clip"]),
        ("zskd", {"learning_rate": 0.3}, ["learning_rate"]),
    ],
)
def test_no_number_stands_beside_a_setting_that_it_does_not_belong_to(
    method: str, params: dict[str, Any], changed: list[str]
) -> None:
    assert quote(PAPERS, "mnist", method, params, changed) is None


def test_footnotes_are_numbered_as_they_appear_and_shared() -> None:
    rows = [("mskd", {"generator_lr": 0.2}), ("nothing", {}), ("dafl", DAFL), ("noise", {})]
    cells, line = quoted_cells([quote(PAPERS, "mnist", *row) for row in rows])
    assert cells == ["97.20 [1]", "–", "98.20 [2]", "88.01 [3]"]
    protocols = "[1] RDSKD, Table 2 (20 generator epochs of 120 steps of 512; "
    assert line.startswith(f"Published: {protocols}")
    assert "; last step; teacher 97.94 (SGD, 200 epochs); read in the paper). [2] DAFL" in line
    assert quoted_cells([None]) == (["–"], "")


# The leaderboard's column


def mnist_table(*methods: str) -> Table:
    """One run of each method, the first the best."""
    records = [
        make_record(
            task="mnist",
            method=method,
            accuracy=0.9 - place / 10,
            params={"generator_lr": 0.001, "temperature": 10.0},
        )
        for place, method in enumerate(methods)
    ]
    (table,) = tables(Scan(records=records))
    return table


def test_the_leaderboard_shows_the_published_number_and_where_it_is_from() -> None:
    table = mnist_table("zskd", "noise", "rdskd", "mine")
    column = headline_grid(table).column("published, %")
    assert column == ["98.77 [1]", "88.01 [2]", "97.50 [3]", "–"]
    text = markdown(Scan(records=[r for row in table.rows for r in row.records]))
    assert "Published: [1] ZSKD, MNIST table (" in text
    assert "; student of 35,820" in text
    assert text == markdown(Scan(records=[r for row in table.rows[::-1] for r in row.records]))


def test_a_table_without_published_numbers_has_no_footnotes() -> None:
    text = markdown(Scan(records=[make_record()]))
    assert "Published:" not in text


@pytest.mark.parametrize(
    ("name", "own"),
    [
        ("dafl-table3", {"dafl"}),
        ("zskt-main", {"zskt"}),
        ("dfad-classification", {"dfad"}),
        ("dfad-segmentation", {"dfad"}),
        ("cmi-modes", {"cmi"}),
        ("fast-cifar10", {"fast"}),
    ],
)
def test_a_methods_own_table_is_run_by_its_papers_schedule(name: str, own: set[str]) -> None:
    planned = plan(load_suite(name), discover(), seeds=[0])
    paper, table = find_table(name, PAPERS)
    assert {run.budget.schedule for run in planned} == {paper.short}
    for pair, result in table.results():
        if result.method in own and pair.task in all_tasks() and not result.unlike:
            assert any(
                run.task.name == pair.task
                and result.settings_match(run.params.model_dump(mode="json"))
                and set(run.changed) <= set(result.params)
                for run in planned
            ), (pair.task, result)
