"""Typed hyper-parameters: a sentence, a unit, a source and a kind of tuning for each.

A method's ``Params`` is a frozen pydantic model whose fields are made with `param`. Three
things that repositories of this field get wrong are errors here: a name nobody reads, a value
out of range, and a setting that another setting switches off.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any, ClassVar, Literal, NamedTuple, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic.fields import FieldInfo

Phase = Literal["synthesis", "distillation"]

Tuning = Literal["", "rate", "weight", "temperature"]
"""How a parameter is tuned. The rule is the same for every method, so that what tuning finds, and
what a robustness score compares, is the methods and not their authors' taste:

- a ``rate`` (a learning rate) or a ``weight`` (the factor of a loss's term) is drawn
  log-uniformly, from a tenth of its published value to ten times it; a weight that is published
  as 0 is a term that is switched off, and stays so;
- a ``temperature`` is drawn log-uniformly between 1 and 20, whatever is published;
- all else (empty) keeps its published value: code variants, modes, switches, sizes and numbers of
  steps, and shares, momenta and starting points.
"""

FACTOR = 10.0
"""How far a rate or a weight is tuned from its published value, both ways."""

TEMPERATURES = (1.0, 20.0)
"""The range in which temperatures are tuned."""


class Interval(NamedTuple):
    """A tuning range, from its lower to its upper end; both are positive."""

    low: float
    high: float


class ParameterError(ValueError):
    """A parameter that does not exist, is out of range, or has no effect, said in one line."""


class ParamInfo(NamedTuple):
    """What `param` recorded about a field, for tables, tuning and the contract suite."""

    source: str
    unit: str
    phase: Phase
    tune: Tuning
    active_when: Mapping[str, tuple[Any, ...]]
    needs: tuple[str, ...]
    inert: str
    added: bool


def param(
    default: Any,
    description: str,
    *,
    source: str,
    unit: str = "",
    phase: Phase = "synthesis",
    tune: Tuning = "",
    active_when: Mapping[str, tuple[Any, ...]] | None = None,
    needs: tuple[str, ...] = (),
    inert: str = "",
    added: bool = False,
    **bounds: Any,
) -> Any:
    """Declare one hyper-parameter.

    Args:
        default: the paper's value.
        description: one sentence.
        source: the source of the default, for example ``"paper, Table 2"``.
        unit: unit of the value, empty when it has none.
        phase: ``distillation`` parameters leave the synthetic images unchanged, so that runs
            which differ only there share one cached synthesis.
        tune: how it is tuned, see `Tuning`; its range follows from its published value.
        active_when: other parameters and the values under which this one has an effect.
        needs: other parameters that must not be zero or false for this one to have an effect.
        inert: the reason why the parameter may change nothing; empty when it must act.
        added: whether the parameter came after runs of the method had been recorded. Under its
            default those runs mean what they did, and records leave it out.
        bounds: pydantic's ``gt``, ``ge``, ``lt``, ``le``.
    """
    extra: dict[str, Any] = {
        "source": source,
        "unit": unit,
        "phase": phase,
        "tune": tune,
        "active_when": dict(active_when or {}),
        "needs": needs,
        "inert": inert,
        "added": added,
    }
    return Field(default, description=description, json_schema_extra=extra, **bounds)


class MethodParams(BaseModel):
    """Base class of every method's ``Params``; it has no fields.

    Class attributes:
        retired: parameters that are gone, and the values under which runs without them were
            recorded. Records still have them, so that those runs keep their identity.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, strict=True)

    retired: ClassVar[Mapping[str, Any]] = {}

    @model_validator(mode="before")
    @classmethod
    def _understand_records(cls, settings: Any) -> Any:
        return cls._present(settings) if isinstance(settings, Mapping) else settings

    @classmethod
    def _present(cls, settings: Mapping[str, Any]) -> Mapping[str, Any]:
        """``settings`` without the retired parameters, where these have the recorded values."""
        gone = {name for name, value in cls.retired.items() if settings.get(name) == value}
        return {name: value for name, value in settings.items() if name not in gone}

    @classmethod
    def info(cls, name: str) -> ParamInfo:
        """What `param` recorded about field ``name``."""
        extra = cls.model_fields[name].json_schema_extra
        assert isinstance(extra, dict), f"{cls.__qualname__}.{name} is not declared with param()"
        return ParamInfo(**extra)  # type: ignore[arg-type]

    @classmethod
    def build(
        cls, owner: str, overrides: Mapping[str, Any], defaults: Mapping[str, Any] | None = None
    ) -> Self:
        """Validate ``overrides`` on top of the class's (or a task's) defaults.

        Args:
            owner: the method's name, for messages.
            overrides: what the user set; each must exist, be in range and have an effect.
            defaults: the paper's settings for one task, taking precedence over field defaults.

        Raises:
            ParameterError: one line that names the parameter and what to do.
        """
        overrides = cls._present(overrides)
        for name in overrides:
            if name not in cls.model_fields:
                raise ParameterError(_unknown(owner, name, list(cls.model_fields)))
        try:
            params = cls(**{**(defaults or {}), **overrides})
        except ValidationError as error:
            raise ParameterError(_invalid(owner, cls, error)) from None
        for name in overrides:
            if reason := params.inactive(name):
                raise ParameterError(f"{owner}: parameter '{name}' {reason}")
        return params

    def inactive(self, name: str) -> str:
        """Why parameter ``name`` has no effect under the other settings; empty when it has."""
        for other, values in self.info(name).active_when.items():
            actual = getattr(self, other)
            if actual not in values:
                wanted = " or ".join(format_value(value) for value in values)
                return (
                    f"has no effect while {other}={format_value(actual)}; "
                    f"set {other}={wanted} or leave '{name}' alone"
                )
        for other in self.info(name).needs:
            if not getattr(self, other):
                return (
                    f"has no effect while {other}={format_value(getattr(self, other))}; "
                    f"switch {other} on or leave '{name}' alone"
                )
        return ""

    @classmethod
    def tuning_range(cls, name: str, published: Mapping[str, Any] | None = None) -> Interval | None:
        """The range in which parameter ``name`` is tuned, by the rule of `Tuning`.

        Args:
            name: the parameter.
            published: a task family's published settings, which come before the field's default.

        Returns:
            The range, cut to the field's bounds; None for what is not tuned.
        """
        field, kind = cls.model_fields[name], cls.info(name).tune
        if not kind:
            return None
        if kind == "temperature":
            low, high = TEMPERATURES
        else:
            value = float((published or {}).get(name, field.default))
            if value == 0:
                return None
            low, high = (float(f"{end:.12g}") for end in (value / FACTOR, value * FACTOR))
        for bound in field.metadata:
            low = max(low, *(getattr(bound, end, low) for end in ("gt", "ge")))
            high = min(high, *(getattr(bound, end, high) for end in ("lt", "le")))
        return Interval(low, high)

    @classmethod
    def tuning_ranges(cls, published: Mapping[str, Any] | None = None) -> dict[str, Interval]:
        """The ranges of all parameters that are tuned, by name; see `tuning_range`."""
        ranges = {name: cls.tuning_range(name, published) for name in cls.model_fields}
        return {name: interval for name, interval in ranges.items() if interval is not None}

    def recorded(self) -> dict[str, Any]:
        """The settings that identify a run, by name; building them again gives this object."""
        usual = {
            name
            for name, field in type(self).model_fields.items()
            if self.info(name).added and getattr(self, name) == field.default
        }
        return self.model_dump(mode="json", exclude=usual) | dict(self.retired)

    def of_phase(self, phase: Phase) -> dict[str, Any]:
        """The settings that act in one phase, by name."""
        values = self.model_dump(mode="json")
        return {name: value for name, value in values.items() if self.info(name).phase == phase}


