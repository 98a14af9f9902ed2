"""Proxy data: reading them, who may see them, and what they are in a run's identity."""

from __future__ import annotations

import bz2
import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from benchmark.analysis.leaderboard.captions import caption
from benchmark.analysis.leaderboard.cells import headline_grid
from benchmark.analysis.leaderboard.tables import tables
from benchmark.cli.program import app
from benchmark.machine.cache import cache_dir
from benchmark.records.record import Record
from benchmark.records.store import Scan, Store
from benchmark.runs.job import Context
from benchmark.runs.posing import pose
from benchmark.tasks.base import Task
from benchmark.tasks.data.base import DataError
from benchmark.tasks.data.prepared import prepared_tensors
from benchmark.tasks.data.proxy import Proxy, files_in, find_proxy, read_images
from benchmark.tasks.mnist import MNIST
from benchmark.tasks.tiny import Tiny
from methods.base.problem import AccessError
from methods.base.teacher import Teacher
from methods.baselines import AlternativeData, Noise
from tests.helpers import make_record, one_line, tiny_network

GREY = (1, 16, 16)


def picture(seed: int, height: int = 16, width: int = 16, channels: int = 1) -> np.ndarray:
    shape = (height, width) if channels == 1 else (height, width, channels)
    return np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8)


def encoded(array: np.ndarray, kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, kind)
    return buffer.getvalue()


def write_parquet(path: Path, images: Sequence[bytes | None], column: str = "image") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [None if b is None else {"bytes": b, "path": f"{i}"} for i, b in enumerate(images)]
    struct = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    pq.write_table(pa.table({column: pa.array(rows, type=struct)}), path)
    return path


def write_image(path: Path, array: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)
    return path


def photos(folder: Path, count: int = 12, start: int = 0) -> Path:
    for i in range(count):
        write_image(folder / f"{i:02d}.png", picture(start + i))
    return folder


def refusal(action: Callable[[], Any]) -> str:
    with pytest.raises(DataError) as caught:
        action()
    return one_line(str(caught.value))


def dfkd(*arguments: Any) -> Any:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


# Reading


def test_png_in_parquet_is_read_to_the_bit_and_in_order(tmp_path: Path) -> None:
    arrays = [picture(i) for i in range(5)]
    first = write_parquet(tmp_path / "a.parquet", [encoded(a) for a in arrays[:3]])
    second = write_parquet(tmp_path / "b.parquet", [encoded(a) for a in arrays[3:]])
    images = read_images([first, second], GREY)
    assert images.dtype == torch.uint8
    assert torch.equal(images, torch.from_numpy(np.stack(arrays))[:, None])


def test_jpeg_is_read_in_the_task_s_channels(tmp_path: Path) -> None:
    flat = np.full((16, 16, 3), (200, 100, 0), np.uint8)
    path = write_parquet(tmp_path / "a.parquet", [encoded(flat, "JPEG")] * 2)
    colours = read_images([path], (3, 16, 16)).float().mean(dim=(0, 2, 3))
    assert colours.tolist() == pytest.approx([200, 100, 0], abs=2)
    grey = read_images([path], GREY)
    assert grey.shape == (2, *GREY)
    assert grey.float().mean().item() == pytest.approx(0.299 * 200 + 0.587 * 100, abs=2)


def test_grey_images_serve_a_task_in_colour(tmp_path: Path) -> None:
    images = read_images(files_in(photos(tmp_path)), (3, 16, 16))
    assert torch.equal(images[:, 0], images[:, 1])
    assert torch.equal(images[:, 0], images[:, 2])


def test_images_are_cropped_to_the_middle_and_resized(tmp_path: Path) -> None:
    wide = np.zeros((10, 30), np.uint8)
    wide[:, 10:20] = 255
    files = [write_image(tmp_path / f"{i}.png", wide) for i in range(2)]
    images = read_images(files, (1, 8, 8))
    assert images.shape == (2, 1, 8, 8)
    assert (images[..., 1:-1] == 255).all()
    assert images.min() > 200  # squeezed, the sides would be black


