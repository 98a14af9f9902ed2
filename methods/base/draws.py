"""Random settings of a method, drawn from the tuning ranges its parameters declare."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from methods.base.method import Method
from methods.base.run import derive_seed
from methods.settings.params import MethodParams, ParameterError, ParamInfo

LOG_FROM = 10
"""Intervals whose ends differ by this factor or more are drawn from on a logarithmic scale."""

ATTEMPTS = 100
"""How often a draw is repeated before it counts as impossible."""


def draw_params(
    method: type[Method], count: int, fixed: Mapping[str, Any] | None = None, family: str = ""
) -> list[dict[str, Any]]:
    """``count`` random settings of a method; draw i is always the same.

    Every parameter with a tuning range is drawn independently and uniformly, from its choices or
    from its interval; an interval with positive ends, at least a factor of `LOG_FROM` apart, is
    drawn from on a logarithmic scale. Floats have three significant digits, as a person would type
    them. Parameters that the others of the draw switch off are left out.

    Args:
        method: the method whose parameters are drawn.
        count: number of draws.
        fixed: parameters that keep a given value.
        family: task family, whose published settings hold for what is not drawn.

    Raises:
        ParameterError: for wrong ``fixed`` parameters, or when no draw is valid.
    """
    fixed = dict(fixed or {})
    method.build_params(fixed, family)
    return [_draw(method, index, fixed, family) for index in range(count)]


def _draw(
    method: type[Method], index: int, fixed: Mapping[str, Any], family: str
) -> dict[str, Any]:
    rng = np.random.default_rng(derive_seed(index, f"draw of {method.name}"))
    ranges = {name: method.Params.info(name) for name in method.Params.model_fields}
    for _ in range(ATTEMPTS):
        drawn = {
            name: _value(info, method.Params.model_fields[name].default, rng)
            for name, info in ranges.items()
            if info.tune and not info.inert and name not in fixed
        }
        try:
            return _effective(method, {**drawn, **fixed}, family)
        except ParameterError:
            continue  # two values that exclude each other: draw again
    raise ParameterError(f"{method.name}: none of {ATTEMPTS} draws from its tuning ranges is valid")


def _value(info: ParamInfo, default: Any, rng: np.random.Generator) -> Any:
    numeric = isinstance(default, int | float) and not isinstance(default, bool)
    if not numeric or len(info.tune) != 2:
        return info.tune[int(rng.integers(len(info.tune)))]
    low, high = info.tune
    if low > 0 and high >= LOG_FROM * low:
        value = math.exp(rng.uniform(math.log(low), math.log(high)))
    else:
        value = rng.uniform(low, high)
    if isinstance(default, int):
        return min(max(round(value), low), high)
    return min(max(float(f"{value:.3g}"), float(low)), float(high))


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
