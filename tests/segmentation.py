"""A segmentation problem small enough to train on in a test."""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from methods.base.ledger import Ledger
from methods.base.problem import DATA_FREE, Access, Normalization, Problem
from methods.base.run import Run
from methods.base.teacher import Teacher
from methods.losses.predictions import IGNORE_INDEX, label_loss
from tests.helpers import tiny_budget

SHAPE = (1, 16, 16)
CLASSES = 3


class TinySegmenter(nn.Module):
    """Two convolutions, a head with BatchNorm, a 1×1 classifier, bilinear upsampling."""

    def __init__(self, width: int, stride: int = 4) -> None:
        super().__init__()
        self.num_classes = CLASSES
        self.num_features = 2 * width
        self.output_stride = stride
        self.conv1 = nn.Conv2d(SHAPE[0], width, 3, 2, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, 2 * width, 3, stride // 2, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(2 * width)
        self.head = nn.Conv2d(2 * width, width, 3, padding=1, bias=False)
        self.head_norm = nn.BatchNorm2d(width)
        self.classifier = nn.Conv2d(width, CLASSES, 1)

    def forward_features(self, images: Tensor) -> Tensor:
        x = F.relu(self.norm1(self.conv1(images)))
        return F.relu(self.norm2(self.conv2(x)))

    def forward_head(self, features: Tensor, pre_logits: bool = False) -> Tensor:
        x = F.relu(self.head_norm(self.head(features)))
        if pre_logits:
            return x
        scale = float(self.output_stride)
        return F.interpolate(
            self.classifier(x), scale_factor=scale, mode="bilinear", align_corners=False
        )

    def forward(self, images: Tensor) -> Tensor:
        return self.forward_head(self.forward_features(images))


def scenes(count: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Three grey bands of random height with noise and a void column: N×1×16×16 and N×16×16."""
    stream = torch.Generator().manual_seed(seed)
    cuts = torch.randint(3, 8, (count, 2), generator=stream).cumsum(1)
    rows = torch.arange(SHAPE[1]).expand(count, -1)
    labels = (rows >= cuts[:, :1]).long() + (rows >= cuts[:, 1:]).long()
    labels = labels[:, :, None].repeat(1, 1, SHAPE[2])
    noise = torch.randn(count, *SHAPE[1:], generator=stream)
    images = (labels - 1) * 1.2 + 0.3 * noise
    labels[:, :, 0] = IGNORE_INDEX
    return images[:, None], labels


def segmenter(seed: int, width: int, stride: int = 4) -> TinySegmenter:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return TinySegmenter(width, stride)


@cache
def _teacher_weights() -> dict[str, Tensor]:
    network = segmenter(7, 8, stride=2)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-2)
    images, labels = scenes(64, seed=5)
    for _ in range(60):
        loss = label_loss(network(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return network.state_dict()


def posed(
    access: Access = DATA_FREE,
    seed: int = 0,
    **budget: Any,
) -> tuple[Problem, Run]:
    """A trained teacher at stride 2, a student half as wide at stride 4, thirty-two scenes."""
    network = segmenter(7, 8, stride=2)
    network.load_state_dict(_teacher_weights())
    ledger = Ledger()
    images, labels = scenes(32)
    problem = Problem(
        teacher=Teacher(network, ledger),
        make_student=lambda: segmenter(seed + 1, 4),
        image_shape=SHAPE,
        num_classes=CLASSES,
        normalization=Normalization((0.5,), (0.25,)),
        task_type="segmentation",
        access=access,
        method="some-method",
        granted={
            Access.TRAIN_IMAGES: images,
            Access.TRAIN_LABELS: labels,
            Access.PROXY_IMAGES: images.flip(2),
        },
    )
    return problem, Run(tiny_budget(**budget), seed, ledger=ledger)
