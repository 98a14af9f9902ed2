"""How good a student is: snapshots while the method runs, test data only when it has returned."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from benchmark.metrics.classification import sample_statistics
from benchmark.metrics.exam import Scores, exam_of
from benchmark.metrics.segmentation import predicted_shares
from benchmark.records.record import Status
from benchmark.tasks.base import Task
from benchmark.tasks.data.base import Split
from methods.base.run import Run
from methods.base.samples import ImageBank, SampleSource
from methods.networks.predictions import accuracy, predictions


@dataclass(frozen=True)
class Verdict:
    """What a record says of a finished student."""

    status: Status
    reason: str
    scores: Scores


class Checkpoints:
    """Snapshots of the student, to be evaluated when the method is done.

    Agreement with the teacher (the share of images, or pixels, that both label alike) is measured
    at once, on images the student is not trained on; it needs no real data. Where those change
    while it learns, earlier students are measured again in the end, all on the last images.

    Args:
        teacher: the bare network: the harness's questions are not the method's queries.
        run: gives the budget and the random stream.
    """

    EXAMPLES = 6

    def __init__(self, teacher: nn.Module, run: Run) -> None:
        self.teacher = teacher
        self.run = run
        self.steps: list[int] = []
        self.agreement: list[float] = []
        """As measured at the time; `comparable_agreement` is what students are compared by."""
        self.same_since = 0
        """The first of the snapshots whose agreement was measured on `images`."""
        self.states: list[dict[str, Tensor]] = []
        self.images: Tensor | None = None
        """Those that agreement was last measured on."""
        self.examples: tuple[Tensor, Tensor] | None = None
        """A few of them, and what the teacher says of them."""
        self._reference: tuple[SampleSource, Tensor, Tensor] | None = None

    def take(self, student: nn.Module, step: int, samples: SampleSource) -> None:
        """Keep the student's weights after ``step`` steps and measure its agreement."""
        with self.run.phase("evaluation"):
            images, expected = self._validation(samples)
            # A pool that grows and a generator that learns show other images every time.
            if self.images is not None and not torch.equal(images, self.images):
                self.same_since = len(self.steps)
            self.images = images
            self.examples = images[: self.EXAMPLES].cpu(), expected[: self.EXAMPLES].cpu()
            self.agreement.append(accuracy(student, images, expected))
            self.steps.append(step)
            self.states.append(
                {name: value.detach().cpu().clone() for name, value in student.state_dict().items()}
            )

    def comparable_agreement(self, network: nn.Module) -> list[float]:
        """Agreement of every snapshot on one and the same images, those of the last.

        Args:
            network: of the students' kind; its weights are lost.
        """
        stale = self.states[: self.same_since]
        if not stale:
            return list(self.agreement)
        assert self.images is not None
        expected = predictions(self.teacher, self.images)
        again = []
        for state in stale:
            network.load_state_dict(state)
            again.append(accuracy(network, self.images, expected))
        return again + self.agreement[self.same_since :]

    def state_dict(self) -> dict[str, Any]:
        """All but the snapshots themselves, which are kept one by one."""
        return {
            "steps": list(self.steps),
            "agreement": list(self.agreement),
            "same_since": self.same_since,
            "images": self.images,
            "examples": self.examples,
        }

    def load_state_dict(self, state: Mapping[str, Any], /) -> None:
        """What `state_dict` said, with the snapshots as ``states``."""
        device = self.run.device
        self.steps, self.agreement = state["steps"], state["agreement"]
        # States of older versions do not say since when.
        self.same_since = state.get("same_since", max(0, len(self.steps) - 1))
        self.states, self.examples = state["states"], state["examples"]
        self.images = None if state["images"] is None else state["images"].to(device)

    def _validation(self, samples: SampleSource) -> tuple[Tensor, Tensor]:
        if self._reference is not None and self._reference[0] is samples:
            return self._reference[1:]
        count = self.run.budget.validation_images
        images = samples.validation(count, self.run.stream("validation"))
        expected = predictions(self.teacher, images)
        if isinstance(samples, ImageBank):  # an online source's generator may still be learning
            self._reference = (samples, images, expected)
        return images, expected


def evaluate(
    task: Task, student: nn.Module, checkpoints: Checkpoints, run: Run, test: Split
) -> Verdict:
    """Test the returned student (the headline) and every snapshot of it."""
    exam, metric = exam_of(task, test, run.device), task.metric
    scores = exam.measure(student)
    final = scores.metrics[metric]
    if checkpoints.steps:
        curve = []
        # Of the student's own kind, which an objective may have rebuilt.
        snapshot = copy.deepcopy(student)
        for state in checkpoints.states:
            snapshot.load_state_dict(state)
            curve.append(exam.measure(snapshot).metrics[metric])
        agreement = checkpoints.comparable_agreement(snapshot)
        steps = [float(step) for step in checkpoints.steps]
        run.curves[f"evaluation/{metric}"] = {"step": steps, "value": curve}
        run.curves["evaluation/agreement"] = {"step": steps, "value": agreement}
        # Of equally good checkpoints the latest, as a user without test data would choose.
        chosen = max(range(len(curve)), key=lambda i: (agreement[i], i))
        scores.metrics.update(
            {
                "agreement": agreement[-1],
                f"{metric}_agreement": curve[chosen],
                f"{metric}_oracle": max(curve),
            }
        )
    if checkpoints.images is not None:
        scores.metrics.update(sample_statistics(checkpoints.teacher, checkpoints.images))
        if scores.segmentation is not None:
            shares = predicted_shares(checkpoints.teacher, checkpoints.images, task.num_classes)
            maps = scores.segmentation.model_copy(update={"sample_shares": shares})
            scores = replace(scores, segmentation=maps)
    chance = exam.chance()
    if final <= chance:
        reason = f"{metric} {final:.4f} is not above chance ({chance:.4f})"
        return Verdict("collapsed", reason, scores)
    return Verdict("ok", "", scores)
