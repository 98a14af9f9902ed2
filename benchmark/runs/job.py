"""What to run (`Job`), and where and how (`Context`)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from benchmark.machine.device import Precision
from benchmark.records.spec import Spec
from benchmark.tasks.loaded import proxy_data
from benchmark.teachers.teacher import TrainedTeacher
from methods.base.method import Method
from methods.base.problem import Access


@dataclass(frozen=True)
class Context:
    """Where and how runs are executed; none of it is part of a run's identity.

    ``checkpoint_seconds`` is how often a run keeps where it is, to go on from there, None for
    never; ``run_timeout`` is in seconds too.
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


@dataclass(frozen=True)
class Job:
    """A run to execute: its specification, and what its record says of method, teacher and data.

    ``changed`` are the parameters that differ from the method's defaults.
    """

    spec: Spec
    run_id: str
    changed: dict[str, object]
    teacher: TrainedTeacher
    data_note: str = ""


def proxy_checksum(method: type[Method], task: str, context: Context) -> str:
    """The checksum of the proxy images a method will see on a task; empty if it sees none.

    Raises:
        DataError: when the method needs them and they are missing or damaged.
    """
    if Access.PROXY_IMAGES not in method.access:
        return ""
    return proxy_data(task, context.data_dir, context.proxy_dir).checksum
