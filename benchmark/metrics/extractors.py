"""The two networks that images are judged with: Inception-v3, and a task's own critic.

Inception-v3 with LPIPS's AlexNet is what the literature reports, but both have only seen natural
photographs, and their numbers mislead on anything else (Barratt & Sharma, 2018); KID's authors
judge MNIST with a LeNet trained on it (Bińkowski et al., 2018). So does the critic here, which
has learnt the task.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch_fidelity.feature_extractor_base import FeatureExtractorBase
from torch_fidelity.registry import register_feature_extractor
from torch_fidelity.utils import create_feature_extractor

from benchmark.errors import UserError
from benchmark.machine.tensors import checksum
from benchmark.metrics.images import ImageProgress
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
from benchmark.tasks.models.critic import Critic
from methods.base.problem import Normalization

ExtractorName = Literal["task", "inception"]
CRITIC = "dfkd-critic"


class Features(NamedTuple):
    """What an extractor sees in images: features, N×D, and logits of its classes, N×K."""

    features: Tensor
    logits: Tensor


class CriticFeatures(FeatureExtractorBase):  # type: ignore[misc]
    """A critic behind torch-fidelity's interface, registered there as ``dfkd-critic``.

    Args:
        name: the registered name.
        features_list: which of ``pooled`` (N×D) and ``logits`` (N×K) to return.
        critic: the trained network.
        normalization: of its input.
    """

    def __init__(
        self,
        name: str,
        features_list: list[str],
        critic: Critic,
        normalization: Normalization,
        **options: Any,
    ) -> None:
        super().__init__(name, features_list)
        self.critic = critic.eval()
        self.normalization = normalization

    def forward(self, pixels: Tensor) -> tuple[Tensor, ...]:
        """Of images uint8, N×3×H×W."""
        maps = self.critic.forward_features(critic_input(pixels, self.normalization))
        found = {
            "pooled": self.critic.forward_head(maps, pre_logits=True),
            "logits": self.critic.forward_head(maps),
        }
        return tuple(found[name] for name in self.features_list)

    @staticmethod
    def get_provided_features_list() -> tuple[str, ...]:
        """Features that can be asked for."""
        return ("pooled", "logits")

    @staticmethod
    def get_default_feature_layer_for_metric(metric: str) -> str:
        """The Inception Score needs class probabilities, every other metric features."""
        return "logits" if metric == "isc" else "pooled"

    @staticmethod
    def can_be_compiled() -> bool:
        """Whether torch.compile may wrap it."""
        return False


register_feature_extractor(CRITIC, CriticFeatures)


@dataclass(frozen=True)
class Extractor:
    """A judge of images.

    Attributes:
        name: its kind; numbers of different kinds are never compared.
        description: which network it is, for captions.
        checksum: of its weights.
        network: torch-fidelity's extractor of features and logits.
        distance: its perceptual distance.
        device: where it computes.
        batch: images at a time; results do not depend on it.
    """

    name: ExtractorName
    description: str
    checksum: str
    network: FeatureExtractorBase
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
            parts.append(tuple(out.cpu() for out in self.network(part.to(self.device))))
            done += len(part)
            progress(done, len(pixels))
        return Features(*(torch.cat(column) for column in zip(*parts, strict=True)))


def task_extractor(
    task: Task, critic: nn.Module, info: TeacherInfo, device: str = "cpu"
) -> Extractor:
    """A task's critic as the judge.

    Args:
        task: whose images are judged.
        critic: a trained `Critic`; it is moved to ``device``.
        info: what is known of the critic: its accuracy and the checksum of its weights.
        device: where it computes.
    """
    assert isinstance(critic, Critic)
    critic.to(device)
    network = create_feature_extractor(
        CRITIC,
        ["pooled", "logits"],
        cuda=False,
        verbose=False,
        critic=critic,
        normalization=task.normalization,
    )
    return Extractor(
        "task",
        f"critic of {task.name}, accuracy {info.accuracy:.4f}",
        info.checksum,
        network,
        critic_distance(critic, task.normalization),
        device,
    )


def inception_extractor(weights_dir: Path | None, device: str = "cpu") -> Extractor:
    """Inception-v3 of the original FID, as converted by torch-fidelity, with LPIPS's AlexNet.

    Raises:
        UserError: when a weight file is missing and cannot be downloaded, or is damaged.
    """
    paths = [find_weights(file, weights_dir) for file in (INCEPTION, ALEXNET)]
    # torch-fidelity unpickles whatever the file holds; only plain tensors get that far.
    checksums = [checksum(load_weights(path)) for path in paths]
    try:
        network = create_feature_extractor(
            "inception-v3-compat",
            ["2048", "logits_unbiased"],
            cuda=False,
            verbose=False,
            feature_extractor_weights_path=str(paths[0]),
        ).to(device)
    except RuntimeError:
        raise UserError(f"weight file '{paths[0]}' is not {INCEPTION.what}") from None
    return Extractor(
        "inception",
        "Inception-v3 and LPIPS with AlexNet",
        digest(checksums),
        network,
        lpips_distance(alexnet_lpips(paths[1]).to(device)),
        device,
        batch=50,
    )
