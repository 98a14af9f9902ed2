"""The contract: all that a new method needs, in one import."""

from methods.base.method import Method as Method
from methods.base.problem import DATA_FREE as DATA_FREE
from methods.base.problem import Access as Access
from methods.base.problem import AccessError as AccessError
from methods.base.problem import Normalization as Normalization
from methods.base.problem import Problem as Problem
from methods.base.run import Progress as Progress
from methods.base.run import Run as Run
from methods.base.run import derive_seed as derive_seed
from methods.base.samples import SampleSource as SampleSource
from methods.base.states import Diverged as Diverged
from methods.settings.budget import Budget as Budget
from methods.settings.params import MethodParams as MethodParams
from methods.settings.params import param as param
