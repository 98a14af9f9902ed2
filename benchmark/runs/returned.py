"""What a method returns: whether it can be scored, and as what."""

from __future__ import annotations

import io

import torch
from torch import nn

from benchmark.machine.tensors import checksum
from benchmark.metrics.exam import exam_of
from benchmark.tasks.base import Task
from benchmark.tasks.data.base import Split
from methods.base.counting import unwatch
from methods.base.method import Method
from methods.base.problem import Problem
from methods.base.run import Run


class Returned:
    """What a method returned, judged by its weights alone.

    Nothing that was hung on the student, or put in its place, is scored with it.

    Args:
        student: the object that ``fit`` returned.
        method: the method, with the objective that was put on it.
        problem: the problem that it was given.
        run: the run, with what was counted.
    """

    def __init__(self, student: object, method: Method, problem: Problem, run: Run) -> None:
        self.student = student
        self.transfer = method.transfer
        self.problem = problem
        self.run = run

    def unfit(self) -> str:
        """Why it cannot be scored; empty if it can.

        It is to be a trained network of the task's architecture.
        """
        if not isinstance(self.student, nn.Module):
            return f"fit returned {type(self.student).__name__}, not the trained student"
        if not self.rebuilt and (reason := self._not_the_student(self.student)):
            return reason
        if self.transfer is not None and not self.transfer.attached:
            return (
                f"the method's own loop does not know objective '{self.transfer.name}'; let it use "
                "student_objective"
            )
        return ""

    def _not_the_student(self, network: nn.Module) -> str:
        """What tells this network from the task's student, trained; empty if nothing does."""
        expected, found = self.problem.make_student().state_dict(), network.state_dict()
        wrong = [
            name
            for name in {**expected, **found}
            if name not in expected
            or name not in found
            or expected[name].shape != found[name].shape
        ]
        if wrong:
            return (
                f"fit returned another network than the task's student: '{wrong[0]}' differs; "
                "return the network that problem.make_student() made"
            )
        if not self.run.ledger.student_steps and checksum(expected) != checksum(found):
            return (
                "the student changed without a step of an optimiser; train the network that "
                "problem.make_student() made, with an optimiser of torch, so that steps count"
            )
        return ""

    @property
    def rebuilt(self) -> bool:
        """Whether the objective made another network of the student."""
        return self.transfer is not None and self.transfer.rebuilds

    def examinee(self, task: Task) -> nn.Module:
        """A network of the task's own making with the student's weights.

        Raises:
            TypeError: when no network came back.
        """
        if not isinstance(self.student, nn.Module):
            raise TypeError(self.unfit())
        if self.rebuilt:
            return unwatch(self.student)
        own = task.make_student().to(self.run.device)
        own.load_state_dict(self.student.state_dict())
        return own

    def variant_metrics(self, examinee: nn.Module, task: Task, test: Split) -> dict[str, float]:
        """The scores of the objective's other networks, such as the student in integers."""
        metrics: dict[str, float] = {}
        if self.transfer is None:
            return metrics
        exam = exam_of(task, test, "cpu")  # integer arithmetic exists on the CPU alone
        for name, network in self.transfer.variants(examinee).items():
            scores = exam.measure(network.eval()).metrics
            metrics |= {f"{metric}_{name}": value for metric, value in scores.items()}
            metrics[f"kib_{name}"] = stored_kib(network)
        sizes = self.transfer.sizes(examinee)
        return metrics | {f"kib_{name}": kib for name, kib in sizes.items()}


def stored_kib(network: nn.Module) -> float:
    """The size of a network's weights and buffers as torch stores them, in KiB."""
    file = io.BytesIO()
    torch.save(network.state_dict(), file)
    return len(file.getbuffer()) / 1024
