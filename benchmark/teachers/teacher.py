"""Teachers: what is known of one, and where they are kept; verified whenever they are read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn

from benchmark.machine.cache import cache_dir
from benchmark.machine.code import ROOT
from benchmark.machine.tensors import Corrupted, load_tensors, save_tensors
from benchmark.records.canonical import digest
from benchmark.records.record import TeacherInfo
from benchmark.records.store import DEFAULT_RESULTS
from benchmark.tasks.base import Task
from benchmark.teachers.normalized import network_for

SHIPPED_LIMIT = 9 << 20
"""Weights of up to this many bytes are kept with the records that they belong to."""

Say = Callable[[str], None]


@dataclass(frozen=True)
class TrainedTeacher:
    """Weights of a trained teacher and what is known of them."""

    weights: dict[str, Tensor]
    info: TeacherInfo

    def build(self, task: Task) -> nn.Module:
        """A fresh network with these weights."""
        network = network_for(task.make_teacher(), task.normalization, self.weights)
        network.load_state_dict(self.weights)
        return network


def teacher_file(task: Task, data_checksum: str, preset: str = "") -> str:
    """File name of a budget preset's teacher: the task, and a hash of all that it is made from."""
    made_from = {
        "task": task.name,
        "version": task.version,
        "data": data_checksum,
        "recipe": task.recipe(preset).identity(),
    }
    return f"{task.name}-{digest(made_from)}.safetensors"


def teacher_folders(results: Path) -> tuple[Path, ...]:
    """The folders in which teachers are looked for: with the records, as shipped, in the cache.

    The order matters, because a record's teacher is part of its identity: with another teacher of
    the same recipe, trained on this machine, every committed record would seem to be missing. So
    runs that are kept elsewhere have the teachers of the committed ones too, where the program is a
    checkout that holds them.
    """
    own, shipped = results / "teachers", ROOT / DEFAULT_RESULTS / "teachers"
    further = shipped.is_dir() and shipped.resolve() != own.resolve()
    return (own, *([shipped] if further else []), cache_dir() / "teachers")


def find_teacher(
    task: Task, data_checksum: str, folders: Sequence[Path], say: Say = print, preset: str = ""
) -> TrainedTeacher | None:
    """The teacher from the first folder that holds it undamaged, or None.

    A file that is ignored is reported to ``say``.
    """
    for folder in folders:
        path = folder / teacher_file(task, data_checksum, preset)
        try:
            teacher = read_teacher(path)
            if teacher.info.recipe != task.recipe(preset).identity():
                raise Corrupted(
                    f"'{path}' was not trained by the recipe that its name stands for; use "
                    "dfkd import-teacher for weights from elsewhere"
                )
        except FileNotFoundError:
            continue
        except Corrupted as error:
            say(f"teacher ignored: {error}; looking further, then training it again")
            continue
        return teacher
    return None


def read_teacher(path: Path) -> TrainedTeacher:
    """The teacher of a file that `keep_teacher` wrote.

    Raises:
        FileNotFoundError: when there is no such file.
        Corrupted: when it is damaged, or another program wrote it.
    """
    weights, header = load_tensors(path)
    try:
        info = TeacherInfo.model_validate_json(header["teacher"])
    except (KeyError, ValueError):
        raise Corrupted(f"'{path}' does not say what teacher it is") from None
    if info.checksum != header["checksum"]:
        raise Corrupted(f"'{path}' is damaged (it describes another teacher)")
    return TrainedTeacher(weights, info)


def keep_teacher(teacher: TrainedTeacher, path: Path) -> None:
    """Write a teacher's weights with what is known of them."""
    save_tensors(path, teacher.weights, {"teacher": teacher.info.model_dump_json()})


def weight_bytes(teacher: TrainedTeacher) -> int:
    """Size of the weights."""
    return sum(tensor.numel() * tensor.element_size() for tensor in teacher.weights.values())
