"""What makes images distinguishable: two views of one are closer than views of two."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def instance_contrast_loss(
    anchors: Tensor, positives: Tensor, temperature: float, present: int
) -> Tensor:
    """−mean_i log softmax_j(u_i·v_j / T) at j = i: of all images, which is the one of this view?

    The mean over the images of the present batch and the mean over all others are added, so that a
    long memory does not thin out the gradient of the present ones. Gradients reach the anchors
    only.
    Source: CMI (Fang et al. 2021), as released.

    Args:
        anchors: (N+M)×D, u, of length 1, first those of the present batch.
        positives: (N+M)×D, v, of length 1: another view of each.
        temperature: T > 0.
        present: N, 0 < N ≤ N+M.

    Returns:
        A scalar in [0, ∞).
    """
    logits = anchors @ positives.detach().t() / temperature
    losses = F.cross_entropy(
        logits, torch.arange(len(logits), device=logits.device), reduction="none"
    )
    own, others = losses[:present].mean(), losses[present:]
    return own + others.mean() if len(others) else own
