from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from benchmark.tasks.data import scenes
from benchmark.tasks.data.base import DataError
from benchmark.tasks.data.camvid import CLASSES, read_camvid
from benchmark.tasks.data.proxy import find_proxy, prepared_images
from benchmark.tasks.data.voc import read_voc, voc_palette
from methods.losses.predictions import IGNORE_INDEX as VOID
from methods.losses.predictions import median_frequency_weights
from methods.synthesis.augmentation import SCALES, scale_crop_flip
from tests.helpers import one_line, write_file


def write_pair(image: Path, labels: Path, ids: np.ndarray, mode: str = "L") -> None:
    """An image whose red channel is the map's, and the map."""
    for path in (image, labels):
        path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.zeros((*ids.shape, 3), np.uint8)
    pixels[..., 0] = ids
    Image.fromarray(pixels).save(image)
    kept = Image.fromarray(ids.astype(np.uint8))
    if mode == "P":
        kept = kept.convert("P")
        kept.putdata(ids.ravel().tolist())
    kept.save(labels)


def write_camvid(root: Path, train: int = 3, val: int = 2) -> Path:
    """CamVid's folders with maps of 18×24; returns the folder that holds them."""
    stream = np.random.default_rng(0)
    for split, count in (("train", train), ("val", val)):
        lines = []
        for i in range(count):
            ids = stream.integers(0, 12, (18, 24))
            names = [f"CamVid/{split}/{i}.png", f"CamVid/{split}annot/{i}.png"]
            write_pair(root / names[0], root / names[1], ids)
            lines.append(" ".join(f"/SegNet/{name}" for name in names))
        write_file(root / "CamVid" / f"{split}.txt", "\n".join(lines) + "\n")
    return root


def write_voc(root: Path) -> Path:
    """VOC 2012's folders with one image a split."""
    voc = root / "VOCdevkit" / "VOC2012"
    for split, label in (("train", 20), ("val", 7)):
        ids = np.full((10, 16), label)
        ids[:, :8] = VOID
        name = f"2007_{split}"
        jpeg = voc / "JPEGImages" / f"{name}.jpg"
        write_pair(jpeg, voc / "SegmentationClass" / f"{name}.png", ids, mode="P")
        write_file(voc / "ImageSets" / "Segmentation" / f"{split}.txt", name + "\n")
    return root


def refusal(read: Callable[[], object]) -> str:
    with pytest.raises(DataError) as error:
        read()
    return one_line(str(error.value))


# Reading


def test_camvid_is_the_middle_square_of_images_and_maps_alike(tmp_path: Path) -> None:
    data = read_camvid(write_camvid(tmp_path), 18)
    assert data.train.images.shape == (3, 3, 18, 18)
    assert data.test.labels.shape == (2, 18, 18)
    ids = np.asarray(Image.open(tmp_path / "CamVid" / "trainannot" / "1.png"))[:, 3:21]
    expected = np.where(ids == 11, VOID, ids)
    assert torch.equal(data.train.labels[1], torch.from_numpy(expected))
    assert torch.equal(data.train.images[1, 0], torch.from_numpy(ids.copy()))


def test_void_may_be_the_twelfth_class(tmp_path: Path) -> None:
    write_camvid(tmp_path)
    ignored, counted = (read_camvid(tmp_path, 18, as_class) for as_class in (False, True))
    assert counted.train.labels.max() == len(CLASSES)
    known = ignored.train.labels != VOID
    assert torch.equal(ignored.train.labels[known], counted.train.labels[known])
    assert (counted.train.labels[~known] == len(CLASSES)).all()
    assert ignored.checksum() != counted.checksum()


def test_resized_maps_hold_no_class_that_was_not_there(tmp_path: Path) -> None:
    write_camvid(tmp_path)
    ids = np.zeros((18, 24), int)
    ids[:, 12:] = 8
    for i in range(3):
        write_pair(tmp_path / f"CamVid/train/{i}.png", tmp_path / f"CamVid/trainannot/{i}.png", ids)
    data = read_camvid(tmp_path, 7)
    assert data.train.labels.unique().tolist() == [0, 8]
    assert data.train.images.shape == (3, 3, 7, 7)


