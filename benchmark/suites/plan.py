"""The runs that a suite plans.

`plan` turns a suite into `PlannedRun`s; together with the data's and the teacher's checksums each
becomes a `Spec`, whose hash is the run's identity.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark.errors import UserError
from benchmark.records.spec import ObjectiveSpec, Purpose, Spec
from benchmark.suites.choices import Choice, choice_of, load_choices
from benchmark.suites.suite import MethodEntry, Suite, check_table_seeds, check_tuning_seeds
from methods.settings.budget import Budget
from methods.settings.schedule import PAPER

if TYPE_CHECKING:
    from benchmark.tasks.base import Task
    from methods.base.method import Method
    from methods.base.objective import TransferObjective
    from methods.settings.params import MethodParams


@dataclass(frozen=True)
class PlannedRun:
    """One run of a suite, validated; a `Spec` needs the checksums of the data in addition.

    ``tuned`` is how the parameters were chosen, empty for those that the suite or the paper names,
    and ``chosen_with`` is the checksum of the teacher with which they were. ``trial`` numbers the
    settings that a tuning chooses from; the published one has 0.
    """

    suite: str
    task: Task
    method: type[Method]
    params: MethodParams
    changed: Mapping[str, Any]
    budget: Budget
    seed: int
    objective: ObjectiveSpec | None = None
    purpose: Purpose = "table"
    tuned: str = ""
    chosen_with: str = ""
    trial: int = 0

    def spec(self, data_checksum: str, proxy_checksum: str = "") -> Spec:
        """The full specification, once the checksums of data and proxy data are known."""
        return Spec(
            suite=self.suite,
            task=self.task.name,
            task_version=self.task.version,
            data=data_checksum,
            method=self.method.name,
            method_version=self.method.version_of(self.params),
            params=self.params.recorded(),
            budget=self.budget.of_method(self.method.inverts_pixels),
            seed=self.seed,
            proxy=proxy_checksum,
            objective=self.objective,
            purpose=self.purpose,
            tuned=self.tuned,
        )


def plan(
    suite: Suite,
    methods: Mapping[str, type[Method]],
    *,
    budget: str | None = None,
    seeds: Sequence[int] | None = None,
    only: Sequence[str] = (),
    say: Callable[[str], None] = lambda sentence: None,
) -> list[PlannedRun]:
    """Every run of a suite, ordered by seed, so that all methods get their seeds at the same time.

    A tuning is ordered by trial first, so that all methods have had as many at any time. Entries
    whose tuned settings were chosen on another task, or at another budget, are left out, and so are
    methods without a schedule of their paper where the budget asks for it.

    Args:
        suite: the suite.
        methods: all known methods by name.
        budget: the budget instead of the suite's.
        seeds: the seeds instead of the suite's.
        only: the names of the methods to plan; all methods when empty.
        say: told which entries are left out, in a sentence.

    Raises:
        UserError: for an unknown task, method, objective or budget, for tuned settings that are not
            there, and for a seed that is not for this purpose.
        methods.settings.params.ParameterError: for an unknown, invalid or ineffective parameter.
    """
    from benchmark.tasks.registry import get_task
    from methods.objectives.registry import discover_objectives

    check_names(suite, methods, only)
    if suite.trials:
        try:
            check_tuning_seeds(seeds or ())
        except ValueError as error:
            raise UserError(str(error)) from None
    objectives = discover_objectives()
    runs: list[PlannedRun] = []
    unscheduled: dict[str, None] = {}
    for task in map(get_task, suite.tasks):
        preset = preset_of(task, budget or suite.budget)
        entries = [
            entry
            for entry in suite.methods
            if (entry.tasks is None or task.name in entry.tasks)
            and (not only or entry.name in only)
        ]
        entries, how, chosen_with = with_choices(suite, entries, methods, task, preset.name, say)
        seeds_of = [(entry, set(seeds or entry.seeds or suite.seeds)) for entry in entries]
        own: list[PlannedRun] = []
        for seed in sorted(set().union(*(wanted for _, wanted in seeds_of))):
            for (entry, wanted), tuned in zip(seeds_of, how, strict=True):
                if seed in wanted:
                    found = list(cells(suite, entry, methods, task, preset, seed, objectives))
                    teacher = chosen_with if tuned else ""
                    own.extend(replace(run, tuned=tuned, chosen_with=teacher) for run in found)
                    if not found:
                        unscheduled[without_schedule(suite, entry.name, task)] = None
        runs += sorted(own, key=lambda run: run.trial)
    if not runs:
        nothing = f"suite '{suite.name}' has nothing to run here"
        raise UserError("; ".join(unscheduled) or nothing)
    for sentence in unscheduled:
        say(f"left out: {sentence}")
    if not suite.trials and not suite.draws:
        try:
            check_table_seeds([run.seed for run in runs])
        except ValueError as error:
            raise UserError(str(error)) from None
    return runs


def with_choices(
    suite: Suite,
    entries: Sequence[MethodEntry],
    methods: Mapping[str, type[Method]],
    task: Task,
    budget: str,
    say: Callable[[str], None],
) -> tuple[list[MethodEntry], list[str], str]:
    """Entries with the settings that tuning has chosen, how each was, and with which teacher.

    Those whose settings were chosen on another task, or at another budget, are left out.

    Raises:
        UserError: when there is no choice for an entry.
    """
    if not any(entry.is_tuned for entry in entries):
        return list(entries), [""] * len(entries), ""
    path = Path(suite.tuned)
    choices = load_choices(path, task.name, budget)
    if (choices.task, choices.budget) != (task.name, budget) or suite.budget_axes:
        tuned = ", ".join(entry.name for entry in entries if entry.is_tuned)
        say(
            f"left out: the tuned settings of {tuned}, which were chosen on '{choices.task}' at "
            f"the budget '{choices.budget}'"
        )
        entries = [entry for entry in entries if not entry.is_tuned]
        return list(entries), [""] * len(entries), ""
    found, how = [], []
    for entry in entries:
        if entry.is_tuned:
            version_of = partial(_version_of, methods[entry.name], task.family)
            choice = choice_of(choices, entry.name, version_of, path)
            entry = entry.model_copy(update={"params": choice.params})
            how.append(choices.how(entry.name))
        else:
            how.append("")
        found.append(entry)
    return found, how, choices.teacher


def _version_of(method: type[Method], family: str, choice: Choice) -> int:
    """The version that runs of a method with a choice's parameters have now."""
    if choice.version not in method.versions():
        return method.version  # which need not know the parameters
    return method.version_of(method.build_params(choice.params, family))


