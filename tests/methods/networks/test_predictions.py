from __future__ import annotations

import pytest
import torch

from methods.networks.predictions import accuracy, predictions
from tests.helpers import tiny_network


def test_accuracy_is_measured_in_eval_mode_and_leaves_the_mode_alone() -> None:
    network = tiny_network()
    images = torch.randn(10, 1, 8, 8)
    expected = network.eval()(images).argmax(1)
    network.train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    assert torch.equal(predictions(network, images), expected)
    assert accuracy(network, images, expected) == 1.0
    assert network.training
    assert all(torch.equal(before[n], value) for n, value in network.state_dict().items())


def test_predictions_do_not_depend_on_how_the_images_are_split(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    network, images = tiny_network(), torch.randn(11, 1, 8, 8)
    whole = predictions(network, images)
    monkeypatch.setattr("methods.networks.predictions.CHUNK", 4)
    assert torch.equal(predictions(network, images), whole)