def test_voc_is_read_from_torchvision_s_folder(tmp_path: Path) -> None:
    data = read_voc(write_voc(tmp_path), 10)
    assert data.train.labels.unique().tolist() == [20, VOID]
    assert data.test.labels.unique().tolist() == [7, VOID]
    assert data.train.images.shape == (1, 3, 10, 10)


def test_voc_s_colours_are_the_published_ones() -> None:
    colours = voc_palette()
    assert colours[:4] == ((0, 0, 0), (128, 0, 0), (0, 128, 0), (128, 128, 0))
    assert colours[15] == (192, 128, 128)
    assert colours[20] == (0, 64, 128)


def test_cityscapes_own_folders_are_proxy_images_decoded_once(tmp_path: Path) -> None:
    folder = tmp_path / "cityscapes" / "leftImg8bit"
    for name in ("train/ulm/a.png", "train/aachen/b.png", "val/bonn/c.png"):
        write_pair(folder / name, tmp_path / "unused.png", np.full((8, 16), len(name)))
    files = find_proxy("cityscapes", tmp_path)
    assert [path.name for path in files] == ["b.png", "a.png"]
    images = prepared_images(files, (3, 8, 8))
    assert images.shape == (2, 3, 8, 8)
    for path in files:  # the same size and time: the cache answers
        times = path.stat().st_atime_ns, path.stat().st_mtime_ns
        path.write_bytes(b"x" * path.stat().st_size)
        __import__("os").utime(path, ns=times)
    assert torch.equal(prepared_images(files, (3, 8, 8)), images)


# Damage and absence


def damage_missing(root: Path) -> str:
    (root / "CamVid/trainannot/1.png").unlink()
    return "trainannot/1.png' and 1 more, listed in"


def damage_ids(root: Path) -> str:
    ids = np.full((18, 24), 14)
    write_pair(root / "CamVid/val/0.png", root / "CamVid/valannot/0.png", ids)
    return "valannot/0.png' holds the ids 14; known are 0, 1, 2"


def damage_size(root: Path) -> str:
    Image.new("L", (24, 17)).save(root / "CamVid/trainannot/0.png")
    return "trainannot/0.png' has 24×17 pixels, its image '0.png' 24×18"


def damage_colour(root: Path) -> str:
    Image.new("RGB", (24, 18)).save(root / "CamVid/trainannot/0.png")
    return "trainannot/0.png' is not a map of one id a pixel"


def damage_file(root: Path) -> str:
    (root / "CamVid/train/2.png").write_bytes(b"no image")
    return "train/2.png' cannot be read"


def damage_list(root: Path) -> str:
    write_file(root / "CamVid/train.txt", "train/0.png trainannot/0.png\n\ntrain/1.png\n")
    return "train.txt', line 3 does not name an image and a map"


def damage_nothing(root: Path) -> str:
    write_file(root / "CamVid/val.txt", "\n")
    return "val.txt' lists nothing"


@pytest.mark.parametrize(
    "damage",
    [
        damage_missing,
        damage_ids,
        damage_size,
        damage_colour,
        damage_file,
        damage_list,
        damage_nothing,
    ],
)
def test_what_is_wrong_with_the_files_is_named(
    tmp_path: Path, damage: Callable[[Path], str]
) -> None:
    expected = damage(write_camvid(tmp_path))
    if damage is damage_missing:
        (tmp_path / "CamVid/train/2.png").unlink()
    message = refusal(lambda: read_camvid(tmp_path, 18))
    assert expected in message
    assert "git clone" in message


def test_absence_names_files_places_and_remedy(tmp_path: Path) -> None:
    for read, file in ((read_camvid, "CamVid/train.txt"), (read_voc, "VOC2012/ImageSets")):
        message = refusal(lambda read=read: read(tmp_path, 8))
        for words in (file, str(tmp_path), "--data-dir", "DFKD_DATA", "fetch it with"):
            assert words in message


