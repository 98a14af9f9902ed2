"""Helper modules in a user's folder."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from benchmark.cli.program import app
from benchmark.records.store import Store
from benchmark.tasks import registry
from methods.base.errors import RegistryError
from methods.base.registry import discover
from methods.base.user_files import helpers_of
from tests.helpers import one_line, write_file

METHOD = """
{imports}
from methods.baselines import Noise

class Mine(Noise):
    name = "{name}"
    title = "Mine"

    def synthesize(self, problem, run):
        {lazy}
        return super().synthesize(problem, run)
"""


@pytest.fixture(autouse=True)
def _as_in_a_process_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(registry, "_folders", ())
    yield
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", None)).startswith(str(tmp_path)):
            del sys.modules[name]


def write_method(
    path: Path, imports: str = "", name: str = "my-method", lazy: str = "pass"
) -> Path:
    return write_file(path, METHOD.format(imports=imports, name=name, lazy=lazy))


def refusal(*folders: Path) -> str:
    with pytest.raises(RegistryError) as caught:
        discover(folders)
    return one_line(str(caught.value))


def test_a_method_imports_helpers_from_its_own_folder(tmp_path: Path) -> None:
    write_file(tmp_path / "my_layers.py", "from my_parts.blocks import WIDTH\n")
    write_file(tmp_path / "my_parts" / "__init__.py", "")
    write_file(tmp_path / "my_parts" / "blocks.py", "WIDTH = 7\n")
    write_method(tmp_path / "blur.py", "from my_layers import WIDTH")
    module = sys.modules[discover([tmp_path])["my-method"].__module__]
    assert module.WIDTH == 7
    assert helpers_of(tmp_path / "blur.py") == [
        tmp_path / "my_layers.py",
        tmp_path / "my_parts" / "__init__.py",
        tmp_path / "my_parts" / "blocks.py",
    ]


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_a_helper_may_be_imported_while_a_method_runs(tmp_path: Path, jobs: str) -> None:
    write_file(tmp_path / "mine" / "my_late_helper.py", "print('loaded')\n")
    write_method(tmp_path / "mine" / "blur.py", lazy="import my_late_helper")
    done = CliRunner().invoke(
        app,
        [
            *("run", "--task", "tiny", "--method", "my-method", "--budget", "smoke"),
            *("--methods-dir", str(tmp_path / "mine"), "--results", str(tmp_path / "results")),
            *("--seeds", "0-1", "--device", "cpu", "--threads", "1", "--jobs", jobs),
        ],
    )
    assert done.exit_code == 0, done.output
    records = Store(tmp_path / "results").scan().records
    assert [record.reason for record in records if record.status == "error"] == []
    assert len(records) == 2


def test_a_helper_that_holds_no_method_is_executed_once(tmp_path: Path) -> None:
    for name in ("a_helper", "z_helper"):  # one is loaded before the method, one by it
        code = f"import sys\nsys.{name} = getattr(sys, '{name}', 0) + 1"
        write_file(tmp_path / f"{name}.py", code)
    write_method(tmp_path / "blur.py", "import a_helper, z_helper")
    assert "my-method" in discover([tmp_path])
    assert "my-method" in discover([tmp_path])
    found: Any = sys
    assert (found.a_helper, found.z_helper) == (1, 1)
    del found.a_helper, found.z_helper


def test_two_folders_with_a_helper_of_one_name_are_refused(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    for folder in (first, second):
        write_file(folder / "my_helper.py", f"FOLDER = '{folder.name}'\n")
        write_method(folder / "blur.py", "from my_helper import FOLDER", f"my-{folder.name}")
    assert "my-first" in discover([first])
    message = refusal(first, second)
    assert f"'{second / 'blur.py'}' imports 'my_helper'" in message
    assert f"'{second / 'my_helper.py'}' and also '{first / 'my_helper.py'}'" in message


def test_a_clash_of_a_helper_s_helper_is_refused_before_anything_is_executed(
    tmp_path: Path,
) -> None:
    write_method(tmp_path / "first" / "my_inner.py")
    second = tmp_path / "second"
    write_file(second / "my_outer.py", "raise RuntimeError\ndef f():\n    import my_inner\n")
    write_file(second / "my_inner.py", "")
    write_method(second / "blur.py", "import my_outer", "another")
    message = refusal(tmp_path / "first", second / "blur.py")
    assert f"imports 'my_inner', which is '{second / 'my_inner.py'}' and also" in message


def test_an_installed_module_comes_before_a_file_of_its_name(tmp_path: Path) -> None:
    write_file(tmp_path / "methods" / "__init__.py", "raise RuntimeError")
    write_file(tmp_path / "statistics.py", "raise RuntimeError")
    path = write_method(tmp_path / "blur.py", "from statistics import median")
    assert "my-method" in discover([path])
    assert helpers_of(path) == []


def test_methods_of_one_file_name_in_two_folders_are_two_modules(tmp_path: Path) -> None:
    for folder in ("first", "second"):
        write_method(tmp_path / folder / "blur.py", name=f"my-{folder}")
    found = discover([tmp_path / "first", tmp_path / "second"])
    assert found["my-first"] is not found["my-second"]


def test_a_file_may_have_the_name_of_a_module_that_it_imports(tmp_path: Path) -> None:
    write_method(tmp_path / "statistics.py", "from statistics import median")
    assert "my-method" in discover([tmp_path])


def test_a_task_imports_helpers_from_its_own_folder(tmp_path: Path) -> None:
    write_file(tmp_path / "my_sizes.py", "TITLE = 'Seven'\n")
    write_file(
        tmp_path / "seven.py",
        "from benchmark.tasks.tiny import Tiny\nfrom my_sizes import TITLE\n"
        "class Seven(Tiny):\n    name = 'seven'\n    title = TITLE\n",
    )
    registry.look_in([tmp_path])
    assert registry.get_task("seven").title == "Seven"
    registry._tasks.cache_clear()
