"""The ``dfkd`` command: arguments in, functions called, text out. No logic lives here.

torch takes two seconds to import, so nothing that needs it is imported at the top.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, ParamSpec, TypeVar

import typer
from rich.console import Console

from benchmark import __version__
from benchmark.errors import UserError

P = ParamSpec("P")
R = TypeVar("R")

app = typer.Typer(
    name="dfkd",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    help="""Benchmark data-free knowledge distillation: run seeded grids, rank what came out.

    [bold]Start here[/bold]

    dfkd run quickstart --results runs/quickstart    every method on digits, three minutes

    dfkd list    tasks, methods and suites        dfkd show rdskd    a method's parameters

    dfkd run --task digits --method dafl --set generator_lr=0.01 --seeds 0-4
    """,
)
console = Console()
errors = Console(stderr=True)

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


def answers_in_one_line(command: Callable[P, R]) -> Callable[P, R]:
    """Turn errors a user can act on into one line and exit code 2."""

    @wraps(command)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return command(*args, **kwargs)
        except UserError as error:
            message = str(error)
        except ValueError as error:
            # Raised by methods/, which knows nothing of this program's error types.
            if type(error).__name__ != "ParameterError":
                raise
            message = str(error)
        except Exception as error:
            if type(error).__name__ != "RegistryError":
                raise
            message = str(error)
        except KeyboardInterrupt:
            errors.print("stopped; finished runs are kept, the same command goes on from here")
            raise typer.Exit(130) from None
        errors.print(f"[bold red]error:[/bold red] {_plain(message)}", soft_wrap=True)
        raise typer.Exit(2)

    return wrapped


def _plain(text: str) -> str:
    from rich.markup import escape

    return escape(text)


def _version(value: bool) -> None:
    if value:
        console.print(f"dfkd-bench {__version__}")
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Benchmark data-free knowledge distillation."""


@app.command()
@answers_in_one_line
def run(
    suite: Annotated[
        str | None, typer.Argument(help="A suite's name, or the path of a suite file (.toml).")
    ] = None,
    task: Annotated[
        str | None,
        typer.Option(help="Instead of a suite: one task; with one: only this task of it."),
    ] = None,
    method: Annotated[
        list[str] | None,
        typer.Option(help="A method (repeatable); with a suite, only these of its methods."),
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", help="A parameter of the method, key=value (repeatable)."),
    ] = None,
    objective: Annotated[
        str | None,
        typer.Option(help="What the student minimises (default: kd, the method's own)."),
    ] = None,
    objective_set: Annotated[
        list[str] | None,
        typer.Option(help="A parameter of the objective, key=value (repeatable)."),
    ] = None,
    seeds: Annotated[str | None, typer.Option(help="Seeds, like 0-4 or 0,2,7.")] = None,
    budget: Annotated[
        str | None, typer.Option(help="smoke, cpu, gpu or paper (default: the suite's, or cpu).")
    ] = None,
    results: Results = Path("results"),
    data_dir: DataDir = None,
    proxy_dir: ProxyDir = None,
    methods_dir: MethodsDir = None,
    tasks_dir: TasksDir = None,
    jobs: Annotated[
        str,
        typer.Option(
            help="Runs at the same time, each in a process: a number, or auto for what cores and "
            "memory allow (one on a GPU)."
        ),
    ] = "auto",
    threads: Annotated[
        int | None,
        typer.Option(min=1, help="Threads of a run; measured once per machine when not given."),
    ] = None,
    seeds_at_once: Annotated[
        int,
        typer.Option(
            min=1, help="Train the students of so many seeds as one batched program (for a GPU)."
        ),
    ] = 1,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    overwrite: Annotated[
        str,
        typer.Option(
            help="never: only what is missing; failed: also what failed; always: everything."
        ),
    ] = "never",
    time_limit: Annotated[
        str | None,
        typer.Option(
            help="Stop after so long, like 9m or 1h30m, where the same command goes on: for batch "
            "queues. Exit code 130 when runs are left."
        ),
    ] = None,
    run_timeout: Annotated[
        str | None, typer.Option(help="End a run that takes longer than this, like 30m.")
    ] = None,
    checkpoint_every: Annotated[
        str, typer.Option(help="How often a run keeps where it is, to go on from there.")
    ] = "1m",
    executor: Annotated[
        str, typer.Option(help="local: this machine; ray: the nodes of a Ray cluster.")
    ] = "local",
    ray_address: Annotated[
        str | None,
        typer.Option(help="A running Ray cluster, like auto or host:6379 (default: one here)."),
    ] = None,
    gpus_per_run: Annotated[
        float | None,
        typer.Option(min=0, help="GPUs a run reserves on Ray; 0.25 packs four onto one."),
    ] = None,
    retries: Annotated[
        int | None,
        typer.Option(min=0, help="How often Ray starts a run again whose worker died (default 2)."),
    ] = None,
    suite_name: Annotated[
        str, typer.Option(help="Folder of the records when no suite is given.")
    ] = "custom",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="List what would run and what is already there.")
    ] = False,
) -> None:
    """Run a suite, or one method on one task; only what is missing is run.

    Every run becomes a record, failures included. Exit code 1 when a run failed.
    """
    from benchmark import commands

    request = commands.Request(
        suite=suite,
        task=task,
        methods=tuple(method or ()),
        settings=tuple(set_ or ()),
        seeds=seeds,
        budget=budget,
        suite_name=suite_name,
        results=results,
        data_dir=data_dir,
        method_folders=tuple(methods_dir or ()),
        jobs=jobs,
        threads=threads,
        seeds_at_once=seeds_at_once,
        device=device,
        overwrite=overwrite,
        proxy_dir=proxy_dir,
        objective=objective,
        objective_settings=tuple(objective_set or ()),
        task_folders=tuple(tasks_dir or ()),
        time_limit=time_limit,
        run_timeout=run_timeout,
        checkpoint_every=checkpoint_every,
        executor=executor,
        ray_address=ray_address,
        gpus_per_run=gpus_per_run,
        retries=retries,
    )
    code = commands.preview_runs(request, console) if dry_run else commands.run(request, console)
    raise typer.Exit(code)


