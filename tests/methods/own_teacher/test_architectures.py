from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from methods.own_teacher.architectures import build_network
from methods.own_teacher.interface import Unsuitable
from tests.helpers import one_line, write_file


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
