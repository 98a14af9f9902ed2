"""Weights from the files that people share.

Nothing of a file is executed: it is safetensors, or a pickle of tensors and plain values.
"""

from __future__ import annotations

import argparse
import re
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from methods.base.errors import described
from methods.own_teacher.interface import Unsuitable
from methods.own_teacher.key_layouts import matched, renamed

SHOWN = 3
"""Most names that a message lists; it counts the others."""
WRAPPERS = ("state_dict", "model", "state", "net", "model_state_dict")
"""Entries of training checkpoints that hold the weights."""
PARALLEL = ("module.", "_orig_mod.")
"""What parallel training and compilation put before every name."""
SCALAR = np.float64(0).__reduce__()[0]
PLAIN: tuple[Any, ...] = (
    argparse.Namespace,
    np.dtype,
    *(type(np.dtype(code)) for code in "?bBhHiIlLqQefd"),
    # numpy 2 moved what its scalars name.
    (SCALAR, "numpy.core.multiarray.scalar"),
    (SCALAR, "numpy._core.multiarray.scalar"),
)
"""Values beside the weights in many checkpoints, such as the best accuracy or the arguments."""


def load_weights(
    network: nn.Module,
    path: Path,
    name: str = "the network",
    renames: Sequence[tuple[str, str]] = (),
) -> None:
    """Fill a network with the weights of a file, all of them.

    Args:
        network: filled in place.
        path: see `read_weights`. The names of its weights may be those of another usual
            implementation of the network; see `methods.own_teacher.key_layouts`.
        name: the network's name, for messages.
        renames: pairs of a part of the file's names and what stands for it; see
            `methods.own_teacher.key_layouts.renamed`.

    Raises:
        Unsuitable: one line, when the file cannot be read or does not fit, with the names, or a
            pair changes nothing.
    """
    weights = renamed(read_weights(path), renames)
    wanted = network.state_dict()
    found, missing, surplus = matched(weights, wanted)
    # Older files lack these counters, which only cumulative averages read.
    missing = [key for key in missing if not key.endswith("num_batches_tracked")]
    shapes = [
        f"{key} ({_size(value)} in the file, {_size(wanted[key])} in the network)"
        for key, value in found.items()
        if value.shape != wanted[key].shape
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
    network.load_state_dict(found, strict=False)


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of a file of weights by name.

    Args:
        path: safetensors, or a pickle as ``torch.save`` writes it, of tensors and plain values.
            Other pickles are refused, because they could execute anything. Weights may be in an
            entry ``state_dict``, ``model``, ``state`` or ``net``, and their names may have the
            prefix ``module.`` of parallel training.

    Raises:
        Unsuitable: one line, when the file is missing, damaged or holds more than tensors.
    """
    if not path.is_file():
        raise Unsuitable(f"there is no file of weights '{path}'")
    content = _safetensors(path) if path.suffix == ".safetensors" else _unpickled(path)
    while inner := [
        value
        for entry in WRAPPERS
        if isinstance(content, Mapping) and isinstance(value := content.get(entry), Mapping)
    ]:
        content = inner[0]
    if (
        not isinstance(content, Mapping)
        or not content
        or not all(isinstance(k, str) and isinstance(v, Tensor) for k, v in content.items())
    ):
        raise Unsuitable(f"'{path}' holds no state_dict, which maps names to tensors")
    weights = dict(content)
    for prefix in PARALLEL * 2:  # either may be inside the other
        if all(key.startswith(prefix) for key in weights):
            weights = {key.removeprefix(prefix): value for key, value in weights.items()}
    return weights


def _safetensors(path: Path) -> object:
    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise Unsuitable(f"'{path}' is no safetensors file: {described(error)}") from None


def _unpickled(path: Path) -> object:
    try:
        with (
            warnings.catch_warnings(action="ignore"),  # such files are refused anyway
            torch.serialization.safe_globals(list(PLAIN)),
        ):
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # damaged bytes can raise anything
        named = re.search(r"GLOBAL (\S+)", str(error))
        needed = named[1] if named else ""
        why = (
            f"a pickle of more than tensors ('{needed}'; a whole module needs its code), which "
            if needed
            else "damaged, or a pickle of more than tensors, which "
        )
    raise Unsuitable(
        f"'{path}' is not loaded: it is {why}could execute anything; load it where it was made, "
        "and save the state_dict alone with safetensors.torch.save_file"
    )


def _first(keys: Sequence[str]) -> str:
    more = len(keys) - SHOWN
    return ", ".join(keys[:SHOWN]) + (f" and {more} more" if more > 0 else "")


def _size(tensor: Tensor) -> str:
    return "×".join(map(str, tensor.shape)) or "a number"
