"""``dfkd list`` and ``dfkd show``: what there is, and one thing in detail."""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from benchmark.analysis.frame import kd_loss_variance
from benchmark.cli.tables import plain_table
from benchmark.docs import facts
from benchmark.errors import UserError
from benchmark.machine.cache import cache_dir, picture_path
from benchmark.records.record import Record, SegmentationInfo
from benchmark.records.store import DEFAULT_RESULTS, Store
from benchmark.suites.suite import load_suite, suite_names
from benchmark.tasks.base import Task
from benchmark.tasks.registry import all_tasks, get_task, look_in
from methods.base.method import Method
from methods.base.objective import TransferObjective
from methods.base.registry import discover
from methods.objectives.registry import OWN, discover_objectives
from methods.settings.params import MethodParams, format_value, nearest
from methods.settings.schedule import NUMBERS, PAPER

OWN_TITLE = "The method's own objective: Hinton's KD, or cross-entropy with labels"


def overview(
    console: Console, method_folders: Sequence[Path], task_folders: Sequence[Path] = ()
) -> None:
    """Print all tasks, methods, objectives and suites, a line each."""
    look_in(task_folders)
    tasks = plain_table("Tasks", "task", "data", "teacher → student", "budgets")
    for name in sorted(all_tasks()):
        task = get_task(name)
        tasks.add_row(name, task.title, task.pair, ", ".join(task.budgets))
    methods = plain_table("Methods", "method", "title", "access", "source")
    for name, cls in sorted(discover(method_folders).items()):
        methods.add_row(name, cls.title, cls.access.describe(), cls.paper)
    objectives = plain_table("Objectives (on any method)", "objective", "title", "source")
    objectives.add_row(OWN, OWN_TITLE, "")
    for name, objective in sorted(discover_objectives().items()):
        objectives.add_row(name, objective.title, objective.paper)
    suites = plain_table("Suites", "suite", "runs", "what")
    for name in suite_names():
        suite = load_suite(name)
        cells = sum(
            len(entry.variants())
            * len(entry.seeds or suite.seeds)
            * len(suite.objectives_of(entry))
            * len(entry.tasks or suite.tasks)
            for entry in suite.methods
        )
        runs = (
            cells
            * math.prod(map(len, suite.budget_axes.values()))
            * (suite.draws or suite.trials or 1)
        )
        suites.add_row(name, str(runs), suite.description)
    for table in (tasks, methods, objectives, suites):
        console.print(table)
    console.print("Show one in detail: dfkd show NAME", highlight=False)


def page(
    name: str,
    console: Console,
    results: Path,
    method_folders: Sequence[Path],
    task_folders: Sequence[Path] = (),
) -> None:
    """Print the method, objective, task, suite or record that is called ``name``.

    Raises:
        UserError: when nothing is called so; it names the nearest name.
    """
    look_in(task_folders)
    methods, objectives = discover(method_folders), discover_objectives()
    if name in methods:
        _method(methods[name], console)
    elif name == OWN:
        console.print(OWN_TITLE, highlight=False)
    elif name in objectives:
        _objective(objectives[name], console)
    elif name in all_tasks():
        _task(get_task(name), console)
        if name in suite_names():
            _suite(name, console)
    elif name in suite_names() or name.endswith(".toml"):
        _suite(name, console)
    elif len(name) >= 4 and all(digit in "0123456789abcdef" for digit in name):
        _record(Store(results).find(name), results, console)
    else:
        valid = list(dict.fromkeys([*methods, OWN, *objectives, *all_tasks(), *suite_names()]))
        raise UserError(f"nothing is called '{name}'; {nearest(name, valid)} (or give a run id)")


def _method(cls: type[Method], console: Console) -> None:
    console.print(f"[bold]{escape(cls.title)}[/bold] ({cls.name}, version {cls.version})")
    console.print(f"{escape(inspect.getdoc(cls) or '')}\n", highlight=False)
    console.print(f"source: {escape(cls.paper)}", highlight=False)
    console.print(f"access: {cls.access.describe()}", highlight=False)
    _parameters(cls.Params, "--set", console)
    for name, versions in cls.revised.items():
        for value, version in versions.items():
            text = f"version {version} with {name}={format_value(value)}, which meant another thing"
            console.print(text, highlight=False)
    for family, settings, moved in facts.family_settings(cls):
        ranges = f" (tuning ranges there: {moved})" if moved else ""
        console.print(f"published settings on {family}: {settings}{ranges}", highlight=False)
    families = {get_task(name).family for name in all_tasks()}
    for family, schedule in facts.schedules(cls, families):
        console.print(f"--budget paper on {family}: {escape(schedule)}", highlight=False)
    if cls.baseline:
        console.print("--budget paper: the task's numbers, as for every baseline", highlight=False)


