from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from methods.own_teacher.architectures import build_network, load_weights, read_weights
from methods.own_teacher.interface import Unsuitable
from tests.helpers import one_line, tiny_network, write_file


def refusal(*arguments: Any) -> str:
    with pytest.raises(Unsuitable) as caught:
        build_network(*arguments)
    return one_line(str(caught.value))


def test_timm_models_come_by_name_with_channels_and_classes() -> None:
    network = build_network("timm/test_resnet", channels=1, num_classes=7).eval()
    assert network(torch.zeros(2, 1, 32, 32)).shape == (2, 7)


def test_an_unknown_timm_model_is_answered_with_the_nearest_names() -> None:
    message = refusal("timm/mobilenetv3_smal_100")
    assert "mobilenetv3_small_100" in message
    assert message.count(",") == 2  # three names
    assert "list_models" in refusal("timm/%%%%")


def test_a_factory_of_the_current_folder_makes_a_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_file(
        tmp_path / "own_networks.py",
        "from torch import nn\n\n\ndef teacher():\n    return nn.Linear(2, 3)\n\n\n"
        "def number():\n    return 3\n\n\ndef broken():\n    raise RuntimeError('no luck')\n",
    )
    monkeypatch.chdir(tmp_path)
    assert isinstance(build_network("own_networks:teacher"), nn.Linear)
    assert "did you mean 'teacher'?" in refusal("own_networks:techer")
    assert "made a int" in refusal("own_networks:number")
    assert "raised RuntimeError: no luck" in refusal("own_networks:broken")


def test_modules_that_are_missing_or_broken_are_told_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_file(tmp_path / "needy_networks.py", "import not_there_at_all\n")
    write_file(tmp_path / "quitting_networks.py", "raise SystemExit(3)\n")
    monkeypatch.chdir(tmp_path)
    assert "there is no module 'absent_networks'" in refusal("absent_networks:teacher")
    assert "'needy_networks' does not import" in refusal("needy_networks:teacher")
    assert "not_there_at_all" in refusal("needy_networks:teacher")
    assert "SystemExit" in refusal("quitting_networks:teacher")


@pytest.mark.parametrize("name", ["resnet18", "../x:y", "module:", ":factory", "a b:c", "x:y()"])
def test_what_names_no_network_is_refused(name: str) -> None:
    assert "module:factory" in refusal(name)


# Weights


def refused(path: Path, network: nn.Module | None = None) -> str:
    with pytest.raises(Unsuitable) as caught:
        load_weights(network or tiny_network(), path, "mine")
    return one_line(str(caught.value))


@pytest.mark.parametrize("kind", ["safetensors", "plain", "checkpoint", "parallel"])
def test_weights_are_loaded_from_the_usual_files(tmp_path: Path, kind: str) -> None:
    state = tiny_network(seed=5).state_dict()
    path = tmp_path / ("w.safetensors" if kind == "safetensors" else "w.pt")
    if kind == "safetensors":
        save_file(state, path)
    elif kind == "plain":
        torch.save(state, path)
    elif kind == "checkpoint":
        torch.save({"epoch": 3, "state_dict": state}, path)
    else:
        torch.save({f"module.{key}": value for key, value in state.items()}, path)
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


def test_weights_of_another_network_are_named_key_by_key(tmp_path: Path) -> None:
    state = tiny_network().state_dict()
    state["head.weight"] = state.pop("classifier.weight")
    state["classifier.bias"] = torch.zeros(9)
    save_file(state, tmp_path / "other.safetensors")
    message = refused(tmp_path / "other.safetensors")
    assert "missing classifier.weight" in message
    assert "unexpected head.weight" in message
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
