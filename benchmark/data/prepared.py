"""Datasets decoded once: a file of plain arrays in the cache, mapped into memory ever after.

Decoding 60,000 images takes long, and every process of a grid needs them. The prepared file is
valid for one state of the files it was made from; its header carries the dataset's checksum, so
that a later start reads neither the sources nor the arrays.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from safetensors import SafetensorError, safe_open

from benchmark.artifacts import CACHE_VARIABLE, Corrupted, cache_dir, save_tensors
from benchmark.data.base import Dataset, Split
from benchmark.errors import UserError
from benchmark.records import digest

Tick = Callable[[int, int], None]
"""Called while decoding, with the number of images done and of all."""


def prepared(name: str, sources: Sequence[Path], decode: Callable[[Tick], Dataset]) -> Dataset:
    """The dataset in ``sources``, from the cache or decoded now and kept there.

    Args:
        name: of the dataset, for messages and file names.
        sources: the files it is read from; a change of size or time makes it be decoded again.
        decode: reads them.

    Raises:
        DataError: what ``decode`` raises.
    """
    places = [str(path.resolve()) for path in sources]
    path = cache_dir() / "data" / f"{name.lower()}-{digest(places)}.safetensors"
    state = digest([[p.name, p.stat().st_size, p.stat().st_mtime_ns] for p in sources])
    console = Console(stderr=True)
    try:
        return _mapped(path, state)
    except FileNotFoundError:
        pass
    except Corrupted as error:
        console.print(f"{escape(str(error))}; preparing {name} again", soft_wrap=True)
    with _Bar(name, console) as bar:
        dataset = decode(bar.tick)
    tensors = {
        "train.images": dataset.train.images,
        "train.labels": dataset.train.labels,
        "test.images": dataset.test.images,
        "test.labels": dataset.test.labels,
    }
    info = {"sources": state, "data": dataset.checksum(), "note": dataset.note}
    try:
        save_tensors(path, tensors, info)
    except UserError:
        console.print(
            f"{name} is decoded at every start: the cache '{escape(str(cache_dir()))}' cannot be "
            f"written; choose another with {CACHE_VARIABLE}",
            soft_wrap=True,
        )
        return dataset
    return _mapped(path, state)


def _mapped(path: Path, state: str) -> Dataset:
    """The prepared dataset; its arrays are read when they are used.

    Raises:
        FileNotFoundError: when there is no such file.
        Corrupted: when it is damaged or made from other files.
    """
    if not path.exists():
        raise FileNotFoundError(path)
    try:
        with safe_open(path, framework="pt") as file:
            info = dict(file.metadata() or {})
            splits = [
                Split(file.get_tensor(f"{part}.images"), file.get_tensor(f"{part}.labels"))
                for part in ("train", "test")
            ]
        if info["sources"] != state:
            raise Corrupted(f"'{path}' is out of date (the files it was made from have changed)")
        return Dataset.known(splits[0], splits[1], info["data"], info["note"])
    except (SafetensorError, OSError, ValueError, KeyError) as error:
        raise Corrupted(f"'{path}' is damaged ({error})") from None


class _Bar:
    """A bar on a terminal for what takes longer than a moment."""

    PATIENCE = 1.0  # seconds

    def __init__(self, name: str, console: Console) -> None:
        self.bar = Progress(
            TextColumn(f"preparing {name} (once)"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=console,
            transient=True,
        )
        self.task = self.bar.add_task(name, total=None)
        self.begun = time.monotonic()

    def __enter__(self) -> _Bar:
        return self

    def __exit__(self, *error: object) -> None:
        if self.bar.live.is_started:
            self.bar.stop()

    def tick(self, done: int, total: int) -> None:
        """``done`` of ``total`` images are decoded."""
        self.bar.update(self.task, completed=done, total=total)
        if self.bar.console.is_terminal and time.monotonic() - self.begun > self.PATIENCE:
            self.bar.start()