def _objective(cls: type[TransferObjective], console: Console) -> None:
    console.print(f"[bold]{escape(cls.title)}[/bold] (objective {cls.name}, version {cls.version})")
    console.print(f"{escape(inspect.getdoc(cls) or '')}\n", highlight=False)
    console.print(f"source: {escape(cls.paper)}", highlight=False)
    _parameters(cls.Params, "--objective-set", console)


def _parameters(params: type[MethodParams], option: str, console: Console) -> None:
    if not params.model_fields:
        console.print("There are no parameters.")
        return
    title = f"Parameters ({option} name=value)"
    table = plain_table(title, "name", "default", "tuning range", "meaning")
    for own in facts.parameters(params):
        conditions = f"; {own.conditions}" if own.conditions else ""
        meaning = f"{own.meaning} ({own.phase}; source: {own.source}{conditions})"
        table.add_row(own.name, own.default, own.tuned or "–", escape(meaning))
    console.print(table)


def _task(task: Task, console: Console) -> None:
    console.print(f"[bold]{escape(task.title)}[/bold] ({task.name}, version {task.version})")
    console.print(f"{escape(inspect.getdoc(task) or '')}\n", highlight=False)
    console.print(f"pair: {task.pair}; images {task.image_shape}; {task.num_classes} classes")
    if task.task_type == "segmentation":
        console.print(f"segmented into: {', '.join(task.classes)}; ranked by mean IoU")
    console.print(
        f"proxy data: {task.proxy or 'none of its own'}, or --proxy-dir DIR", highlight=False
    )
    for recipe, presets in task.recipes().items():
        numbers = ", ".join(f"{k}={v}" for k, v in recipe.identity().items())
        where = f" (budgets {', '.join(presets)})" if task.teacher_recipes else ""
        console.print(f"teacher's recipe{where}: {numbers}", highlight=False)
    table = plain_table("Budgets (--budget)", "number", *task.budgets)
    for name in NUMBERS:
        table.add_row(name, *(str(getattr(b, name)) for b in task.budgets.values()))
    console.print(table)
    if PAPER in task.budgets:
        console.print(
            "At the budget paper a method has the schedule of its own paper (dfkd show METHOD); "
            f"baselines have these numbers, those of {task.budgets[PAPER].schedule}.",
            highlight=False,
        )


def _suite(name: str, console: Console) -> None:
    suite = load_suite(name)
    console.print(f"[bold]{escape(suite.title or suite.name)}[/bold] (suite {suite.name})")
    console.print(escape(suite.description), highlight=False)
    seeds = ", ".join(map(str, suite.seeds))
    console.print(f"tasks {', '.join(suite.tasks)}; budget {suite.budget}; seeds {seeds}")
    for number, values in suite.budget_axes.items():
        console.print(f"{number} of the budget: {', '.join(map(str, values))}", highlight=False)
    if suite.draws:
        console.print(f"{suite.draws} random settings of every method from its tuning ranges, and:")
    if suite.trials:
        console.print(
            f"{suite.trials} settings of every method to choose from, the first as published:"
        )
    for entry in suite.methods:
        for variant in entry.variants():
            settings = ", ".join(f"{key}={format_value(value)}" for key, value in variant.items())
            settings = "as tuned" if entry.is_tuned else settings
            seeds = f" (seeds {', '.join(map(str, entry.seeds))})" if entry.seeds else ""
            names = suite.objectives_of(entry)
            objectives = "" if names == [OWN] else f" (objectives {', '.join(names)})"
            console.print(f"  {entry.name} {escape(settings)}{objectives}{seeds}", highlight=False)


