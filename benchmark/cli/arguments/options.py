"""Options that several commands share, so that they read and behave alike."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Results = Annotated[Path, typer.Option("--results", help="Folder of the records.")]
DataDir = Annotated[
    Path | None,
    typer.Option("--data-dir", help="Folder of the datasets (default: $DFKD_DATA, then ./data)."),
]
ProxyDir = Annotated[
    Path | None,
    typer.Option(
        "--proxy-dir",
        help="Folder of images, or of parquet files, for methods that see proxy images "
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
    typer.Option(
        "--synthesize", help="Make the images again where they are not in the cache any more."
    ),
]

Device = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")]
Seeds = Annotated[str | None, typer.Option(help="Seeds, like 0-4 or 0,2,7.")]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", help="A parameter of the method, key=value (repeatable)."),
]
