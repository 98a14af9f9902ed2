"""What keeps latents normal: as a variational encoder gives them, or as a batch of them lies."""

from __future__ import annotations

from torch import Tensor


def normal_divergence_loss(mean: Tensor, log_variance: Tensor) -> Tensor:
    """Σ_d KL(N(μ_d, σ_d²) ‖ N(0, 1)), mean over samples.

    Source: variational autoencoders (Kingma and Welling 2014), Appendix B.

    Args:
        mean: μ, B×Z.
        log_variance: log σ², B×Z.

    Returns:
        A scalar in [0, ∞).
    """
    entries = mean.square() + log_variance.exp() - log_variance - 1
    return entries.sum(dim=1).mean() / 2


def moment_matching_loss(latents: Tensor) -> Tensor:
    """mean_d m_d² + mean_d (v_d − 1)², m_d and v_d a batch's mean and unbiased variance.

    Small where the batch could have been drawn from N(0, 1).
    Source: PRE-DFKD (Binici et al. 2022), as released.

    Args:
        latents: B×Z, B ≥ 2.

    Returns:
        A scalar in [0, ∞).
    """
    mean, variance = latents.mean(dim=0), latents.var(dim=0)
    return mean.square().mean() + (variance - 1).square().mean()
