"""What ``dfkd list`` and ``dfkd show`` print."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from pathlib import Path

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from benchmark.errors import UserError
from benchmark.plan import load_suite, suite_names
from benchmark.records import Record, Store
from benchmark.tasks.base import Task
from benchmark.tasks.registry import all_tasks, get_task, look_in
from methods.base import Method
from methods.params import format_value, nearest
from methods.registry import discover


def overview(
    console: Console, method_folders: Sequence[Path], task_folders: Sequence[Path] = ()
) -> None:
    """Tasks, methods and suites, a line each."""
    look_in(task_folders)
    tasks = _table("Tasks", "task", "data", "teacher → student", "budgets")
    for name in sorted(all_tasks()):
        task = get_task(name)
        tasks.add_row(name, task.title, task.pair, ", ".join(task.budgets))
    methods = _table("Methods", "method", "title", "access", "source")
    for name, cls in sorted(discover(method_folders).items()):
        methods.add_row(name, cls.title, cls.access.describe(), cls.paper)
    suites = _table("Suites", "suite", "runs", "what")
    for name in suite_names():
        suite = load_suite(name)
        per_task = sum(
            len(entry.variants()) * len(entry.seeds or suite.seeds) for entry in suite.methods
        )
        runs = len(suite.tasks) * per_task
        suites.add_row(name, str(runs), suite.description)
    for table in (tasks, methods, suites):
        console.print(table)
    console.print("Look closer with: dfkd show NAME", highlight=False)


def page(
    name: str,
    console: Console,
    results: Path,
    method_folders: Sequence[Path],
    task_folders: Sequence[Path] = (),
) -> None:
    """Show whatever is called ``name``.

    Raises:
        UserError: when nothing is, with the nearest name.
    """
    look_in(task_folders)
    methods = discover(method_folders)
    if name in methods:
        _method(methods[name], console)
    elif name in all_tasks():
        _task(get_task(name), console)
        if name in suite_names():
            _suite(name, console)
    elif name in suite_names() or name.endswith(".toml"):
        _suite(name, console)
    elif len(name) >= 4 and all(digit in "0123456789abcdef" for digit in name):
        _record(Store(results).find(name), console)
    else:
        valid = [*methods, *all_tasks(), *suite_names()]
        raise UserError(f"nothing is called '{name}'; {nearest(name, valid)} (or give a run id)")


def _method(cls: type[Method], console: Console) -> None:
    console.print(f"[bold]{escape(cls.title)}[/bold] ({cls.name}, version {cls.version})")
    console.print(f"{escape(inspect.getdoc(cls) or '')}\n", highlight=False)
    console.print(f"source: {escape(cls.paper)}", highlight=False)
    console.print(f"access: {cls.access.describe()}", highlight=False)
    if not cls.Params.model_fields:
        console.print("It has no parameters.")
        return
    table = _table("Parameters (--set name=value)", "name", "default", "tuning range", "meaning")
    for name, field in cls.Params.model_fields.items():
        info = cls.Params.info(name)
        separator = " … " if isinstance(field.default, int | float) else " | "
        if isinstance(field.default, bool):
            separator = " | "
        needed = [
            f"{other}={'|'.join(map(format_value, values))}"
            for other, values in info.active_when.items()
        ] + [f"{other} on" for other in info.needs]
        conditions = f"; only with {' and '.join(needed)}" if needed else ""
        meaning = (
            f"{field.description}{f' [{info.unit}]' if info.unit else ''} "
            f"({info.phase}; source: {info.source}{conditions})"
        )
        table.add_row(
            name,
            format_value(field.default),
            separator.join(map(format_value, info.tune)),
            escape(meaning),
        )
    console.print(table)
    for family, settings in cls.settings.items():
        text = ", ".join(f"{key}={format_value(value)}" for key, value in settings.items())
        console.print(f"published settings on {family}: {text}", highlight=False)


def _task(task: Task, console: Console) -> None:
    console.print(f"[bold]{escape(task.title)}[/bold] ({task.name}, version {task.version})")
    console.print(f"{escape(inspect.getdoc(task) or '')}\n", highlight=False)
    console.print(f"pair: {task.pair}; images {task.image_shape}; {task.num_classes} classes")
    console.print(
        f"proxy data: {task.proxy or 'none of its own'}, or --proxy-dir DIR", highlight=False
    )
    for recipe, presets in task.recipes().items():
        numbers = ", ".join(f"{k}={v}" for k, v in recipe.identity().items())
        where = f" (budgets {', '.join(presets)})" if task.teacher_recipes else ""
        console.print(f"teacher's recipe{where}: {numbers}", highlight=False)
    table = _table("Budgets (--budget)", "number", *task.budgets)
    for name in next(iter(task.budgets.values())).model_dump():
        if name != "name":
            table.add_row(name, *(str(getattr(b, name)) for b in task.budgets.values()))
    console.print(table)


def _suite(name: str, console: Console) -> None:
    suite = load_suite(name)
    console.print(f"[bold]{escape(suite.title or suite.name)}[/bold] (suite {suite.name})")
    console.print(escape(suite.description), highlight=False)
    seeds = ", ".join(map(str, suite.seeds))
    console.print(f"tasks {', '.join(suite.tasks)}; budget {suite.budget}; seeds {seeds}")
    for entry in suite.methods:
        for variant in entry.variants():
            settings = ", ".join(f"{key}={format_value(value)}" for key, value in variant.items())
            seeds = f" (seeds {', '.join(map(str, entry.seeds))})" if entry.seeds else ""
            console.print(f"  {entry.name} {escape(settings)}{seeds}", highlight=False)


def _record(record: Record, console: Console) -> None:
    spec = record.spec
    console.print(f"[bold]{record.run_id}[/bold] {record.status} {escape(record.reason)}")
    table = Table(box=None, show_header=False)
    rows: dict[str, object] = {
        "suite": spec.suite,
        "task": f"{spec.task} (version {spec.task_version}, data {spec.data})",
        "method": f"{spec.method} (version {spec.method_version}, {record.method.access})",
        "parameters": ", ".join(f"{k}={format_value(v)}" for k, v in spec.params.items()) or "–",
        **({"proxy images": f"{record.method.proxy}, {spec.proxy}"} if spec.proxy else {}),
        **({"note": record.method.note} if record.method.note else {}),
        "budget": spec.budget.name,
        "seed": spec.seed,
        **({"data": record.data_note} if record.data_note else {}),
        "teacher": f"{record.teacher.checksum}, accuracy {record.teacher.accuracy:.4f}",
        **{name: f"{value:.4f}" for name, value in record.metrics.items()},
        "seconds": ", ".join(f"{k} {v:.1f}" for k, v in record.ledger.seconds.items()),
        "teacher queries": f"{record.ledger.teacher_forward:,} forward, "
        f"{record.ledger.teacher_backward:,} backward",
        "synthetic images": f"{record.ledger.synthetic_images:,}",
        "student steps": f"{record.ledger.student_steps:,}",
        "environment": ", ".join(str(value) for _, value in record.environment),
        "created": record.created,
    }
    for name, value in rows.items():
        table.add_row(f"[dim]{name}[/dim]", escape(str(value)))
    console.print(table)
    console.print(f"Run it again with: dfkd replay {record.run_id}", highlight=False)


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, box=box.SIMPLE_HEAD, title_justify="left")
    for column in columns:
        table.add_column(column, no_wrap=column == columns[0])
    return table
