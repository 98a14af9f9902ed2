"""Names of weights in the code bases that people share their teachers from."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from benchmark.tasks.models.resnet import cifar_resnet
from benchmark.tasks.models.wide_resnet import WideResNet
from methods.own_teacher.key_layouts import common_names, matched

State = dict[str, Tensor]


class VGG(nn.Module):
    """Convolutions with BatchNorm in one sequence, named as in torchvision."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for inputs, outputs in ((3, 4), (4, 8), (8, 8)):
            layers += [nn.Conv2d(inputs, outputs, 3), nn.BatchNorm2d(outputs), nn.ReLU()]
        self.features = nn.Sequential(*layers)
        self.fc = nn.Linear(8, 10)


def distinct(network: nn.Module) -> State:
    """Weights of which no two are equal, so that a swap would be noticed."""
    return {key: torch.rand_like(v.double()) for key, v in network.state_dict().items()}


def rewritten(state: State, *rules: tuple[str, str]) -> State:
    named = {}
    for key, value in state.items():
        new = key
        for pattern, other in rules:
            new = re.sub(pattern, other, new)
        named[new] = value
    return named


def in_groups(word: str) -> Callable[[State], State]:
    """Blocks counted within their group, as ``word`` says: WRN-16 has two a group."""

    def renamed(state: State) -> State:
        return {
            re.sub(
                r"^groups\.(\d+)",
                lambda m: word.format(int(m[1]) // 2 + 1, int(m[1]) % 2),
                key,
            ): value
            for key, value in state.items()
        }

    return renamed


def published_wrn(state: State) -> State:
    """ZSKT, RepDistiller, CMI and those after it."""
    names = (r"\.norm(\d)", r".bn\1"), (r"\.shortcut\.", ".convShortcut."), (r"^norm\.", "bn1.")
    return rewritten(in_groups("block{}.layer.{}")(state), *names)


def layered_wrn(state: State) -> State:
    names = (r"\.norm(\d)", r".bn\1"), (r"\.shortcut\.", ".shortcut.0."), (r"^norm\.", "bn1.")
    return rewritten(in_groups("layer{}.{}")(state), *names, (r"^fc\.", "linear."))


def dafl_resnet(state: State) -> State:
    return rewritten(state, (r"downsample", "shortcut"), (r"^fc\.", "linear."))


def mmcls_resnet(state: State) -> State:
    return rewritten(state, (r"^", "backbone."), (r"^backbone\.fc\.", "head.fc."))


def repdistiller_vgg(state: State) -> State:
    """Blocks between poolings, whose layers are counted anew: one convolution, then two."""
    blocks = (r"^features\.(0|1)\.", r"block0.\1."), (r"^features\.3\.", "block1.0.")
    more = (r"^features\.4\.", "block1.1."), (r"^features\.6\.", "block1.3.")
    return rewritten(
        state, *blocks, *more, (r"^features\.7\.", "block1.4."), (r"^fc\.", "classifier.")
    )


LAYOUTS: dict[str, tuple[Callable[[], nn.Module], Callable[[State], State]]] = {
    "wide ResNet, as published": (lambda: WideResNet(16, 1), published_wrn),
    "wide ResNet, in layers": (lambda: WideResNet(16, 1), layered_wrn),
    "ResNet of DAFL": (lambda: cifar_resnet((1, 1, 1, 1)), dafl_resnet),
    "ResNet of mmcls": (lambda: cifar_resnet((1, 1, 1, 1)), mmcls_resnet),
    "VGG of RepDistiller": (VGG, repdistiller_vgg),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("counters", [True, False])
def test_weights_come_to_their_place_from_every_layout(layout: str, counters: bool) -> None:
    make, shared = LAYOUTS[layout]
    network = make()
    state = distinct(network)
    file = {k: v for k, v in shared(state).items() if counters or "tracked" not in k}
    assert file.keys() != state.keys()
    found, missing, surplus = matched(file, network.state_dict())
    assert surplus == []
    assert all(key.endswith("num_batches_tracked") for key in missing)
    assert bool(missing) != counters
    assert all(torch.equal(found[key], state[key]) for key in state if key not in missing)


def test_more_than_ten_blocks_stay_in_their_order() -> None:
    network = WideResNet(40, 1)
    state = distinct(network)
    shuffled = dict(sorted(state.items(), key=lambda item: item[0][::-1]))
    file = rewritten(shuffled, (r"^groups", "blocks"), (r"\.norm", ".bn"))
    found, missing, surplus = matched(file, network.state_dict())
    assert (missing, surplus) == ([], [])
    assert all(torch.equal(found[key], state[key]) for key in state)


def test_names_that_would_become_one_are_left_as_they_are() -> None:
    network = {"bn.weight": torch.zeros(1), "norm.weight": torch.ones(1)}
    assert len(set(common_names(network).values())) == 1
    _, missing, surplus = matched({"bn.weight": torch.ones(1), "x.weight": torch.ones(1)}, network)
    assert (missing, surplus) == (["norm.weight"], ["x.weight"])


def test_what_does_not_fit_is_named_as_file_and_network_name_it() -> None:
    network = WideResNet(16, 1)
    file = published_wrn(distinct(network))
    file["block9.layer.0.conv1.weight"] = file.pop("block2.layer.1.conv2.weight")
    _, missing, surplus = matched(file, network.state_dict())
    assert "groups.3.conv2.weight" in missing
    assert "block9.layer.0.conv1.weight" in surplus