@app.command()
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
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", help="A parameter of the method, key=value (repeatable)."),
    ] = None,
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
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
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
    from benchmark import own_teacher

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


@app.command("list")
@answers_in_one_line
def list_(methods_dir: MethodsDir = None, tasks_dir: TasksDir = None) -> None:
    """List the tasks, methods, objectives and suites there are."""
    from benchmark import show

    show.overview(console, methods_dir or [], tasks_dir or [])


@app.command()
@answers_in_one_line
def show(
    name: Annotated[
        str, typer.Argument(help="A method, an objective, a task, a suite, or a run id.")
    ],
    results: Results = Path("results"),
    methods_dir: MethodsDir = None,
    tasks_dir: TasksDir = None,
) -> None:
    """Show a method's or an objective's parameters, a task, a suite or a record."""
    from benchmark import show as pages

    pages.page(name, console, results, methods_dir or [], tasks_dir or [])


@app.command()
@answers_in_one_line
def leaderboard(
    results: Results = Path("results"),
    output: Annotated[
        Path | None, typer.Option(help="The file to write (default: leaderboard.md, .tex or .csv).")
    ] = None,
    form: Annotated[
        str, typer.Option("--format", help="markdown, latex (booktabs) or csv.")
    ] = "markdown",
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing; exit 1 if the file is out of date.")
    ] = False,
) -> None:
    """Render leaderboard.md, and the marked tables of the README beside it, from the records."""
    from benchmark.analysis import publish

    raise typer.Exit(publish.leaderboard(results, output, form, check, console, errors))


@app.command()
@answers_in_one_line
def report(
    results: Results = Path("results"),
    output: Annotated[Path, typer.Option(help="The HTML file to write.")] = Path("report.html"),
) -> None:
    """Write one self-contained HTML page: tables to sort and filter, plots, pictures, every run."""
    from benchmark.analysis import report as reporting

    raise typer.Exit(reporting.write(results, output, console, errors))


@app.command()
@answers_in_one_line
def watch(
    results: Results = Path("results"),
    suite: Annotated[str | None, typer.Option(help="Only the runs of this suite.")] = None,
    every: Annotated[
        float, typer.Option("--every", min=0.2, help="Seconds between two looks at the folder.")
    ] = 2.0,
    once: Annotated[bool, typer.Option("--once", help="Print the tables as they are, and end.")] = (
        False
    ),
) -> None:
    """Show the ranked tables while a grid runs, from any terminal; Ctrl-C ends it."""
    from benchmark import watch as watching

    watching.watch(results, suite, every, once, console)


