"""What a generator minimises to find images on which student and teacher differ.

Every term falls as they differ more. Logits are B×K or B×K×H×W, where "sample" means pixel.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from methods.losses.predictions import samples_by_class


def disagreement_loss(
    student_logits: Tensor,
    teacher_logits: Tensor,
    temperature: float = 1.0,
    reduction: Literal["batch", "element"] = "batch",
) -> Tensor:
    """−KL(softmax(t/τ) ‖ softmax(s/τ)), mean over samples.

    Source: ZSKT (Micaelli and Storkey 2019) and DFQ (Choi et al. 2020).

    Args:
        student_logits: B×K or B×K×H×W.
        teacher_logits: same shape.
        temperature: τ > 0.
        reduction: ``element`` divides by the number of classes too, as ZSKT's released code does.

    Returns:
        A scalar in (−∞, 0].
    """
    divergence = _divergences(student_logits, teacher_logits, temperature).mean()
    if reduction == "element":
        divergence = divergence / student_logits.shape[1]
    return -divergence


def masked_disagreement_loss(student_logits: Tensor, teacher_logits: Tensor) -> Tensor:
    """−mean_i [argmax s_i = argmax t_i] · KL(softmax(t_i) ‖ softmax(s_i)).

    Where the student has another class than the teacher, it is wrong already, and nothing is
    gained by making the image worse.
    Source: CMI (Fang et al. 2021), Fast and NAYER.

    Args:
        student_logits: B×K or B×K×H×W.
        teacher_logits: same shape.

    Returns:
        A scalar in (−∞, 0]; 0 where they agree nowhere.
    """
    agree = (student_logits.argmax(1) == teacher_logits.argmax(1)).flatten()
    divergences = _divergences(student_logits, teacher_logits, 1.0)
    return -(divergences * agree.to(divergences.dtype)).mean()


def bounded_disagreement_loss(
    student_logits: Tensor, teacher_logits: Tensor, temperature: float = 1.0, bound: float = 1.0
) -> Tensor:
    """−mean_i min(KL(softmax(t_i/τ) ‖ softmax(s_i/τ)), β·log K).

    log K is the divergence of a student that knows nothing from a teacher that is sure. Nothing is
    gained by an image on which the student is further away than the bound, so that the generator
    does not run away from a student that falls behind.
    Source: MAD (Do et al. 2022), which bounds the discrepancy; unit and form of the bound are ours.

    Args:
        student_logits: B×K or B×K×H×W.
        teacher_logits: same shape.
        temperature: τ > 0.
        bound: β > 0.

    Returns:
        A scalar in [−β·log K, 0].
    """
    most = bound * math.log(student_logits.shape[1])
    return -_divergences(student_logits, teacher_logits, temperature).clamp(max=most).mean()


def logit_distance_loss(
    student_logits: Tensor,
    teacher_logits: Tensor,
    form: Literal["negative", "log"] = "negative",
) -> Tensor:
    """−d, or −log(d + 1), of the mean absolute difference d of the logits.

    Source: DFAD (Fang et al. 2019); the logarithm is its form for segmentation.

    Args:
        student_logits: B×K or B×K×H×W.
        teacher_logits: same shape.
        form: which of the two.

    Returns:
        A scalar in (−∞, 0].
    """
    distance = F.l1_loss(student_logits, teacher_logits)
    return -distance if form == "negative" else -torch.log(distance + 1)


def _divergences(student_logits: Tensor, teacher_logits: Tensor, temperature: float) -> Tensor:
    """KL(teacher ‖ student) of every sample."""
    student = F.log_softmax(samples_by_class(student_logits) / temperature, dim=1)
    teacher = F.log_softmax(samples_by_class(teacher_logits) / temperature, dim=1)
    return F.kl_div(student, teacher, reduction="none", log_target=True).sum(dim=1)
