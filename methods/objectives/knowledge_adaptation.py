"""Knowledge adaptation: the teacher's features, compressed first (He et al. 2019).

Three steps: (1) an auto-encoder compresses the teacher's features over the method's samples;
(2) with its encoder E frozen, adapters C_f and C_a bring the student's features to the code;
(3) the student minimises  L_own + λ_f·L_adapt(C_f(Φ_s), E(Φ_t)) + λ_a·L_aff(C_a(Φ_s), E(Φ_t)).
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from methods.acceleration.optimizers import Adam
from methods.base.problem import Problem
from methods.base.run import Run
from methods.base.samples import Batch, Counted, SampleSource
from methods.losses.features import adapter_loss, affinity_loss
from methods.objectives.features import (
    FeatureObjective,
    Maps,
    feature_shape,
    refuse_without_pixels,
    resized,
)
from methods.settings.params import MethodParams, param


class KnowledgeAdaptationParams(MethodParams):
    """Hyper-parameters; values that the paper does not print are marked as ours."""

    adapter_weight: float = param(
        50.0,
        "weight λ_f of the adapter loss; 0 switches it off",
        source="paper",
        phase="distillation",
        tune="weight",
        ge=0,
    )
    affinity_weight: float = param(
        1.0,
        "weight λ_a of the affinity loss; 0 switches it off",
        source="paper",
        phase="distillation",
        tune="weight",
        ge=0,
    )
    code_channels: int = param(
        64,
        "channels of the auto-encoder's code",
        source="ours; the paper does not print it",
        phase="distillation",
        ge=1,
    )
    sparsity: float = param(
        1e-7,
        "weight α of the code's ℓ1 norm, added to the squared reconstruction error",
        source="paper: printed 10e-7, read as 1e-7; its weight decay of 10e-4 is not taken over",
        phase="distillation",
        tune="weight",
        ge=0,
    )
    autoencoder_lr: float = param(
        1e-3,
        "Adam learning rate of the auto-encoder",
        source="ours; the paper's 0.1 goes with a reduction that it does not print",
        phase="distillation",
        tune="rate",
        gt=0,
    )
    autoencoder_share: float = param(
        0.1,
        "the auto-encoder's steps over the student's, which are not reduced by them; the paper "
        "trains it for one epoch, which an endless supply of images does not have",
        source="ours",
        phase="distillation",
        gt=0,
    )


class KnowledgeAdaptation(FeatureObjective):
    """The method's own loss + adapter and affinity losses against the teacher's compressed code.

    Both adapters are a convolution 3×3 with BatchNorm and ReLU. In torchdistill the affinity's is
    the convolution alone, and both of its losses are other ones (`methods.losses.features`).
    """

    name = "knowledge-adaptation"
    title = "Knowledge adaptation"
    paper = "He et al., CVPR 2019"
    needs_samples_first = True
    Params = KnowledgeAdaptationParams

    encoder: nn.Module

    def supports(self, problem: Problem) -> str | None:
        return refuse_without_pixels(problem, "positions of dense feature maps")

    def prepare(
        self, student: nn.Module, problem: Problem, samples: SampleSource, run: Run
    ) -> tuple[nn.Module, int]:
        """Train the auto-encoder on the teacher's features, and keep its encoder."""
        p = self.params
        depth = feature_shape(problem.teacher.network, problem.image_shape)[0]
        with run.seeded("auto-encoder"):
            encoder, decoder = _encoder(depth, p.code_channels), _decoder(p.code_channels, depth)
        coder = nn.Sequential(encoder, decoder).to(run.device)
        optimizer = Adam(coder.parameters(), lr=p.autoencoder_lr, fused=True)
        steps = max(1, round(p.autoencoder_share * run.budget.student_steps))
        stream = run.stream("auto-encoder-batches")
        batches = Counted.of(samples.batches(run.budget.student_batch, stream))
        for step in run.steps(
            "auto-encoder", steps, coder=coder, optimizer=optimizer, batches=batches
        ):
            with torch.no_grad(), run.autocast():
                features = problem.teacher.forward_features(next(batches).images)
            loss = autoencoder_loss(encoder, decoder, features.float(), p.sparsity)
            run.log("auto-encoder", step, steps, loss=loss.detach())
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
        self.encoder = encoder.eval().requires_grad_(False)
        return super().prepare(student, problem, samples, run)

    def attach(self, student: nn.Module, problem: Problem, run: Run) -> None:
        super().attach(student, problem, run)
        depth, channels = feature_shape(student, problem.image_shape)[0], self.params.code_channels
        with run.seeded("adapters"):
            self.adapters = nn.ModuleList(_adapter(depth, channels) for _ in range(2))
        self.adapters.to(run.device)

    def parameters(self) -> Iterable[nn.Parameter]:
        return self.adapters.parameters()

    def of_maps(self, student: Maps, teacher: Maps, batch: Batch) -> Tensor:
        p = self.params
        code = self.encoder(teacher.features)
        loss = self.own.of_logits(student.logits, batch)
        terms = ((p.adapter_weight, adapter_loss), (p.affinity_weight, affinity_loss))
        for adapter, (weight, term) in zip(self.adapters, terms, strict=True):
            if weight:
                loss = loss + weight * term(resized(adapter(student.features), code), code)
        return loss


def autoencoder_loss(
    encoder: nn.Module, decoder: nn.Module, features: Tensor, sparsity: float
) -> Tensor:
    """‖Φ − D(E(Φ))‖² + α‖E(Φ)‖₁, summed over channels, mean over positions and images.

    Args:
        encoder: E, to B×C×h×w.
        decoder: D, back to B×D×h×w.
        features: Φ, the teacher's, B×D×h×w.
        sparsity: α ≥ 0.

    Returns:
        A scalar in [0, ∞).
    """
    code = encoder(features)
    error = (features - decoder(code)).square().sum(dim=1).mean()
    loss: Tensor = error + sparsity * code.abs().sum(dim=1).mean()
    return loss


def _encoder(depth: int, channels: int) -> nn.Sequential:
    """Three convolutions of stride 1; rectified like the adapters whose target the code is."""
    layers: list[nn.Module] = []
    for incoming in (depth, channels, channels):
        layers += [nn.Conv2d(incoming, channels, 3, padding=1), nn.ReLU()]
    return nn.Sequential(*layers)


def _decoder(channels: int, depth: int) -> nn.Sequential:
    """The encoder's mirror image of transposed convolutions, linear at the end."""
    return nn.Sequential(
        nn.ConvTranspose2d(channels, channels, 3, padding=1),
        nn.ReLU(),
        nn.ConvTranspose2d(channels, channels, 3, padding=1),
        nn.ReLU(),
        nn.ConvTranspose2d(channels, depth, 3, padding=1),
    )


def _adapter(depth: int, channels: int) -> nn.Sequential:
    """Convolution 3×3, BatchNorm, ReLU."""
    return nn.Sequential(
        nn.Conv2d(depth, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels), nn.ReLU()
    )
