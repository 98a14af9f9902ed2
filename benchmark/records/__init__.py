"""What came of the runs: the record, its identity, the folder of results. Imports no torch.

In reading order: `spec` (what was asked for, and a run's identity), `record` (what came of it),
`schema` (versions of the format), `store` (the folder of results), `locks` (several grids on one
folder), `files` (atomic writing), `canonical` (the text that identities are hashes of).
"""

from __future__ import annotations

from benchmark.records.record import Record as Record
from benchmark.records.spec import Spec as Spec
from benchmark.records.store import Scan as Scan
from benchmark.records.store import Store as Store