def check_names(suite: Suite, methods: Mapping[str, type[Method]], only: Sequence[str]) -> None:
    """Refuse a suite with names that do not exist.

    Raises:
        UserError: for an unknown method, a method that the suite does not have, or an entry's task.
    """
    from methods.settings.params import nearest

    names = [entry.name for entry in suite.methods]
    followed = [suite.schedule_of] if suite.schedule_of else []
    for name in [*names, *only, *followed]:
        if name not in methods:
            raise UserError(f"there is no method '{name}'; {nearest(name, list(methods))}")
    for name in only:
        if name not in names:
            raise UserError(f"suite '{suite.name}' has no method '{name}'; {nearest(name, names)}")
    for entry in suite.methods:
        for name in entry.tasks or ():
            if name not in suite.tasks:
                raise UserError(
                    f"suite '{suite.name}': its entry of '{entry.name}' is for the task '{name}', "
                    f"which the suite does not have; {nearest(name, suite.tasks)}"
                )


def preset_of(task: Task, name: str) -> Budget:
    """The numbers of a task's preset.

    Raises:
        UserError: for an unknown preset.
    """
    from methods.settings.params import nearest

    if name not in task.budgets:
        raise UserError(
            f"task '{task.name}' has no budget '{name}'; {nearest(name, list(task.budgets))}"
        )
    return task.budgets[name]


