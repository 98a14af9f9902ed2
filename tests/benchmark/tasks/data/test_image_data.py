"""CIFAR-10, CIFAR-100 and SVHN in every layout people have them in, on small files written here."""

from __future__ import annotations

import io
import os
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from scipy.io import savemat
from torchvision.datasets import CIFAR10, CIFAR100, SVHN

from benchmark.tasks.data.base import DataError, Dataset, Split, check_labels
from benchmark.tasks.data.cifar import CIFAR10_FILES, CIFAR100_FILES, read_cifar10, read_cifar100
from benchmark.tasks.data.images import decode_image
from benchmark.tasks.data.parquet import read_parquet
from benchmark.tasks.data.svhn import read_svhn
from benchmark.tasks.registry import get_task
from tests.helpers import one_line

Reader = Callable[[Path], Dataset]


def small_dataset(train: int = 10, test: int = 6, classes: int = 10) -> Dataset:
    stream = torch.Generator().manual_seed(0)

    def split(count: int) -> Split:
        images = torch.randint(0, 256, (count, 3, 32, 32), generator=stream).to(torch.uint8)
        return Split(images, torch.arange(count) * (classes // 10) % classes)

    return Dataset(split(train), split(test))


def encoded(image: torch.Tensor, kind: str) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image.permute(1, 2, 0).numpy()).save(buffer, kind)
    return buffer.getvalue()


def write_parquet(path: Path, split: Split, kind: str = "PNG", **names: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    images = [{"bytes": encoded(image, kind), "path": None} for image in split.images]
    columns = {names.get("image", "image"): images}
    if names.get("label", "label"):
        columns[names.get("label", "label")] = split.labels.tolist()
    pq.write_table(pa.table(columns), path)


def write_cifar_pickles(root: Path, data: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    """torchvision's layout; its md5 sums are those of the real files, so they are put aside."""
    folder = root / CIFAR10_FILES.folder
    folder.mkdir(parents=True)
    without_md5(CIFAR10, monkeypatch)
    parts = [*zip(data.train.images.chunk(5), data.train.labels.chunk(5), strict=True)]
    parts.append((data.test.images, data.test.labels))
    names = [name for name, _ in CIFAR10.train_list + CIFAR10.test_list]
    for name, (images, labels) in zip(names, parts, strict=True):
        batch = {"data": images.flatten(1).numpy(), "labels": labels.tolist()}
        (folder / name).write_bytes(pickle.dumps(batch))
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": list("abcdefghij")}))


def write_cifar100_pickles(root: Path, data: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    """The published layout: one pickle a split, with fine and coarse labels."""
    folder = root / CIFAR100_FILES.folder
    folder.mkdir(parents=True)
    without_md5(CIFAR100, monkeypatch)
    for name, split in (("train", data.train), ("test", data.test)):
        batch = {
            "filenames": [f"{number}.png" for number in range(len(split.labels))],
            "fine_labels": split.labels.tolist(),
            "coarse_labels": (split.labels // 5).tolist(),
            "data": split.images.flatten(1).numpy(),
        }
        (folder / name).write_bytes(pickle.dumps(batch))
    names = {"fine_label_names": [f"class {number}" for number in range(100)]}
    (folder / "meta").write_bytes(pickle.dumps(names))


def without_md5(source: type[CIFAR10], monkeypatch: pytest.MonkeyPatch) -> None:
    for attribute in ("train_list", "test_list"):
        names = [[name, None] for name, _ in getattr(source, attribute)]
        monkeypatch.setattr(source, attribute, names)
    monkeypatch.setattr(source, "meta", {**source.meta, "md5": None})


def write_svhn_matrices(root: Path, data: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    """torchvision's layout: 32×32×3×N, and the digit 0 is called 10."""
    (root / "svhn").mkdir(parents=True)
    lists = {part: [url, name, None] for part, (url, name, _) in SVHN.split_list.items()}
    monkeypatch.setattr(SVHN, "split_list", lists)
    for name, split in (("train_32x32.mat", data.train), ("test_32x32.mat", data.test)):
        labels = torch.where(split.labels == 0, 10, split.labels)
        content = {
            "X": split.images.permute(2, 3, 1, 0).numpy(),
            "y": labels.numpy().astype(np.uint8)[:, None],
        }
        savemat(root / "svhn" / name, content)


def assert_equal(read: Dataset, written: Dataset) -> None:
    for got, expected in ((read.train, written.train), (read.test, written.test)):
        assert torch.equal(got.images, expected.images)
        assert torch.equal(got.labels, expected.labels)
        assert got.images.dtype == torch.uint8
        assert got.labels.dtype == torch.int64
    assert read.checksum() == written.checksum()


def refusal(reader: Reader, root: Path) -> str:
    with pytest.raises(DataError) as caught:
        reader(root)
    return one_line(str(caught.value))


READERS: list[tuple[Reader, str]] = [
    (read_cifar10, "cifar10"),
    (read_cifar100, "cifar100"),
    (read_svhn, "svhn"),
]


def test_cifar10_is_read_from_torchvisions_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = small_dataset()
    write_cifar_pickles(tmp_path, data, monkeypatch)
    assert_equal(read_cifar10(tmp_path), data)


def test_cifar100_is_read_from_its_pickles_with_fine_labels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = small_dataset(train=24, classes=100)
    assert data.train.labels.max() > 20  # as no coarse label is
    write_cifar100_pickles(tmp_path, data, monkeypatch)
    assert_equal(read_cifar100(tmp_path), data)


def test_cifar100_is_read_from_parquet_with_fine_labels(tmp_path: Path) -> None:
    data = small_dataset(train=24, classes=100)
    for name, split in (("train", data.train), ("test", data.test)):
        columns = {
            "img": [{"bytes": encoded(image, "PNG"), "path": None} for image in split.images],
            "fine_label": split.labels.tolist(),
            "coarse_label": (split.labels // 5).tolist(),
        }
        path = tmp_path / "cifar100" / "cifar100" / f"{name}-00000-of-00001.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.table(columns), path)
    read = get_task("cifar100-wrn").load(tmp_path)
    assert_equal(read, data)
    assert read.note == ""


def test_a_damaged_file_of_cifar100_is_named(tmp_path: Path) -> None:
    folder = tmp_path / CIFAR100_FILES.folder
    folder.mkdir()
    for name in CIFAR100_FILES.files:
        (folder / name).write_bytes(b"half")
    message = refusal(read_cifar100, tmp_path)
    assert "CIFAR-100 is damaged" in message
    assert str(folder / "train") in message
    assert "CIFAR100('data', download=True)" in message


def test_svhn_is_read_from_torchvisions_files_with_zero_as_zero(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = small_dataset(train=12)
    write_svhn_matrices(tmp_path, data, monkeypatch)
    assert_equal(read_svhn(tmp_path), data)


@pytest.mark.parametrize(("reader", "folder"), READERS)
@pytest.mark.parametrize("names", [{}, {"image": "img", "label": "labels"}])
def test_parquet_is_read_whatever_its_columns_are_called(
    tmp_path: Path, reader: Reader, folder: str, names: dict[str, str]
) -> None:
    data = small_dataset()
    first, second = Split(data.train.images[:7], data.train.labels[:7]), data.train
    second = Split(second.images[7:], second.labels[7:])
    write_parquet(tmp_path / folder / "train-00000-of-00002.parquet", first, **names)
    write_parquet(tmp_path / folder / "train-00001-of-00002.parquet", second, **names)
    write_parquet(tmp_path / folder / "test-00000-of-00001.parquet", data.test, **names)
    read = reader(tmp_path)
    assert_equal(read, data)
    assert read.note == ""


def test_parquet_is_found_in_the_folder_of_its_configuration(tmp_path: Path) -> None:
    data = small_dataset()
    for split, part in (("train", data.train), ("test", data.test)):
        write_parquet(tmp_path / "svhn" / "cropped_digits" / f"{split}-0.parquet", part)
        write_parquet(tmp_path / "svhn" / "full_numbers" / f"{split}-0.parquet", data.test)
    assert_equal(read_svhn(tmp_path), data)


def test_a_lossy_copy_says_so_also_from_the_cache(tmp_path: Path) -> None:
    data = small_dataset()
    write_parquet(tmp_path / "cifar10" / "train-0.parquet", data.train, "JPEG")
    write_parquet(tmp_path / "cifar10" / "test-0.parquet", data.test, "JPEG")
    first, again = read_cifar10(tmp_path), read_cifar10(tmp_path)
    assert first.note == again.note == "CIFAR-10 (JPEG)"
    assert first.checksum() == again.checksum() != data.checksum()


def test_images_without_labels_are_read(tmp_path: Path) -> None:
    split = small_dataset().train
    write_parquet(tmp_path / "train-0.parquet", split, label="")
    counts: list[int] = []
    read = read_parquet("X", [tmp_path / "train-0.parquet"], 10, "fetch", counts.append)
    assert torch.equal(read.images, split.images)
    assert read.labels is None
    assert sum(counts) == 10


@pytest.mark.parametrize(("reader", "folder"), READERS)
def test_missing_data_is_answered_with_files_places_and_remedy(
    tmp_path: Path, reader: Reader, folder: str
) -> None:
    message = refusal(reader, tmp_path)
    for part in (f"{folder}/train", str(tmp_path), "--data-dir", "DFKD_DATA", "download=True"):
        assert part in message


@pytest.mark.parametrize("damage", ["truncated", "foreign", "no image", "no label", "sizes"])
def test_a_damaged_parquet_file_is_named(tmp_path: Path, damage: str) -> None:
    data = small_dataset()
    train, test = (tmp_path / "cifar10" / f"{name}-0.parquet" for name in ("train", "test"))
    write_parquet(train, data.train)
    write_parquet(test, data.test)
    if damage == "truncated":
        test.write_bytes(test.read_bytes()[:-30])
    elif damage == "foreign":
        test.write_text("<html>404 not found</html>")
    elif damage == "no image":
        pq.write_table(pa.table({"image": [{"bytes": b"no image"}], "label": [1]}), test)
    elif damage == "no label":
        write_parquet(test, data.test, label="")
    else:
        small = {"bytes": encoded(data.test.images[0, :, :8, :8], "PNG")}
        large = {"bytes": encoded(data.test.images[0], "PNG")}
        pq.write_table(pa.table({"image": [small, large], "label": [1, 2]}), test)
    message = refusal(read_cifar10, tmp_path)
    assert "CIFAR-10 is damaged" in message
    assert str(test) in message
    assert "download=True" in message


def test_a_parquet_file_whose_images_lack_their_bytes_says_what_it_has(tmp_path: Path) -> None:
    data = small_dataset()
    train, test = (tmp_path / "cifar10" / f"{name}-0.parquet" for name in ("train", "test"))
    write_parquet(train, data.train)
    pq.write_table(pa.table({"image": [{"data": b"x", "path": "a.png"}], "label": [1]}), test)
    message = refusal(read_cifar10, tmp_path)
    for part in (str(test), "'image' has no field 'bytes', only: data, path", "download=True"):
        assert part in message
    lacking = [{"bytes": encoded(data.test.images[0], "PNG")}, {"bytes": None}]
    pq.write_table(pa.table({"image": lacking, "label": [1, 2]}), test)
    assert "row 1 holds nothing in column 'image'" in refusal(read_cifar10, tmp_path)


@pytest.mark.parametrize("label", ["cat", 99, 10, -1, 1.0, True, 2**64 - 1])
def test_a_label_that_is_no_class_is_named_with_its_row_and_file(
    tmp_path: Path, label: object
) -> None:
    data = small_dataset()
    train, test = (tmp_path / "cifar10" / f"{name}-0.parquet" for name in ("train", "test"))
    write_parquet(train, data.train)
    images = [{"bytes": encoded(image, "PNG")} for image in data.test.images[:2]]
    before: list[object] = [3 if type(label) is int else label]
    labels = pa.array([*before, label], type=pa.uint64() if label == 2**64 - 1 else None)
    pq.write_table(pa.table({"image": images, "label": labels}), test)
    message = refusal(read_cifar10, tmp_path)
    row = 1 if type(label) is int else 0
    for part in (str(test), f"row {row} has the label '{label}'", "from 0 to 9", "download=True"):
        assert part in message


def test_labels_of_torchvisions_files_are_compared_with_the_classes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = small_dataset()
    data.train.labels[3] = 12
    write_cifar_pickles(tmp_path, data, monkeypatch)
    write_svhn_matrices(tmp_path, data, monkeypatch)
    for reader, folder in ((read_cifar10, CIFAR10_FILES.folder), (read_svhn, "svhn")):
        for _ in range(2):  # decoded, and from the cache
            message = refusal(reader, tmp_path)
            assert f"'{tmp_path / folder}'" in message
            assert "training image 3 has the label 12; labels are whole numbers from 0 to 9" in (
                message
            )


def test_labels_are_whole_numbers_one_an_image() -> None:
    good = small_dataset(train=4, test=4)
    assert check_labels("X", good, 4, "mend it") is good
    for labels, said in (
        (torch.tensor([0, 1, 4, -1]), "test image 2 has the label 4; "),
        (torch.tensor([0, 1, 2, -1]), "test image 3 has the label -1; "),
        (torch.arange(4.0), "the labels of its 4 test images are float32 of shape [4]; "),
        (torch.arange(3), "the labels of its 4 test images are int64 of shape [3]; "),
    ):
        with pytest.raises(DataError) as caught:
            check_labels("X", Dataset(good.train, Split(good.test.images, labels)), 4, "mend it")
        message = one_line(str(caught.value))
        assert said in message
        assert "from 0 to 3" in message
        assert message.endswith("; mend it")


# Pixels


def stored(pixels: np.ndarray, kind: str) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind)
    return buffer.getvalue()


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_sixteen_bits_are_scaled_to_eight(mode: str) -> None:
    levels = np.array([[0, 128, 129, 20000], [255 * 257, 65407, 65406, 40000]], np.uint16)
    expected = np.array([[0, 0, 1, 78], [255, 255, 254, 156]], np.uint8)
    for file in (
        stored(levels, "PNG"),
        stored(levels, "TIFF"),
        stored(levels.astype(">u2"), "TIFF"),
        stored(levels, "PPM"),  # which Pillow opens as 32 bits
    ):
        decoded = decode_image(file, mode)
        assert decoded.dtype == np.uint8
        assert all(np.array_equal(decoded[..., c], expected) for c in range(decoded.shape[2]))


@pytest.mark.parametrize("kind", [np.int32, np.float32])
def test_pixels_of_no_known_range_are_refused(kind: type) -> None:
    file = stored(np.full((4, 4), 7, kind), "TIFF")
    with pytest.raises(ValueError, match="no known range; store 8 or 16 bits"):
        decode_image(file, "L")


def test_a_damaged_file_of_torchvision_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = small_dataset()
    with monkeypatch.context() as patched:
        write_cifar_pickles(tmp_path, data, patched)
        write_svhn_matrices(tmp_path, data, patched)
    # With the published md5 sums in force these files are not the real ones.
    assert "data_batch_1" in refusal(read_cifar10, tmp_path)
    assert "train_32x32.mat" in refusal(read_svhn, tmp_path)


def test_the_real_cifar10_is_complete() -> None:
    folder = os.environ.get("DFKD_DATA")
    if not folder or not list(Path(folder).glob("cifar10/train*.parquet")):
        pytest.skip("CIFAR-10 is not here: $DFKD_DATA does not hold cifar10/*.parquet")
    data = read_cifar10(Path(folder))
    assert data.train.images.shape == (50000, 3, 32, 32)
    assert data.train.labels.bincount().tolist() == [5000] * 10
    assert data.test.labels.bincount().tolist() == [1000] * 10
