"""Banks of training and of proxy images."""

from __future__ import annotations

import torch
from torch import Tensor

from methods.base.problem import Problem
from methods.base.run import Run
from methods.base.samples import ImageBank


def bank_of_real_images(images: Tensor, run: Run, labels: Tensor | None = None) -> ImageBank:
    """A bank of real images, N×C×H×W in the teacher's input space, the last kept for validation."""
    return ImageBank(images, run.budget.held_out(len(images)), labels, run.device)


def shuffled_proxies(problem: Problem, run: Run) -> ImageBank:
    """A bank of the proxy images, in random order.

    Folders of images are often sorted by class, and the last images, kept for validation, must not
    be of one class only.
    """
    images = problem.proxy_images
    order = torch.randperm(len(images), generator=run.stream("proxy-order"))
    return bank_of_real_images(images[order], run)
