"""Files to start from: a method that passes the contract suite, and how such files are written."""

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
