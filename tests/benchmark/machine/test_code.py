"""Which commit the program is at, in a git repository made for the test."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmark.machine import code
from benchmark.machine.code import NoRepository, code_version, holds_committed, uncommitted
from tests.helpers import write_file


def git(root: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=x", "-c", "user.email=x@x", "-c", "commit.gpgsign=false")
    command = ["git", "-C", str(root), *identity, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The program's checkout, as it were: two packages and the records of one method, committed."""
    if shutil.which("git") is None:
        pytest.skip("git is not installed")
    root = tmp_path / "program"
    for name in ("benchmark/a.py", "methods/b.py", "results/s/t/m/0.json"):
        write_file(root / name, "1\n")
    git(root, "init", "--quiet")
    git(root, "add", "--all")
    git(root, "commit", "--quiet", "--message", "all")
    monkeypatch.setattr(code, "ROOT", root)
    code_version.cache_clear()
    yield root
    code_version.cache_clear()


def test_a_clean_checkout_is_at_its_commit(checkout: Path) -> None:
    write_file(checkout / "results" / "s" / "t" / "m" / "1.json", "1\n")
    write_file(checkout / "my_methods" / "mine.py", "1\n")
    assert uncommitted() == []
    assert code_version() == git(checkout, "rev-parse", "--short=12", "HEAD")


def test_new_and_changed_and_deleted_files_of_the_packages_are_uncommitted(checkout: Path) -> None:
    write_file(checkout / "benchmark" / "a.py", "2\n")
    write_file(checkout / "methods" / "ä new" / "c.py", "1\n")
    (checkout / "methods" / "b.py").unlink()
    assert sorted(uncommitted()) == ["benchmark/a.py", "methods/b.py", "methods/ä new/c.py"]
    assert code_version() == git(checkout, "rev-parse", "--short=12", "HEAD") + "+changes"


def test_a_change_that_is_staged_is_uncommitted(checkout: Path) -> None:
    write_file(checkout / "methods" / "c.py", "1\n")
    git(checkout, "add", "--all")
    git(checkout, "mv", "benchmark/a.py", "benchmark/z.py")
    assert sorted(uncommitted()) == ["benchmark/a.py", "benchmark/z.py", "methods/c.py"]


def test_only_folders_with_tracked_files_hold_committed_ones(
    checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_file(checkout / "runs" / "s" / "t" / "m" / "0.json", "1\n")
    assert holds_committed(checkout / "results")
    for folder in (checkout / "runs", checkout / "absent", tmp_path / "elsewhere"):
        assert not holds_committed(folder)
    monkeypatch.chdir(checkout)
    assert holds_committed(Path("results"))
    (tmp_path / "link").symlink_to(checkout / "results")
    assert holds_committed(tmp_path / "link")


def test_without_a_repository_the_version_is_the_installed_one(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also if somebody's repository is around the folder in which the program is installed."""
    monkeypatch.setattr(code, "ROOT", checkout / "methods")
    with pytest.raises(NoRepository):
        uncommitted()
    assert "+" not in code_version()


def test_without_git_nothing_is_known(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(NoRepository):
        uncommitted()
