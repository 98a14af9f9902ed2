"""Synthetic images kept between runs, so that runs at ten temperatures share one generator."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable

from benchmark.errors import UserError
from benchmark.machine.device import what_bits_depend_on
from benchmark.machine.tensors import Corrupted, load_tensors, save_tensors
from benchmark.records.canonical import digest
from benchmark.records.record import TeacherInfo
from benchmark.records.spec import Spec
from benchmark.runs.job import Context
from methods.base.method import Method
from methods.base.problem import Access
from methods.base.run import Run
from methods.base.samples import ImageBank, SampleSource

LOG = logging.getLogger(__name__)


class SampleCache:
    """The banks of images in the cache: that of an equal synthesis is found, or made and kept.

    A bank is stored with its costs and the curves of its making. A run that finds it writes the
    same record as if it had made the images itself. Banks of real images are not stored.

    Args:
        context: where the cache is, and on what the bits depend.
        spec: the run's specification.
        method: decides which parameters belong to the synthesis.
        teacher: the teacher's checksum is part of the synthesis' identity.
        run: whose ledger and curves a found bank fills in.
        code: fingerprint of the method and the networks, which a bank of images depends on.
    """

    def __init__(
        self,
        context: Context,
        spec: Spec,
        method: Method,
        teacher: TeacherInfo,
        run: Run,
        code: str,
    ) -> None:
        self.run = run
        self.stored = not method.access & Access.TRAIN_IMAGES
        self.device = context.device
        identity = {
            "task": [spec.task, spec.task_version, spec.data],
            "teacher": teacher.checksum,
            "method": [spec.method, spec.method_version, code],
            "params": method.params.of_phase("synthesis"),
            "budget": spec.budget.synthesis_part(),
            "seed": spec.seed,
            "proxy": spec.proxy,
            "machine": what_bits_depend_on(context.device, context.precision),
        }
        self.path = context.cache / "samples" / f"{digest(identity)}.safetensors"

    def reuse(self, make: Callable[[], SampleSource]) -> SampleSource:
        """The cached bank, or what ``make`` makes."""
        found = self.find()
        if found is not None:
            return found
        with self.run.phase("synthesis"):
            samples = make()
        made = self.run.ledger.synthetic_images > 0
        if self.stored and made and isinstance(samples, ImageBank):
            self._keep(samples)
        return samples

    def find(self) -> ImageBank | None:
        """The bank of an equal synthesis, with its costs and curves put into the run, or None."""
        if not self.stored:
            return None
        try:
            tensors, info = load_tensors(self.path)
            cost = json.loads(info["cost"])
            bank = ImageBank(
                tensors["images"], int(info["held_out"]), tensors.get("labels"), self.device
            )
        except (FileNotFoundError, Corrupted, KeyError, ValueError):
            return None  # a damaged bank is simply made again
        self.run.ledger.go_on(cost["ledger"])
        self.run.curves |= cost["curves"]
        return bank

    def _keep(self, bank: ImageBank) -> None:
        cost = {"ledger": self.run.ledger.spent(), "curves": self.run.curves}
        tensors = {"images": bank.images}
        if bank.labels is not None:
            tensors["labels"] = bank.labels
        try:
            info = {"held_out": str(bank.held_out), "cost": json.dumps(cost)}
            save_tensors(self.path, tensors, info)
        # A full disk, or a ledger that no file can hold, costs the next run the reuse, not this one
        # its end.
        except (UserError, TypeError, ValueError) as error:
            LOG.warning("the images of seed %d are not kept: %s", self.run.seed, error)