def budgets_of(
    suite: Suite,
    preset: Budget,
    task: Task,
    methods: Mapping[str, type[Method]],
    method: type[Method],
    params: MethodParams,
) -> list[Budget]:
    """The budgets of a method's runs: the preset, varied along the suite's axes.

    Of the preset ``paper`` the numbers are those of the method's own paper, or of the paper that
    the suite names; there are no budgets where that paper has no schedule for the task.

    Raises:
        UserError: for a number out of range.
        methods.settings.params.ParameterError: for a schedule with such a number.
    """
    if preset.name != PAPER:
        return suite.budgets(preset)
    schedule = method.schedule_of(params, task.family)
    if suite.schedule_of:
        method = methods[suite.schedule_of]
        schedule = method.schedule_of(method.build_params({}, task.family), task.family)
    if schedule is not None:
        return suite.budgets(schedule.on(preset))
    return suite.budgets(preset) if method.baseline else []


def without_schedule(suite: Suite, method: str, task: Task) -> str:
    """Why a method has no runs at the budget ``paper``, in a sentence, and what to do."""
    alike = [name for name in task.budgets if name not in ("smoke", PAPER)]
    hint = f"; use --budget {alike[-1]}, which is the same for all" if alike else ""
    return f"{suite.schedule_of or method} has no published schedule for {task.name}{hint}"


def variants_of(
    suite: Suite, entry: MethodEntry, method: type[Method], task: Task
) -> list[tuple[MethodParams, dict[str, Any]]]:
    """The parameters of an entry's runs, each with those that differ from the defaults."""
    usual = method.build_params({}, task.family).model_dump(mode="json")
    variants = []
    for overrides in suite.overrides(entry, method, task.family):
        params = method.build_params(overrides, task.family)
        settings = params.model_dump(mode="json")
        changed = {key: value for key, value in settings.items() if value != usual[key]}
        variants.append((params, changed))
    return variants


def cells(
    suite: Suite,
    entry: MethodEntry,
    methods: Mapping[str, type[Method]],
    task: Task,
    preset: Budget,
    seed: int,
    objectives: Mapping[str, type[TransferObjective]],
) -> Iterator[PlannedRun]:
    """The runs of an entry with one seed: parameters × budgets × objectives."""
    method, purpose = methods[entry.name], "draw" if suite.draws else suite.purpose
    for number, (params, changed) in enumerate(variants_of(suite, entry, method, task)):
        for budget in budgets_of(suite, preset, task, methods, method, params):
            run = PlannedRun(
                suite.folder(task.name, budget.name),
                task,
                method,
                params,
                changed,
                budget,
                seed,
                purpose=purpose,
                trial=number if suite.trials else 0,
            )
            for objective in suite.objectives_of(entry):
                yield with_objective(run, objective, entry.objective_params, objectives)


def with_objective(
    run: PlannedRun,
    name: str,
    overrides: Mapping[str, Any],
    known: Mapping[str, type[TransferObjective]],
) -> PlannedRun:
    """The run with another objective; the run itself for ``kd``, the method's own objective.

    Raises:
        UserError: for an unknown objective, or parameters without one.
        methods.settings.params.ParameterError: for an unknown, invalid or ineffective parameter.
    """
    from methods.objectives.registry import OWN
    from methods.settings.params import nearest

    if name == OWN:
        if overrides:
            raise UserError(
                f"objective '{OWN}' is the method's own and has no parameters; set those of "
                f"'{run.method.name}', or choose another objective"
            )
        return run
    if name not in known:
        raise UserError(f"there is no objective '{name}'; {nearest(name, [OWN, *known])}")
    cls = known[name]
    params = cls.build_params(overrides)
    usual = cls.build_params({}).model_dump(mode="json")
    settings = params.model_dump(mode="json")
    changed = {key: value for key, value in settings.items() if value != usual[key]}
    return replace(
        run,
        changed={**run.changed, "objective": name, **changed},
        objective=ObjectiveSpec(name=name, version=cls.version, params=params.recorded()),
    )
