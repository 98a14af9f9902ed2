"""Random settings of a method, drawn from the tuning ranges that one rule gives its parameters."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from methods.base.method import Method
from methods.base.run import derive_seed
from methods.settings.params import Interval, MethodParams, ParameterError

ATTEMPTS = 100
"""How often a draw is repeated before it counts as impossible."""


def tunable(
    method: type[Method], fixed: Mapping[str, Any] | None = None, family: str = ""
) -> dict[str, Interval]:
    """The parameters of which a draw has random values, with their ranges.

    Args:
        method: the method.
        fixed: parameters that keep a given value; those that they switch off are left out, too.
        family: the task family, whose published settings the ranges are taken around.

    Raises:
        ParameterError: for wrong ``fixed`` parameters.
    """
    params = method.build_params(fixed or {}, family)
    return {
        name: interval
        for name, interval in method.Params.tuning_ranges(method.settings.get(family)).items()
        if name not in (fixed or {}) and not params.inactive(name)
    }


def draw_params(
    method: type[Method], count: int, fixed: Mapping[str, Any] | None = None, family: str = ""
) -> list[dict[str, Any]]:
    """``count`` random settings of a method; draw i is always the same.

    Every parameter that is tuned (`methods.settings.params.Tuning`) is drawn by itself and
    log-uniformly from its range. Where in its range it falls depends on the method, the parameter
    and i alone: fixing one parameter changes no other. Values have three significant digits, as a
    person would type them.

    Args:
        method: the method whose parameters are drawn.
        count: number of draws.
        fixed: parameters that keep a given value.
        family: task family, whose published settings the ranges are taken around.

    Raises:
        ParameterError: for wrong ``fixed`` parameters, or when no draw is valid.
    """
    fixed = dict(fixed or {})
    ranges = tunable(method, fixed, family)
    return [_draw(method, index, ranges, fixed, family) for index in range(count)]


def _draw(
    method: type[Method],
    index: int,
    ranges: Mapping[str, Interval],
    fixed: Mapping[str, Any],
    family: str,
) -> dict[str, Any]:
    streams = {
        name: np.random.default_rng(derive_seed(index, f"draw of {method.name}: {name}"))
        for name in ranges
    }
    for _ in range(ATTEMPTS):
        drawn = {name: _value(interval, streams[name]) for name, interval in ranges.items()}
        try:
            return _effective(method, {**fixed, **drawn}, family)
        except ParameterError:
            continue  # an end of a range that is itself out of bounds: draw again
    raise ParameterError(f"{method.name}: none of {ATTEMPTS} draws from its tuning ranges is valid")


def _value(interval: Interval, stream: np.random.Generator) -> float:
    low, high = interval
    value = math.exp(stream.uniform(math.log(low), math.log(high)))
    return min(max(float(f"{value:.3g}"), low), high)


def _effective(method: type[Method], settings: dict[str, Any], family: str) -> dict[str, Any]:
    """``settings`` without those that the others switch off."""
    while True:
        params: MethodParams = method.Params.build(
            method.name, {}, {**method.settings.get(family, {}), **settings}
        )
        idle = [name for name in settings if params.inactive(name)]
        if not idle:
            method.build_params(settings, family)
            return settings
        settings = {name: value for name, value in settings.items() if name not in idle}
