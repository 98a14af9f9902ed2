from __future__ import annotations

import os
import struct
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from benchmark.tasks.data.base import DataError, Dataset, Split, search_paths
from benchmark.tasks.data.digits import read_digits
from benchmark.tasks.data.mnist import FILES, find_mnist, read_mnist
from benchmark.tasks.registry import get_task
from tests.helpers import one_line

# The reader's format: big-endian magic (type 8 = uint8, number of dimensions), sizes, bytes.


def idx(tensor: Tensor) -> bytes:
    header = struct.pack(">HBB", 0, 8, tensor.dim())
    return header + struct.pack(f">{tensor.dim()}I", *tensor.shape) + tensor.numpy().tobytes()


def write_mnist(root: Path, train: int = 12, test: int = 5) -> Dataset:
    """A tiny MNIST in torchvision's folder layout."""
    stream = torch.Generator().manual_seed(0)
    raw = root / "MNIST" / "raw"
    raw.mkdir(parents=True)
    splits = []
    for count, names in ((train, FILES[:2]), (test, FILES[2:])):
        images = torch.randint(0, 256, (count, 28, 28), generator=stream).to(torch.uint8)
        labels = (torch.arange(count) % 10).to(torch.uint8)
        (raw / names[0]).write_bytes(idx(images))
        (raw / names[1]).write_bytes(idx(labels))
        splits.append(Split(images[:, None], labels.long()))
    return Dataset(*splits)


def refusal(root: Path) -> str:
    with pytest.raises(DataError) as caught:
        read_mnist(root)
    return one_line(str(caught.value))


# Digits


def test_digits_are_always_the_same_data() -> None:
    assert read_digits().checksum() == read_digits().checksum() == "e4d80aeca342f911"


def test_digits_are_split_stratified_and_without_overlap() -> None:
    data = read_digits()
    assert (len(data.train.labels), len(data.test.labels)) == (1437, 360)
    assert data.train.images.shape == (1437, 1, 8, 8)
    assert data.train.images.dtype == torch.uint8
    assert data.train.labels.dtype == torch.int64
    assert data.train.images.max() == 255
    total = data.train.labels.bincount() + data.test.labels.bincount()
    share = data.test.labels.bincount() / total
    assert (share - 0.2).abs().max() < 0.005
    everything = torch.cat([data.train.images, data.test.images]).flatten(1)
    assert len(everything.unique(dim=0)) == 1797


def test_checksum_sees_every_part_of_the_data() -> None:
    data = read_digits()
    labels = data.test.labels.clone()
    labels[0] = (labels[0] + 1) % 10
    images = data.train.images.clone()
    images[-1, 0, 0, 0] += 1
    changed = [
        replace(data, test=replace(data.test, labels=labels)),
        replace(data, train=replace(data.train, images=images)),
        Dataset(data.test, data.train),
        replace(data, train=replace(data.train, images=data.train.images.flatten(2))),
    ]
    assert len({d.checksum() for d in [data, *changed]}) == len(changed) + 1


@pytest.mark.parametrize("name", ["digits", "mnist"])
def test_preprocessing_gives_normalised_images_of_the_tasks_shape(name: str) -> None:
    task = get_task(name)
    size = 8 if name == "digits" else 28
    images = task.preprocess(torch.full((3, 1, size, size), 255, dtype=torch.uint8))
    assert images.shape == (3, *task.image_shape)
    assert images.dtype == torch.float32
    white = (1 - task.normalization.mean[0]) / task.normalization.std[0]
    torch.testing.assert_close(images, torch.full_like(images, white))


def test_digits_are_normalised_to_zero_mean_and_unit_variance() -> None:
    images = get_task("digits").preprocess(read_digits().train.images)
    assert abs(float(images.mean())) < 0.02
    assert abs(float(images.std()) - 1) < 0.15


# MNIST


def test_mnist_is_read_as_it_was_written(tmp_path: Path) -> None:
    written, data = write_mnist(tmp_path), read_mnist(tmp_path)
    assert torch.equal(data.train.images, written.train.images)
    assert torch.equal(data.train.labels, written.train.labels)
    assert torch.equal(data.test.images, written.test.images)
    assert torch.equal(data.test.labels, written.test.labels)
    assert data.checksum() == written.checksum()
    assert data.train.labels.dtype == torch.int64


@pytest.mark.parametrize("name", FILES)
def test_a_missing_mnist_file_is_named_with_the_places_and_the_remedy(
    tmp_path: Path, name: str
) -> None:
    write_mnist(tmp_path)
    (tmp_path / "MNIST" / "raw" / name).unlink()
    message = refusal(tmp_path)
    for part in (name, str(tmp_path), "--data-dir", "DFKD_DATA", "download=True"):
        assert part in message


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("kept", [0, 3, 12, -1], ids=["empty", "magic", "header", "last-byte"])
def test_a_truncated_mnist_file_is_named(tmp_path: Path, name: str, kept: int) -> None:
    write_mnist(tmp_path)
    path = tmp_path / "MNIST" / "raw" / name
    path.write_bytes(path.read_bytes()[:kept])
    message = refusal(tmp_path)
    assert "MNIST is damaged" in message
    assert name in message


@pytest.mark.parametrize("images", [FILES[0], FILES[2]])
def test_as_many_labels_as_images_are_expected(tmp_path: Path, images: str) -> None:
    write_mnist(tmp_path)
    path = tmp_path / "MNIST" / "raw" / images
    path.write_bytes(idx(torch.zeros(4, 28, 28, dtype=torch.uint8)))
    message = refusal(tmp_path)
    assert "has 4 images but" in message
    assert images in message


def test_a_label_of_mnist_that_is_no_class_is_named(tmp_path: Path) -> None:
    write_mnist(tmp_path)
    labels = torch.tensor([1, 2, 10, 3, 4], dtype=torch.uint8)
    (tmp_path / "MNIST" / "raw" / FILES[3]).write_bytes(idx(labels))
    message = refusal(tmp_path)
    for part in (str(tmp_path / "MNIST" / "raw"), "test image 2 has the label 10", "0 to 9"):
        assert part in message


def test_a_foreign_file_under_mnists_name_is_named(tmp_path: Path) -> None:
    write_mnist(tmp_path)
    (tmp_path / "MNIST" / "raw" / FILES[1]).write_text("<html>404 not found</html>")
    message = refusal(tmp_path)
    assert "MNIST is damaged" in message
    assert FILES[1] in message


def test_data_is_looked_for_where_it_was_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DFKD_DATA", str(tmp_path / "mine"))
    assert search_paths(tmp_path / "said") == [tmp_path / "said"]
    assert search_paths(None)[0] == tmp_path / "mine"
    write_mnist(tmp_path / "mine")
    assert find_mnist(None) == tmp_path / "mine"


def test_the_real_mnist_is_complete() -> None:
    folder = os.environ.get("DFKD_DATA")
    if not folder or not (Path(folder) / "MNIST" / "raw" / FILES[0]).is_file():
        pytest.skip("the real MNIST is not here: $DFKD_DATA does not hold MNIST/raw")
    data = read_mnist(Path(folder))
    assert data.train.images.shape == (60000, 1, 28, 28)
    assert data.test.images.shape == (10000, 1, 28, 28)
    assert data.test.labels.bincount().max() == 1135