def format_value(value: Any) -> str:
    """A value as one types it after ``--set name=``."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def format_range(interval: Interval) -> str:
    """A tuning range in a table: ``0.002 … 0.2``."""
    return f"{interval.low:.3g} … {interval.high:.3g}"


def nearest(name: str, valid: list[str]) -> str:
    """``did you mean 'x'?``, or the list of valid names where none is close."""
    close = difflib.get_close_matches(name, valid, n=1, cutoff=0.6)
    if close:
        return f"did you mean '{close[0]}'?"
    return f"choose from: {', '.join(sorted(valid)) or '(none)'}"


def _unknown(owner: str, name: str, valid: list[str]) -> str:
    return f"{owner} has no parameter '{name}'; {nearest(name, valid)}"


def _invalid(owner: str, cls: type[MethodParams], error: ValidationError) -> str:
    first = error.errors()[0]
    name = str(first["loc"][0]) if first["loc"] else "parameters"
    if not first["loc"]:
        return f"{owner}: {first['msg'].removeprefix('Value error, ')}"
    field: FieldInfo = cls.model_fields[name]
    message = first["msg"][0].lower() + first["msg"][1:]
    return (
        f"{owner}: parameter '{name}' is {first['input']!r}, but {message} "
        f"(default {format_value(field.default)})"
    )


PER_PIXEL: Mapping[str, Mapping[str, Any]] = {
    "camvid": {"temperature": 1.0},
    "voc2012": {"temperature": 1.0},
}
"""DeGAN for segmentation distils per pixel at τ = 1, and so must the other rows of its table."""
