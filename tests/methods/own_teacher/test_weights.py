from __future__ import annotations

import argparse
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from methods.own_teacher.interface import Unsuitable
from methods.own_teacher.weights import load_weights, read_weights
from tests.helpers import one_line, tiny_network, write_file


def refused(path: Path, network: nn.Module | None = None) -> str:
    with pytest.raises(Unsuitable) as caught:
        load_weights(network or tiny_network(), path, "mine")
    return one_line(str(caught.value))


State = dict[str, torch.Tensor]


def parallel(state: State) -> State:
    return {f"module.{key}": value for key, value in state.items()}


def trained(state: State) -> dict[str, Any]:
    """What a training script keeps: numbers of numpy, arguments, the state of an optimiser."""
    optimizer = torch.optim.SGD(tiny_network().parameters(), 0.1, momentum=0.9)
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, [2, 4])
    return {
        "epoch": 3,
        "arch": "tiny",
        "best_acc1": np.float64(95.5),
        "best_loss": np.float32(0.5),
        "opt": argparse.Namespace(lr=0.1),
        "optimizer": optimizer.state_dict(),
        "scheduler": schedule.state_dict(),
        "state_dict": parallel(state),
    }


CONTAINERS: dict[str, Callable[[State], Any]] = {
    "bare": dict,
    "state_dict": trained,
    "model": lambda state: {"model": state, "epoch": 240},
    "state": lambda state: {"state": state},
    "net": lambda state: {"net": parallel(state), "acc": 95.0, "epoch": 1},
    "nested": lambda state: {"model": {"state_dict": state}},
    "parallel": parallel,
    "compiled": lambda state: {f"_orig_mod.{key}": value for key, value in state.items()},
}


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("kind", [*CONTAINERS, "safetensors"])
def test_weights_are_loaded_from_the_usual_files(tmp_path: Path, kind: str, zipped: bool) -> None:
    state = tiny_network(seed=5).state_dict()
    path = tmp_path / ("w.safetensors" if kind == "safetensors" else "last.pth.tar")
    if kind == "safetensors":
        save_file(state, path)
    else:
        torch.save(CONTAINERS[kind](state), path, _use_new_zipfile_serialization=zipped)
    network = tiny_network(seed=6)
    load_weights(network, path)
    assert all(torch.equal(value, state[key]) for key, value in network.state_dict().items())


class Trap:
    """Unpickled, it would write a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return open, (str(self.path), "w")


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".safetensors", ".bin"])
def test_a_pickle_that_could_execute_something_is_not_loaded(tmp_path: Path, suffix: str) -> None:
    trap = {"conv.weight": Trap(tmp_path / "sprung")}
    path = tmp_path / f"weights{suffix}"
    path.write_bytes(pickle.dumps(trap))
    assert str(path) in refused(path)
    torch.save(trap, tmp_path / "zipped.pt")
    assert "execute anything" in refused(tmp_path / "zipped.pt")
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("zipped", [True, False])
def test_a_whole_module_is_refused_with_the_class_that_it_needs(
    tmp_path: Path, zipped: bool
) -> None:
    path = tmp_path / "teacher"
    torch.save(tiny_network(), path, _use_new_zipfile_serialization=zipped)
    message = refused(path)
    for part in (str(path), "tests.helpers.TinyNetwork", "execute anything", "state_dict alone"):
        assert part in message


def test_weights_of_half_precision_become_the_networks(tmp_path: Path) -> None:
    state = tiny_network(seed=5).state_dict()
    save_file(
        {k: v.half() if v.is_floating_point() else v for k, v in state.items()},
        tmp_path / "h.safetensors",
    )
    network = tiny_network()
    load_weights(network, tmp_path / "h.safetensors")
    assert network.conv.weight.dtype == torch.float32
    torch.testing.assert_close(network.conv.weight, state["conv.weight"], rtol=1e-3, atol=1e-3)


def test_names_are_changed_as_asked(tmp_path: Path) -> None:
    state = tiny_network(seed=5).state_dict()
    named = {key.replace("conv.", "stem.0."): value for key, value in state.items()}
    save_file({**named, "aux.weight": torch.zeros(2)}, tmp_path / "named.safetensors")
    network = tiny_network()
    renames = [("stem.0", "conv"), ("aux", "")]
    load_weights(network, tmp_path / "named.safetensors", renames=renames)
    assert torch.equal(network.conv.weight, state["conv.weight"])
    with pytest.raises(Unsuitable, match=r"no weight has 'stem\.1' in its name"):
        load_weights(network, tmp_path / "named.safetensors", renames=[("stem.1", "conv")])


def test_weights_of_another_network_are_named_key_by_key(tmp_path: Path) -> None:
    state = tiny_network().state_dict()
    state["top.weight"] = state.pop("classifier.weight")
    state["classifier.bias"] = torch.zeros(9)
    save_file(state, tmp_path / "other.safetensors")
    message = refused(tmp_path / "other.safetensors")
    assert "missing classifier.weight" in message
    assert "unexpected top.weight" in message
    assert "classifier.bias (9 in the file, 3 in the network)" in message


def test_a_long_list_of_keys_is_cut(tmp_path: Path) -> None:
    save_file({"x": torch.zeros(1)}, tmp_path / "x.safetensors")
    message = refused(tmp_path / "x.safetensors")
    wanted = [key for key in tiny_network().state_dict() if "tracked" not in key]
    assert f"and {len(wanted) - 3} more" in message


def test_files_without_batch_counters_will_do(tmp_path: Path) -> None:
    state = {k: v for k, v in tiny_network().state_dict().items() if "tracked" not in k}
    save_file(state, tmp_path / "old.safetensors")
    load_weights(tiny_network(), tmp_path / "old.safetensors")


def test_files_that_hold_no_weights_are_refused(tmp_path: Path) -> None:
    torch.save([1, 2], tmp_path / "list.pt")
    write_file(tmp_path / "text.safetensors", "hello")
    assert "no state_dict" in refused(tmp_path / "list.pt")
    assert "no safetensors file" in refused(tmp_path / "text.safetensors")
    assert "there is no file" in refused(tmp_path / "absent.pt")
    torch.save({"a": torch.zeros(1)}, tmp_path / "good.pt")
    assert list(read_weights(tmp_path / "good.pt")) == ["a"]
