"""Inception Score, FID, KID, precision and recall by torch-fidelity, and perceptual diversity.

Features are extracted from images, statistics taken of features, and metrics made from statistics.
All images are compared with the same real training images. Two more sets bound what can be reached:
real images held out from training (``real-test``), and normal noise.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch_fidelity.metric_fid import (
    KEY_METRIC_FID,
    fid_features_to_statistics,
    fid_statistics_to_metric,
)
from torch_fidelity.metric_isc import KEY_METRIC_ISC_MEAN, isc_features_to_metric
from torch_fidelity.metric_kid import KEY_METRIC_KID_MEAN, kid_features_to_metric
from torch_fidelity.metric_prc import KEY_METRIC_PRECISION, KEY_METRIC_RECALL
from torch_fidelity.metric_prc import prc_features_to_metric as precision_recall

from benchmark.machine.tensors import Corrupted, load_tensors, save_tensors
from benchmark.metrics.extractors import Extractor
from benchmark.metrics.images import (
    LabelledImages,
    Unmeasurable,
    gathered,
    label_images,
    part_size,
)
from benchmark.metrics.perceptual import draw_pairs, mean_distance
from benchmark.records.canonical import digest
from benchmark.records.record import ImageQuality, Measured, TeacherInfo
from benchmark.tasks.base import Task
from benchmark.tasks.data.base import Dataset, ImageProgress
from methods.base.run import derive_seed

PAIRS = 2000
"""Number of pairs of images for a mean perceptual distance."""
REFERENCE_IMAGES = 10_000
"""Number of real training images to compare with; all of them if there are fewer."""
KID_SUBSET = 1000
LEAST_IMAGES = 8
VERSION = 1
"""Number to raise when the same images would get other metrics."""


def inception_score(logits: Tensor) -> float:
    """exp E KL(p(y|x) ‖ p(y)) of logits N×K, in [1, K] (Salimans et al., 2016).

    It is taken over all images at once: the customary mean over ten parts depends on how they are
    cut and is biased (Barratt & Sharma, 2018).
    """
    below = logits.double() - logits.double().amax(dim=1, keepdim=True)
    # A class without any probability would give 0 · log 0; a double can still hold e⁻⁷⁰⁰.
    found = isc_features_to_metric(below.clamp(min=-700), splits=1, shuffle=False)
    return float(found[KEY_METRIC_ISC_MEAN])


def frechet_distance(features: Tensor, real: Tensor) -> float:
    """‖μ−μᵣ‖² + tr(Σ + Σᵣ − 2(ΣΣᵣ)^½) of features N×D and M×D (Heusel et al., 2017)."""
    statistics = (fid_features_to_statistics(x.double()) for x in (features, real))
    return float(fid_statistics_to_metric(*statistics, verbose=False)[KEY_METRIC_FID])


def kernel_distance(features: Tensor, real: Tensor) -> float:
    """Unbiased MMD² with a cubic kernel, mean over 100 subsets (Bińkowski et al., 2018).

    It may fall slightly below zero.
    """
    size = min(KID_SUBSET, len(features), len(real))
    found = kid_features_to_metric(features, real, kid_subset_size=size, verbose=False)
    return float(found[KEY_METRIC_KID_MEAN])


def measure(
    images: LabelledImages,
    real: Tensor,
    extractor: Extractor,
    progress: ImageProgress = lambda done, total: None,
) -> Measured:
    """Every metric of a set of images, by one extractor.

    Args:
        images: images with the teacher's classes; pairs are drawn within and across classes.
        real: features of real training images, M×D.
        extractor: network that judges the images.
        progress: called with the number of images looked at so far.

    Raises:
        Unmeasurable: when there are too few images, or a number is not finite.
    """
    count = len(images.pixels)
    if count < LEAST_IMAGES:
        raise Unmeasurable(f"{count} images are too few; at least {LEAST_IMAGES} are needed")
    seen = extractor.extract(images.pixels, progress)
    neighbours = precision_recall(seen.features, real, save_cpu_ram=True, verbose=False)
    metrics = {
        "inception_score": inception_score(seen.logits),
        "fid": frechet_distance(seen.features, real),
        "kid": kernel_distance(seen.features, real),
        "precision": neighbours[KEY_METRIC_PRECISION],
        "recall": neighbours[KEY_METRIC_RECALL],
    }
    for name, same in (("lpips", True), ("lpips_across", False)):
        stream = torch.Generator().manual_seed(derive_seed(0, f"pairs-{name}"))
        pairs = draw_pairs(images.labels, PAIRS, same, stream)
        if len(pairs):
            metrics[name] = mean_distance(
                extractor.distance, images.pixels, pairs, extractor.batch, extractor.device
            )
    for name, value in metrics.items():
        if not math.isfinite(value):
            raise Unmeasurable(f"{name} became {value}")
    return Measured(images=count, metrics={k: float(f"{v:.7g}") for k, v in metrics.items()})


@dataclass(frozen=True)
class Reference:
    """The sets that a run's images are compared with: real training images and two framing sets."""

    features: Tensor
    real_test: Measured
    noise: Measured


