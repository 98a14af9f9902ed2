"""The ``dfkd`` program: its help, its consoles, and how it prints errors."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Annotated, ParamSpec, TypeVar

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
    help="""Benchmark data-free knowledge distillation: run grids over seeds and rank the results.

    [bold]Start here[/bold]

    dfkd run quickstart --results runs/quickstart    run eight methods on digits

    dfkd list                                        list tasks, methods and suites

    dfkd show rdskd                                  show one method's parameters

    dfkd run --task digits --method dafl --set generator_lr=0.01 --seeds 0-4
    """,
)
console = Console()
errors = Console(stderr=True)


def answers_in_one_line(command: Callable[P, R]) -> Callable[P, R]:
    """Print an error that a user can act on as one line, and end with exit code 2."""

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
            errors.print("stopped; finished runs are kept, and the same command goes on from here")
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
