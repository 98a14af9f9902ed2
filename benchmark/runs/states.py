"""The states and snapshots of one run, from which it goes on after an interruption."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmark.machine.checkpoints import LoopKeeper, checkpoint_folder
from benchmark.machine.device import what_bits_depend_on
from benchmark.machine.tensors import load_tensors, save_tensors
from benchmark.records.canonical import digest
from benchmark.runs.evaluation import Checkpoints
from benchmark.runs.job import Context


class RunKeeper(LoopKeeper):
    """Keeps the states of one run's loops and the snapshots of its student.

    Args:
        context: where the cache is, how often to keep a state, and what the bits depend on.
        run_id: the run's id.
        code: fingerprint of what runs; a state goes on with no other code.
        snapshots: the students shown so far, which belong to the state.
    """

    def __init__(self, context: Context, run_id: str, code: str, snapshots: Checkpoints) -> None:
        assert context.checkpoint_seconds is not None
        identity = [code, what_bits_depend_on(context.device, context.precision)]
        folder = checkpoint_folder(context.cache) / f"{run_id}-{digest(identity)}"
        super().__init__(folder, context.checkpoint_seconds, f"run {run_id}")
        self._snapshots = snapshots
        self._written: set[int] = set()

    def _extra(self) -> dict[str, Any]:
        snapshots = self._snapshots
        for number, weights in zip(snapshots.steps, snapshots.states, strict=True):
            if number not in self._written:
                save_tensors(self._student(number), weights, {})
                self._written.add(number)
        return {"shown": snapshots.state_dict()}

    def _restore_extra(self, tree: Mapping[str, Any]) -> None:
        shown: dict[str, Any] = tree["shown"]
        students = [load_tensors(self._student(number))[0] for number in shown["steps"]]
        self._snapshots.load_state_dict({**shown, "states": students})
        self._written = set(shown["steps"])

    def _student(self, step: int) -> Path:
        return self.folder / f"student-{step}.safetensors"
