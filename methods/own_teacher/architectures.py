"""Networks by name (``timm/NAME``, ``module:factory``) and weights from files."""

from __future__ import annotations

import difflib
import importlib
import sys
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from methods.base.errors import described
from methods.own_teacher.interface import Unsuitable
from methods.settings.params import nearest

TIMM = "timm/"
SHOWN = 3
"""Most names that a message lists; it counts the others."""


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


def load_weights(network: nn.Module, path: Path, name: str = "the network") -> None:
    """Fill a network with the weights of a file, all of them.

    Args:
        network: filled in place.
        path: safetensors, or a file that ``torch.load(weights_only=True)`` accepts. Other pickles
            are refused, because they could execute anything. Weights may be in an entry
            ``state_dict`` or ``model``, and may have the prefix ``module.`` of parallel training.
        name: the network's name, for messages.

    Raises:
        Unsuitable: one line, when the file cannot be read or does not fit, with the keys.
    """
    weights = read_weights(path)
    wanted = network.state_dict()
    # Older files lack these counters, which only cumulative averages read.
    missing = [
        key for key in wanted if key not in weights and not key.endswith("num_batches_tracked")
    ]
    surplus = [key for key in weights if key not in wanted]
    shapes = [
        f"{key} ({_size(weights[key])} in the file, {_size(wanted[key])} in the network)"
        for key in wanted
        if key in weights and weights[key].shape != wanted[key].shape
    ]
    faults = [
        f"{what} {_first(keys)}"
        for what, keys in (("missing", missing), ("unexpected", surplus), ("other shape:", shapes))
        if keys
    ]
    if faults:
        raise Unsuitable(
            f"the weights in '{path}' are not those of {name}: {'; '.join(faults)}; check the "
            "network and its number of classes"
        )
    network.load_state_dict(weights, strict=False)


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of a file of weights by name; see `load_weights`.

    Raises:
        Unsuitable: one line, when the file is missing, damaged or holds more than tensors.
    """
    if not path.is_file():
        raise Unsuitable(f"there is no file of weights '{path}'")
    if path.suffix == ".safetensors":
        try:
            return load_file(path)
        except (SafetensorError, OSError, ValueError) as error:
            raise Unsuitable(f"'{path}' is no safetensors file: {described(error)}") from None
    try:
        with warnings.catch_warnings(action="ignore"):  # such files are refused anyway
            content: object = torch.load(path, map_location="cpu", weights_only=True)
    except Exception:  # damaged bytes can raise anything
        raise Unsuitable(
            f"'{path}' is not loaded: it is damaged, or a pickle of more than tensors, which could "
            "execute anything; save the state_dict with safetensors.torch.save_file"
        ) from None
    for key in ("state_dict", "model"):
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    if not isinstance(content, Mapping) or not all(
        isinstance(key, str) and isinstance(value, Tensor) for key, value in content.items()
    ):
        raise Unsuitable(f"'{path}' holds no state_dict, which maps names to tensors")
    parallel = all(key.startswith("module.") for key in content)
    return {key.removeprefix("module.") if parallel else key: v for key, v in content.items()}


def _first(keys: list[str]) -> str:
    more = len(keys) - SHOWN
    return ", ".join(keys[:SHOWN]) + (f" and {more} more" if more > 0 else "")


def _size(tensor: Tensor) -> str:
    return "×".join(map(str, tensor.shape)) or "a number"
