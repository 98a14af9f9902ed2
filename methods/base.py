"""The contract between a method and whoever runs it.

A method turns a frozen teacher into a trained student. It sees a `Problem` (the teacher, a
student factory, shapes, and only the data it declared) and a `Run` (budget, randomness,
logging). Nothing here knows about the benchmark: a method can be used on anybody's teacher.
"""

from __future__ import annotations

import enum
import hashlib
import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from methods.budget import Budget
from methods.objectives import Distillation, Objective
from methods.objectives import Diverged as Diverged
from methods.params import MethodParams
from methods.sources import SampleSource
from methods.student import train_student
from methods.teacher import Ledger, Teacher

if TYPE_CHECKING:
    from methods.objectives.transfer import TransferObjective


class Access(enum.Flag):
    """What a method may see beyond the teacher. No flag at all means data-free."""

    METADATA = enum.auto()
    PROXY_IMAGES = enum.auto()
    TRAIN_IMAGES = enum.auto()
    TRAIN_LABELS = enum.auto()

    def describe(self) -> str:
        """The access class as the tables print it."""
        names = [flag.name.lower().replace("_", " ") for flag in self if flag.name]
        return " + ".join(names) or "data-free"


DATA_FREE = Access(0)


class AccessError(RuntimeError):
    """A method reached for data it did not declare."""


@dataclass(frozen=True)
class Normalization:
    """Per-channel mean and standard deviation of the teacher's input, in [0, 1] pixel units."""

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def _column(self, values: tuple[float, ...], like: Tensor) -> Tensor:
        return torch.tensor(values, dtype=like.dtype, device=like.device).view(1, -1, 1, 1)

    def normalize(self, pixels: Tensor) -> Tensor:
        """Pixels in [0, 1], B×C×H×W, to the teacher's input space."""
        return (pixels - self._column(self.mean, pixels)) / self._column(self.std, pixels)

    def denormalize(self, images: Tensor) -> Tensor:
        """Images in the teacher's input space to pixels; synthetic ones may leave [0, 1]."""
        return images * self._column(self.std, images) + self._column(self.mean, images)


class Problem:
    """What a method may see. Data it did not declare is not here, and asking for it raises.

    Args:
        teacher: frozen network.
        make_student: builds the student, initialised from the seed (not from the method).
        image_shape: (C, H, W) of the teacher's input.
        num_classes: K.
        normalization: of the teacher's input.
        task_type: what the logits are.
        access: what the method declared.
        method: its name, for messages.
        granted: the data itself, by flag; entries that were not declared are dropped.
        objective: what the student minimises, when it is not what the method has of its own.
    """

    def __init__(
        self,
        *,
        teacher: Teacher,
        make_student: Callable[[], nn.Module],
        image_shape: tuple[int, int, int],
        num_classes: int,
        normalization: Normalization,
        task_type: Literal["classification", "segmentation"] = "classification",
        access: Access = DATA_FREE,
        method: str = "method",
        granted: Mapping[Access, Any] | None = None,
        objective: TransferObjective | None = None,
    ) -> None:
        self.teacher = teacher
        self.make_student = make_student
        self.image_shape = image_shape
        self.num_classes = num_classes
        self.normalization = normalization
        self.task_type = task_type
        self.access = access
        self.objective = objective
        self._method = method
        self._granted = {flag: data for flag, data in (granted or {}).items() if flag in access}

    def _get(self, flag: Access, what: str) -> Any:
        if flag not in self.access:
            raise AccessError(
                f"method '{self._method}' asked for {what} but does not declare "
                f"Access.{flag.name}; add it to the class's `access` (the table will say so)"
            )
        if flag not in self._granted:
            raise AccessError(f"method '{self._method}' needs {what}, which this task has not got")
        return self._granted[flag]

    @property
    def train_images(self) -> Tensor:
        """Real training images, N×C×H×W, normalised. Needs ``Access.TRAIN_IMAGES``."""
        images: Tensor = self._get(Access.TRAIN_IMAGES, "the training images")
        return images

    @property
    def train_labels(self) -> Tensor:
        """Labels of `train_images`, N. Needs ``Access.TRAIN_LABELS``."""
        labels: Tensor = self._get(Access.TRAIN_LABELS, "the training labels")
        return labels

    @property
    def proxy_images(self) -> Tensor:
        """Unlabelled images of another dataset, normalised. Needs ``Access.PROXY_IMAGES``."""
        images: Tensor = self._get(Access.PROXY_IMAGES, "the proxy images")
        return images

    @property
    def metadata(self) -> Any:
        """Activation records shipped with the teacher. Needs ``Access.METADATA``."""
        return self._get(Access.METADATA, "the teacher's metadata")