@app.command()
@answers_in_one_line
def compare(
    methods: Annotated[list[str], typer.Argument(help="Two or more methods.")],
    task: Annotated[str, typer.Option(help="The task to compare them on.")],
    over: Annotated[
        str | None,
        typer.Option(
            help="A parameter, or a number of the budget, that was swept: compare at each value."
        ),
    ] = None,
    budget: Annotated[
        str | None, typer.Option(help="A budget preset (default: the one with the most runs).")
    ] = None,
    results: Results = Path("results"),
    plot: Annotated[
        Path | None,
        typer.Option(help="Where the plot goes, .svg, .png or .pdf (default: under runs/compare)."),
    ] = None,
) -> None:
    """Say which method is better and which is steadier, how sure that is, and save the plot."""
    from benchmark.analysis import answers

    answers.compare(methods, task, budget, over, results, plot, console)


@app.command()
@answers_in_one_line
def robustness(
    methods: Annotated[list[str], typer.Argument(help="Two or more methods.")],
    task: Annotated[str, typer.Option(help="The task to compare them on.")],
    budget: Annotated[
        str | None, typer.Option(help="A budget preset (default: the one with the most runs).")
    ] = None,
    results: Results = Path("results"),
    output: Annotated[
        Path, typer.Option(help="The document; its plots go into a folder beside it.")
    ] = Path("docs/robustness.md"),
) -> None:
    """Write what the records say about robustness: sweeps, random draws, stability of losses."""
    from benchmark.analysis import answers

    answers.robustness(methods, task, budget, results, output, console)


@app.command()
@answers_in_one_line
def reproduce(
    name: Annotated[
        str | None, typer.Argument(help="A published table, like rdskd-table2 (see --list).")
    ] = None,
    budget: Annotated[
        str | None,
        typer.Option(
            help="smoke, cpu, gpu or paper (default: the suite's; with --no-run the one there are "
            "records of)."
        ),
    ] = None,
    task: Annotated[str | None, typer.Option(help="Only this task of the table.")] = None,
    seeds: Annotated[str | None, typer.Option(help="Seeds, like 0-4 or 0,2,7.")] = None,
    no_run: Annotated[
        bool, typer.Option("--no-run", help="Run nothing; compare with the records there are.")
    ] = False,
    list_: Annotated[bool, typer.Option("--list", help="List the published tables.")] = False,
    results: Results = Path("results"),
    data_dir: DataDir = None,
    proxy_dir: ProxyDir = None,
    jobs: Annotated[str, typer.Option(help="As of `dfkd run`.")] = "auto",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
) -> None:
    """Run what is missing of a paper's table, and print the paper's numbers beside ours."""
    from benchmark import reproduce as reproducing

    if list_:
        reproducing.listing(console)
        return
    if name is None:
        raise UserError("give a published table; `dfkd reproduce --list` has them")
    wanted = reproducing.Reproduction.of(name, results, task)
    if no_run:
        wanted.show(budget, console)
        return
    options = reproducing.Options(budget, task, seeds, data_dir, proxy_dir, jobs, device)
    raise typer.Exit(wanted.run(options, console))


@app.command()
@answers_in_one_line
def replay(
    run_id: Annotated[str, typer.Argument(help="A record's run id, or the start of it.")],
    results: Results = Path("results"),
    data_dir: DataDir = None,
    proxy_dir: ProxyDir = None,
    methods_dir: MethodsDir = None,
    tasks_dir: TasksDir = None,
) -> None:
    """Execute a record again and say whether it matches; nothing is written.

    On the machine kind and thread count of the record, on the CPU, the same bits are expected.
    """
    from benchmark import commands

    raise typer.Exit(
        commands.replay(
            run_id, results, data_dir, methods_dir or [], console, proxy_dir, tasks_dir or []
        )
    )


