"""``dfkd pages``: what the pages of results need to know of methods and suites."""

from __future__ import annotations

from benchmark.analysis.pages.publish import Robustness
from benchmark.cli.comparisons import sweep_context
from benchmark.suites.suite import load_suite

DRAWN = "robustness-draws"
"""The suite whose methods and task the page on robustness is about."""


def about_robustness() -> Robustness:
    """What the page on robustness compares."""
    suite = load_suite(DRAWN)
    (task,) = suite.tasks
    methods = list(dict.fromkeys(entry.name for entry in suite.methods))
    return Robustness(task, methods, sweep_context(task))
