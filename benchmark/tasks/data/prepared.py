"""Datasets decoded once: a file of plain arrays in the cache, mapped into memory ever after.

Decoding 60,000 images takes long, and every process of a grid needs them. The prepared file is
valid for one state of the files it was made from; its header carries the dataset's checksum, so
that a later start does not read the sources. The arrays are compared with their own checksum once,
by the process that starts the others.
"""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from safetensors import SafetensorError, safe_open
from torch import Tensor

from benchmark.errors import UserError
from benchmark.machine.cache import CACHE_VARIABLE, cache_dir
from benchmark.machine.tensors import Corrupted, checksum, save_tensors
from benchmark.records.canonical import digest
from benchmark.tasks.data.base import DataError, Dataset, ImageProgress, Split


def prepared(
    name: str,
    sources: Sequence[Path],
    decode: Callable[[ImageProgress], Dataset],
    variant: object = "",
) -> Dataset:
    """The dataset in ``sources``, from the cache or decoded now and kept there.

    Args:
        name: name of the dataset, for messages and file names.
        sources: the files it is read from; a change of size or time makes it be decoded again.
        decode: reads the files.
        variant: anything else that the result depends on, such as the size of the images.

    Raises:
        DataError: raised by ``decode``.
    """

    def decode_tensors(tick: ImageProgress) -> tuple[dict[str, Tensor], dict[str, str]]:
        dataset = decode(tick)
        tensors = {
            "train.images": dataset.train.images,
            "train.labels": dataset.train.labels,
            "test.images": dataset.test.images,
            "test.labels": dataset.test.labels,
        }
        return tensors, {"data": dataset.checksum(), "note": dataset.note}

    tensors, info = prepared_tensors(name, sources, decode_tensors, variant)
    train, test = (Split(tensors[f"{p}.images"], tensors[f"{p}.labels"]) for p in ("train", "test"))
    return Dataset.known(train, test, info["data"], info["note"])


def prepared_tensors(
    name: str,
    sources: Sequence[Path],
    decode: Callable[[ImageProgress], tuple[dict[str, Tensor], dict[str, str]]],
    variant: object = "",
    version: int = 1,
) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The result of ``decode`` on ``sources``, from the cache, or made now and kept there.

    Args:
        name: name for messages and file names.
        sources: the files that are read; a change of size or time makes them be decoded again.
        decode: reads the files and returns tensors, and text to be kept with them.
        variant: anything else that the result depends on, such as the size of the images.
        version: number to raise when ``decode`` makes something else of the same files.

    Raises:
        DataError: raised by ``decode``, or naming the source that is not there.
    """
    state = _state(name, sources, version)
    made_from = [*(str(path.resolve()) for path in sources), *([variant] if variant else [])]
    path = cache_dir() / "data" / f"{name.lower()}-{digest(made_from)}.safetensors"
    console = Console(stderr=True)
    try:
        return _mapped(path, state)
    except FileNotFoundError:
        pass
    except Corrupted as error:
        console.print(f"{escape(str(error))}; preparing {name} again", soft_wrap=True)
    with _Bar(name, console) as bar:
        tensors, info = decode(bar.tick)
    info = {**info, "sources": state}
    try:
        save_tensors(path, tensors, info)
    except UserError:
        console.print(
            f"{name} is decoded at every start: the cache '{escape(str(cache_dir()))}' cannot be "
            f"written; choose another with {CACHE_VARIABLE}",
            soft_wrap=True,
        )
        return tensors, info
    return _mapped(path, state)


def _state(name: str, sources: Sequence[Path], version: int) -> str:
    """Hash of the sources' sizes and times, and of their reader's version.

    Raises:
        DataError: naming the source, and where it leads if it is a link, that cannot be found.
    """
    found: list[object] = []
    for path in sources:
        try:
            status = path.stat()
        except OSError as error:
            link = f", a link to '{os.readlink(path)}'," if os.path.islink(path) else ""
            raise DataError(
                f"{name} cannot be read: '{path}'{link} is not to be found ({error.strerror}); "
                "restore the file or remove its name"
            ) from None
        found.append([path.name, status.st_size, status.st_mtime_ns])
    return digest([*found, version] if version > 1 else found)


def _mapped(path: Path, state: str) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The prepared tensors, which are read when they are used, and the text kept with them.

    Raises:
        FileNotFoundError: when there is no such file.
        Corrupted: when it is damaged or made from other files.
    """
    if not path.exists():
        raise FileNotFoundError(path)
    try:
        with safe_open(path, framework="pt") as file:
            info = dict(file.metadata() or {})
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        if info["sources"] != state:
            raise Corrupted(
                f"'{path}' is out of date (made from other files, or by an earlier version)"
            )
        _compare(path, tensors, info["checksum"])
        return tensors, info
    except (SafetensorError, OSError, ValueError, KeyError) as error:
        raise Corrupted(f"'{path}' is damaged ({error})") from None


_compared: set[tuple[Path, int]] = set()
"""Files, and their times, that this process has found to hold what their headers say."""


def _compare(path: Path, tensors: dict[str, Tensor], expected: str) -> None:
    """Compare the tensors with their checksum.

    Raises:
        Corrupted: when the tensors are not those that were written.
    """
    file = (path, path.stat().st_mtime_ns)
    if file in _compared or multiprocessing.parent_process() is not None:
        return
    if checksum(tensors) != expected:
        raise Corrupted(f"'{path}' is damaged (its checksum does not match)")
    _compared.add(file)


class _Bar:
    """A progress bar on a terminal for decoding that takes longer than a moment."""

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
        """Show that ``done`` of ``total`` images are decoded."""
        self.bar.update(self.task, completed=done, total=total)
        if self.bar.console.is_terminal and time.monotonic() - self.begun > self.PATIENCE:
            self.bar.start()
