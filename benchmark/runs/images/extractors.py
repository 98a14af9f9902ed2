"""The extractors of one ``dfkd measure``, each found or made once."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

from benchmark.machine.device import pick_device, pick_precision
from benchmark.metrics.extractors import Extractor, inception_extractor, task_extractor
from benchmark.metrics.image_quality import VERSION
from benchmark.records.record import Record
from benchmark.tasks.base import Task
from benchmark.tasks.data.base import ImageProgress
from benchmark.tasks.loaded import dataset
from benchmark.tasks.registry import get_task
from benchmark.teachers.critic import critic_task, obtain_critic
from benchmark.teachers.teacher import Say, find_teacher, teacher_folders

Bar = Callable[[str], AbstractContextManager[ImageProgress]]
"""A function of a text, which returns a context that shows a progress bar with that text."""


class Judges:
    """The extractors, by name and task.

    Args:
        results: results folder, which holds critics too.
        weights_dir: folder of the published weights.
        data_dir: folder of the data that critics are trained on.
        device: device that extractors compute on.
        say: called with sentences that stay on the screen.
        bar: shows the training of a critic.
    """

    def __init__(
        self,
        results: Path,
        weights_dir: Path | None,
        data_dir: Path | None,
        device: str,
        say: Say,
        bar: Bar,
    ) -> None:
        self.results = results
        self.weights_dir = weights_dir
        self.data_dir = data_dir
        self.device = pick_device(device)
        self.say = say
        self.bar = bar
        self._made: dict[tuple[str, str], Extractor] = {}
        self._checksums: dict[tuple[str, str], str | None] = {}

    def get(self, name: str, task: Task) -> Extractor:
        """The extractor of a name for a task's images.

        Raises:
            UserError: when published weights are missing or damaged.
        """
        key = (name, task.name if name == "task" else "")
        if key not in self._made:
            self._made[key] = (
                inception_extractor(self.weights_dir, str(self.device))
                if name == "inception"
                else self._critic(task)
            )
        return self._made[key]

    def lacking(self, record: Record, name: str, images: int | None) -> bool:
        """Whether a record lacks an extractor's numbers, or has only outdated ones.

        Numbers are outdated if they belong to another number of images than ``images``, where that
        is given, to an older version of the definitions, or to another critic than the one here.
        """
        if name not in record.quality:
            return True
        quality = record.quality[name]
        critic = self._critic_here(record) if name == "task" else None
        return (
            (images is not None and images != quality.samples.images)
            or quality.version != VERSION
            or (critic is not None and critic != quality.checksum)
        )

    def _critic_here(self, record: Record) -> str | None:
        """The checksum of the critic of a record's task; None if there is no critic here.

        A missing critic is not trained, because it might become another one than the record's.
        """
        key = (record.spec.task, record.spec.data)
        if ("task", record.spec.task) in self._made:
            return self._made["task", record.spec.task].checksum
        if key not in self._checksums:
            posed = critic_task(get_task(record.spec.task))
            found = find_teacher(posed, record.spec.data, teacher_folders(self.results), self.say)
            self._checksums[key] = found.info.checksum if found else None
        return self._checksums[key]

    def _critic(self, task: Task) -> Extractor:
        with self.bar(f"training the critic of {task.name} (once)") as step:
            trained = obtain_critic(
                task,
                dataset(task.name, self.data_dir),
                self.results,
                self.say,
                lambda phase, done, total, loss: step(done, total),
                str(self.device),
                pick_precision(self.device),
            )
        critic = trained.build(critic_task(task))
        return task_extractor(task, critic, trained.info, str(self.device))
