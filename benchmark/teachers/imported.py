"""Teachers from elsewhere: weights that somebody else trained, scored when they are imported.

Nobody here followed a recipe, so a teacher's says *imported*, with the name and the SHA-256 of the
file. An imported teacher never takes the place of a task's own: a run has to name it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmark.errors import UserError
from benchmark.machine.tensors import Corrupted
from benchmark.records.record import IMPORTED
from benchmark.tasks.base import Task
from benchmark.tasks.data.base import Dataset
from benchmark.teachers.normalized import Renormalized
from benchmark.teachers.teacher import Say, TrainedTeacher, keep_teacher, read_teacher
from benchmark.teachers.training import examined
from methods.base.problem import Normalization
from methods.own_teacher.interface import Unsuitable
from methods.own_teacher.weights import load_weights


@dataclass(frozen=True)
class Source:
    """A file of weights, and how it is read.

    Attributes:
        path: see `methods.own_teacher.weights.read_weights`.
        renames: see `methods.own_teacher.key_layouts.renamed`.
        normalization: that of the network's input where it is not the task's.
    """

    path: Path
    renames: tuple[tuple[str, str], ...] = ()
    normalization: Normalization | None = None


def import_teacher(task: Task, dataset: Dataset, source: Source, device: str) -> TrainedTeacher:
    """The task's teacher with the weights of a file, scored on the task's test data.

    Args:
        task: gives the network.
        dataset: dataset whose test split scores the teacher.
        source: the file.
        device: device to compute on.

    Raises:
        UserError: when the file cannot be read, does not fit the network, or holds weights that
            are no finite numbers; when a normalisation has not one number a channel, or a standard
            deviation that is not above zero.
    """
    network = task.make_teacher()
    try:
        load_weights(network, source.path, f"the teacher of '{task.name}'", source.renames)
    except Unsuitable as error:
        raise UserError(str(error)) from None
    recipe: dict[str, object] = {
        IMPORTED: source.path.name,
        "sha256": hashlib.sha256(source.path.read_bytes()).hexdigest(),
        "data": dataset.checksum(),
    }
    own = source.normalization
    if own is not None and own != task.normalization:
        _check(own, task)
        network = Renormalized(network, task.normalization, own)
        recipe |= {"mean": list(own.mean), "std": list(own.std)}
    if not all(tensor.isfinite().all() for tensor in network.state_dict().values()):
        raise UserError(f"'{source.path}' holds weights that are NaN or infinite")
    return examined(task, dataset, network.to(device).eval(), recipe, device)


def imported_file(task: Task, checksum: str) -> str:
    """File name of an imported teacher: the task, and the checksum of its weights."""
    return f"{task.name}-{IMPORTED}-{checksum}.safetensors"


def keep_imported(task: Task, teacher: TrainedTeacher, folder: Path) -> Path:
    """Write an imported teacher into a folder of teachers; return its path."""
    path = folder / imported_file(task, teacher.info.checksum)
    keep_teacher(teacher, path)
    return path


def find_imported(
    task: Task, data_checksum: str, identifier: str, folders: Sequence[Path], say: Say = print
) -> TrainedTeacher:
    """The imported teacher whose checksum starts with these digits.

    Args:
        task: the teacher's task.
        data_checksum: checksum of the data it must have been scored on.
        identifier: hexadecimal digits, as in captions.
        folders: folders in which it is looked for; the first undamaged file is taken.
        say: called with a sentence when a file is ignored.

    Raises:
        UserError: when there is none, when several have such a checksum, or when it was scored on
            other data.
    """
    known = imported_teachers(task, folders, say)
    fitting = {id_: teacher for id_, teacher in known.items() if id_.startswith(identifier)}
    if not identifier or len(fitting) != 1:
        names = ", ".join(f"{id_} ({t.info.recipe[IMPORTED]})" for id_, t in known.items())
        here = f"here are {names}" if names else "here is none"
        what = "is the start of several" if identifier and fitting else "is no"
        raise UserError(
            f"'{identifier}' {what} imported teacher of task '{task.name}'; {here}; import one "
            f"with: dfkd import-teacher --task {task.name} --weights FILE"
        )
    (found,) = fitting.values()
    if found.info.recipe["data"] != data_checksum:
        raise UserError(
            f"teacher {found.info.checksum} of task '{task.name}' was scored on other data "
            f"({found.info.recipe['data']}, here are {data_checksum}); import "
            f"'{found.info.recipe[IMPORTED]}' again"
        )
    return found


def imported_teachers(
    task: Task, folders: Sequence[Path], say: Say = print
) -> dict[str, TrainedTeacher]:
    """A task's imported teachers by checksum; a file that is ignored is reported to ``say``."""
    found: dict[str, TrainedTeacher] = {}
    for folder in folders:
        for path in sorted(folder.glob(imported_file(task, "*"))):
            try:
                teacher = read_teacher(path)
                if path.name != imported_file(task, teacher.info.checksum):
                    raise Corrupted(f"'{path}' has the name of another teacher")
                if not {IMPORTED, "sha256", "data"} <= teacher.info.recipe.keys():
                    raise Corrupted(f"'{path}' does not say what it was imported from")
            except (Corrupted, FileNotFoundError) as error:
                say(f"teacher ignored: {error}; import it again with dfkd import-teacher")
            else:
                found.setdefault(teacher.info.checksum, teacher)
    return found


def _check(own: Normalization, task: Task) -> None:
    channels = task.image_shape[0]
    for option, values in (("--mean", own.mean), ("--std", own.std)):
        if len(values) != channels:
            raise UserError(
                f"{option} has {len(values)} numbers; the images of '{task.name}' have {channels} "
                "channels"
            )
    if not all(value > 0 for value in own.std):
        raise UserError("a number of --std is not above zero")
