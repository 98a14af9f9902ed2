"""The command for a teacher of one's own."""

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
            help="timm/NAME, or module:factory, a function without arguments that makes a "
            "classifier. The module's code is executed."
        ),
    ],
    student: Annotated[str, typer.Option(help="timm/NAME or module:factory.")],
    image_shape: Annotated[str, typer.Option(help="Channels,height,width of the teacher's input.")],
    out: Annotated[Path, typer.Option(help="The student's weights, .safetensors.")],
    weights: Annotated[
        str | None,
        typer.Option(
            help="The teacher's: .safetensors, or what torch.load(weights_only=True) accepts; "
            "'pretrained' for timm's own."
        ),
    ] = None,
    mean: Annotated[
        str | None,
        typer.Option(help="By which the teacher's input is normalised, a number a channel."),
    ] = None,
    std: Annotated[str | None, typer.Option(help="As --mean.")] = None,
    num_classes: Annotated[
        int | None, typer.Option(min=2, help="Of a timm teacher, when not timm's own number.")
    ] = None,
    method: Annotated[str, typer.Option(help="A data-free method, or one of proxy images.")] = (
        "rdskd"
    ),
    set_: Settings = None,
    budget: Annotated[
        str, typer.Option(help="smoke (seconds), cpu (32×32 images) or gpu.")
    ] = "cpu",
    synthesis_steps: Annotated[
        int | None, typer.Option(help="Instead of the budget's: steps of making images.")
    ] = None,
    student_steps: Annotated[
        int | None, typer.Option(help="Instead of the budget's: steps of the student.")
    ] = None,
    batch: Annotated[
        int | None, typer.Option(help="Instead of the budget's: images a step, of both kinds.")
    ] = None,
    images: Annotated[
        int | None,
        typer.Option(help="Instead of the budget's: synthetic images kept; 0: fresh every step."),
    ] = None,
    student_lr: Annotated[
        float | None, typer.Option(help="Instead of the budget's: the student's learning rate.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of every random stream.")] = 0,
    device: Device = "auto",
    eval_dir: Annotated[
        Path | None,
        typer.Option(help="Folder of labelled images, a folder a class: reports accuracy."),
    ] = None,
    proxy_dir: ProxyDir = None,
    methods_dir: MethodsDir = None,
    export: Annotated[
        str | None, typer.Option(help="Also write the student as onnx or torch (torch.export).")
    ] = None,
) -> None:
    """Distill a student from a teacher of your own; no data needed.

    Exit code 1 when the training failed; nothing is written then.
    """
    from benchmark.cli import distill as own_teacher

    request = own_teacher.Request(
        teacher=teacher,
        weights=weights,
        student=student,
        method=method,
        settings=tuple(set_ or ()),
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