def obtain_reference(
    task: Task,
    dataset: Dataset,
    teacher: nn.Module,
    info: TeacherInfo,
    extractor: Extractor,
    count: int,
    cache: Path,
    progress: ImageProgress = lambda done, total: None,
) -> Reference:
    """The reference for ``count`` images, from the cache or freshly made.

    It is kept under the hash of everything that it depends on: the data, the extractor's and the
    teacher's weights, the preprocessing and the counts.
    """
    identity = {
        "version": VERSION,
        "task": [task.name, task.version, list(task.image_shape)],
        "normalization": [list(task.normalization.mean), list(task.normalization.std)],
        "data": dataset.checksum(),
        "teacher": info.checksum,
        "extractor": [extractor.name, extractor.checksum, extractor.dtype],
        "counts": [count, REFERENCE_IMAGES, PAIRS],
    }
    path = cache / "references" / f"{digest(identity)}.safetensors"
    try:
        tensors, header = load_tensors(path)
        return Reference(
            tensors["features"],
            Measured.model_validate_json(header["real_test"]),
            Measured.model_validate_json(header["noise"]),
        )
    except (FileNotFoundError, Corrupted, KeyError, ValueError):
        pass  # a damaged entry is made again
    reference = _make_reference(task, dataset, teacher, extractor, count, progress)
    save_tensors(
        path,
        {"features": reference.features},
        {
            "real_test": reference.real_test.model_dump_json(),
            "noise": reference.noise.model_dump_json(),
        },
    )
    return reference


def _make_reference(
    task: Task,
    dataset: Dataset,
    teacher: nn.Module,
    extractor: Extractor,
    count: int,
    progress: ImageProgress,
) -> Reference:
    size = part_size(task.image_shape)

    def labelled(images: Iterable[Tensor]) -> LabelledImages:
        return gathered(label_images(part, teacher, task.normalization) for part in images)

    def some(images: Tensor, most: int, name: str) -> LabelledImages:
        stream = torch.Generator().manual_seed(derive_seed(0, name))
        chosen = torch.randperm(len(images), generator=stream)[:most]
        return labelled(task.preprocess(images[part]) for part in chosen.split(size))

    train = some(dataset.train.images, REFERENCE_IMAGES, "reference-train")
    features = extractor.extract(train.pixels, progress).features
    test = some(dataset.test.images, count, "reference-test")
    stream = torch.Generator().manual_seed(derive_seed(0, "reference-noise"))
    noise = labelled(
        torch.randn(len(part), *task.image_shape, generator=stream)
        for part in torch.empty(count).split(size)
    )
    return Reference(
        features,
        measure(test, features, extractor, progress),
        measure(noise, features, extractor, progress),
    )


def judge(
    images: LabelledImages,
    reference: Reference,
    extractor: Extractor,
    progress: ImageProgress = lambda done, total: None,
) -> ImageQuality:
    """The quality of a run's images, with everything that it depends on, as its record keeps it.

    Raises:
        Unmeasurable: see `measure`.
    """
    return ImageQuality(
        version=VERSION,
        extractor=extractor.description,
        checksum=extractor.checksum,
        dtype=extractor.dtype,
        batch=extractor.batch,
        reference=len(reference.features),
        pairs=PAIRS,
        samples=measure(images, reference.features, extractor, progress),
        real_test=reference.real_test,
        noise=reference.noise,
    )
