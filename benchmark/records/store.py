"""The folder of results, which holds the records.

A record is one JSON file, ``<results>/<suite>/<task>/<method>/<run-id>.json``. Like the records,
this module imports no torch.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Self

from pydantic import ValidationError

from benchmark.errors import UserError
from benchmark.records.canonical import canonical
from benchmark.records.files import write_atomic
from benchmark.records.record import ACCIDENTS, SCORED, Record
from benchmark.records.spec import Plan, PlannedEntry, Spec
from methods.settings.versions import Versions, shipped_versions

DEFAULT_RESULTS = Path("results")
"""The folder that commands use by default."""

Overwrite = Literal["never", "failed", "stale", "always"]
"""Which records that are there are made again: none, those of failed runs, those that other code
than the present made, or all."""


@dataclass
class Unreadable:
    """A file among the records that is not a record."""

    path: Path
    reason: str


@dataclass
class Scan:
    """Everything found in a results folder.

    Attributes:
        records: the records.
        unreadable: the files among them that are none.
        planned: the plans, by suite and run id.
        versions: the versions of the methods that the program has, by which records of an older
            version are told.
    """

    records: list[Record] = field(default_factory=list)
    unreadable: list[Unreadable] = field(default_factory=list)
    planned: dict[str, dict[str, PlannedEntry]] = field(default_factory=dict)
    versions: Mapping[str, Versions] = field(default_factory=dict)


class Store:
    """The records under one folder.

    Args:
        root: the folder; it need not exist yet.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    @classmethod
    def existing(cls, root: Path) -> Self:
        """The records under a folder that must be there.

        Raises:
            UserError: when it is not.
        """
        if not root.is_dir():
            raise UserError(
                f"results folder '{root}' does not exist; run a suite first, or give another "
                "folder with --results"
            )
        return cls(root)

    def path(self, spec: Spec, run_id: str) -> Path:
        """The path of a run's record."""
        return self.root / spec.suite / spec.task / spec.method / f"{run_id}.json"

    def get(self, spec: Spec, run_id: str, code: str = "") -> Record | None:
        """The record of a run from its own suite or another one, if there is a readable one.

        A record of another suite counts only if its student finished. It is then returned with this
        ``spec``, and comes before a failure of this suite.

        Args:
            spec: what the asking suite planned.
            run_id: the identity of the run.
            code: the fingerprint of the code whose records come first, whichever suite has them.
        """
        own = self.path(spec, run_id)
        elsewhere = sorted(self.root.glob(f"*/{spec.task}/{spec.method}/{run_id}.json"))
        found = []
        for path in [own, *elsewhere]:
            try:
                record = self.read(path)
            except (OSError, ValueError):
                continue
            if path == own:
                found.append(record)
            elif record.status in SCORED:
                found.append(record.model_copy(update={"spec": spec}))

        def worth(record: Record) -> tuple[bool, bool]:
            present = bool(code) and record.environment.fingerprint == code
            return present and record.status not in ACCIDENTS, record.status in SCORED

        return max(found, key=worth, default=None)  # the first of equal worth

    def copies(self, record: Record) -> list[Record]:
        """The records that other suites have of the same run, if its student finished."""
        own = self.path(record.spec, record.run_id)
        found = []
        for path in sorted(self.root.glob(f"*/{own.parts[-3]}/{own.parts[-2]}/{own.name}")):
            try:
                copy = Record.from_json(path.read_text(encoding="utf-8"))
            except (FileNotFoundError, ValueError):
                continue
            if path != own and copy.status in SCORED:
                found.append(copy)
        return found

    def put(self, record: Record) -> Path:
        """Write a record atomically and return its path."""
        path = self.path(record.spec, record.run_id)
        write_atomic(path, record.to_json().encode())
        return path

    def find(self, run_id: str) -> Record:
        """The record whose id starts with these digits.

        Raises:
            UserError: when no run, or more than one, has such an id.
        """
        if not run_id or not all(digit in "0123456789abcdef" for digit in run_id):
            raise UserError(f"'{run_id}' is not a run id (hexadecimal digits, as in file names)")
        paths = sorted(self.root.glob(f"*/*/*/{run_id}*.json"))
        if not paths:
            raise UserError(
                f"no record '{run_id}' in '{self.root}'; give its folder with --results"
            )
        if len({path.stem for path in paths}) > 1:
            names = ", ".join(path.stem for path in paths[:3])
            raise UserError(
                f"'{run_id}' is the start of several run ids ({names}); give more digits"
            )
        try:
            return self.read(paths[0])
        except (OSError, ValueError) as error:
            raise UserError(f"'{paths[0]}' is unreadable: {error}") from None

    def add_plan(self, suite: str, planned: Iterable[tuple[Spec, str]]) -> None:
        """Keep what a suite planned, so that a run without a record is counted as missing.

        Args:
            suite: the name of the suite.
            planned: the specifications, each with the checksum of its teacher.
        """
        path = self.root / suite / "plan.json"
        entries = {s.run_id(teacher): PlannedEntry.of(s, teacher) for s, teacher in planned}
        plan = Plan.dump_python(self._read_plan(path) | entries, mode="json")
        text = canonical(plan, indent=1) + "\n"
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            write_atomic(path, text.encode())

    @staticmethod
    def _read_plan(path: Path) -> dict[str, PlannedEntry]:
        try:
            return Plan.validate_json(path.read_bytes())
        except FileNotFoundError:
            return {}
        except ValidationError:
            raise UserError(
                f"'{path}' is not a plan of this version; restore it, or delete it and run the "
                "suite again"
            ) from None

    def scan(self) -> Scan:
        """Read all records and plans; files that are none are listed with the reason."""
        scan = Scan(versions=shipped_versions())
        with collector_paused():
            for path in self.paths():
                try:
                    scan.records.append(self.read(path))
                except (ValueError, OSError) as error:
                    scan.unreadable.append(Unreadable(path, str(error)))
        for path in sorted(self.root.glob("*/plan.json")):
            try:
                scan.planned[path.parent.name] = self._read_plan(path)
            except UserError as error:
                scan.unreadable.append(Unreadable(path, str(error)))
        return scan

    def paths(self) -> list[Path]:
        """The paths of all records, sorted."""
        return sorted(self.root.glob("*/*/*/*.json"))

    def read(self, path: Path) -> Record:
        """The record of a file, which must lie where its specification says.

        Raises:
            ValueError: with one line that says why it is not a record.
            OSError: when the file cannot be read.
        """
        record = Record.from_json(path.read_bytes())
        spec = record.spec
        own = os.sep.join(["", spec.suite, spec.task, spec.method, f"{record.run_id}.json"])
        if not f"{os.sep}{os.fspath(path)}".endswith(own):
            raise ValueError("it lies in the wrong folder for its spec")
        return record


@contextmanager
def collector_paused() -> Iterator[None]:
    """Pause the garbage collector, which would walk through all records time and again."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            # Moves all new objects to the oldest generation without walking through them.
            gc.freeze()
            gc.unfreeze()
            gc.enable()
