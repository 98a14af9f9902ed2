"""The checks applied to the methods of a file or folder."""

from __future__ import annotations

import importlib
import time
from dataclasses import dataclass
from pathlib import Path

from benchmark.contract.checks import CHECKS, Broken, Check
from benchmark.errors import UserError
from methods.base.errors import described_with_place
from methods.base.finder import classes_in
from methods.base.method import Method
from methods.base.user_files import load_file


@dataclass(frozen=True)
class Verdict:
    """The result of one check on one method; ``complaint`` is empty when it passed."""

    check: str
    complaint: str
    seconds: float


def judge(cls: type[Method], check: Check) -> Verdict:
    """Apply one check; an exception that the method raises is a complaint like any other."""
    started = time.perf_counter()
    complaint = ""
    try:
        check(cls)
    except Broken as broken:
        complaint = str(broken)
    except (Exception, SystemExit) as error:
        complaint = f"raised {described_with_place(error, limit=1000)}"
    return Verdict(check.__name__, complaint, time.perf_counter() - started)


def methods_to_check(path: Path) -> list[type[Method]]:
    """Every method of a file or folder.

    Raises:
        UserError: when there is no such path, or no method in it.
        methods.base.errors.RegistryError: when a file does not import.
    """
    if not path.exists():
        raise UserError(f"'{path}' does not exist; give a method file or a folder of them")
    files = sorted(path.glob("*.py")) if path.is_dir() else [path]
    classes = [cls for file in files if file.name != "__init__.py" for cls in methods_in_file(file)]
    if not classes:
        raise UserError(
            f"'{path}' defines no method: a subclass of methods.base.method.Method with a name"
        )
    return classes


def checks_called(only: str | None) -> list[Check]:
    """The checks whose name contains ``only``; all of them for None.

    Raises:
        UserError: when no check is called like that.
    """
    checks = [check for check in CHECKS if not only or only in check.__name__]
    if not checks:
        names = ", ".join(check.__name__ for check in CHECKS)
        raise UserError(f"no check is called '{only}'; there are: {names}")
    return checks


def methods_in_file(file: Path) -> list[type[Method]]:
    """The methods of one file; a module of the package `methods` is not imported twice."""
    import methods

    if file.name == "__init__.py":
        return []
    if file.resolve().parent == Path(methods.__path__[0]).resolve():
        return classes_in(importlib.import_module(f"methods.{file.stem}"), Method)
    return classes_in(load_file(file, "method"), Method)
