"""Running the checks on a file of methods and saying how it went."""

from __future__ import annotations

import time
import traceback
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from benchmark.contract.checks import CHECKS, Broken, Check
from benchmark.errors import UserError
from methods.base.method import Method
from methods.base.registry import load_file, methods_in


@dataclass(frozen=True)
class Verdict:
    """What one check said of one method; ``complaint`` is empty when it passed."""

    check: str
    complaint: str
    seconds: float


def judge(cls: type[Method], check: Check) -> Verdict:
    """Apply one check; an exception of the method's own is a complaint like any other."""
    started = time.perf_counter()
    complaint = ""
    try:
        check(cls)
    except Broken as broken:
        complaint = str(broken)
    except (Exception, SystemExit) as error:
        frames = traceback.extract_tb(error.__traceback__)
        place = f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""
        complaint = f"raised {type(error).__name__}: {' '.join(str(error).split())}{place}"
    return Verdict(check.__name__, complaint, time.perf_counter() - started)


def report(path: Path, only: str | None, console: Console) -> int:
    """Check every method of a file or folder; 0 when all keep the contract, 1 otherwise.

    Raises:
        UserError: when there is nothing to check.
        methods.base.registry.RegistryError: when a file does not import.
    """
    if not path.exists():
        raise UserError(f"'{path}' does not exist; give a method file or a folder of them")
    files = sorted(path.glob("*.py")) if path.is_dir() else [path]
    classes = [cls for file in files if file.name != "__init__.py" for cls in methods_in_file(file)]
    if not classes:
        raise UserError(
            f"'{path}' defines no method: a subclass of methods.base.method.Method with a name"
        )
    checks = [check for check in CHECKS if not only or only in check.__name__]
    if not checks:
        names = ", ".join(check.__name__ for check in CHECKS)
        raise UserError(f"no check is called '{only}'; there are: {names}")
    broken = 0
    for cls in classes:
        console.print(f"[bold]{escape(cls.name)}[/bold]")
        for check in checks:
            verdict = judge(cls, check)
            broken += bool(verdict.complaint)
            mark = "[red]✗[/red]" if verdict.complaint else "[green]✓[/green]"
            name = verdict.check.replace("_", " ")
            console.print(f"  {mark} {name} [dim]{verdict.seconds:.1f} s[/dim]", highlight=False)
            if verdict.complaint:
                console.print(f"      {escape(verdict.complaint)}", highlight=False, soft_wrap=True)
    total = len(classes) * len(checks)
    console.print(f"{total - broken} passed, {broken} failed", highlight=False)
    return int(bool(broken))


def methods_in_file(file: Path) -> list[type[Method]]:
    """The methods of one file; a file of the methods package is not imported twice."""
    import importlib

    import methods

    if file.name == "__init__.py":
        return []
    if file.resolve().parent == Path(methods.__path__[0]).resolve():
        return methods_in(importlib.import_module(f"methods.{file.stem}"))
    return methods_in(load_file(file))
