"""``dfkd distill``: a teacher of the user's own in, a student's weights out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.markup import escape
from torch import Tensor, nn

from benchmark.cli.display import PhaseDisplay
from benchmark.cli.export import check_export, export, write_student
from benchmark.errors import UserError
from benchmark.machine.device import (
    available_device,
    available_memory,
    keep_freed_memory,
    pick_precision,
)
from benchmark.records.files import check_writable
from benchmark.runs.failures import is_out_of_memory
from benchmark.suites.suite import parse_settings
from benchmark.tasks.data.images import MODES
from benchmark.tasks.data.labelled import LabelledImages, labelled_images
from benchmark.tasks.data.proxy import files_in, read_images
from methods.base.errors import described_with_place
from methods.base.method import Method
from methods.base.problem import Access, Normalization
from methods.base.registry import discover
from methods.base.states import Diverged
from methods.networks.predictions import CHUNK, predictions
from methods.own_teacher.architectures import TIMM, build_network
from methods.own_teacher.distill import Distilled, distill, find_method
from methods.own_teacher.interface import Unsuitable, probe
from methods.own_teacher.weights import load_weights
from methods.settings.budget import Budget, preset
from methods.settings.params import ParameterError

PRETRAINED = "pretrained"
BANK_SHARE = 0.5
"""The share of the memory that a bank of synthetic images may take."""


@dataclass(frozen=True)
class Request:
    """The arguments of ``dfkd distill`` as typed; ``numbers`` replace those of the budget."""

    teacher: str
    weights: str | None
    student: str
    method: str
    settings: tuple[str, ...]
    family: str
    image_shape: str
    mean: str | None
    std: str | None
    num_classes: int | None
    out: Path
    budget: str
    numbers: Mapping[str, float | None]
    seed: int
    device: str
    eval_dir: Path | None
    proxy_dir: Path | None
    method_folders: tuple[Path, ...]
    export: str | None


def run(request: Request, console: Console) -> int:
    """Distill, write the student and print how good it is.

    Returns:
        The exit code: 0, 1 when the training failed, or 130 when it was stopped.

    Raises:
        UserError: when an argument is wrong. Nothing is trained then, with one exception: a
            damaged image of ``eval_dir`` is found only after the student is written.
    """
    try:
        return _run(request, console)
    except (Unsuitable, ParameterError) as error:
        raise UserError(str(error)) from None


def _run(request: Request, console: Console) -> int:
    shape = parse_shape(request.image_shape)
    method = find_method(request.method, discover(request.method_folders))
    settings = parse_settings(request.settings)
    budget = budget_for(request, method, shape)
    _check_output(request)
    keep_freed_memory()
    device = available_device(request.device)
    teacher, normalization = _teacher(request, shape)
    num_classes = probe(teacher, torch.zeros(2, *shape), "teacher").shape[1]
    labelled = (
        labelled_images(request.eval_dir, num_classes, shape[0]) if request.eval_dir else None
    )
    try:
        with PhaseDisplay(console) as display:
            done = distill(
                teacher,
                lambda: build_network(request.student, shape[0], num_classes),
                method=method,
                image_shape=shape,
                mean=normalization.mean,
                std=normalization.std,
                params=settings,
                family=request.family,
                budget=budget,
                seed=request.seed,
                device=device,
                precision=pick_precision(device),
                proxy_images=_proxy_images(request, method, shape),
                progress=display.report,
            )
    except (Unsuitable, ParameterError, UserError):
        raise
    except KeyboardInterrupt:
        console.print("stopped; nothing was written")
        return 130
    except Exception as error:  # a method's own failure, or a network's
        console.print(_failure(method, error), soft_wrap=True)
        return 1
    about = _about(request, method, settings, shape, normalization)
    write_student(done.student, request.out, about)
    _say(request, console, done, teacher)
    if labelled is not None:
        networks = {"teacher": teacher, "student": done.student}
        for role, value in accuracies(networks, labelled, shape, normalization, device).items():
            console.print(f"{role}: accuracy {value:.4f} on {len(labelled.files):,} images")
    if request.export:
        path = export(done.student, shape, request.out, request.export)
        console.print(f"exported: {escape(str(path))}", soft_wrap=True, highlight=False)
    return 0


def _failure(method: type[Method], error: Exception) -> str:
    reason = str(error) if isinstance(error, Diverged) else described_with_place(error)
    advice = "; give a smaller --batch" if is_out_of_memory(error) else ""
    return (
        f"[bold red]{escape(method.name)} failed:[/bold red] {escape(reason)}{advice}; "
        "nothing was written"
    )


def parse_shape(text: str) -> tuple[int, int, int]:
    """``"3,32,32"`` to (3, 32, 32).

    Raises:
        UserError: for any other text.
    """
    parts = text.split(",")
    if len(parts) != 3 or not all(part.strip().isdecimal() and int(part) for part in parts):
        raise UserError(f"--image-shape is '{text}'; write channels,height,width, like 3,32,32")
    channels, height, width = map(int, parts)
    return channels, height, width


def parse_numbers(text: str, option: str) -> tuple[float, ...]:
    """``"0.5,0.4"`` to (0.5, 0.4).

    Raises:
        UserError: for any other text.
    """
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise UserError(
            f"{option} is '{text}'; write one number a channel, like 0.5,0.5,0.5"
        ) from None


def budget_for(request: Request, method: type[Method], shape: tuple[int, int, int]) -> Budget:
    """The preset with the request's numbers.

    For a method that optimises pixels, the numbers of synthesis steps and images are those of its
    inversion.

    Raises:
        ParameterError: for an unknown preset or a number out of range.
        UserError: when the synthetic images would not fit into memory.
    """
    numbers = {name: value for name, value in request.numbers.items() if value is not None}
    if method.inverts_pixels:
        for name in ("images", "steps"):
            given = "images" if name == "images" else "synthesis_steps"
            if given in numbers:
                numbers[f"inversion_{name}"] = numbers.pop(given)
    budget = preset(request.budget, **numbers)
    images = budget.inversion_images if method.inverts_pixels else budget.images
    size = 2 * images * shape[0] * shape[1] * shape[2]  # float16
    if size > BANK_SHARE * available_memory():
        fresh = "" if method.inverts_pixels else ", or --images 0 for fresh ones at every step"
        raise UserError(
            f"{images:,} synthetic images of {request.image_shape} take {size / 2**30:.0f} GiB of "
            f"memory; give fewer with --images{fresh}"
        )
    return budget


def _check_output(request: Request) -> None:
    out = request.out
    if out.suffix != ".safetensors":
        raise UserError(f"--out is '{out}'; give a file that ends in .safetensors")
    if out.is_dir():
        raise UserError(f"--out '{out}' is a folder; give a file")
    if request.weights and Path(request.weights).resolve() == out.resolve():
        raise UserError(f"--out '{out}' holds the teacher's weights; choose another file")
    if request.export:
        check_export(request.export)
    check_writable(out.parent)


def _teacher(request: Request, shape: tuple[int, int, int]) -> tuple[nn.Module, Normalization]:
    """The trained teacher, and how its input is normalised."""
    name, weights = request.teacher, request.weights
    of_timm, pretrained = name.startswith(TIMM), weights == PRETRAINED
    if of_timm and weights is None:
        raise UserError(f"--teacher {name} is untrained; give --weights: a file, or {PRETRAINED}")
    if not of_timm and (pretrained or request.num_classes is not None):
        what = f"--weights {PRETRAINED}" if pretrained else "--num-classes"
        raise UserError(f"{what} is for timm's models; leave it out, '{name}' decides for itself")
    network = build_network(name, shape[0], request.num_classes, pretrained)
    if weights is not None and not pretrained:
        load_weights(network, Path(weights), name)
    statistics = []
    for option, text in (("mean", request.mean), ("std", request.std)):
        if text is not None:
            statistics.append(parse_numbers(text, f"--{option}"))
        elif pretrained:
            statistics.append(tuple(network.pretrained_cfg[option]))  # type: ignore[index]
        else:
            raise UserError(
                f"--{option} is missing; give that of the teacher's training images, one number a "
                "channel in units of [0, 1] pixels (--mean 0 and --std 1: not normalised)"
            )
    return network, Normalization(*statistics)


def _proxy_images(
    request: Request, method: type[Method], shape: tuple[int, int, int]
) -> Tensor | None:
    sees = Access.PROXY_IMAGES in method.access
    if request.proxy_dir is None:
        if sees:
            raise UserError(
                f"method '{method.name}' sees proxy images; give a folder with --proxy-dir"
            )
        return None
    if not sees:
        raise UserError(
            f"--proxy-dir has no effect: '{method.name}' sees no proxy images; leave it out"
        )
    if shape[0] not in MODES:
        raise UserError(f"images of {shape[0]} channels cannot be read from --proxy-dir")
    return read_images(files_in(request.proxy_dir), shape).float() / 255


def _about(
    request: Request,
    method: type[Method],
    settings: Mapping[str, Any],
    shape: tuple[int, int, int],
    normalization: Normalization,
) -> dict[str, Any]:
    """What a user of the student must know, and how the student was made; never a path."""
    return {
        "student": request.student,
        "teacher": request.teacher,
        "method": method.name,
        "settings": settings,
        **({"published_settings": request.family} if request.family else {}),
        "budget": request.budget,
        "seed": request.seed,
        "image_shape": shape,
        "mean": normalization.mean,
        "std": normalization.std,
    }


def _say(request: Request, console: Console, done: Distilled, teacher: nn.Module) -> None:
    count = [sum(p.numel() for p in network.parameters()) for network in (teacher, done.student)]
    console.print(
        f"student: {escape(str(request.out))}, {count[1]:,} parameters (teacher {count[0]:,}), "
        f"agrees with its teacher on {done.agreement:.1%} of unseen synthetic images",
        soft_wrap=True,
        highlight=False,
    )


def accuracies(
    networks: Mapping[str, nn.Module],
    data: LabelledImages,
    image_shape: tuple[int, int, int],
    normalization: Normalization,
    device: torch.device,
) -> dict[str, float]:
    """Share of labelled images that each network classifies correctly, in [0, 1]."""
    correct = dict.fromkeys(networks, 0)
    for start in range(0, len(data.files), CHUNK):
        pixels, labels = data.read(start, start + CHUNK, image_shape)
        images = normalization.normalize(pixels.to(device).float() / 255)
        for name, network in networks.items():
            answers = predictions(network.to(device), images).cpu()
            correct[name] += int((answers == labels).sum())
    return {name: count / len(data.files) for name, count in correct.items()}