Progress = Callable[[str, int, int, float], None]
"""Where a run reports how far it is: phase, step, total and loss."""


def _silent(phase: str, step: int, total: int, loss: float) -> None:
    pass


def _stride(total: int, points: int) -> int:
    """Every how many of ``total`` steps a curve gets a point."""
    return max(1, math.ceil(total / points))


def derive_seed(seed: int, name: str) -> int:
    """A 63-bit seed for one named purpose, independent of every other name."""
    digest = hashlib.sha256(f"{seed}/{name}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


class Run:
    """One execution: budget, device, named random streams, logging and checkpoints.

    Args:
        budget: what may be spent.
        seed: every random stream derives from it and from the stream's name.
        device: where to compute.
        precision: ``bf16`` runs `autocast` regions in bfloat16, ``fp32`` leaves them alone.
        ledger: what has been spent; shared with the teacher.
        progress: called now and then with phase, step, total and loss.
        on_checkpoint: called with the student, the step and the images it learns from.
        find_samples: makes, or finds again, the samples that its argument would make.
    """

    POINTS_PER_CURVE = 50
    UNREAD_STEPS = 16

    def __init__(
        self,
        budget: Budget,
        seed: int = 0,
        *,
        device: torch.device | str = "cpu",
        precision: Literal["bf16", "fp32"] = "fp32",
        ledger: Ledger | None = None,
        progress: Progress = _silent,
        on_checkpoint: Callable[[nn.Module, int, SampleSource], None] | None = None,
        find_samples: Callable[[Callable[[], SampleSource]], SampleSource] | None = None,
    ) -> None:
        self.budget = budget
        self.seed = seed
        self.device = torch.device(device)
        self.precision = precision
        self.ledger = ledger or Ledger()
        self.curves: dict[str, dict[str, list[float]]] = {}
        self._progress = progress
        self.on_checkpoint = on_checkpoint
        self.find_samples = find_samples
        self._inner_seconds = 0.0
        self._unread: list[tuple[str, int, int, list[str], Tensor]] = []

    def stream(self, name: str) -> torch.Generator:
        """A fresh random stream on the CPU, the same for the same seed and name."""
        return torch.Generator().manual_seed(derive_seed(self.seed, name))

    @contextmanager
    def seeded(self, name: str) -> Iterator[None]:
        """Within the block torch's global generator is the named stream; then it is as before.

        For code that cannot take a generator, such as the initialisation of layers.
        """
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derive_seed(self.seed, name))
            yield

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Count the seconds spent in the block under ``name``, less those of phases inside it."""
        started, outer, self._inner_seconds = time.perf_counter(), self._inner_seconds, 0.0
        try:
            yield
        finally:
            spent = time.perf_counter() - started
            seconds = self.ledger.seconds
            seconds[name] = seconds.get(name, 0.0) + spent - self._inner_seconds
            self._inner_seconds = outer + spent

    def reuse(self, make: Callable[[], SampleSource]) -> SampleSource:
        """The samples ``make`` would make, from a cache where the caller has one."""
        if self.find_samples is not None:
            return self.find_samples(make)
        with self.phase("synthesis"):
            return make()

    def autocast(self) -> AbstractContextManager[Any]:
        """bfloat16 where the run's precision says so. Losses are computed in float32."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bf16")

    def log(self, phase: str, step: int, total: int, **scalars: Tensor | float) -> None:
        """Record scalars of step ``step`` (from 0) of ``total``; the first is shown as the loss.

        Scalars on an accelerator are read a few steps later, so that it is never waited for.

        Raises:
            Diverged: when one of them is NaN or infinite, at once on a CPU, and at most
                `UNREAD_STEPS` steps late elsewhere.
        """
        values = torch.stack(
            [torch.as_tensor(v, dtype=torch.float64, device=self.device) for v in scalars.values()]
        ).detach()
        self._unread.append((phase, step, total, list(scalars), values))
        due = step % _stride(total, self.POINTS_PER_CURVE) == 0 or step == total - 1
        if due or values.device.type == "cpu" or len(self._unread) >= self.UNREAD_STEPS:
            self._read_scalars()

    def _read_scalars(self) -> None:
        unread, self._unread = self._unread, []
        for phase, step, total, names, tensor in unread:
            values = dict(zip(names, tensor.tolist(), strict=True))
            for name, value in values.items():
                if not math.isfinite(value):
                    raise Diverged(f"{name} became {value} at step {step} of {total} in {phase}")
            if step % _stride(total, self.POINTS_PER_CURVE) and step != total - 1:
                continue
            for name, value in values.items():
                curve = self.curves.setdefault(f"{phase}/{name}", {"step": [], "value": []})
                curve["step"].append(step)
                curve["value"].append(value)
            self._progress(phase, step + 1, total, next(iter(values.values())))

    def checkpoint(self, student: nn.Module, step: int, samples: SampleSource) -> None:
        """Show the student after ``step`` steps; the outcome is not told."""
        if self.on_checkpoint is not None:
            self.on_checkpoint(student, step, samples)


