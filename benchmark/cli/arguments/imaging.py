"""Commands on the images that runs made."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from benchmark.cli.arguments.options import (
    AllowDirty,
    DataDir,
    Device,
    MethodsDir,
    ProxyDir,
    Results,
    Synthesize,
    TasksDir,
)
from benchmark.cli.program import answers_in_one_line, app, console

PANEL = "Look at images"


@app.command(rich_help_panel=PANEL)
@answers_in_one_line
def measure(
    target: Annotated[
        str, typer.Argument(help="A run id or its first digits, or the name of a suite.")
    ],
    extractor: Annotated[
        list[str] | None,
        typer.Option(
            help="The network that judges (repeatable): task, a critic trained on the task "
            "(default), "
            "or inception."
        ),
    ] = None,
    images: Annotated[
        int | None,
        typer.Option(
            min=8, help="Images of each run (default: 5,000; 10,000 at the budgets gpu and paper)."
        ),
    ] = None,
    results: Results = Path("results"),
    data_dir: DataDir = None,
    proxy_dir: ProxyDir = None,
    weights_dir: Annotated[
        Path | None,
        typer.Option(
            "--weights-dir",
            help="The folder of the weights for inception (default: $DFKD_WEIGHTS, torch's cache "
            "or our own; downloaded if they are in none of them).",
        ),
    ] = None,
    methods_dir: MethodsDir = None,
    tasks_dir: TasksDir = None,
    synthesize: Synthesize = False,
    overwrite: Annotated[
        str,
        typer.Option(
            help="Which images are measured again: never only those measured with other --images, "
            "another critic or older definitions, always all."
        ),
    ] = "never",
    device: Device = "auto",
    allow_dirty: AllowDirty = False,
) -> None:
    """Measure the images of finished runs (IS, FID, KID, LPIPS) without training a student.

    Exit code 1 if a run made images that could not be measured.
    """
    from benchmark.cli.measure import measure_runs
    from benchmark.runs.images.measure import MeasureRequest

    request = MeasureRequest(
        target=target,
        extractors=tuple(extractor or ["task"]),
        results=results,
        images=images,
        weights_dir=weights_dir,
        data_dir=data_dir,
        proxy_dir=proxy_dir,
        method_folders=tuple(methods_dir or ()),
        task_folders=tuple(tasks_dir or ()),
        synthesize=synthesize,
        overwrite=overwrite,
        device=device,
        allow_dirty=allow_dirty,
    )
    raise typer.Exit(measure_runs(request, console))


@app.command(rich_help_panel=PANEL)
@answers_in_one_line
def images(
    run_id: Annotated[str, typer.Argument(help="The run id of a record, or its first digits.")],
    output: Annotated[
        Path | None, typer.Option(help="The PNG file to write (default: RUN-ID.png).")
    ] = None,
    per_class: Annotated[
        int, typer.Option(min=1, max=100, help="How many images of each class.")
    ] = 8,
    results: Results = Path("results"),
    data_dir: DataDir = None,
    proxy_dir: ProxyDir = None,
    methods_dir: MethodsDir = None,
    tasks_dir: TasksDir = None,
    synthesize: Synthesize = False,
) -> None:
    """Draw the images of a run by class, beside real ones, into a PNG file."""
    from benchmark.cli import images as sheets

    request = sheets.SheetRequest(
        run_id=run_id,
        results=results,
        output=output,
        per_class=per_class,
        data_dir=data_dir,
        proxy_dir=proxy_dir,
        method_folders=tuple(methods_dir or ()),
        task_folders=tuple(tasks_dir or ()),
        synthesize=synthesize,
    )
    sheets.write_sheet(request, console)


@app.command("image-quality", rich_help_panel=PANEL)
@answers_in_one_line
def image_quality(
    results: Results = Path("results"),
    output: Annotated[
        Path, typer.Option(help="The file to write; the plot goes into the same folder.")
    ] = (Path("docs/image-quality.md")),
    extractor: Annotated[
        str, typer.Option(help="The network that judged the images: task or inception.")
    ] = "task",
) -> None:
    """Write the page on whether image quality predicts the student's accuracy."""
    from benchmark.analysis import image_quality as quality_report

    quality_report.write(results, output, extractor, console)
