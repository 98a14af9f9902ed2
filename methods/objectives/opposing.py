"""The student's side of a game: it minimises what its opponent, the generator, maximises."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from methods.base.objective import LogitObjective
from methods.base.samples import Batch


class Opposing(LogitObjective):
    """Minus a term of the generator.

    Args:
        term: of the student's and the teacher's logits, see `methods.losses.adversarial`.
    """

    replayable = True

    def __init__(self, term: Callable[[Tensor, Tensor], Tensor]) -> None:
        self._term = term

    def of_logits(self, logits: Tensor, batch: Batch) -> Tensor:
        assert batch.teacher_logits is not None
        return -self._term(logits, batch.teacher_logits)
