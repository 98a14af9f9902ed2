"""How good a student is: snapshots are taken while it is trained, and tested afterwards."""

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
from benchmark.tasks.data.base import Dataset
from methods.base.run import Run
from methods.base.samples import ImageBank, SampleSource
from methods.networks.calls import untold
from methods.networks.predictions import accuracy, predictions


@dataclass(frozen=True)
class Verdict:
    """The status, reason and scores of a finished student."""

    status: Status
    reason: str
    scores: Scores


class Checkpoints:
    """Snapshots of the student, which are evaluated when the method is done.

    Agreement with the teacher is the share of images, or pixels, that both label alike. It is
    measured at once, on images that the student is not trained on, and needs no real data. If these
    images change while the student learns, earlier snapshots are measured again at the end, so that
    all are measured on the same images.

    Args:
        teacher: the bare network, so that the method's queries are not counted here.
        run: gives the budget and the random stream.
    """

    EXAMPLES = 6

    def __init__(self, teacher: nn.Module, run: Run) -> None:
        self.teacher = teacher
        self.run = run
        self.steps: list[int] = []
        self.agreement: list[float] = []
        """Agreement as measured at the time; `comparable_agreement` compares snapshots."""
        self.same_since = 0
        """The index of the first snapshot whose agreement was measured on `images`."""
        self.states: list[dict[str, Tensor]] = []
        self.images: Tensor | None = None
        """The images on which agreement was measured last."""
        self.examples: tuple[Tensor, Tensor] | None = None
        """A few of these images and the teacher's labels of them."""
        self._reference: tuple[SampleSource, Tensor, Tensor] | None = None

    def take(self, student: nn.Module, step: int, samples: SampleSource) -> None:
        """Keep the student's weights after ``step`` steps and measure its agreement."""
        with self.run.phase("evaluation"), untold():
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
        """The agreement of every snapshot on the same images, those of the last snapshot.

        Args:
            network: a network of the student's architecture; its weights are overwritten.
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
        """The state without the weights of the snapshots, which are kept one by one."""
        return {
            "steps": list(self.steps),
            "agreement": list(self.agreement),
            "same_since": self.same_since,
            "images": self.images,
            "examples": self.examples,
        }

    def load_state_dict(self, state: Mapping[str, Any], /) -> None:
        """Restore what `state_dict` returned; the weights of the snapshots are its ``states``."""
        device = self.run.device
        self.steps, self.agreement = state["steps"], state["agreement"]
        # States of older versions do not have `same_since`.
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
    task: Task, student: nn.Module, checkpoints: Checkpoints, run: Run, data: Dataset
) -> Verdict:
    """Test the returned student, which gives the headline number, and every snapshot.

    The student is scored on the development split too, by which settings may be chosen.
    """
    exam, metric = exam_of(task, data.test, run.device), task.metric
    scores = exam.measure(student)
    final = scores.metrics[metric]
    development = exam_of(task, data.development, run.device).measure(student)
    scores.metrics[f"{metric}_dev"] = development.metrics[metric]
    if checkpoints.steps:
        curve = []
        # A copy of the student, because an objective may have rebuilt its network.
        snapshot = copy.deepcopy(student)
        for state in checkpoints.states:
            snapshot.load_state_dict(state)
            curve.append(exam.measure(snapshot).metrics[metric])
        agreement = checkpoints.comparable_agreement(snapshot)
        steps = [float(step) for step in checkpoints.steps]
        run.curves[f"evaluation/{metric}"] = {"step": steps, "value": curve}
        run.curves["evaluation/agreement"] = {"step": steps, "value": agreement}
        # The latest of equally good checkpoints, as a user without test data would choose.
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
