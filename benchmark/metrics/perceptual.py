"""Perceptual distances between the features of pairs of images, within and across classes."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

import lpips
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmark.errors import UserError
from benchmark.metrics.weights import ALEXNET, load_weights
from benchmark.tasks.models.critic import Critic
from methods.base.problem import Normalization

Distance = Callable[[Tensor, Tensor], Tensor]
"""A function of two batches of images, N×3×H×W, uint8, that returns N distances."""

ALEXNET_SIDE = 64
"""AlexNet halves an image five times, so smaller images are enlarged to this side."""


def critic_distance(critic: Critic, normalization: Normalization) -> Distance:
    """LPIPS without learnt weights over a critic's stages (Zhang et al., 2018, equation 1).

    At every stage, features are scaled to unit length over the channels, and their squared
    difference is summed over the channels and averaged over the image. The stages are summed.
    """

    def distance(a: Tensor, b: Tensor) -> Tensor:
        stages_a, stages_b = (critic.stages(critic_input(x, normalization)) for x in (a, b))
        total = torch.zeros(len(a), device=a.device)
        for one, other in zip(stages_a, stages_b, strict=True):
            difference = lpips.normalize_tensor(one) - lpips.normalize_tensor(other)
            total = total + difference.square().sum(dim=1).mean(dim=(1, 2))
        return total

    return distance


def critic_input(pixels: Tensor, normalization: Normalization) -> Tensor:
    """The critic's input, float32, N×C×H×W, from pixels, uint8, N×3×H×W."""
    return normalization.normalize(pixels[:, : len(normalization.mean)].float() / 255)


def alexnet_lpips(trunk: Path) -> lpips.LPIPS:
    """LPIPS 0.1 with AlexNet from torchvision's weight file; its linear layers come with lpips.

    Raises:
        UserError: when the file is damaged or of another network.
    """
    weights = load_weights(trunk)
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        # lpips calls torchvision with arguments that have been deprecated since.
        warnings.simplefilter("ignore")
        metric = lpips.LPIPS(net="alex", version="0.1", pnet_rand=True, verbose=False)
    try:
        metric.net.load_state_dict(
            {
                name: weights["features." + name.partition(".")[2]]
                for name in metric.net.state_dict()
            }
        )
    except (KeyError, RuntimeError):
        raise UserError(
            f"weight file '{trunk}' is not {ALEXNET.what}; put the file of {ALEXNET.url} in its "
            "place"
        ) from None
    return metric.eval().requires_grad_(False)


def lpips_distance(metric: nn.Module) -> Distance:
    """LPIPS as published; images of less than `ALEXNET_SIDE` pixels are enlarged first."""

    def prepared(pixels: Tensor) -> Tensor:
        images = pixels.float() / 127.5 - 1
        if min(images.shape[2:]) >= ALEXNET_SIDE:
            return images
        return F.interpolate(images, size=(ALEXNET_SIDE, ALEXNET_SIDE), mode="bilinear")

    def distance(a: Tensor, b: Tensor) -> Tensor:
        out: Tensor = metric(prepared(a), prepared(b))
        return out.flatten()

    return distance


def draw_pairs(labels: Tensor, count: int, same: bool, stream: torch.Generator) -> Tensor:
    """Indices of pairs of different images, count×2, of the same class or of two classes.

    Classes are equally likely, whatever their share, so that a class that fills the samples does
    not fill the pairs. The result is empty when no class has two images (``same``), or when there
    is only one class.
    """
    members = [torch.nonzero(labels == label).flatten() for label in labels.unique()]
    if same:
        members = [rows for rows in members if len(rows) > 1]
    if len(members) < (1 if same else 2):
        return torch.empty(0, 2, dtype=torch.long)

    def two_of(things: int) -> list[int]:
        return torch.randperm(things, generator=stream)[:2].tolist()

    pairs = []
    for _ in range(count):
        if same:
            rows = members[int(torch.randint(len(members), (), generator=stream))]
            pairs.append(rows[two_of(len(rows))])
        else:
            chosen = [members[i] for i in two_of(len(members))]
            picks = [int(torch.randint(len(r), (), generator=stream)) for r in chosen]
            pairs.append(torch.stack([r[i] for r, i in zip(chosen, picks, strict=True)]))
    return torch.stack(pairs)


@torch.no_grad()
def mean_distance(
    distance: Distance, pixels: Tensor, pairs: Tensor, batch: int, device: torch.device | str
) -> float:
    """Mean distance of the pairs of images."""
    parts = [
        distance(pixels[part[:, 0]].to(device), pixels[part[:, 1]].to(device)).double().cpu()
        for part in pairs.split(batch)
    ]
    return float(torch.cat(parts).mean())
