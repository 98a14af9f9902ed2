"""Uncommitted code and committed results."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchmark.cli import checkout as checking
from benchmark.cli.checkout import check_checkout
from benchmark.errors import UserError
from benchmark.machine import code
from benchmark.machine.code import code_version
from benchmark.records.store import Store
from tests.benchmark.cli.test_cli import dfkd
from tests.benchmark.machine.test_code import checkout
from tests.helpers import make_record, one_line, write_file

__all__ = ["checkout"]


@pytest.fixture
def dirty(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The program's checkout with a method that is not committed."""
    monkeypatch.setattr(checking, "uncommitted", code.uncommitted)
    write_file(checkout / "methods" / "mine.py", "1\n")
    return checkout


def noise(results: Path, *arguments: Any) -> Any:
    wanted = ("--task", "digits", "--method", "noise", "--budget", "smoke", "--device", "cpu")
    return dfkd("run", *wanted, "--results", results, *arguments)


def test_committed_results_get_no_records_of_uncommitted_code(dirty: Path) -> None:
    before = sorted(dirty.rglob("*"))
    done = noise(dirty / "results")
    assert done.exit_code == 2
    message = one_line(done.output)
    for part in ("error: ", "methods/mine.py", "--results", "--allow-dirty", "commit the code"):
        assert part in message
    assert sorted(dirty.rglob("*")) == before
    assert noise(dirty / "results", "--dry-run").exit_code == 0


@pytest.mark.usefixtures("cached_teacher")
@pytest.mark.parametrize(("folder", "insist"), [("runs", []), ("results", ["--allow-dirty"])])
def test_uncommitted_code_is_said_when_it_runs(dirty: Path, folder: str, insist: list[str]) -> None:
    done = noise(dirty / folder, *insist)
    assert done.exit_code == 0, done.output
    (record,) = (r for r in Store(dirty / folder).scan().records)
    made_by = record.environment.code_version
    assert made_by == code_version()
    assert made_by.endswith("+changes")
    assert done.output.splitlines()[0] == (
        f"the code has uncommitted changes in methods/mine.py; records will say {made_by}"
    )


@pytest.mark.usefixtures("cached_teacher")
def test_of_committed_code_nothing_is_said(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checking, "uncommitted", code.uncommitted)
    write_file(checkout / "my_methods" / "mine.py", "")
    done = noise(checkout / "results", "--methods-dir", checkout / "my_methods")
    assert done.exit_code == 0
    assert "uncommitted" not in done.output


@pytest.mark.parametrize("command", ["measure", "reproduce", "tune"])
def test_other_commands_that_write_records_refuse_too(dirty: Path, command: str) -> None:
    store = Store(dirty / "results")
    record = make_record()
    store.put(record)
    target = {"measure": record.run_id, "reproduce": "rdskd-table2", "tune": "digits"}[command]
    done = dfkd(command, target, "--results", store.root)
    assert done.exit_code == 2
    assert "--allow-dirty" in one_line(done.output)


def test_many_changes_are_counted(dirty: Path) -> None:
    for number in range(4):
        write_file(dirty / "methods" / f"x{number}.py", "")
    said = check_checkout(dirty / "runs", allow_dirty=False)
    assert said.endswith("methods/mine.py, methods/x0.py, methods/x1.py and 2 more")


def test_a_program_that_is_no_checkout_is_not_asked_about(
    dirty: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UserError):
        check_checkout(dirty / "results", allow_dirty=False)
    monkeypatch.setattr(code, "ROOT", dirty / "methods")
    assert check_checkout(dirty / "results", allow_dirty=False) == ""
