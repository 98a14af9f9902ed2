"""Files to start from: methods that pass the contract suite, and how such files are written."""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path

from benchmark.errors import UserError
from benchmark.records.files import write_atomic

TEMPLATE = '''"""{title}: one sentence on the idea.

Author et al., "Title", venue year.
"""

from __future__ import annotations

import torch
from torch import Tensor

from methods.base import Method, MethodParams, Problem, Run, SampleSource, param, samples_from


class {cls}(Method):
    """Makes images by smoothing noise; replace this by what your method does."""

    name = "{name}"
    title = "{title}"
    paper = "Author et al., venue year"
    # access = Access.PROXY_IMAGES  # what it may see beyond the teacher; without: data-free

    class Params(MethodParams):
        """Hyper-parameters; defaults are the paper's."""

        smoothing: int = param(
            3,
            "side of the averaging window",
            source="paper, Section 3",
            unit="pixels, odd",
            ge=1,
            le=7,
        )
        temperature: float = param(
            10.0,
            "temperature τ of the student's KD loss",
            source="paper, Section 4",
            phase="distillation",
            tune="temperature",
            gt=0,
        )

    def synthesize(self, problem: Problem, run: Run) -> SampleSource:
        """Make, or train, the source of images; ``problem.teacher`` may be queried."""
        side = 2 * (self.params.smoothing // 2) + 1

        def draw(count: int, stream: torch.Generator) -> Tensor:
            noise = torch.randn(count, *problem.image_shape, generator=stream).to(run.device)
            smooth = torch.nn.functional.avg_pool2d(
                noise, side, stride=1, padding=side // 2, count_include_pad=False
            )
            return smooth * side  # averaging side² pixels divides the deviation by side

        return samples_from(draw, run)
'''

ALTERNATING = '''"""{title}: one sentence on the idea.

Author et al., "Title", venue year.

In every round (1) the generator takes a step towards images on which student and teacher differ;
(2) the student takes its share of the budget's steps, each on fresh images of the generator.
"""

from __future__ import annotations

from torch import nn

from methods.base import MethodParams, Part, Problem, Run, fresh_from, param
from methods.losses.adversarial import logit_distance_loss
from methods.synthesis import (
    Adam,
    AlternatingMethod,
    Game,
    Terms,
    draw_latents,
    drawing_from,
    improve,
    pixel_generator,
)


class {cls}(AlternatingMethod):
    """A generator looks for what the student has not learnt; replace this by your method."""

    name = "{name}"
    title = "{title}"
    paper = "Author et al., venue year"
    # The paper's own schedule by task family, for `--budget paper`; numbers are those of a Budget:
    # schedules = {{"cifar10": PaperSchedule("Author", "paper, Section 4", student_steps=80_000)}}

    class Params(MethodParams):
        """Hyper-parameters; defaults are the paper's."""

        latent_dim: int = param(100, "length of a latent vector", source="paper", ge=1)
        generator_lr: float = param(
            1e-3, "Adam learning rate of the generator", source="paper", tune="rate", gt=0
        )
        temperature: float = param(
            1.0,
            "temperature τ of the student's KD loss",
            source="paper",
            tune="temperature",
            gt=0,
        )

    def game(self, problem: Problem, run: Run) -> Game:
        return {cls}Game(self.params, problem, run)


class {cls}Game(Game):
    """One turn takes one step of the generator."""

    steps = 1  # optimiser steps of a turn; the budget's synthesis_steps are divided by it
    student_mode = "eval"  # of the student's BatchNorms in the generator's turn

    def __init__(self, params: {cls}.Params, problem: Problem, run: Run) -> None:
        self.params, self.problem, self.run = params, problem, run
        self.generator = pixel_generator(problem, run, params.latent_dim, width=64)
        self.optimizer = Adam(self.generator.parameters(), lr=params.generator_lr)
        self.latents = run.stream("generator-latents")
        # Another memory would be Pool(problem, run), to which a turn adds images.
        self.samples = fresh_from(drawing_from(self.generator, "train", run), run)

    def make(self, student: nn.Module, stage: float) -> Terms:
        size = self.run.budget.synthesis_batch
        latents = draw_latents(size, self.params.latent_dim, self.latents, self.run)
        self.generator.train()
        with self.run.autocast():
            images = self.generator(latents).float()
            answers, wanted = student(images), self.problem.teacher(images)
        loss = logit_distance_loss(answers.float(), wanted.float())
        improve(self.optimizer, loss)
        self.run.ledger.synthetic_images += size
        return {{"loss": loss.detach()}}

    def parts(self) -> dict[str, Part]:
        """All that a turn changes and reads again, so that a stopped run goes on to the bit."""
        return {{
            "generator": self.generator,
            "optimizer": self.optimizer,
            "latents": self.latents,
        }}
'''


def write(
    name: str,
    folder: Path,
    template: str = TEMPLATE,
    kind: str = "method",
    taken: Collection[str] = (),
) -> Path:
    """Write a file with a method to start from, or with another template, and return its path.

    Args:
        name: the name in kebab-case.
        folder: the folder of the file.
        template: the text, with the fields ``name``, ``cls`` and ``title``.
        kind: what the template makes, for messages.
        taken: names that exist already.

    Raises:
        UserError: when the name is not kebab-case or taken, or the file is there already.
    """
    if not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", name):
        raise UserError(f"'{name}' is not kebab-case; write it like my-{kind}")
    if name in taken:
        raise UserError(f"there is a {kind} '{name}' already; choose another name")
    path = folder / f"{name.replace('-', '_')}.py"
    if path.exists():
        raise UserError(f"'{path}' is there already; choose another name or --dir")
    words = name.split("-")
    text = template.format(
        name=name,
        cls="".join(word.capitalize() for word in words),
        title=" ".join(words).capitalize(),
    )
    write_atomic(path, text.encode())
    return path