@app.command()
@answers_in_one_line
def measure(
    target: Annotated[str, typer.Argument(help="A run id, or the start of it, or a suite.")],
    extractor: Annotated[
        list[str] | None,
        typer.Option(help="task (a critic trained on the task; the default) or inception."),
    ] = None,
    images: Annotated[
        int | None,
        typer.Option(min=8, help="Images of a run (default: 5,000; 10,000 at gpu and paper)."),
    ] = None,
    results: Results = Path("results"),
    data_dir: DataDir = None,
    proxy_dir: ProxyDir = None,
    weights_dir: Annotated[
        Path | None,
        typer.Option(
            "--weights-dir",
            help="Folder of the weights for inception (default: $DFKD_WEIGHTS, torch's cache, "
            "our cache; downloaded where they are nowhere).",
        ),
    ] = None,
    methods_dir: MethodsDir = None,
    tasks_dir: TasksDir = None,
    synthesize: Synthesize = False,
    overwrite: Annotated[
        str, typer.Option(help="never: only what is not measured yet; always: everything.")
    ] = "never",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
) -> None:
    """Measure the images of finished runs (IS, FID, KID, LPIPS); no student is trained.

    Exit code 1 when the images of a run that made some could not be measured.
    """
    from benchmark import measure as measuring

    request = measuring.MeasureRequest(
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
    )
    raise typer.Exit(measuring.measure_runs(request, console))


@app.command()
@answers_in_one_line
def images(
    run_id: Annotated[str, typer.Argument(help="A record's run id, or the start of it.")],
    output: Annotated[
        Path | None, typer.Option(help="The PNG file to write (default: RUN-ID.png).")
    ] = None,
    per_class: Annotated[int, typer.Option(min=1, max=100, help="Images of each class.")] = 8,
    results: Results = Path("results"),
    data_dir: DataDir = None,
    proxy_dir: ProxyDir = None,
    methods_dir: MethodsDir = None,
    tasks_dir: TasksDir = None,
    synthesize: Synthesize = False,
) -> None:
    """Draw a run's images, by class, beside real ones."""
    from benchmark import contact_sheet

    request = contact_sheet.SheetRequest(
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
    contact_sheet.write_sheet(request, console)


@app.command("image-quality")
@answers_in_one_line
def image_quality(
    results: Results = Path("results"),
    output: Annotated[Path, typer.Option(help="The file to write; its plot lies beside it.")] = (
        Path("docs/image-quality.md")
    ),
    extractor: Annotated[str, typer.Option(help="task or inception.")] = "task",
) -> None:
    """Write docs/image-quality.md: does image quality predict the student's accuracy?"""
    from benchmark.analysis import quality_report

    quality_report.write(results, output, extractor, console)


@app.command()
@answers_in_one_line
def doctor(
    data_dir: DataDir = None, methods_dir: MethodsDir = None, tasks_dir: TasksDir = None
) -> None:
    """Say what this machine has (device, packages, datasets, teachers) and where it looked."""
    from benchmark import diagnosis

    diagnosis.report(console, data_dir, methods_dir or [], tasks_dir or [])


@app.command("new-method")
@answers_in_one_line
def new_method(
    name: Annotated[str, typer.Argument(help="The method's name, kebab-case.")],
    folder: Annotated[Path, typer.Option("--dir", help="Where to write the file.")] = Path(
        "methods"
    ),
) -> None:
    """Write a method that passes the contract suite as it is, to start from."""
    from benchmark.contract import scaffold

    path = scaffold.write(name, folder)
    console.print(f"wrote {path}; check it with: dfkd test {path}", highlight=False)


@app.command("new-task")
@answers_in_one_line
def new_task(
    name: Annotated[str, typer.Argument(help="The task's name, kebab-case.")],
    folder: Annotated[Path, typer.Option("--dir", help="Where to write the file.")] = Path("tasks"),
) -> None:
    """Write a task that runs as it is (data, networks, recipe, budgets), to start from."""
    from benchmark.contract import scaffold, task_template

    path = scaffold.write(name, folder, task_template.TEMPLATE)
    console.print(
        f"wrote {path}; try it with: dfkd run --task {name} --method rdskd --budget smoke "
        f"--tasks-dir {folder} --results runs/{name}",
        highlight=False,
        soft_wrap=True,
    )


@app.command("test")
@answers_in_one_line
def check_contract(
    path: Annotated[Path, typer.Argument(help="A method file, or a folder of them.")],
    only: Annotated[str | None, typer.Option(help="Only checks whose name contains this.")] = None,
) -> None:
    """Run the contract suite on anybody's method: seconds, on tiny data."""
    from benchmark.contract import suite

    raise typer.Exit(suite.report(path, only, console))


def entry(arguments: list[str] | None = None) -> Any:
    """The console script."""
    return app(arguments, prog_name="dfkd")


if __name__ == "__main__":
    sys.exit(entry())
