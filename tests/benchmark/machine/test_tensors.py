from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import torch

from benchmark.machine.cache import cache_dir
from benchmark.machine.tensors import Corrupted, checksum, load_tensors, save_tensors

TENSORS = {
    "weight": torch.arange(600.0).view(20, 30),
    "half": torch.ones(3, dtype=torch.float16),
    "count": torch.tensor(7),
    "empty": torch.zeros(0, 4),
}


def saved(folder: Path) -> Path:
    path = folder / "entry.safetensors"
    save_tensors(path, TENSORS, {"note": "hello"})
    return path


def test_tensors_and_their_description_survive_the_file(tmp_path: Path) -> None:
    tensors, info = load_tensors(saved(tmp_path))
    assert info["note"] == "hello"
    assert info["checksum"] == checksum(TENSORS)
    assert tensors.keys() == TENSORS.keys()
    assert all(torch.equal(tensors[name], TENSORS[name]) for name in TENSORS)
    assert all(tensors[name].dtype == TENSORS[name].dtype for name in TENSORS)


def test_checksum_sees_names_types_shapes_and_values() -> None:
    base = {"a": torch.zeros(2, 3)}
    others = [
        {"b": torch.zeros(2, 3)},
        {"a": torch.zeros(2, 3, dtype=torch.float64)},
        {"a": torch.zeros(2, 3, dtype=torch.int32)},
        {"a": torch.zeros(3, 2)},
        {"a": torch.zeros(2, 3) + 1e-30},
        {"a": torch.zeros(2, 3), "b": torch.zeros(0)},
        {},
    ]
    assert len({checksum(tensors) for tensors in [base, *others]}) == len(others) + 1


def test_checksum_does_not_depend_on_order_or_memory_layout() -> None:
    a, b = torch.rand(4, 5), torch.rand(3)
    assert checksum({"a": a, "b": b}) == checksum({"b": b, "a": a})
    assert checksum({"a": a.t().contiguous().t(), "b": b}) == checksum({"a": a, "b": b})


@pytest.mark.parametrize("where", [0.3, 0.5, 0.9])
def test_a_flipped_byte_is_noticed(tmp_path: Path, where: float) -> None:
    path = saved(tmp_path)
    content = bytearray(path.read_bytes())
    content[int(len(content) * where)] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(Corrupted, match="damaged") as caught:
        load_tensors(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("kept", [0, 4, 100, 2000])
def test_a_truncated_file_is_noticed(tmp_path: Path, kept: int) -> None:
    path = saved(tmp_path)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(Corrupted, match="damaged"):
        load_tensors(path)


def test_a_foreign_file_is_refused_and_never_unpickled(tmp_path: Path) -> None:
    path = tmp_path / "entry.safetensors"
    path.write_bytes(pickle.dumps(_Bomb()))
    with pytest.raises(Corrupted):
        load_tensors(path)
    torch.save({"weight": torch.zeros(3)}, path)
    with pytest.raises(Corrupted):
        load_tensors(path)


class _Bomb:
    def __reduce__(self) -> tuple[type, tuple[str]]:
        return AssertionError, ("the file was unpickled",)


def test_a_missing_file_is_not_a_damaged_one(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        load_tensors(tmp_path / "absent.safetensors")


def test_cache_lies_where_the_variable_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert cache_dir() == tmp_path / "cache"
    monkeypatch.delenv("DFKD_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_dir() == tmp_path / "xdg" / "dfkd-bench"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_dir() == Path.home() / ".cache" / "dfkd-bench"
