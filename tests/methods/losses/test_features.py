"""Every term between feature maps against an independent float64 computation with loops."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from methods.losses.features import (
    adapter_loss,
    affinity_loss,
    attention_loss,
    hint_loss,
    pairwise_loss,
)

TERMS = (pairwise_loss, adapter_loss, affinity_loss, attention_loss, hint_loss)


def maps(*shape: int, seed: int = 0) -> Tensor:
    stream = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=stream, dtype=torch.float64)


def vector(features: Tensor, b: int, y: int, x: int) -> np.ndarray:
    return features[b, :, y, x].numpy()


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float(a @ b) / math.sqrt(float(a @ a) * float(b @ b))


def nodes(features: Tensor, b: int, high: int, wide: int) -> list[np.ndarray]:
    """The channel-wise maximum of every window, windows at the border cut off."""
    _, depth, height, width = features.shape
    found = []
    for top in range(0, height, high):
        for left in range(0, width, wide):
            window = features[b, :, top : top + high, left : left + wide].reshape(depth, -1)
            found.append(np.array([max(channel) for channel in window.tolist()]))
    return found


@pytest.mark.parametrize(
    ("size", "scale", "window"),
    [((6, 8), 0.5, (3, 4)), ((6, 8), 0.25, (1, 2)), ((5, 7), 0.5, (2, 3)), ((1, 1), 0.5, (1, 1))],
)
def test_pairwise_loss_compares_the_cosines_of_all_pairs_of_nodes(
    size: tuple[int, int], scale: float, window: tuple[int, int]
) -> None:
    student, teacher = maps(2, 3, *size), maps(2, 5, *size, seed=1)
    total = 0.0
    for b in range(2):
        mine, theirs = nodes(student, b, *window), nodes(teacher, b, *window)
        squares = [
            (cosine(mine[i], mine[j]) - cosine(theirs[i], theirs[j])) ** 2
            for i in range(len(mine))
            for j in range(len(mine))
        ]
        total += sum(squares) / len(mine) ** 2
    assert pairwise_loss(student, teacher, scale).item() == pytest.approx(total / 2, rel=1e-6)


def test_the_length_of_a_node_is_a_constant_to_the_gradient() -> None:
    """So a gradient along the node itself remains, which a plain cosine does not have."""
    student = maps(1, 3, 2, 2).requires_grad_()
    (gradient,) = torch.autograd.grad(pairwise_loss(student, maps(1, 3, 2, 2, seed=1)), student)
    along = (gradient * student).sum(dim=1)
    assert along.abs().max() > 1e-3


@pytest.mark.parametrize(("p", "q"), [(1, 2), (2, 2), (1, 1)])
def test_adapter_loss_is_the_mean_distance_of_normalised_positions(p: int, q: int) -> None:
    student, code = maps(2, 4, 3, 2), maps(2, 4, 3, 2, seed=1)
    distances = []
    for b in range(2):
        for y in range(3):
            for x in range(2):
                mine, theirs = vector(student, b, y, x), vector(code, b, y, x)
                mine = mine / (np.abs(mine) ** q).sum() ** (1 / q)
                theirs = theirs / (np.abs(theirs) ** q).sum() ** (1 / q)
                distances.append((np.abs(mine - theirs) ** p).sum() ** (1 / p))
    expected = sum(distances) / len(distances)
    assert adapter_loss(student, code, p, q).item() == pytest.approx(expected, rel=1e-10)


def test_affinity_loss_compares_the_cosines_of_all_pairs_of_positions() -> None:
    student, code = maps(2, 3, 2, 3), maps(2, 5, 2, 3, seed=1)
    places = [(y, x) for y in range(2) for x in range(3)]
    total = 0.0
    for b in range(2):
        for i in places:
            for j in places:
                mine = cosine(vector(student, b, *i), vector(student, b, *j)) / len(places)
                theirs = cosine(vector(code, b, *i), vector(code, b, *j)) / len(places)
                total += (mine - theirs) ** 2
    assert affinity_loss(student, code).item() == pytest.approx(total / 2, rel=1e-10)


def attention(features: Tensor, b: int) -> list[float]:
    _, depth, height, width = features.shape
    mean = [
        sum(features[b, d, y, x].item() ** 2 for d in range(depth)) / depth
        for y in range(height)
        for x in range(width)
    ]
    length = math.sqrt(sum(value**2 for value in mean))
    return [value / length for value in mean]


def test_attention_loss_compares_unit_maps_of_mean_squares() -> None:
    student, teacher = maps(2, 3, 2, 3), maps(2, 5, 2, 3, seed=1)
    squares = [
        (mine - theirs) ** 2
        for b in range(2)
        for mine, theirs in zip(attention(student, b), attention(teacher, b), strict=True)
    ]
    assert attention_loss(student, teacher).item() == pytest.approx(sum(squares) / 12, rel=1e-10)


def test_attention_of_a_finer_map_is_averaged_to_the_coarser() -> None:
    coarse = maps(2, 3, 2, 3)
    fine = coarse.repeat_interleave(2, dim=2).repeat_interleave(3, dim=3)
    assert attention_loss(fine, coarse).item() == pytest.approx(0, abs=1e-12)
    assert attention_loss(coarse, fine).item() == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_hint_loss_is_the_squared_distance(reduction: str) -> None:
    student, hint = maps(2, 3, 2, 2), maps(2, 3, 2, 2, seed=1)
    squares = [
        (a - b) ** 2
        for a, b in zip(student.flatten().tolist(), hint.flatten().tolist(), strict=True)
    ]
    expected = sum(squares) / (24 if reduction == "mean" else 2 * 2)
    assert hint_loss(student, hint, reduction).item() == pytest.approx(expected)  # type: ignore[arg-type]


@pytest.mark.parametrize("term", TERMS)
def test_terms_do_not_grow_with_the_batch_and_vanish_for_equal_maps(
    term: Callable[[Tensor, Tensor], Tensor],
) -> None:
    student, teacher = maps(2, 4, 4, 4), maps(2, 4, 4, 4, seed=1)
    once, twice = (
        term(student, teacher),
        term(student.repeat(2, 1, 1, 1), teacher.repeat(2, 1, 1, 1)),
    )
    torch.testing.assert_close(once, twice)
    assert once > 1e-3
    assert term(teacher, teacher).item() == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("term", TERMS)
def test_gradients_are_finite_where_nothing_fires(term: Callable[[Tensor, Tensor], Tensor]) -> None:
    student = torch.zeros(2, 4, 4, 4, requires_grad=True)
    term(student, torch.zeros(2, 4, 4, 4)).backward()
    assert student.grad is not None
    assert student.grad.isfinite().all()


@pytest.mark.parametrize("term", [pairwise_loss, adapter_loss, affinity_loss, hint_loss])
def test_maps_of_unequal_size_are_refused(term: Callable[[Tensor, Tensor], Tensor]) -> None:
    with pytest.raises(ValueError, match=r"4, 4\).*1, 4\)"):
        term(maps(2, 3, 4, 4), maps(2, 3, 1, 4))


@pytest.mark.parametrize("term", [adapter_loss, hint_loss])
def test_maps_of_unequal_depth_are_refused(term: Callable[[Tensor, Tensor], Tensor]) -> None:
    with pytest.raises(ValueError, match=r"\(2, 1, 4, 4\).*\(2, 3, 4, 4\)"):
        term(maps(2, 1, 4, 4), maps(2, 3, 4, 4))