# Drawn scenes


def test_scenes_are_the_same_at_every_drawing_and_imbalanced_as_streets_are() -> None:
    town = scenes.draw_scenes(60, seed=3, place=scenes.TOWN)
    again = scenes.draw_scenes(60, seed=3, place=scenes.TOWN)
    assert torch.equal(town.images, again.images)
    assert torch.equal(town.labels, again.labels)
    assert not torch.equal(town.images, scenes.draw_scenes(60, 4, scenes.TOWN).images)
    known = town.labels[town.labels != VOID].long()
    share = known.bincount(minlength=len(scenes.CLASSES)).double() / len(known)
    assert (share > 0).all()
    assert share[scenes.SKY] + share[scenes.ROAD] > 0.5
    assert share[scenes.POLE] + share[scenes.SIGN] < 0.03
    assert (town.labels == VOID).any()


def test_scenes_have_not_changed() -> None:
    data = scenes.read_scenes()
    assert (len(data.train.images), len(data.test.images)) == (400, 100)
    assert data.checksum() == "c1c23efdaab05e02"


# Augmentation and class weights


def test_scale_crop_flip_is_that_of_a_plain_loop_over_pixels() -> None:
    stream = torch.Generator().manual_seed(1)
    labels = torch.randint(0, 5, (12, 9, 12), generator=stream, dtype=torch.uint8)
    labels[torch.rand(labels.shape, generator=stream) < 0.1] = VOID
    images = labels[:, None].expand(-1, 3, -1, -1).contiguous()
    moved, maps = scale_crop_flip(images, labels, torch.Generator().manual_seed(5))
    assert moved.dtype == maps.dtype == torch.uint8
    draw = torch.rand(4, 12, generator=torch.Generator().manual_seed(5)).double()
    low, high = SCALES
    differing = 0
    for n in range(12):
        scale = float(low + (high - low) * draw[0, n])
        mirror = -1 if draw[1, n] < 0.5 else 1
        room = abs(1 - 1 / scale)
        for i in range(9):
            for j in range(12):
                # Centres of pixels, in units of half the image from its middle.
                y = ((2 * i + 1) / 9 - 1) / scale + float(2 * draw[3, n] - 1) * room
                x = mirror * ((2 * j + 1) / 12 - 1) / scale + float(2 * draw[2, n] - 1) * room
                row, column = ((y + 1) * 9 - 1) / 2, ((x + 1) * 12 - 1) / 2
                r, c = round(row), round(column)
                inside = 0 <= r < 9 and 0 <= c < 12
                expected = int(labels[n, r, c]) if inside else VOID
                edge = min(abs(row % 1 - 0.5), abs(column % 1 - 0.5)) < 1e-4
                differing += not edge and int(maps[n, i, j]) != expected
    assert differing == 0


def test_images_and_maps_move_together() -> None:
    labels = torch.zeros(40, 16, 16, dtype=torch.uint8)
    labels[:, 4:12, 3:9] = 1
    images = (200 * labels)[:, None].expand(-1, 3, -1, -1).contiguous()
    moved, maps = scale_crop_flip(images, labels, torch.Generator().manual_seed(0))
    assert (moved[:, 0][maps == VOID] <= 100).all()
    bright = moved[:, 0] > 100
    assert (bright == (maps == 1)).double().mean() > 0.97
    sizes = (maps == 1).sum(dim=(1, 2))
    assert sizes.max() > 2 * sizes.median()
    assert (maps == VOID).any()


def test_class_weights_are_median_frequency_over_frequency() -> None:
    labels = torch.tensor([[[0, 0, 0, 1]], [[0, 0, VOID, VOID]], [[2, 0, 1, 1]]])
    # Class 0: 6 of 10 pixels; 1: 3 of the 8 in the images that show it; 2: 1 of 4; 3: never.
    frequency = np.array([6 / 10, 3 / 8, 1 / 4])
    expected = [*(np.median(frequency) / frequency), 0]
    assert median_frequency_weights(labels, 4).tolist() == pytest.approx(expected)
