"""What a run counts for: one rule for tables, comparisons and robustness scores."""

from __future__ import annotations

from benchmark.records.record import FAILED, SCORED, Status

RULE = (
    "A finished run counts with its score, or with the chance level if that is higher; a failed "
    "run counts with the chance level; a run that never started, was interrupted or spent more "
    "than its budget does not count"
)
"""The rule of `counted_score`, for captions; it ends without a full stop."""


def counted_score(status: Status, score: float | None, chance: float) -> float | None:
    """The score that a run counts for, where means are compared.

    A student below chance is worth as much as one at chance, because a constant prediction needs no
    training. With that floor a run that crashed never beats one that finished, and never gains by
    it: both are at chance in the worst case.

    Args:
        status: the run's status.
        score: the student's score, in [0, 1]; None for a run without one.
        chance: the score of a constant prediction, in [0, 1].

    Returns:
        The score, in [chance, 1]; None for a run that does not count, because it never ended, was
        not supported, spent more than its budget, or ended without a score.
    """
    if status in FAILED:
        return chance
    if status not in SCORED or score is None:
        return None
    return max(score, chance)
