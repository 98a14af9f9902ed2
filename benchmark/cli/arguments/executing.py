"""Options that say how runs are executed, for every command that runs some."""

from __future__ import annotations

from typing import Annotated

import typer

Jobs = Annotated[
    str,
    typer.Option(
        help="How many runs at the same time, each in a process of its own: a number, or auto "
        "for as many as cores and memory allow (one on a GPU)."
    ),
]
Threads = Annotated[
    int | None,
    typer.Option(min=1, help="Threads of each run (default: measured once per machine)."),
]
Overwrite = Annotated[
    str,
    typer.Option(
        help="Which runs that have a record are run again: never none, failed those that "
        "failed or exceeded their budget, stale those whose record was made by other code than "
        "the present, always all. A finished record is kept until the new one is there."
    ),
]
TimeLimit = Annotated[
    str | None,
    typer.Option(
        help="Stop after this time, like 9m or 1h30m; the same command then goes on. For batch "
        "queues. Exit code 130 if runs are left."
    ),
]
RunTimeout = Annotated[
    str | None, typer.Option(help="End every run that takes longer than this, like 30m.")
]
CheckpointEvery = Annotated[
    str, typer.Option(help="How often a run saves its state, from which it can go on.")
]
Executor = Annotated[
    str,
    typer.Option(help="Where to run: local for this machine, ray for the nodes of a Ray cluster."),
]
RayAddress = Annotated[
    str | None,
    typer.Option(
        help="The address of a running Ray cluster, like auto or host:6379 (default: "
        "start one on "
        "this machine)."
    ),
]
GpusPerRun = Annotated[
    float | None,
    typer.Option(
        min=0, help="GPUs that each run reserves on Ray; 0.25 packs four runs onto one GPU."
    ),
]
Retries = Annotated[
    int | None,
    typer.Option(min=0, help="How often Ray starts a run again if its worker dies (default: 2)."),
]
