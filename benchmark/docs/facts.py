"""What a class declares about itself, as text: for ``dfkd show`` and for the pages of methods."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import NamedTuple

from methods.base.method import Method
from methods.settings.params import MethodParams, format_range, format_value


class Parameter(NamedTuple):
    """One hyper-parameter.

    Attributes:
        name: its name.
        default: its value as one types it.
        tuned: the range in which it is tuned and how, like ``0.001 … 0.1 (rate)``; empty for what
            is not tuned.
        meaning: a sentence, with the unit.
        phase: whose it is, the synthesis' or the distillation's.
        source: where the default was read.
        conditions: under which other settings it has an effect; empty for always.
    """

    name: str
    default: str
    tuned: str
    meaning: str
    phase: str
    source: str
    conditions: str


def parameters(params: type[MethodParams]) -> list[Parameter]:
    """Every hyper-parameter of a method or an objective."""
    found = []
    for name, field in params.model_fields.items():
        info = params.info(name)
        interval = params.tuning_range(name)
        needed = [
            f"{other}={'|'.join(map(format_value, values))}"
            for other, values in info.active_when.items()
        ] + [f"{other} on" for other in info.needs]
        found.append(
            Parameter(
                name,
                format_value(field.default),
                f"{format_range(interval)} ({info.tune})" if interval else "",
                f"{field.description}{f' [{info.unit}]' if info.unit else ''}",
                info.phase,
                info.source,
                f"only with {' and '.join(needed)}" if needed else "",
            )
        )
    return found


def family_settings(method: type[Method]) -> Iterator[tuple[str, str, str]]:
    """Every task family with settings of its own: its name, the settings, the ranges they move."""
    usual = method.Params.tuning_ranges()
    for family, settings in method.settings.items():
        own = method.Params.tuning_ranges(settings)
        text = ", ".join(f"{key}={format_value(value)}" for key, value in settings.items())
        moved = [f"{n} {format_range(own[n])}" for n in own if own[n] != usual.get(n)]
        yield family, text, ", ".join(moved)


def schedules(method: type[Method], families: Collection[str]) -> Iterator[tuple[str, str]]:
    """Every task family on which the method's paper trained, and how long."""
    for family in sorted({*families, *method.schedules}):
        schedule = method.schedule_of(method.build_params({}, family), family)
        if schedule:
            yield family, str(schedule)