def _record(record: Record, results: Path, console: Console) -> None:
    spec = record.spec
    console.print(f"[bold]{record.run_id}[/bold] {record.status} {escape(record.reason)}")
    table = Table(box=None, show_header=False)
    rows: dict[str, object] = {
        "suite": spec.suite,
        "task": f"{spec.task} (version {spec.task_version}, data {spec.data})",
        "method": f"{spec.method} (version {spec.method_version}, {record.method.access})",
        "parameters": _assignments(spec.params),
        **({"tuned": spec.tuned} if spec.tuned else {}),
        **(
            {"objective": f"{spec.objective.name}: {_assignments(spec.objective.params)}"}
            if spec.objective
            else {}
        ),
        **({"proxy images": f"{record.method.proxy}, {spec.proxy}"} if spec.proxy else {}),
        **({"note": record.method.note} if record.method.note else {}),
        "budget": spec.budget.name,
        "seed": spec.seed,
        **({"data": record.data_note} if record.data_note else {}),
        "teacher": ", ".join(
            filter(
                None,
                [
                    record.teacher.checksum,
                    f"{record.teacher.metric} {record.teacher.score:.4f}",
                    record.teacher.origin,
                ],
            )
        ),
        **{name: f"{value:.4f}" for name, value in record.metrics.items()},
        **_loss_variance(record),
        **{
            f"images, by {name}": ", ".join(
                f"{key} {value:.4g}" for key, value in quality.samples.metrics.items()
            )
            + f" ({quality.samples.images:,} images; {quality.extractor}, {quality.checksum})"
            for name, quality in record.quality.items()
        },
        "seconds": ", ".join(f"{k} {v:.1f}" for k, v in record.ledger.seconds.items()),
        **_work(record),
        "teacher queries": f"{record.ledger.teacher_forward:,} forward, "
        f"{record.ledger.teacher_backward:,} backward",
        "synthetic images": f"{record.ledger.synthetic_images:,}",
        "student steps": f"{record.ledger.student_steps:,}",
        "environment": ", ".join(str(value) for _, value in record.environment if value),
        "created": record.created,
    }
    for name, value in rows.items():
        table.add_row(f"[dim]{name}[/dim]", escape(str(value)))
    console.print(table)
    if record.segmentation is not None:
        console.print(_classes(record.segmentation))
        _picture(record.run_id, console)
    where = "" if results == DEFAULT_RESULTS else f" --results {results}"
    console.print(
        f"Run it again with: dfkd replay {record.run_id}{where}", highlight=False, soft_wrap=True
    )


def _loss_variance(record: Record) -> dict[str, str]:
    variance = kd_loss_variance(record)
    over = "over the second half of the student's steps"
    return {} if variance is None else {"loss variance": f"{variance:.3g} {over}"}


def _work(record: Record) -> dict[str, str]:
    """Processor seconds and floating-point operations by phase, which older records lack."""
    ledger = record.ledger
    return {
        name: ", ".join(f"{phase} {value:{form}}" for phase, value in spent.items())
        for name, spent, form in (
            ("processor seconds", ledger.processor_seconds, ".1f"),
            ("work, FLOP", ledger.work, ".3g"),
        )
        if spent
    }


def _assignments(params: Mapping[str, Any]) -> str:
    return ", ".join(f"{key}={format_value(value)}" for key, value in params.items()) or "–"


def _classes(info: SegmentationInfo) -> Table:
    """Every class: its IoU, the share of its pixels found, the class they are mostly mistaken for.

    The last columns are its share of the test images' pixels and, as the teacher labels them, of
    the pixels of the images that the student learnt from.
    """
    table = plain_table(
        "Classes", "class", "IoU", "pixels", "found", "mostly mistaken for", "share", "of samples"
    )
    samples: Sequence[float | None] = info.sample_shares or [None] * len(info.classes)
    for index, (name, iou) in enumerate(zip(info.classes, info.per_class_iou, strict=True)):
        row, drawn = info.confusion[index], samples[index]
        shares = f"{info.test_shares[index]:.4f}", "–" if drawn is None else f"{drawn:.4f}"
        if iou is None:
            absent = "absent from the test images, not in the mean"
            table.add_row(name, absent, "0", "–", "–", *shares)
            continue
        others = [count if other != index else 0 for other, count in enumerate(row)]
        mistaken = info.classes[others.index(max(others))] if any(others) else "–"
        found = f"{row[index] / sum(row):.4f}"
        table.add_row(name, f"{iou:.4f}", f"{sum(row):,}", found, mistaken, *shares)
    return table


def _picture(run_id: str, console: Console) -> None:
    path = picture_path(cache_dir(), run_id)
    if path.is_file():
        console.print(f"Picture: {escape(str(path))}", highlight=False, soft_wrap=True)
    else:
        console.print("Its picture is not in this cache; dfkd replay draws it.", highlight=False)
