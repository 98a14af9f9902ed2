"""`distill` runs any data-free method on a teacher of your own."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from methods.base.counting import unwatch
from methods.base.ledger import Ledger
from methods.base.method import Method
from methods.base.problem import Access, Normalization, Problem
from methods.base.registry import discover
from methods.base.run import Progress, Run
from methods.base.samples import SampleSource
from methods.base.teacher import Teacher
from methods.networks.calls import untold
from methods.networks.inspection import noise
from methods.networks.predictions import accuracy, predictions
from methods.own_teacher.interface import Unsuitable, probe, with_timm_interface
from methods.settings.budget import Budget, preset
from methods.settings.params import nearest

NOT_HERE = Access.METADATA | Access.TRAIN_IMAGES | Access.TRAIN_LABELS | Access.CLASS_TEXT


@dataclass(frozen=True)
class Distilled:
    """A trained student, in eval mode, and what it took.

    ``agreement`` is the share of synthetic images, none of which it was trained on, that it
    classifies as its teacher does; ``ledger`` and ``curves`` are those of `Run`.
    """

    student: nn.Module
    agreement: float
    ledger: Ledger
    curves: Mapping[str, Mapping[str, list[float]]]


def distill(
    teacher: nn.Module,
    student: nn.Module | Callable[[], nn.Module],
    *,
    method: str | type[Method] = "rdskd",
    image_shape: tuple[int, int, int],
    mean: Sequence[float],
    std: Sequence[float],
    params: Mapping[str, Any] | None = None,
    family: str = "",
    budget: str | Budget = "cpu",
    seed: int = 0,
    device: torch.device | str = "cpu",
    precision: Literal["bf16", "fp32"] = "fp32",
    proxy_images: Tensor | None = None,
    progress: Progress = lambda phase, step, total, loss: None,
) -> Distilled:
    """Train a student from a teacher alone. Equal seeds give equal bits on one machine.

    Args:
        teacher: any classifier, from images B×C×H×W to logits B×K. It is moved to the device and
            frozen: eval mode, parameters without gradient. Its features come from timm's interface
            where it has that, and otherwise are the input of its last linear layer.
        student: a network, of which a copy is trained from the weights it has, or a function that
            makes one, whose initialisation then follows from the seed.
        method: name of a data-free method (or of one that sees proxy images), or a class.
        image_shape: (C, H, W) of the teacher's input.
        mean: mean per channel of the teacher's normalisation, in [0, 1] pixel units.
        std: standard deviation per channel, likewise.
        params: settings of the method that differ from its defaults.
        family: dataset whose published settings take the place of the defaults, such as
            ``imagenet``; empty for the defaults.
        budget: ``smoke``, ``cpu`` or ``gpu`` of `methods.settings.budget`, or numbers of your own.
        seed: seed of every random stream.
        device: where to compute.
        precision: ``bf16`` computes the networks in bfloat16, ``fp32`` leaves them alone.
        proxy_images: for methods that see some: N×C×H×W, pixels in [0, 1], unlabelled.
        progress: called now and then with phase, step, total and loss.

    Raises:
        Unsuitable: one line, when teacher, student, method and shape do not go together.
        methods.settings.params.ParameterError: for an unknown, invalid or ineffective parameter.
        methods.base.Diverged: when a loss becomes NaN or infinite.
    """
    cls = find_method(method)
    if family and family not in cls.settings:
        raise Unsuitable(
            f"method '{cls.name}' has no published settings of its own for '{family}'; "
            f"{nearest(family, list(cls.settings))}"
        )
    approach = cls(cls.build_params(params or {}, family))
    numbers = preset(budget) if isinstance(budget, str) else budget
    normalization = _normalization(mean, std, image_shape[0])
    granted = _granted(cls, proxy_images, normalization, image_shape)
    run = Run(
        numbers.of_method(cls.inverts_pixels),
        seed,
        device=device,
        precision=precision,
        progress=progress,
    )

    def make_student() -> nn.Module:
        if isinstance(student, nn.Module):
            return copy.deepcopy(student)
        with run.seeded("student-initialisation"):
            return student()

    example = noise(image_shape)
    expected = probe(make_student().cpu(), example, "student").shape[1]
    teacher.to(run.device)
    classes = probe(teacher, example.to(run.device), "teacher").shape[1]
    if expected != classes:
        raise Unsuitable(
            f"the student has {expected} classes and the teacher {classes}; a student needs its "
            "teacher's classes"
        )
    network = with_timm_interface(teacher, example.to(run.device))
    problem = Problem(
        teacher=Teacher(network, run.ledger),
        make_student=make_student,
        image_shape=image_shape,
        num_classes=classes,
        normalization=normalization,
        access=cls.access,
        method=cls.name,
        granted=granted,
    )
    if reason := approach.supports(problem):
        raise Unsuitable(reason)
    agreement = Agreement(network, run)
    run.on_checkpoint = agreement.measure
    # Somebody's student may have layers, such as dropout, that know the global generator only.
    with run.seeded("student-layers"):
        trained = unwatch(approach.fit(problem, run)).eval()
    return Distilled(trained, agreement.last, run.ledger, run.curves)


def find_method(
    method: str | type[Method], known: Mapping[str, type[Method]] | None = None
) -> type[Method]:
    """The class of a method that does without the teacher's data.

    Args:
        method: a name, or the class itself.
        known: methods by name; all installed ones when not given.

    Raises:
        Unsuitable: when there is no such method, or it needs data of the teacher's.
    """
    if isinstance(method, str):
        known = discover() if known is None else known
        free = {name: cls for name, cls in known.items() if not cls.access & NOT_HERE}
        if method not in known:
            raise Unsuitable(f"there is no method '{method}'; {nearest(method, list(free))}")
        cls = known[method]
    else:
        cls = method
    if cls.access & NOT_HERE:
        raise Unsuitable(
            f"method '{cls.name}' sees {cls.access.describe()}, and there is nothing here but the "
            "teacher; choose a data-free method, or one that sees proxy images"
        )
    return cls


def _normalization(mean: Sequence[float], std: Sequence[float], channels: int) -> Normalization:
    for name, values in (("mean", mean), ("std", std)):
        if len(values) != channels:
            raise Unsuitable(f"{name} has {len(values)} values and an image {channels} channels")
        if not all(map(math.isfinite, values)):
            raise Unsuitable(f"{name} is {', '.join(map(str, values))}; it must be finite")
    if min(std) <= 0:
        raise Unsuitable(f"std is {', '.join(map(str, std))}; it must be above 0")
    return Normalization(tuple(mean), tuple(std))


def _granted(
    cls: type[Method],
    proxy_images: Tensor | None,
    normalization: Normalization,
    image_shape: tuple[int, int, int],
) -> dict[Access, Tensor]:
    sees = Access.PROXY_IMAGES in cls.access
    if proxy_images is None:
        if sees:
            raise Unsuitable(f"method '{cls.name}' needs proxy images, and none are given")
        return {}
    if not sees:
        raise Unsuitable(f"method '{cls.name}' does not see proxy images; leave them out")
    if tuple(proxy_images.shape[1:]) != image_shape or len(proxy_images) < 2:
        raise Unsuitable(
            f"the proxy images are {'×'.join(map(str, proxy_images.shape))}; needed are at least "
            f"two of {'×'.join(map(str, image_shape))}"
        )
    return {Access.PROXY_IMAGES: normalization.normalize(proxy_images.float())}


class Agreement:
    """How often student and teacher agree on images kept from the student; needs no real data.

    Args:
        teacher: the bare network, because these queries are not the method's.
        run: gives budget and random stream; its curves get a point at every checkpoint, measured
            on the validation images of that time.
    """

    def __init__(self, teacher: nn.Module, run: Run) -> None:
        self.teacher = teacher
        self.run = run
        self.last = float("nan")

    def measure(self, student: nn.Module, step: int, samples: SampleSource) -> None:
        """Measure the agreement of a student after ``step`` steps."""
        count = self.run.budget.validation_images
        images = samples.validation(count, self.run.stream("validation"))
        with untold():
            self.last = accuracy(student, images, predictions(self.teacher, images))
        curve = self.run.curves.setdefault("evaluation/agreement", {"step": [], "value": []})
        curve["step"].append(step)
        curve["value"].append(self.last)
