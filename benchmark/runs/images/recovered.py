"""The images of a finished run, taken from the cache or made again bit for bit."""

from __future__ import annotations

from torch import Tensor, nn

from benchmark.metrics.classification import sample_statistics
from benchmark.metrics.images import LabelledImages, Unmeasurable, draw_images
from benchmark.records.record import SCORED, Record
from benchmark.runs.job import Context, Job
from benchmark.runs.recording import rounded
from benchmark.runs.trial import Trial, prepare_process
from benchmark.tasks.registry import get_task
from methods.base.problem import Access
from methods.base.run import Progress
from methods.base.samples import SampleSource
from methods.base.states import Diverged


class Recovered:
    """The images of a finished run, and the bare teacher, which labels them.

    Args:
        record: the run's record.
        job: the job that made the record.
        context: place and manner of the run's execution.
        synthesize: whether images that are not in the cache are made again.
        progress: called with the steps of the synthesis.

    Raises:
        Unmeasurable: when the run has no images of its own, its images are not kept, or the images
            made here are not the run's.
    """

    def __init__(
        self,
        record: Record,
        job: Job,
        context: Context,
        synthesize: bool,
        progress: Progress = lambda *_: None,
    ) -> None:
        if record.status not in SCORED:
            raise Unmeasurable(f"the run did not finish ({record.status})")
        prepare_process(context)
        self.trial = Trial(job, get_task(job.spec.task), context, progress)
        self.trial.set_up()
        if Access.TRAIN_IMAGES in self.trial.method.access:
            raise Unmeasurable("its student learns from the real training images")
        self.normalization = self.trial.task.normalization
        self.teacher: nn.Module = self.trial.problem.teacher.network
        self.source = _samples(self.trial, synthesize)
        self._compare(record)

    def _compare(self, record: Record) -> None:
        for name, curve in rounded(self.trial.run.curves).items():
            if record.curves.get(name) != curve:
                then, now = record.environment.code_version, "this machine and version"
                raise Unmeasurable(
                    f"the images made here are not the run's: curve {name} differs (made with "
                    f"{then}, torch {record.environment.torch}; made again with {now})"
                )

    def draw(self, count: int) -> LabelledImages:
        """At most ``count`` of the images that the student learnt from, with the teacher's classes.

        Raises:
            Unmeasurable: when an image is not finite.
        """
        run = self.trial.run
        return draw_images(
            self.source,
            count,
            run.budget.student_batch,
            self.teacher,
            self.normalization,
            run.stream("quality"),
        )

    def statistics(self) -> dict[str, float]:
        """The `sample_statistics` of the validation images, as the run itself takes them."""
        run = self.trial.run
        images: Tensor = self.source.validation(
            run.budget.validation_images, run.stream("validation")
        )
        return sample_statistics(self.teacher, images)


def _samples(trial: Trial, synthesize: bool) -> SampleSource:
    """The images that the student learnt from: kept, or made again if that was asked for.

    Raises:
        Unmeasurable: when images are neither kept nor to be made again, or making them fails.
    """
    kept = None
    if trial.sample_cache is not None and not trial.method.alternating:
        kept = trial.sample_cache.find()
    if kept is not None:
        return kept
    if not synthesize:
        raise Unmeasurable("its images are not in the cache; --synthesize makes them again")
    try:
        return _made_again(trial)
    except Diverged as error:
        raise Unmeasurable(f"making its images again failed: {error}") from None


def _made_again(trial: Trial) -> SampleSource:
    """The images made again, without training a student unless the method trains both in turn.

    An alternating method needs the whole run; its images are those of the last checkpoint.
    """
    method, problem, run = trial.method, trial.problem, trial.run
    if not method.alternating:
        return run.reuse(lambda: method.synthesize(problem, run))
    shown: list[SampleSource] = []
    run.on_checkpoint = lambda student, step, samples: shown.append(samples)
    method.fit(problem, run)
    if not shown:
        raise Unmeasurable("the method shows no images at its checkpoints")
    return shown[-1]
