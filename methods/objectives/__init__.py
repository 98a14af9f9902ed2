"""What the student minimises.

`methods.objectives.base` has the contract and the two losses of logits that methods have of their
own; the other files of this folder have an objective each, to be put in their place on any method.
"""

from methods.objectives.base import Distillation as Distillation
from methods.objectives.base import Diverged as Diverged
from methods.objectives.base import LogitObjective as LogitObjective
from methods.objectives.base import Objective as Objective
from methods.objectives.base import Supervised as Supervised
