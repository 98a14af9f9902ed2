"""What the student minimises.

`methods.base.objective` has the contract and the two losses of logits that methods have of their
own; the other files of this folder have an objective each, to be put in their place on any method.
"""

from __future__ import annotations

from methods.base.objective import Distillation as Distillation
from methods.base.objective import LogitObjective as LogitObjective
from methods.base.objective import Objective as Objective
from methods.base.objective import Supervised as Supervised
from methods.base.states import Diverged as Diverged
