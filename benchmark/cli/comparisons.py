"""What comparisons need to know of methods and suites; the analysis itself imports neither."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from benchmark.analysis.comparison.robustness_page import SweepContext


def added_defaults(name: str) -> Mapping[tuple[str, int], Any]:
    """The default of a parameter in every method to which it was added, by method and version.

    Records leave such a parameter out while it has its default (`methods.settings.params.param`).
    """
    # The methods import torch, which most comparisons need not wait for.
    from methods.base.errors import RegistryError
    from methods.base.registry import discover

    try:
        known = discover()
    except RegistryError:
        return {}  # a method that does not import is as unknown as one that is not installed
    return {
        (method, version): cls.Params.model_fields[name].default
        for method, cls in known.items()
        for version in cls.versions()
        if name in cls.Params.model_fields and cls.Params.info(name).added
    }


def sweep_context(task: str) -> SweepContext:
    """What the page on robustness needs to know for a task."""
    from benchmark.analysis.comparison.robustness_page import SweepContext

    return SweepContext(added_defaults, sweep_suites(task), draw_suites(task))


def sweep_suites(task: str) -> list[str]:
    """The shipped suites that sweep a setting on a task."""
    from benchmark.suites.suite import load_suite, suite_names

    suites = map(load_suite, suite_names())
    return [suite.name for suite in suites if task in suite.tasks and suite.purpose == "sweep"]


def draw_suites(task: str) -> list[str]:
    """The shipped suites that run random draws from the tuning ranges on a task."""
    from benchmark.suites.suite import load_suite, suite_names

    suites = map(load_suite, suite_names())
    return [suite.name for suite in suites if task in suite.tasks and suite.draws]