def test_a_folder_is_read_with_its_subfolders_in_sorted_order(tmp_path: Path) -> None:
    for name in ("b/1.PNG", "a/2.bmp", "a/10.png", "c.webp", "a/0.jpeg"):
        write_image(tmp_path / name, picture(1))
    (tmp_path / "notes.txt").write_text("not an image")
    names = [path.relative_to(tmp_path).as_posix() for path in files_in(tmp_path)]
    assert names == ["a/0.jpeg", "a/10.png", "a/2.bmp", "b/1.PNG", "c.webp"]


def test_a_named_dataset_is_its_training_split_wherever_a_download_put_it(tmp_path: Path) -> None:
    for folder in (tmp_path / "plain", tmp_path / "hub"):
        place = folder / "usps" / ("data" if folder.name == "hub" else ".")
        for name in ("train-1.parquet", "train-0.parquet", "test-0.parquet"):
            write_parquet(place / name, [encoded(picture(0))])
        names = [path.name for path in find_proxy("usps", folder)]
        assert names == ["train-0.parquet", "train-1.parquet"]


def test_the_same_images_are_the_same_proxy_whatever_files_hold_them(tmp_path: Path) -> None:
    folder = photos(tmp_path / "folder", 3)
    parquet = write_parquet(tmp_path / "x.parquet", [encoded(picture(i)) for i in range(3)])
    one, other = (read_images(files, GREY) for files in (files_in(folder), [parquet]))
    assert len(Proxy(one).checksum) == 16
    assert Proxy(one).checksum == Proxy(other).checksum
    assert Proxy(one).checksum != Proxy(one.flip(0)).checksum


