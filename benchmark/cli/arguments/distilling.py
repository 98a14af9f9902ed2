"""The command that distills a teacher of the user's own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from benchmark.cli.arguments.options import Device, MethodsDir, ProxyDir, Settings
from benchmark.cli.program import answers_in_one_line, app, console

PANEL = "Run"


@app.command(rich_help_panel=PANEL)
@answers_in_one_line
def distill(
    teacher: Annotated[
        str,
        typer.Option(
            help="The teacher: timm/NAME, or module:factory for a function without arguments that "
            "makes a classifier. The module's code is executed."
        ),
    ],
    student: Annotated[str, typer.Option(help="The student: timm/NAME or module:factory.")],
    image_shape: Annotated[
        str, typer.Option(help="The shape of the teacher's input as channels,height,width.")
    ],
    out: Annotated[
        Path, typer.Option(help="The file for the student's weights, ending in .safetensors.")
    ],
    weights: Annotated[
        str | None,
        typer.Option(
            help="The file of the teacher's weights: .safetensors, or what "
            "torch.load(weights_only=True) accepts; 'pretrained' for the weights that timm has."
        ),
    ] = None,
    mean: Annotated[
        str | None,
        typer.Option(
            help="The mean that the teacher's input is normalised with, one number a channel."
        ),
    ] = None,
    std: Annotated[str | None, typer.Option(help="The standard deviation, like --mean.")] = None,
    num_classes: Annotated[
        int | None,
        typer.Option(min=2, help="Classes of a timm teacher (default: as many as timm says)."),
    ] = None,
    method: Annotated[
        str, typer.Option(help="The method; it must be data-free or see proxy images only.")
    ] = ("rdskd"),
    set_: Settings = None,
    family: Annotated[
        str,
        typer.Option(
            help="The dataset whose published settings the method takes, such as imagenet "
            "(dfkd show METHOD lists them); none: the method's defaults."
        ),
    ] = "",
    budget: Annotated[
        str, typer.Option(help="The budget: smoke (seconds), cpu (32×32 images) or gpu.")
    ] = "cpu",
    synthesis_steps: Annotated[
        int | None, typer.Option(help="Steps of making images (default: the budget's).")
    ] = None,
    student_steps: Annotated[
        int | None, typer.Option(help="Steps of the student (default: the budget's).")
    ] = None,
    batch: Annotated[
        int | None,
        typer.Option(help="Images a step, of both kinds of steps (default: the budget's)."),
    ] = None,
    images: Annotated[
        int | None,
        typer.Option(
            help="Synthetic images that are kept; 0 for fresh ones at every step (default: the "
            "budget's)."
        ),
    ] = None,
    student_lr: Annotated[
        float | None, typer.Option(help="The student's learning rate (default: the budget's).")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="The seed of all random streams.")] = 0,
    device: Device = "auto",
    eval_dir: Annotated[
        Path | None,
        typer.Option(
            help="A folder of labelled images, one folder a class; the accuracy on them is printed."
        ),
    ] = None,
    proxy_dir: ProxyDir = None,
    methods_dir: MethodsDir = None,
    export: Annotated[
        str | None,
        typer.Option(help="Also write the student as a program: onnx, or torch for torch.export."),
    ] = None,
) -> None:
    """Distill a student from a teacher of your own; no data are needed.

    Exit code 1 if the training failed; nothing is written then.
    """
    from benchmark.cli import distill as own_teacher

    request = own_teacher.Request(
        teacher=teacher,
        weights=weights,
        student=student,
        method=method,
        settings=tuple(set_ or ()),
        family=family,
        image_shape=image_shape,
        mean=mean,
        std=std,
        num_classes=num_classes,
        out=out,
        budget=budget,
        numbers={
            "synthesis_steps": synthesis_steps,
            "synthesis_batch": batch,
            "student_steps": student_steps,
            "student_batch": batch,
            "student_lr": student_lr,
            "images": images,
        },
        seed=seed,
        device=device,
        eval_dir=eval_dir,
        proxy_dir=proxy_dir,
        method_folders=tuple(methods_dir or ()),
        export=export,
    )
    raise typer.Exit(own_teacher.run(request, console))
