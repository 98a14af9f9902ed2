from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from methods.own_teacher.interface import PlainNetwork, Unsuitable, probe, with_timm_interface
from tests.helpers import IMAGE_SHAPE, one_line, tiny_network

IMAGES = torch.linspace(-1, 1, 2 * 64).view(2, *IMAGE_SHAPE)


class Plain(nn.Module):
    """A classifier with ``forward`` alone; ``last`` is what it does with its linear layer's output.

    Its first linear layer is registered last, so that only the order of the calls tells.
    """

    def __init__(self, last: nn.Module | None = None) -> None:
        super().__init__()
        self.classifier = nn.Linear(5, 3)
        self.hidden = nn.Linear(64, 5)
        self.last = last or nn.Identity()

    def forward(self, images: Tensor) -> Tensor:
        return self.last(self.classifier(F.relu(self.hidden(images.flatten(1)))))


def plain(last: nn.Module | None = None) -> Plain:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        return Plain(last).eval()


def test_a_network_that_follows_timm_is_left_alone() -> None:
    network = tiny_network().eval()
    assert with_timm_interface(network, IMAGES) is network


def test_a_plain_network_is_cut_before_its_last_linear_layer() -> None:
    network = plain()
    cut = with_timm_interface(network, IMAGES)
    features = cut.forward_features(IMAGES)
    w, b = (t.detach().double() for t in (network.hidden.weight, network.hidden.bias))
    expected = (IMAGES.double().flatten(1) @ w.T + b).clamp(min=0)
    torch.testing.assert_close(features.double(), expected, rtol=1e-5, atol=1e-6)
    assert torch.equal(cut.forward_head(features, pre_logits=True), features)
    assert torch.equal(cut.forward_head(features), network(IMAGES))
    assert torch.equal(cut(IMAGES), network(IMAGES))
    assert (cut.num_classes, cut.num_features) == (3, 5)


def test_gradients_flow_through_the_cut_and_no_hook_stays() -> None:
    network = plain()
    cut = PlainNetwork(network, IMAGES)
    images = IMAGES.clone().requires_grad_()
    cut.forward_head(cut.forward_features(images)).sum().backward()
    assert images.grad is not None
    assert images.grad.abs().sum() > 0
    assert not any(layer._forward_pre_hooks for layer in network.modules())


def test_the_last_layer_is_called_the_classifier_as_timm_does() -> None:
    network = plain()
    assert PlainNetwork(network, IMAGES).get_classifier() is network.classifier
    assert PlainNetwork(plain(nn.LogSoftmax(dim=1)), IMAGES).get_classifier() is None


def test_a_layer_called_after_the_answer_was_given_is_not_the_last_one() -> None:
    class Auxiliary(Plain):
        def forward(self, images: Tensor) -> Tensor:
            logits = super().forward(images)
            self.auxiliary(F.relu(self.hidden(images.flatten(1))))
            return logits

    network = Auxiliary().eval()
    network.auxiliary = nn.Linear(5, 3)
    cut = PlainNetwork(network, IMAGES)
    assert cut.get_classifier() is network.classifier
    assert torch.equal(cut.forward_head(cut.forward_features(IMAGES)), network(IMAGES))


@pytest.mark.parametrize("last", [nn.LogSoftmax(dim=1), nn.Linear(3, 4)], ids=["softmax", "other"])
def test_only_the_layer_that_answers_is_the_last_one(last: nn.Module) -> None:
    network = plain(last)
    cut = PlainNetwork(network, IMAGES)
    ends_linear = isinstance(last, nn.Linear)
    assert cut.num_features == (3 if ends_linear else 0)
    features = cut.forward_features(IMAGES)
    assert torch.equal(cut.forward_head(features), network(IMAGES))
    assert cut.forward_head(features, pre_logits=True).shape == (2, cut.num_features)


class Dictionary(nn.Module):
    def forward(self, images: Tensor) -> dict[str, Tensor]:
        return {"logits": images}


@pytest.mark.parametrize(
    ("network", "said"),
    [
        (nn.Conv2d(3, 4, 3), "the teacher does not take images of 1×8×8: RuntimeError"),
        (nn.Conv2d(1, 4, 3), "a tensor of 2×4×6×6"),
        (Dictionary(), "with dict"),
        (nn.Sequential(nn.Flatten(), nn.Threshold(9.0, float("nan"))), "NaN or infinity"),
    ],
)
def test_what_is_no_classifier_is_refused_in_one_line(network: nn.Module, said: str) -> None:
    with pytest.raises(Unsuitable) as caught:
        probe(network, IMAGES, "teacher")
    assert said in one_line(str(caught.value))
