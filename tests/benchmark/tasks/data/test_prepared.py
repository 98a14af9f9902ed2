from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
import torch

from benchmark.machine.cache import cache_dir
from benchmark.machine.tensors import checksum
from benchmark.tasks.data import prepared as module
from benchmark.tasks.data.base import Dataset, ImageProgress, Split
from benchmark.tasks.data.mnist import read_mnist
from benchmark.tasks.data.prepared import prepared
from tests.benchmark.tasks.data.test_data import write_mnist


class Source:
    """A file of one byte that decodes to a dataset filled with it, and counts how often."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "source.bin"
        self.path.write_bytes(b"\x07")
        self.decoded = 0

    def read(self) -> Dataset:
        return prepared("Some-Data", [self.path], self._decode)

    def _decode(self, tick: ImageProgress) -> Dataset:
        self.decoded += 1
        tick(5, 5)
        images = torch.full((5, 3, 4, 4), self.path.read_bytes()[0], dtype=torch.uint8)
        splits = [Split(images.clone(), torch.arange(5)) for _ in range(2)]
        return Dataset(*splits, note="a note")

    @property
    def cached(self) -> Path:
        (path,) = (cache_dir() / "data").iterdir()
        return path


@pytest.fixture
def source(tmp_path: Path) -> Source:
    return Source(tmp_path)


def test_data_are_decoded_once_and_come_back_equal(source: Source) -> None:
    fresh = source._decode(lambda done, total: None)
    for _ in range(3):
        data = source.read()
        assert torch.equal(data.train.images, fresh.train.images)
        assert torch.equal(data.test.labels, fresh.test.labels)
        assert data.checksum() == fresh.checksum()
        assert data.note == "a note"
    assert source.decoded == 2


def test_a_known_checksum_is_not_computed_again_nor_inherited_by_other_data(
    source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    source.read()
    data = source.read()
    with monkeypatch.context() as patched:
        patched.setattr("benchmark.tasks.data.base.hashlib.sha256", None)
        known = data.checksum()
    swapped = Dataset(data.train, Split(data.test.images, data.test.labels + 1))
    assert swapped.checksum() != known


def test_another_size_or_time_of_a_source_is_decoded_again_and_said(
    source: Source, capfd: pytest.CaptureFixture[str]
) -> None:
    source.read()
    assert capfd.readouterr().err == ""
    source.path.write_bytes(b"\x09\x09")
    assert source.read().train.images.unique().tolist() == [9]
    said = capfd.readouterr().err
    assert "out of date" in said
    assert "Some-Data" in said
    os.utime(source.path, ns=(1, 1))
    source.read()
    assert source.decoded == 3
    assert source.cached.is_file()  # and the only one: what is out of date is replaced


@pytest.mark.parametrize("kept", [0, 4, 60, -1], ids=["empty", "length", "header", "last-byte"])
def test_a_damaged_file_is_made_again_and_said(
    source: Source, kept: int, capfd: pytest.CaptureFixture[str]
) -> None:
    source.read()
    source.cached.write_bytes(source.cached.read_bytes()[:kept])
    assert source.read().train.images.unique().tolist() == [7]
    said = capfd.readouterr().err
    assert "damaged" in said
    assert "preparing Some-Data again" in said
    source.read()
    assert source.decoded == 2


def test_a_flipped_byte_is_noticed_before_the_data_are_used(
    source: Source, capfd: pytest.CaptureFixture[str]
) -> None:
    source.read()
    content = bytearray(source.cached.read_bytes())
    content[-20] ^= 1
    source.cached.write_bytes(content)
    os.utime(source.cached, ns=(1, 1))  # clocks of file systems are coarse
    fresh = source._decode(lambda done, total: None)
    again = source.read()
    for split in ("train", "test"):
        assert torch.equal(getattr(again, split).images, getattr(fresh, split).images)
        assert torch.equal(getattr(again, split).labels, getattr(fresh, split).labels)
    assert "damaged" in capfd.readouterr().err


def test_arrays_are_compared_with_their_checksum_once_and_not_in_a_worker(
    source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    source.read()
    computed: list[int] = []

    def counted(tensors: dict[str, torch.Tensor]) -> str:
        computed.append(len(tensors))
        return checksum(tensors)

    monkeypatch.setattr(module, "checksum", counted)
    source.read()
    assert computed == []
    monkeypatch.setattr(module, "_compared", set())
    with monkeypatch.context() as worker:
        worker.setattr("multiprocessing.parent_process", lambda: object())
        source.read()
    assert computed == []
    source.read()
    source.read()
    assert len(computed) == 1


def test_a_cache_that_cannot_be_written_is_said_and_done_without(
    source: Source, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    blocked = source.path.parent / "file"
    blocked.write_text("not a folder")
    monkeypatch.setenv("DFKD_CACHE", str(blocked))
    assert source.read().train.images.unique().tolist() == [7]
    said = capfd.readouterr().err
    assert "decoded at every start" in said
    assert str(blocked) in said
    assert "DFKD_CACHE" in said


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc/self/maps")
def test_arrays_are_mapped_not_read(source: Source) -> None:
    data = source.read()
    mapped = [
        line for line in Path("/proc/self/maps").read_text().splitlines() if "some-data" in line
    ]
    first = data.train.images.data_ptr()
    spans = [[int(end, 16) for end in line.split()[0].split("-")] for line in mapped]
    assert any(low <= first < high for low, high in spans)


def test_preparing_is_shown_on_a_terminal_once_it_takes_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from rich.console import Console

    started = []
    monkeypatch.setattr(module.Progress, "start", lambda self: started.append(self))
    for patience, terminal, expected in ((1e9, True, 0), (-1.0, False, 0), (-1.0, True, 1)):
        monkeypatch.setattr(module._Bar, "PATIENCE", patience)
        with module._Bar("X", Console(force_terminal=terminal, stderr=True)) as bar:
            bar.tick(1, 2)
        assert len(started) == expected


def test_mnist_starts_a_second_time_without_torchvision(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_mnist(tmp_path)
    first = read_mnist(tmp_path)
    monkeypatch.setitem(sys.modules, "torchvision.datasets", None)  # importing it fails now
    assert read_mnist(tmp_path).checksum() == first.checksum()
