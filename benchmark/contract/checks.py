"""The checks of the contract; each takes a method and raises `Broken` if it is not kept."""

from __future__ import annotations

import ast
import gc
import inspect
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from types import FunctionType, ModuleType
from typing import Any, Literal, get_args, get_origin

import torch
from torch import Tensor

from benchmark.contract.testbed import (
    BUDGET,
    TASK,
    fit,
    record,
    test_tensors,
    tiny_teacher,
    workshop,
)
from benchmark.machine.tensors import checksum
from benchmark.records.record import OVER_BUDGET, SCORED
from benchmark.runs.replay import compare
from benchmark.tasks.registry import get_task
from methods.base.method import Method
from methods.base.problem import Access, AccessError
from methods.base.samples import ImageBank
from methods.settings.budget import PRESETS
from methods.settings.params import MethodParams, ParameterError, Tuning, format_value


class Broken(AssertionError):
    """A method does not keep the contract; the message is one sentence that says how."""


STOPS = (2, 1, 4, 3)
"""After how many progress reports a run is asked to stop, one attempt after the other."""

Check = Callable[[type[Method]], None]


def is_described(cls: type[Method]) -> None:
    """It has a name, title, paper and docstring; parameters and schedules have their sources."""
    if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", cls.name):
        raise Broken(f"its name '{cls.name}' is not kebab-case")
    for attribute in ("title", "paper"):
        if not getattr(cls, attribute, "").strip():
            raise Broken(f"it has no {attribute}")
    if not (inspect.getdoc(cls) or "").strip() or cls.__doc__ is None:
        raise Broken("the class has no docstring")
    for name, field in cls.Params.model_fields.items():
        if not isinstance(field.json_schema_extra, dict):
            raise Broken(f"parameter '{name}' is not declared with methods.settings.params.param")
        info = cls.Params.info(name)
        if not field.description or not info.source:
            raise Broken(f"parameter '{name}' lacks a description or a source")
        if info.tune not in get_args(Tuning):
            raise Broken(
                f"parameter '{name}' has tune={info.tune!r}; say rate, weight or temperature, or "
                "leave it out for what is not tuned"
            )
        if info.tune and field.annotation is not float:
            raise Broken(f"parameter '{name}' is tuned as a {info.tune}, and is no float")
    for family in cls.schedules:
        schedule = cls.schedule_of(cls.build_params({}, family), family)
        if schedule is None or not schedule.source:
            raise Broken(f"its schedule for '{family}' has no source")
        schedule.on(PRESETS["gpu"])


def stands_alone(cls: type[Method]) -> None:
    """The method's file does not import the benchmark."""
    tree = ast.parse(inspect.getsource(inspect.getmodule(cls) or ModuleType("")))
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        else:
            continue
        if any(name.split(".")[0] == "benchmark" for name in names):
            raise Broken(f"line {node.lineno} imports the benchmark; methods must not know it")


def returns_a_student(cls: type[Method]) -> None:
    """A fit returns the harness's student, trained, with finite outputs, and logs its losses."""
    done = fit(cls)
    fresh = done.problem.make_student()
    if done.student.state_dict().keys() != fresh.state_dict().keys():
        raise Broken("it returned another network than problem.make_student() makes")
    if checksum(done.student.state_dict()) == checksum(fresh.state_dict()):
        raise Broken("it returned the student untrained")
    logits = done.student.eval()(torch.zeros(2, *done.problem.image_shape))
    if logits.shape[:2] != (2, done.problem.num_classes) or not logits.isfinite().all():
        raise Broken(f"the student's logits are {tuple(logits.shape)} or not finite")
    if not done.run.curves:
        raise Broken("it logged nothing; call run.log at every step, so that NaN is noticed")


def same_seed_same_bits(cls: type[Method]) -> None:
    """Two fits of one seed are equal to the bit, in any state of torch's global generator."""
    if fit(cls, seed=3, noise=1).bits != fit(cls, seed=3, noise=2).bits:
        raise Broken(
            "two runs of the same seed differ; take randomness from run.stream or run.seeded"
        )


def other_seed_other_bits(cls: type[Method]) -> None:
    """Another seed gives another student, and other images if the method makes images."""
    first, second = fit(cls, seed=3), fit(cls, seed=4)
    if first.bits == second.bits:
        raise Broken("two different seeds give the same student")
    if Access.TRAIN_IMAGES in cls.access:
        return
    for one, other in zip(first.samples, second.samples, strict=True):
        if (
            isinstance(one, ImageBank)
            and isinstance(other, ImageBank)
            and torch.equal(one.images, other.images)
        ):
            raise Broken("two different seeds make the same images; use run.stream")


