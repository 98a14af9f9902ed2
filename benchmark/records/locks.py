"""Locks in a results folder, so that two grids on it do not repeat each other's runs.

The operating system releases the locks of a dead process. The files in ``.locks`` are empty and
mean nothing by themselves.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from benchmark.errors import UserError

POLL_SECONDS = 0.2


class Locks:
    """The locks that this process holds in one results folder.

    Args:
        results: the folder; it need not exist yet.
    """

    def __init__(self, results: Path) -> None:
        self.folder = results / ".locks"
        self._held: dict[str, FileLock] = {}

    def take(self, name: str) -> bool:
        """Lock ``name`` unless another process has; return whether this process has the lock now.

        Raises:
            UserError: when the file system has no locks.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            lock = FileLock(self.folder / f"{name}.lock", thread_local=False)
            lock.acquire(timeout=0)
        except Timeout:
            return False
        except (OSError, NotImplementedError) as error:
            raise UserError(
                f"cannot lock in '{self.folder}': {error}; give --results on a file system that "
                "has locks"
            ) from None
        self._held[name] = lock
        return True

    def release(self, name: str) -> None:
        """Release a lock."""
        self._held.pop(name).release()

    def release_all(self) -> None:
        """Release all locks."""
        for name in list(self._held):
            self.release(name)

    @contextmanager
    def holding(self, name: str, wait: Callable[[], None] = lambda: None) -> Iterator[None]:
        """Hold a lock within the block; ``wait`` is called once if another process holds it."""
        if not self.take(name):
            wait()
            while not self.take(name):
                time.sleep(POLL_SECONDS)
        try:
            yield
        finally:
            self.release(name)
