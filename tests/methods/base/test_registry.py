from __future__ import annotations

from pathlib import Path

import pytest

from methods.base.errors import RegistryError
from methods.base.finder import classes_in
from methods.base.method import Method
from methods.base.registry import discover
from methods.base.user_files import load_file
from methods.dafl import DAFL
from tests.helpers import one_line, write_file

METHOD = """
from methods.base.method import Method

class {cls}(Method):
    name = "{name}"
    title = "Mine"
    paper = "none"

    def synthesize(self, problem, run):
        raise NotImplementedError
"""


def write_method(folder: Path, file: str, name: str, cls: str = "Mine") -> Path:
    return write_file(folder / file, METHOD.format(cls=cls, name=name))


def refusal(path: Path) -> str:
    with pytest.raises(RegistryError) as caught:
        discover([path])
    return one_line(str(caught.value))


def test_shipped_methods_are_found_by_name() -> None:
    found = discover()
    assert {"dafl", "rdskd", "mskd", "noise", "kd-real", "student-supervised"} <= found.keys()
    assert found["dafl"] is DAFL
    assert all(name == cls.name for name, cls in found.items())


def test_a_folder_or_a_file_adds_methods(tmp_path: Path) -> None:
    path = write_method(tmp_path, "mine.py", "my-method")
    assert discover([tmp_path])["my-method"].title == "Mine"
    assert discover([path])["my-method"] is discover([tmp_path])["my-method"]
    assert "my-method" not in discover()


def test_only_public_python_files_are_read(tmp_path: Path) -> None:
    write_method(tmp_path, "_helper.py", "hidden")
    write_file(tmp_path / "notes.txt", "not python (")
    assert "hidden" not in discover([tmp_path])


def test_imported_and_abstract_classes_are_not_methods_of_a_file(tmp_path: Path) -> None:
    path = write_file(
        tmp_path / "borrower.py",
        "from methods.dafl import DAFL\nfrom methods.base.method import Method\n"
        "class Half(Method):\n    name = 'half'\n",
    )
    assert classes_in(load_file(path, "method"), Method) == []


def test_a_file_that_does_not_import_is_named_with_its_line(tmp_path: Path) -> None:
    path = write_file(tmp_path / "broken.py", "import os\n\nraise RuntimeError('no luck')\n")
    message = refusal(tmp_path)
    assert str(path) in message
    assert "RuntimeError: no luck" in message
    assert "line 3" in message


def test_a_syntax_error_is_named_with_its_line(tmp_path: Path) -> None:
    path = write_file(tmp_path / "broken.py", "import os\n\ndef (:\n")
    message = refusal(path)
    assert str(path) in message
    assert "SyntaxError" in message
    assert "line 3" in message


def test_a_missing_module_is_named(tmp_path: Path) -> None:
    write_file(tmp_path / "broken.py", "import no_such_module_anywhere\n")
    message = refusal(tmp_path)
    assert "no_such_module_anywhere" in message
    assert "line 1" in message


def test_a_file_that_failed_is_read_again_once_it_is_repaired(tmp_path: Path) -> None:
    write_file(tmp_path / "mine.py", "oops(\n")
    refusal(tmp_path)
    write_method(tmp_path, "mine.py", "repaired")
    assert "repaired" in discover([tmp_path])


def test_two_classes_of_one_name_are_refused_with_both_files(tmp_path: Path) -> None:
    write_method(tmp_path, "first.py", "twin", "First")
    write_method(tmp_path, "second.py", "twin", "Second")
    message = refusal(tmp_path)
    for part in ("'twin'", "First", "first.py", "Second", "second.py"):
        assert part in message


def test_a_shipped_name_cannot_be_taken(tmp_path: Path) -> None:
    write_method(tmp_path, "impostor.py", "dafl")
    message = refusal(tmp_path)
    assert "dafl.py" in message
    assert "impostor.py" in message


@pytest.mark.parametrize("name", ["../escaped", "a/b", ".hidden"])
def test_a_name_that_would_leave_the_results_folder_is_refused(tmp_path: Path, name: str) -> None:
    write_method(tmp_path, "mine.py", name)
    assert "write it like my-method" in refusal(tmp_path)


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    assert str(tmp_path / "absent") in refusal(tmp_path / "absent")


def test_a_file_that_exits_while_it_is_imported_is_named(tmp_path: Path) -> None:
    write_file(tmp_path / "quitter.py", "raise SystemExit(0)\n")
    assert "quitter.py" in refusal(tmp_path)
