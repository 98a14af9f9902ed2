from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

from benchmark.cli.program import app
from benchmark.contract.scaffold import write
from benchmark.contract.task_template import TEMPLATE
from benchmark.errors import UserError
from benchmark.records.store import Store
from benchmark.runs.job import Context
from benchmark.runs.trial import prepare_process
from benchmark.tasks import registry
from benchmark.tasks.data.base import DataError
from benchmark.tasks.loaded import dataset
from benchmark.tasks.registry import all_tasks, get_task, look_in
from benchmark.tasks.tiny import Tiny
from methods.base.errors import RegistryError
from tests.helpers import one_line, write_file

BORROWED = """
from benchmark.tasks.tiny import Tiny

class Mine(Tiny):
    name = "{name}"
"""


@pytest.fixture(autouse=True)
def _no_folders_of_other_tests(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(registry, "_folders", ())
    yield
    registry._tasks.cache_clear()


def dfkd(*arguments: Any) -> Any:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def refusal(path: Path) -> str:
    look_in([path])
    with pytest.raises(RegistryError) as caught:
        all_tasks()
    return one_line(str(caught.value))


def test_a_new_task_has_data_networks_and_budgets_that_fit(tmp_path: Path) -> None:
    look_in([write("my-stripes", tmp_path, TEMPLATE)])
    task = get_task("my-stripes")
    data = task.load(None)
    assert data.checksum() == task.load(None).checksum()
    images = task.preprocess(data.train.images[:5])
    assert images.shape[1:] == task.image_shape
    assert set(data.train.labels.tolist()) == set(range(task.num_classes))
    everything = task.preprocess(data.train.images)
    assert abs(everything.mean()) < 0.1
    assert abs(everything.std() - 1) < 0.1
    for network in (task.make_teacher().eval(), task.make_student().eval()):
        features = network.forward_features(images)
        torch.testing.assert_close(network(images), network.forward_head(features))
        assert network(images).shape == (5, task.num_classes)
    assert {"smoke", "cpu"} <= task.budgets.keys()


def test_a_task_of_ones_own_runs_shows_and_replays(tmp_path: Path) -> None:
    assert dfkd("new-task", "my-stripes", "--dir", tmp_path / "tasks").exit_code == 0
    where = ("--tasks-dir", tmp_path / "tasks")
    results = ("--results", tmp_path / "results")
    run = ("run", "--task", "my-stripes", "--method", "noise", "--budget", "smoke")
    done = dfkd(*run, *where, *results, "--device", "cpu", "--threads", 1)
    assert done.exit_code == 0, done.output
    (record,) = Store(tmp_path / "results").scan().records
    assert (record.spec.task, record.status in ("ok", "collapsed")) == ("my-stripes", True)
    assert record.teacher.accuracy > 0.9
    assert "4 classes" in dfkd("show", "my-stripes", *where).output
    assert dfkd("replay", record.run_id, *where, *results).exit_code == 0
    registry._folders = ()
    assert dfkd(*run, *results).exit_code == 2


def test_a_process_that_knows_nothing_but_the_context_finds_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write("my-stripes", tmp_path, TEMPLATE)
    contexts: list[Context] = []

    def note(planned: Any, store: Any, context: Context, *rest: Any) -> None:
        contexts.append(context)
        raise UserError("that is enough")

    monkeypatch.setattr("benchmark.cli.run.prepare", note)
    dfkd(
        *("run", "--task", "my-stripes", "--method", "noise", "--budget", "smoke"),
        *("--tasks-dir", path, "--results", tmp_path / "results", "--device", "cpu"),
    )
    registry._folders = ()  # as in a worker that was just started
    prepare_process(contexts[0])
    assert get_task("my-stripes").title == "My stripes, 16×16"


def test_an_installed_package_may_offer_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    class Offered(Tiny):
        name = "offered"

    class Entry:
        name, value = "offered", "package:Offered"

        def load(self) -> Any:
            return Offered

    def entry_points(group: str) -> list[Entry]:
        return [Entry()] if group == "dfkd.tasks" else []

    monkeypatch.setattr("methods.base.finder.entry_points", entry_points)
    registry._tasks.cache_clear()
    assert all_tasks()["offered"] is Offered


def test_a_broken_file_is_named(tmp_path: Path) -> None:
    path = write_file(tmp_path / "broken.py", "raise RuntimeError('no luck')\n")
    message = refusal(path)
    assert f"task file '{path}' does not import: RuntimeError: no luck" in message


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    assert f"tasks folder '{tmp_path / 'absent'}' does not exist" in refusal(tmp_path / "absent")


@pytest.mark.parametrize("name", ["../../escaped", "a/b", "", ".hidden", "/root"])
def test_a_name_that_would_leave_the_results_folder_is_refused(tmp_path: Path, name: str) -> None:
    path = write_file(tmp_path / "mine.py", BORROWED.format(name=name))
    assert "write it like my-task" in refusal(path)


def test_a_shipped_name_cannot_be_taken(tmp_path: Path) -> None:
    path = write_file(tmp_path / "impostor.py", BORROWED.format(name="digits"))
    message = refusal(path)
    assert "two tasks are called 'digits'" in message
    assert "digits.py" in message
    assert "impostor.py" in message


def test_a_task_that_declares_too_little_is_told_what_is_missing(tmp_path: Path) -> None:
    text = (write("mine", tmp_path / "whole", TEMPLATE)).read_text(encoding="utf-8")
    kept = [line for line in text.splitlines() if not line.startswith(("    pair", "    family"))]
    path = write_file(tmp_path / "half.py", "\n".join(kept))
    assert "task 'mine' in 'half.py' does not say its family, pair" in refusal(path)


def test_an_unknown_task_is_answered_in_one_line(tmp_path: Path) -> None:
    write("my-stripes", tmp_path, TEMPLATE)
    done = dfkd("show", "my-stripe", "--tasks-dir", tmp_path)
    assert done.exit_code == 2
    assert "did you mean 'my-stripes'?" in one_line(done.output)


def test_labels_of_ones_own_that_are_no_class_are_said_before_a_teacher_is_trained(
    tmp_path: Path,
) -> None:
    code = BORROWED.format(name="mine") + (
        "    def load(self, data_dir):\n"
        "        data = super().load(data_dir)\n"
        "        data.train.labels[3] = 99\n"
        "        return data\n"
    )
    write_file(tmp_path / "mine.py", code)
    look_in([tmp_path])
    with pytest.raises(DataError) as caught:
        dataset("mine", None)
    said = one_line(str(caught.value))
    assert "task 'mine'" in said
    assert "training image 3 has the label 99" in said
