"""The two networks that images are judged with: Inception-v3, and a task's own critic.

Inception-v3 with LPIPS's AlexNet is what the literature reports, but both have only seen natural
photographs, and their numbers mislead on anything else (Barratt & Sharma, 2018). KID's authors
therefore judge MNIST with a LeNet trained on it (Bińkowski et al., 2018). The critic follows them:
it has learnt the task.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

from benchmark.errors import UserError
from benchmark.machine.tensors import checksum
from benchmark.metrics.perceptual import (
    Distance,
    alexnet_lpips,
    critic_distance,
    critic_input,
    lpips_distance,
)
from benchmark.metrics.weights import ALEXNET, INCEPTION, find_weights, load_weights
from benchmark.records.canonical import digest
from benchmark.records.record import TeacherInfo
from benchmark.tasks.base import Task
from benchmark.tasks.data.base import ImageProgress
from benchmark.tasks.models.critic import Critic

ExtractorName = Literal["task", "inception"]


class Features(NamedTuple):
    """An extractor's output on images: features, N×D, and logits of its classes, N×K."""

    features: Tensor
    logits: Tensor


@dataclass(frozen=True)
class Extractor:
    """A network that judges images.

    Attributes:
        name: kind of the extractor; numbers of different kinds are never compared.
        description: description of the network, for captions.
        checksum: checksum of the weights.
        forward: function of images, uint8, N×3×H×W, on ``device``, that returns features N×D and
            logits N×K.
        distance: perceptual distance of two batches of images.
        device: device that the network computes on.
        batch: number of images at a time; results do not depend on it.
        dtype: number format that the network computes in.
    """

    name: ExtractorName
    description: str
    checksum: str
    forward: Callable[[Tensor], tuple[Tensor, Tensor]]
    distance: Distance
    device: str = "cpu"
    batch: int = 250
    dtype: str = "float32"

    @torch.no_grad()
    def extract(
        self, pixels: Tensor, progress: ImageProgress = lambda done, total: None
    ) -> Features:
        """Features and logits of images, uint8, N×3×H×W, on the CPU."""
        parts: list[tuple[Tensor, ...]] = []
        done = 0
        for part in pixels.split(self.batch):
            parts.append(tuple(out.cpu() for out in self.forward(part.to(self.device))))
            done += len(part)
            progress(done, len(pixels))
        return Features(*(torch.cat(column) for column in zip(*parts, strict=True)))


def task_extractor(
    task: Task, critic: nn.Module, info: TeacherInfo, device: str = "cpu"
) -> Extractor:
    """A task's critic as the judge.

    Args:
        task: task whose images are judged.
        critic: trained `Critic`; it is moved to ``device``, frozen and put into eval mode.
        info: the critic's accuracy and the checksum of its weights.
        device: device that the critic computes on.
    """
    assert isinstance(critic, Critic)
    critic.to(device).eval().requires_grad_(False)

    def forward(pixels: Tensor) -> tuple[Tensor, Tensor]:
        maps = critic.forward_features(critic_input(pixels, task.normalization))
        return critic.forward_head(maps, pre_logits=True), critic.forward_head(maps)

    return Extractor(
        "task",
        f"critic of {task.name}, accuracy {info.accuracy:.4f}",
        info.checksum,
        forward,
        critic_distance(critic, task.normalization),
        device,
    )


def inception_extractor(weights_dir: Path | None, device: str = "cpu") -> Extractor:
    """Inception-v3 of the original FID, as converted by torch-fidelity, with LPIPS's AlexNet.

    Raises:
        UserError: when a weight file is missing and cannot be downloaded, or is damaged.
    """
    paths = [find_weights(file, weights_dir) for file in (INCEPTION, ALEXNET)]
    # torch-fidelity unpickles whatever a file holds; `load_weights` first refuses all but tensors.
    checksums = [checksum(load_weights(path)) for path in paths]
    try:
        network = FeatureExtractorInceptionV3(
            "inception-v3-compat",
            ["2048", "logits_unbiased"],
            feature_extractor_weights_path=str(paths[0]),
        )
    except RuntimeError:
        raise UserError(
            f"weight file '{paths[0]}' is not {INCEPTION.what}; put the file of "
            f"{INCEPTION.url} in its place"
        ) from None
    return Extractor(
        "inception",
        "Inception-v3 and LPIPS with AlexNet",
        digest(checksums),
        network.to(device),
        lpips_distance(alexnet_lpips(paths[1]).to(device)),
        device,
        batch=50,
    )