def refuse_unprepared(problem: Problem, setting: str) -> str | None:
    """Why images and student cannot be made together under an objective that needs images first.

    Args:
        problem: with the objective.
        setting: the parameter that asks for it, for the message.
    """
    if problem.objective is None or not problem.objective.needs_samples_first:
        return None
    return (
        f"objective '{problem.objective.name}' is prepared on finished samples, and with {setting} "
        "there are none before the student learns"
    )


class Method(ABC):
    """One approach to data-free knowledge distillation: one class, one file.

    Class attributes:
        name: identifier in commands and records, kebab-case.
        title: as printed in tables.
        paper: citation, or what the baseline stands for.
        access: what it may see beyond the teacher.
        version: raise it when the same parameters start to mean something else.
        inverts_pixels: it optimises the pixels of every image, and so spends the budget's
            ``inversion_images`` and ``inversion_steps`` where others train a generator.
        Params: its hyper-parameters; defaults are the paper's.
        settings: the paper's settings by task family, where they differ from the defaults.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    paper: ClassVar[str]
    access: ClassVar[Access] = DATA_FREE
    version: ClassVar[int] = 1
    inverts_pixels: ClassVar[bool] = False
    Params: ClassVar[type[MethodParams]] = MethodParams
    settings: ClassVar[Mapping[str, Mapping[str, Any]]] = {}

    def __init__(self, params: MethodParams | None = None) -> None:
        self.params: Any = params if params is not None else self.Params()

    @classmethod
    def build_params(cls, overrides: Mapping[str, Any], family: str = "") -> MethodParams:
        """Parameters for a task family: its paper settings, then ``overrides``.

        Raises:
            ParameterError: for an unknown, invalid or ineffective parameter.
        """
        return cls.Params.build(cls.name, overrides, cls.settings.get(family))

    def supports(self, problem: Problem) -> str | None:
        """None, or one sentence on why the method cannot run on this problem."""
        return None

    def note(self, problem: Problem) -> str:
        """A few words on what is special about a run on this problem; shown beside the title."""
        return ""

    @abstractmethod
    def synthesize(self, problem: Problem, run: Run) -> SampleSource:
        """Make, or train, the source of the images the student learns from."""

    def objective(self, problem: Problem) -> Objective:
        """What the student minimises by default; Hinton's KD at the parameter ``temperature``."""
        return Distillation(self.params.temperature)

    def student_objective(self, problem: Problem) -> Objective:
        """What the student minimises: the problem's objective if it has one, or the method's own.

        A method with a loop of its own trains its student on this.
        """
        own = self.objective(problem)
        return own if problem.objective is None else problem.objective.on(own)

    def student_samples(self, problem: Problem, samples: SampleSource, run: Run) -> SampleSource:
        """What the student learns from: ``samples``, unless a method adds to them."""
        return samples

    def distill(self, problem: Problem, samples: SampleSource, run: Run) -> nn.Module:
        """Train a student on ``samples``; the shared loop unless a method needs another."""
        seen = self.student_samples(problem, samples, run)
        return train_student(problem, seen, self.student_objective(problem), run)

    def fit(self, problem: Problem, run: Run) -> nn.Module:
        """The whole method. Override it when generator and student are trained together."""
        samples = run.reuse(lambda: self.synthesize(problem, run))
        with run.phase("distillation"):
            return self.distill(problem, samples, run)
