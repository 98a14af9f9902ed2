"""Networks by name: ``timm/NAME`` or ``module:factory``."""

from __future__ import annotations

import difflib
import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn

from methods.base.errors import described
from methods.own_teacher.interface import Unsuitable
from methods.settings.params import nearest

TIMM = "timm/"
SHOWN = 3
"""Most names that a message suggests."""


def build_network(
    name: str, channels: int = 3, num_classes: int | None = None, pretrained: bool = False
) -> nn.Module:
    """A network by name.

    Args:
        name: ``timm/NAME``, or ``module:factory``: a function (or class) without arguments, in a
            module of the current folder or an installed one. Importing it executes its code.
        channels: channels of the images, for timm's networks.
        num_classes: classes, for timm's networks; the network's own number when not given.
        pretrained: whether timm fetches its published weights.

    Raises:
        Unsuitable: one line, when there is no such network or it cannot be built.
    """
    if name.startswith(TIMM):
        return _from_timm(name.removeprefix(TIMM), channels, num_classes, pretrained)
    module, colon, factory = name.partition(":")
    if not colon or not factory.isidentifier() or not module.replace(".", "").isidentifier():
        raise Unsuitable(
            f"'{name}' names no network; write timm/NAME, or module:factory for a function of "
            "your own"
        )
    return _from_module(module, factory)


def _from_timm(name: str, channels: int, num_classes: int | None, pretrained: bool) -> nn.Module:
    import timm

    if not timm.is_model(name):
        near = difflib.get_close_matches(name, timm.list_models(), n=SHOWN, cutoff=0.5)
        hint = f"did you mean {', '.join(near)}?" if near else "timm.list_models() has them all"
        raise Unsuitable(f"timm {timm.__version__} has no model '{name}'; {hint}")
    options: dict[str, Any] = {} if num_classes is None else {"num_classes": num_classes}
    try:
        network: nn.Module = timm.create_model(
            name, pretrained=pretrained, in_chans=channels, **options
        )
    except Exception as error:  # timm asks the network, and a hundred authors' constructors
        raise Unsuitable(f"timm cannot build '{name}': {described(error)}") from None
    return network


def _from_module(module_name: str, factory: str) -> nn.Module:
    with _current_folder_first():
        try:
            module = importlib.import_module(module_name)
        except ModuleNotFoundError as error:
            if error.name and (module_name + ".").startswith(error.name + "."):
                raise Unsuitable(
                    f"there is no module '{error.name}', neither in the current folder nor "
                    "installed"
                ) from None
            raise Unsuitable(f"module '{module_name}' does not import: {error}") from None
        except (Exception, SystemExit) as error:
            raise Unsuitable(
                f"module '{module_name}' does not import: {described(error)}"
            ) from None
        if not callable(make := getattr(module, factory, None)):
            names = [n for n, value in vars(module).items() if callable(value) and n[0] != "_"]
            raise Unsuitable(
                f"module '{module_name}' has no function '{factory}'; {nearest(factory, names)}"
            )
        try:
            network = make()
        except (Exception, SystemExit) as error:
            raise Unsuitable(f"'{module_name}:{factory}' raised {described(error)}") from None
    if not isinstance(network, nn.Module):
        kind = type(network).__name__
        raise Unsuitable(f"'{module_name}:{factory}' made a {kind}, not a torch.nn.Module")
    return network


@contextmanager
def _current_folder_first() -> Iterator[None]:
    """Look for modules in the current folder first, as ``python -m`` does and a script does not."""
    sys.path.insert(0, "")
    try:
        yield
    finally:
        sys.path.remove("")
