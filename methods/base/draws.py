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
"""A range whose ends differ by this factor or more is drawn from by its logarithm."""
ATTEMPTS = 100


def draw_params(
    method: type[Method], count: int, fixed: Mapping[str, Any] | None = None, family: str = ""
) -> list[dict[str, Any]]:
    """Settings of ``count`` draws, each the same whenever it is asked for.

    Every parameter with a tuning range is drawn, independently and uniformly: over the choices, or
    between the ends, on a logarithmic scale where both are positive and a factor of `LOG_FROM`
    apart. Floats have three significant digits, as somebody would type them. A draw keeps only
    what has an effect beside the rest of it.

    Args:
        method: whose parameters.
        count: how many draws.
        fixed: parameters that are not drawn.
        family: task family, for the paper's settings of what is not drawn.

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
    """The settings without those that the others switch off."""
    while True:
        params: MethodParams = method.Params.build(
            method.name, {}, {**method.settings.get(family, {}), **settings}
        )
        idle = [name for name in settings if params.inactive(name)]
        if not idle:
            method.build_params(settings, family)
            return settings
        settings = {name: value for name, value in settings.items() if name not in idle}
