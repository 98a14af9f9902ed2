"""Records as rows of a frame."""

from __future__ import annotations

from benchmark.analysis.frame import row
from tests.helpers import make_record


def test_work_is_that_of_every_phase_but_the_harnesss() -> None:
    record = make_record()
    spent = {"rounds": 5.0, "synthesis": 2.0, "evaluation": 90.0}
    ledger = record.ledger.model_copy(update={"work": spent, "seconds": spent})
    found = row(record.model_copy(update={"ledger": ledger}))
    assert found["work"] == found["seconds"] == 7.0
