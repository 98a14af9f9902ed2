"""The contract of a method: everything a new method needs, in one import.

In reading order: `method` (the class to write), `problem` and `teacher` (what it is given), `run`
and `states` (budget, random streams, log, resumable loops), `samples` and `drawn_images` (what it
makes), `objective` and `student` (what is minimised, and the loop that does), `registry` (how
methods are found).
"""

from methods.base.drawn_images import fresh_from as fresh_from
from methods.base.drawn_images import samples_from as samples_from
from methods.base.method import Method as Method
from methods.base.objective import Distillation as Distillation
from methods.base.objective import LogitObjective as LogitObjective
from methods.base.objective import Objective as Objective
from methods.base.objective import Supervised as Supervised
from methods.base.objective import TransferObjective as TransferObjective
from methods.base.problem import DATA_FREE as DATA_FREE
from methods.base.problem import Access as Access
from methods.base.problem import AccessError as AccessError
from methods.base.problem import Normalization as Normalization
from methods.base.problem import Problem as Problem
from methods.base.run import Progress as Progress
from methods.base.run import Run as Run
from methods.base.run import derive_seed as derive_seed
from methods.base.samples import Batch as Batch
from methods.base.samples import ImageBank as ImageBank
from methods.base.samples import OnlineSource as OnlineSource
from methods.base.samples import SampleSource as SampleSource
from methods.base.states import Diverged as Diverged
from methods.base.states import Part as Part
from methods.base.student import StudentTraining as StudentTraining
from methods.settings.budget import Budget as Budget
from methods.settings.params import MethodParams as MethodParams
from methods.settings.params import param as param
from methods.settings.schedule import PaperSchedule as PaperSchedule
