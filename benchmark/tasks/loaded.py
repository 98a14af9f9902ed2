"""Data and proxies, read once per process."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from benchmark.tasks.data.base import Dataset, check_labels
from benchmark.tasks.data.proxy import Proxy
from benchmark.tasks.registry import get_task


@lru_cache(maxsize=2)
def dataset(task: str, data_dir: Path | None) -> Dataset:
    """A task's data, read once per process.

    Raises:
        DataError: when it is missing or damaged, or a label of images to classify is no class.
    """
    found = get_task(task)
    data = found.load(data_dir)
    if found.task_type == "classification":
        remedy = "correct what the task's `load` returns"
        check_labels(f"the data of task '{task}'", data, found.num_classes, remedy)
    return data


@lru_cache(maxsize=2)
def proxy_data(task: str, data_dir: Path | None, proxy_dir: Path | None) -> Proxy:
    """The proxy images of a task, read once per process."""
    return Proxy(get_task(task).load_proxy(data_dir, proxy_dir))
