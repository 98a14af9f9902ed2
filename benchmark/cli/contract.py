"""``dfkd test``: the contract suite on a file of methods, a line for every check."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.markup import escape

from benchmark.contract.suite import checks_called, judge, methods_to_check


def report(path: Path, only: str | None, console: Console) -> int:
    """Check every method of a file or folder; 0 when all keep the contract, 1 otherwise.

    Args:
        path: a method file, or a folder of them.
        only: part of the name of the checks to apply; None for all checks.
        console: where the lines go.

    Raises:
        UserError: when there is nothing to check.
        methods.base.registry.RegistryError: when a file does not import.
    """
    classes, checks = methods_to_check(path), checks_called(only)
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
