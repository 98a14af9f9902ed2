"""A teacher's metadata: collected once from its training data, kept next to it, verified.

A file belongs to one teacher, which it names by checksum. Methods that declare `Access.METADATA`
see its contents. If a planned method does, a grid collects the metadata as soon as it has the
teacher, before the first run; otherwise nobody collects them. They are not collected while the
teacher is trained: they are a function of the final weights and the training data, and shipped
teachers are not trained here.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from torch import nn

from benchmark.machine.tensors import Corrupted, checksum, load_tensors, save_tensors
from benchmark.tasks.base import Task
from benchmark.tasks.data.base import Dataset
from benchmark.teachers.teacher import SHIPPED_LIMIT, Say
from methods.networks.pre_activations import ACTIVATIONS
from methods.synthesis.activation_records import FORMAT, ActivationRecords
from methods.synthesis.activation_statistics import collect_records


def metadata_file(task: Task, teacher: nn.Module) -> str:
    """File name of a teacher's metadata: the task, and the checksum of the teacher's weights."""
    return f"{task.name}-{checksum(teacher.state_dict())}.metadata.safetensors"


def readable_formats(teacher: nn.Module) -> set[str]:
    """Formats whose files describe this teacher exactly as the present format does.

    Format 1 missed a BatchNorm that no convolution feeds, and recorded pre-activations after an
    in-place ReLU had overwritten them.
    """
    concerned = (nn.BatchNorm2d, *ACTIVATIONS)
    same = not any(isinstance(module, concerned) for module in teacher.modules())
    return {str(FORMAT)} | ({"1"} if same else set())


def find_metadata(
    task: Task, teacher: nn.Module, folders: Sequence[Path], say: Say = print
) -> ActivationRecords | None:
    """The teacher's metadata from the first folder that holds them undamaged, or None.

    A file that is ignored is reported to ``say``.
    """
    described = checksum(teacher.state_dict())
    for folder in folders:
        path = folder / metadata_file(task, teacher)
        try:
            tensors, header = load_tensors(path)
            if header.get("teacher") != described:
                reason = f"'{path}' describes another teacher"
            elif header.get("format") not in readable_formats(teacher):
                reason = f"'{path}' was written by another version"
            else:
                return ActivationRecords.from_tensors(tensors)
        except FileNotFoundError:
            continue
        except (Corrupted, KeyError) as error:
            reason = str(error)
        say(f"metadata ignored: {reason}; looking further, then collecting them again")
    return None


def obtain_metadata(
    task: Task, dataset: Dataset, teacher: nn.Module, folders: Sequence[Path], say: Say = print
) -> ActivationRecords:
    """The teacher's metadata, from a folder or freshly collected and saved in the last one.

    Args:
        task: prepares the images.
        dataset: dataset that the teacher was trained on.
        teacher: bare network, whose queries no ledger counts; it is put into eval mode.
        folders: folders in which the metadata are looked for; without any, they are collected and
            not kept.
        say: called with a sentence when a file is ignored and before metadata are collected.
    """
    found = find_metadata(task, teacher, folders, say)
    if found is not None:
        return found
    say(f"collecting the metadata of the teacher of '{task.name}' from its training data")
    images, labels = task.preprocess(dataset.train.images), dataset.train.labels
    records = collect_records(teacher.eval(), images, labels, task.num_classes)
    if folders:
        keep_metadata(records, teacher, folders[-1] / metadata_file(task, teacher))
    return records


def keep_metadata(records: ActivationRecords, teacher: nn.Module, path: Path) -> None:
    """Write metadata with the checksum of the teacher they describe."""
    header = {"teacher": checksum(teacher.state_dict()), "format": str(FORMAT)}
    save_tensors(path, records.to_tensors(), header)


def metadata_bytes(records: ActivationRecords) -> int:
    """Size of the metadata in bytes, as they are kept."""
    return sum(t.numel() * t.element_size() for t in records.to_tensors().values())


def ship_metadata(
    task: Task,
    dataset: Dataset,
    teacher: nn.Module,
    results: Path,
    folders: Sequence[Path],
    say: Say,
) -> None:
    """Make sure that the metadata are kept, and with the records too when they are small enough."""
    records = obtain_metadata(task, dataset, teacher, folders, say)
    shipped = results / "teachers"
    if metadata_bytes(records) > SHIPPED_LIMIT:
        return
    if find_metadata(task, teacher, [shipped], lambda message: None) is None:
        keep_metadata(records, teacher, shipped / metadata_file(task, teacher))
