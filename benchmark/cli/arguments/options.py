"""Options that several commands share, so that they read and behave the same."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Results = Annotated[Path, typer.Option("--results", help="The folder of the records.")]
DataDir = Annotated[
    Path | None,
    typer.Option(
        "--data-dir", help="The folder of the datasets (default: $DFKD_DATA, then ./data)."
    ),
]
ProxyDir = Annotated[
    Path | None,
    typer.Option(
        "--proxy-dir",
        help="A folder of images or parquet files for methods that see proxy images "
        "(default: the task's proxy dataset in the data folder).",
    ),
]
MethodsDir = Annotated[
    list[Path] | None,
    typer.Option(
        "--methods-dir",
        help="Also look for methods in this folder or file (repeatable). Its code is executed.",
    ),
]

TasksDir = Annotated[
    list[Path] | None,
    typer.Option(
        "--tasks-dir",
        help="Also look for tasks in this folder or file (repeatable). Its code is executed.",
    ),
]

Synthesize = Annotated[
    bool,
    typer.Option("--synthesize", help="Make the images again if they are no longer in the cache."),
]

AllowDirty = Annotated[
    bool,
    typer.Option(
        "--allow-dirty",
        help="Write into results that are committed to git although the program has uncommitted "
        "changes.",
    ),
]
Device = Annotated[
    str,
    typer.Option(help="Where to compute: cpu, cuda, cuda:N, or auto for the first GPU if any."),
]
ImportedTeacher = Annotated[
    str,
    typer.Option(
        "--teacher",
        help="An imported teacher in the place of the task's own: its id, or the first digits (see "
        "dfkd import-teacher).",
    ),
]
Seeds = Annotated[str | None, typer.Option(help="The seeds, like 0-4 or 0,2,7.")]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", help="A parameter of the method as key=value (repeatable)."),
]