def every_parameter_acts(cls: type[Method]) -> None:
    """Every parameter has an effect, unless it is declared inert with a reason."""
    for name in cls.Params.model_fields:
        info = cls.Params.info(name)
        if info.inert:
            continue
        setting = {other: values[0] for other, values in info.active_when.items()}
        before = fit(cls, setting).bits
        values = list(alternatives(cls, name, setting))
        if not values:
            raise Broken(f"parameter '{name}' has no second value to try; widen its bounds")
        if all(fit(cls, {**setting, name: value}).bits == before for value in values):
            tried = ", ".join(format_value(value) for value in values)
            raise Broken(
                f"parameter '{name}' changes nothing (tried {tried}); use it, remove it, or "
                "declare it with inert='reason'"
            )


def alternatives(cls: type[Method], name: str, setting: dict[str, Any]) -> Iterator[Any]:
    """Other values of a parameter than its current one.

    Values that are out of bounds, or switch off what ``setting`` switches on, are left out.
    """
    params = cls.build_params(setting, get_task(TASK).family)
    for value in other_values(params, name):
        try:
            changed = cls.build_params({**setting, name: value}, get_task(TASK).family)
        except ParameterError:
            continue
        if not any(changed.inactive(other) for other in setting):
            yield value


def other_values(params: MethodParams, name: str) -> list[Any]:
    """Values to try in the place of a parameter's: of its type, or small and near numbers."""
    current = getattr(params, name)
    annotation = type(params).model_fields[name].annotation
    if get_origin(annotation) is Literal:
        values: tuple[Any, ...] = get_args(annotation)
    elif isinstance(current, bool):
        values = (not current,)
    elif isinstance(current, int):
        values = (2 * current, current // 2, current + 1, 0, 1, 2)
    elif isinstance(current, float):
        values = (2 * current, current / 2, 1.0, 0.0)
    else:
        values = ()
    return [value for value in values if value != current]


def asks_only_for_what_it_declares(cls: type[Method]) -> None:
    """Data that is not declared is refused by name, and all that is declared is used."""
    done = fit(cls)
    doors = {
        Access.TRAIN_IMAGES: "train_images",
        Access.TRAIN_LABELS: "train_labels",
        Access.PROXY_IMAGES: "proxy_images",
        Access.METADATA: "metadata",
        Access.CLASS_TEXT: "class_text",
    }
    for flag, door in doors.items():
        if flag in cls.access:
            if flag not in done.read:
                raise Broken(f"it declares Access.{flag.name} but never looks at it")
            continue
        try:
            getattr(done.problem, door)
        except AccessError as error:
            if cls.name not in str(error) or str(flag.name) not in str(error):
                raise Broken(f"the access error does not name method and flag: {error}") from None
        else:
            raise Broken(f"problem.{door} is open although Access.{flag.name} is not declared")


def leaves_the_teacher_alone(cls: type[Method]) -> None:
    """The teacher is bit-identical afterwards: weights, BatchNorm statistics, hooks and modes."""
    done = fit(cls)
    network = done.problem.teacher.network
    if checksum(network.state_dict()) != tiny_teacher().info.checksum:
        raise Broken("the teacher's weights or BatchNorm statistics changed")
    if any(module.training for module in network.modules()):
        raise Broken("the teacher was left in train mode")
    hooks = [m for m in network.modules() if m._forward_hooks or m._forward_pre_hooks]
    if hooks:
        raise Broken(f"{len(hooks)} forward hooks are left on the teacher; remove them")
    if any(parameter.requires_grad for parameter in network.parameters()):
        raise Broken("the teacher's parameters were unfrozen")


def test_data_is_out_of_reach(cls: type[Method]) -> None:
    """No test image can be reached from what the method was given or has afterwards."""
    done = fit(cls)
    hidden = test_tensors()
    for tensor in reachable_tensors([done.problem, done.run, *done.samples, done.student]):
        for secret in hidden:
            if tensor.shape == secret.shape and torch.equal(tensor.to(secret.dtype), secret):
                raise Broken("the test images are reachable from the problem or the run")


def reachable_tensors(roots: list[Any]) -> Iterator[Tensor]:
    """Every tensor reachable through attributes, containers and closures, modules excepted."""
    seen: set[int] = set()
    stack = list(roots)
    while stack:
        item = stack.pop()
        if id(item) in seen or isinstance(item, ModuleType | type):
            continue
        seen.add(id(item))
        if isinstance(item, Tensor):
            yield item
        if isinstance(item, FunctionType):
            # A function's globals are its module; what it closes over is what it was given.
            stack.extend(item.__closure__ or ())
            stack.extend(item.__defaults__ or ())
            continue
        stack.extend(gc.get_referents(item))


def keeps_its_budget(cls: type[Method]) -> None:
    """A run spends no more than its budget, and says how many images it made."""
    with workshop() as context:
        made = record(cls, context)
    if made.status == OVER_BUDGET:
        raise Broken(
            f"{made.reason}; a budget is the same for every method, see Budget.limits in "
            "methods/settings/budget.py"
        )
    real = Access.TRAIN_IMAGES | Access.PROXY_IMAGES
    if made.status in SCORED and not cls.access & real and not made.ledger.synthetic_images:
        raise Broken(
            "it made no synthetic images that were counted; draw them with samples_from, or add "
            "them to run.ledger.synthetic_images"
        )


def resumes_to_the_same_record(cls: type[Method]) -> None:
    """A run that is interrupted and run again gives the record of an uninterrupted run."""
    with workshop() as context:
        whole = record(cls, context)
    if whole.status not in SCORED:
        raise Broken(f"a run through the harness ends as {whole.status}: {whole.reason}")
    with workshop() as context:
        stopped = record(cls, context, interrupt_at="distillation")
        if stopped.status != "interrupted":
            raise Broken(
                f"an interrupt while the student trains gave status {stopped.status}; "
                "let KeyboardInterrupt pass and log the phase 'distillation'"
            )
        again = record(cls, context)
    if differences := compare(whole, again):
        raise Broken(f"after an interruption the record differs: {differences[0]}")


def goes_on_from_where_it_stopped(cls: type[Method]) -> None:
    """A run that is stopped several times, and goes on, gives the record of an unstopped run."""
    with workshop() as context:
        whole = record(cls, context)
    with workshop() as context:
        kept = replace(context, checkpoint_seconds=0.0)
        for reports in STOPS:
            record(cls, kept, stop_after=reports)
        again = record(cls, kept)
    if differences := compare(whole, again):
        raise Broken(
            f"after stops between its steps the record differs: {differences[0]}; give run.steps "
            "all that the steps change"
        )


def explains_bad_parameters(cls: type[Method]) -> None:
    """An unknown or out-of-range parameter is refused in one line that names it."""
    fields = list(cls.Params.model_fields)
    wrong = (fields[0] + "x") if fields else "temprature"
    message = _refusal(cls, {wrong: 1})
    if wrong not in message or cls.name not in message or (fields and fields[0] not in message):
        raise Broken(f"an unknown parameter is answered by: {message}")
    for name in fields:
        value = _outside(cls.Params, name)
        if value is not None:
            setting = {other: v[0] for other, v in cls.Params.info(name).active_when.items()}
            message = _refusal(cls, {**setting, name: value})
            if name not in message or "\n" in message:
                raise Broken(f"'{name}={value}' is answered by: {message}")


def _refusal(cls: type[Method], overrides: dict[str, Any]) -> str:
    try:
        cls.build_params(overrides)
    except ParameterError as error:
        return str(error)
    raise Broken(f"{overrides} is accepted")


def _outside(params: type[MethodParams], name: str) -> Any:
    """A value out of range, or of the wrong type for a parameter without a range."""
    for bound in params.model_fields[name].metadata:
        for attribute, step in (("gt", 0), ("ge", -1), ("lt", 0), ("le", 1)):
            limit = getattr(bound, attribute, None)
            if limit is not None:
                return limit + step
    return "nonsense" if params.model_fields[name].annotation is not str else None


def supports_says_why_not(cls: type[Method]) -> None:
    """``supports`` answers None or one sentence."""
    done = fit(cls)
    answer = cls(cls.build_params({}, get_task(TASK).family)).supports(done.problem)
    if answer is not None and (not isinstance(answer, str) or "\n" in answer):
        raise Broken(f"supports() answered {answer!r}; it must be None or one line")


CHECKS: tuple[Check, ...] = (
    is_described,
    stands_alone,
    explains_bad_parameters,
    returns_a_student,
    supports_says_why_not,
    same_seed_same_bits,
    other_seed_other_bits,
    leaves_the_teacher_alone,
    asks_only_for_what_it_declares,
    test_data_is_out_of_reach,
    keeps_its_budget,
    resumes_to_the_same_record,
    goes_on_from_where_it_stopped,
    every_parameter_acts,
)

__all__ = ["BUDGET", "CHECKS", "TASK", "Broken", "Check"]