def write_usps(path: Path, levels: np.ndarray) -> Path:
    """libsvm's format: a label from 1, then 256 values from -1 to 1 counted from 1."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [
        " ".join([str(1 + i % 10), *(f"{k}:{v:.6f}" for k, v in enumerate(row, 1))])
        for i, row in enumerate(levels.reshape(len(levels), 256) / 127.5 - 1)
    ]
    path.write_bytes(bz2.compress("\n".join([*lines, ""]).encode()))
    return path


def test_usps_is_read_from_torchvisions_file(tmp_path: Path) -> None:
    levels = np.stack([picture(i) for i in range(3)])
    # The reader rounds down, so half a level is added to what is written.
    path = write_usps(tmp_path / "usps" / "usps.bz2", np.minimum(levels + 0.5, 255))
    write_usps(tmp_path / "usps" / "usps.t.bz2", levels[:1])
    assert find_proxy("usps", tmp_path) == [path]
    ticks: list[tuple[int, int]] = []
    images = read_images([path], GREY, lambda done, total: ticks.append((done, total)))
    assert torch.equal(images, torch.from_numpy(levels)[:, None])
    assert ticks[-1] == (3, 3)
    for damage in (path.read_bytes()[:-20], b"no bz2", bz2.compress(b"1 1:0.5\n")):
        path.write_bytes(damage)
        assert str(path) in refusal(lambda: read_images([path], GREY))


def test_sixteen_bit_images_that_were_prepared_white_are_prepared_again(tmp_path: Path) -> None:
    levels = np.full((32, 32), 20000, np.uint16)
    for i in range(2):
        write_image(tmp_path / "photos" / f"{i}.png", levels)
    white = {"images": torch.full((2, 1, 32, 32), 255, dtype=torch.uint8)}
    files = files_in(tmp_path / "photos")
    prepared_tensors("proxy-images", files, lambda tick: (white, {}), variant=[1, 32, 32])
    assert MNIST().load_proxy(None, tmp_path / "photos").unique().tolist() == [78]


# Damage and absence


def test_damage_names_the_file(tmp_path: Path) -> None:
    good = encoded(picture(0))
    broken = tmp_path / "photos" / "broken.png"
    photos(broken.parent)
    broken.write_bytes(good[: len(good) // 2])
    assert str(broken) in refusal(lambda: read_images(files_in(broken.parent), GREY))

    for bad in (b"no image", b"", None):
        path = write_parquet(tmp_path / "rows.parquet", [good, bad])
        message = refusal(lambda path=path: read_images([path], GREY))
        assert str(path) in message
        assert "damaged" in message
    junk = tmp_path / "junk.parquet"
    junk.write_bytes(b"PAR1 and then nothing")
    assert str(junk) in refusal(lambda: read_images([junk], GREY))
    other = write_parquet(tmp_path / "other.parquet", [good], column="picture")
    assert "no column 'image', only: picture" in refusal(lambda: read_images([other], GREY))


def test_a_parquet_file_without_bytes_says_what_it_has(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    pq.write_table(pa.table({"image": [{"data": b"x"}]}), path)
    message = refusal(lambda: read_images([path], GREY))
    for words in (str(path), "'image' has no field 'bytes', only: data", "bytes and path"):
        assert words in message


def test_a_link_that_leads_nowhere_is_named(tmp_path: Path) -> None:
    folder = photos(tmp_path / "photos")
    link = folder / "gone.png"
    for target, reason in (("/nowhere/gone.png", "No such file"), (link, "symbolic links")):
        link.symlink_to(target)
        message = refusal(lambda: MNIST().load_proxy(None, folder))
        assert f"'{link}', a link to '{target}', is not to be found" in message
        assert reason in message
        assert "restore the file or remove its name" in message
        link.unlink()


def test_absence_says_what_to_give(tmp_path: Path) -> None:
    for message in (
        refusal(lambda: files_in(tmp_path / "nowhere")),
        refusal(lambda: files_in(tmp_path)),
    ):
        assert str(tmp_path) in message
        assert ".png" in message
        assert "--proxy-dir" in message
    lonely = write_image(tmp_path / "one.png", picture(0))
    assert "at least two" in refusal(lambda: read_images([lonely], GREY))
    message = refusal(lambda: MNIST().load_proxy(tmp_path, None))
    for words in ("USPS", "usps/train*.parquet", str(tmp_path), "huggingface-cli", "--proxy-dir"):
        assert words in message


def test_a_task_without_proxy_data_takes_those_it_is_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(MNIST, "proxy", "")
    message = refusal(lambda: MNIST().load_proxy(tmp_path, None))
    assert "mnist" in message
    assert "--proxy-dir" in message
    images = MNIST().load_proxy(None, photos(tmp_path / "photos"))
    assert images.shape == (12, 1, 32, 32)


# Who may see them


def posed(method: type[AlternativeData | Noise]) -> Any:
    context = Context(cache=Path("unused"), teacher_folders=())
    return pose(Tiny(), method(), Teacher(tiny_network()), 0, context)


def test_only_a_method_that_declares_them_gets_proxy_images(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    task = Tiny()
    seen = posed(AlternativeData).proxy_images
    assert torch.equal(seen, task.preprocess(task.load_proxy(None, None)))

    def forbidden(self: Task, data_dir: Any, proxy_dir: Any) -> Any:
        raise AssertionError("proxy images were read")

    monkeypatch.setattr(Tiny, "load_proxy", forbidden)
    with pytest.raises(AccessError, match="PROXY_IMAGES"):
        _ = posed(Noise).proxy_images


# Identity


def test_proxy_images_are_part_of_the_identity_and_their_name_is_not() -> None:
    record = make_record()
    assert "proxy" not in record.to_json()
    specs = [record.spec.model_copy(update={"proxy": proxy}) for proxy in ("a" * 16, "b" * 16)]
    assert len({spec.run_id("t") for spec in [record.spec, *specs]}) == 3
    assert '"proxy"' not in json.dumps(record.model_dump(mode="json"))


def with_proxy(name: str, checksum: str, **options: Any) -> Record:
    base = make_record(**options)
    spec = base.spec.model_copy(update={"proxy": checksum})
    method = base.method.model_copy(update={"proxy": name})
    run_id = spec.run_id(base.teacher.checksum)
    return base.model_copy(update={"spec": spec, "method": method, "run_id": run_id})


def test_other_proxy_images_are_another_row_and_the_caption_names_them(tmp_path: Path) -> None:
    records = [
        with_proxy("usps", "a" * 16, seed=seed, accuracy=0.9, method="degan") for seed in (0, 1)
    ] + [with_proxy("photos", "b" * 16, seed=0, accuracy=0.5, method="degan")]
    assert [Record.from_json(record.to_json()) for record in records] == records
    store = Store(tmp_path)
    store.add_plan("suite", [(record.spec, record.teacher.checksum) for record in records])
    (table,) = tables(Scan(records=records, planned=store.scan().planned))
    grid = headline_grid(table)
    assert grid.column("setting") == ["as published; proxy=usps", "as published; proxy=photos"]
    assert grid.column("n ok/planned") == ["2/2", "1/1"]
    assert f"Proxy images: photos `{'b' * 16}`, usps `{'a' * 16}`." in caption(table)
    (plain,) = tables(Scan(records=[make_record()]))
    assert "Proxy" not in caption(plain)


# The command line


def run_tiny(results: Path, *arguments: Any) -> Any:
    return dfkd("run", "--task", "tiny", "--budget", "smoke", "--results", results, *arguments)


def test_missing_proxy_images_are_said_before_a_teacher_is_trained(tmp_path: Path) -> None:
    arguments = ["run", "--task", "digits", "--method", "noise", "--method", "degan"]
    arguments += ["--results", str(tmp_path / "results"), "--data-dir", str(tmp_path)]
    for extra in ((), ("--dry-run",)):
        done = dfkd(*arguments, *extra)
        assert done.exit_code == 2
        assert "USPS is not here" in one_line(done.output)
        assert "--proxy-dir" in done.output
    assert not (cache_dir() / "teachers").exists()
    assert not list(tmp_path.glob("results/*/*/*/*.json"))


def test_a_proxy_folder_nobody_looks_at_is_refused(tmp_path: Path) -> None:
    folder = photos(tmp_path / "photos")
    done = run_tiny(tmp_path / "results", "--method", "noise", "--proxy-dir", folder)
    assert done.exit_code == 2
    assert "--proxy-dir has no effect" in one_line(done.output)


def test_runs_keep_proxies_apart_and_replay_wants_the_same(tmp_path: Path) -> None:
    results, folder = tmp_path / "results", photos(tmp_path / "photos")
    method = ("--method", "dcgan", "--set", "width=2")
    assert run_tiny(results, *method).exit_code == 0
    given = run_tiny(results, *method, "--proxy-dir", folder)
    assert given.exit_code == 0, given.output
    assert "proxy=photos" in given.output
    records = {record.method.proxy: record for record in Store(results).scan().records}
    assert records.keys() == {"drawn", "photos"}
    mine = records["photos"]
    assert mine.spec.proxy == Proxy(Tiny().load_proxy(None, folder)).checksum
    assert str(tmp_path) not in mine.to_json()
    # The banks are kept apart too, or the second run would have found the first one's images.
    assert len(list((cache_dir() / "samples").iterdir())) == 2
    again = run_tiny(results, *method, "--proxy-dir", folder)
    assert "1 of 1 runs are already there" in again.output

    replayed = dfkd("replay", mine.run_id, "--results", results, "--proxy-dir", folder)
    assert replayed.exit_code == 0, replayed.output
    assert "same bits" in replayed.output
    refused = dfkd("replay", mine.run_id, "--results", results)
    assert refused.exit_code == 2
    assert f"photos {mine.spec.proxy}" in one_line(refused.output)
    shown = dfkd("show", mine.run_id, "--results", results).output
    assert f"photos, {mine.spec.proxy}" in shown


def test_real_proxy_images_are_not_copied_to_the_cache(tmp_path: Path) -> None:
    assert run_tiny(tmp_path, "--method", "alternative-data").exit_code == 0
    assert not (cache_dir() / "samples").exists()


def test_show_and_doctor_name_the_proxy_data(tmp_path: Path) -> None:
    write_parquet(tmp_path / "usps" / "train-0.parquet", [encoded(picture(0))])
    assert "proxy data: usps" in dfkd("show", "mnist").output
    output = " ".join(dfkd("doctor", "--data-dir", tmp_path).output.split())
    assert f"{tmp_path / 'usps'}: 1 files" in output
    assert "Tiny-ImageNet is not here" in output
