"""What to run (`Job`), and where and how (`Context`)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from benchmark.machine.device import Precision
from benchmark.records.spec import Spec
from benchmark.tasks.data.base import Dataset
from benchmark.tasks.data.proxy import Proxy
from benchmark.tasks.loaded import dataset, proxy_data
from benchmark.teachers.teacher import TrainedTeacher
from methods.base.method import Method
from methods.base.problem import Access
from methods.synthesis.activation_records import ActivationRecords


@dataclass(frozen=True)
class HandedData:
    """What a run reads, sent to a machine that may have neither the datasets nor the caches.

    Attributes:
        dataset: the task's.
        proxy: its proxy images, where the method sees them.
        metadata: the teacher's, where the method sees them.
    """

    dataset: Dataset
    proxy: Proxy | None = None
    metadata: ActivationRecords | None = None


@dataclass(frozen=True)
class Context:
    """Where and how runs are executed; none of it is part of a run's identity.

    ``checkpoint_seconds`` is how often a run keeps where it is, to go on from there, None for
    never; ``run_timeout`` is in seconds too. ``handed`` is what a worker on another machine is
    given instead of files to read. ``teacher`` are the first digits of an imported teacher's
    checksum; where it is empty, runs have their task's own.
    """

    cache: Path
    teacher_folders: tuple[Path, ...]
    data_dir: Path | None = None
    proxy_dir: Path | None = None
    method_folders: tuple[Path, ...] = ()
    device: str = "cpu"
    precision: Precision = "fp32"
    threads: int | None = None
    reuse_samples: bool = True
    task_folders: tuple[Path, ...] = ()
    checkpoint_seconds: float | None = None
    run_timeout: float | None = None
    handed: HandedData | None = None
    teacher: str = ""

    def dataset(self, task: str) -> Dataset:
        """The task's data: those handed over, or read from the data folder.

        Raises:
            DataError: when they are missing or damaged.
        """
        return self.handed.dataset if self.handed else dataset(task, self.data_dir)

    def proxy(self, task: str) -> Proxy:
        """The task's proxy images: those handed over, or read from their folder.

        Raises:
            DataError: when they are missing or damaged.
        """
        if self.handed is not None and self.handed.proxy is not None:
            return self.handed.proxy
        return proxy_data(task, self.data_dir, self.proxy_dir)


@dataclass(frozen=True)
class Job:
    """A run to execute: its specification, and what its record says of method, teacher and data.

    ``changed`` are the parameters that differ from the method's defaults. ``code`` is the
    fingerprint of the code that the run was planned with, empty where nobody asks.
    """

    spec: Spec
    run_id: str
    changed: dict[str, object]
    teacher: TrainedTeacher
    data_note: str = ""
    code: str = ""


def proxy_checksum(method: type[Method], task: str, context: Context) -> str:
    """The checksum of the proxy images a method will see on a task; empty if it sees none.

    Raises:
        DataError: when the method needs them and they are missing or damaged.
    """
    if Access.PROXY_IMAGES not in method.access:
        return ""
    return context.proxy(task).checksum
