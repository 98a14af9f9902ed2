from __future__ import annotations

import torch

from methods.synthesis.inversion import BestIterate


def test_the_images_of_least_loss_are_kept_with_what_belongs_to_them() -> None:
    best = BestIterate()
    for loss, value in ((3.0, 0.0), (1.0, 1.0), (2.0, 2.0)):
        best.remember(torch.full((2, 1), value), torch.tensor(loss), torch.full((2, 4), 10 * value))
    assert best.images.flatten().tolist() == [1.0, 1.0]
    (others,) = best.others
    assert (others == 10).all()


def test_what_is_kept_has_memory_of_its_own() -> None:
    best, images, features = BestIterate(), torch.zeros(2, 1), torch.zeros(2, 3)
    best.remember(images, torch.tensor(1.0), features)
    images.add_(1)
    features.add_(1)
    assert not best.images.any()
    assert not best.others[0].any()
