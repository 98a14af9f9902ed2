"""Files of tensors with a checksum, and whole states packed into tensors and text.

Each is a safetensors file whose header has the hash of its content, so that a damaged file is
noticed. Nothing is ever unpickled.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from benchmark.records.files import write_atomic


class Corrupted(Exception):
    """A file does not hold what was written into it."""


def checksum(tensors: Mapping[str, Tensor]) -> str:
    """A hash of names, types, shapes and values; 16 hexadecimal digits."""
    hasher = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        hasher.update(f"{name}:{tensor.dtype}:{tuple(tensor.shape)};".encode())
        hasher.update(tensor.view(-1).view(torch.uint8).numpy().data if tensor.numel() else b"")
    return hasher.hexdigest()[:16]


def save_tensors(path: Path, tensors: Mapping[str, Tensor], info: Mapping[str, str]) -> str:
    """Write tensors with ``info`` and their checksum in the header; return the checksum."""
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    total = checksum(plain)
    write_atomic(path, save(plain, metadata={**info, "checksum": total}))
    return total


def load_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read what `save_tensors` wrote.

    Raises:
        FileNotFoundError: when there is no such file.
        Corrupted: when its content is not what was written.
    """
    if not path.exists():
        raise FileNotFoundError(path)
    try:
        with safe_open(path, framework="pt") as file:
            info = dict(file.metadata() or {})
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except FileNotFoundError:  # removed by another process since
        raise FileNotFoundError(path) from None
    except (SafetensorError, OSError, ValueError) as error:
        raise Corrupted(f"'{path}' is damaged ({error})") from None
    if checksum(tensors) != info.get("checksum"):
        raise Corrupted(f"'{path}' is damaged (its checksum does not match)")
    return tensors, info


def pack(tree: Any) -> tuple[dict[str, Tensor], str]:
    """The tensors of a tree by number, and the JSON text of everything else.

    Args:
        tree: tensors, numbers, texts, None, and dicts, lists and tuples of them.

    Raises:
        TypeError: when the tree holds anything else.
    """
    tensors: dict[str, Tensor] = {}
    return tensors, json.dumps(_packed(tree, tensors))


def unpack(tensors: Mapping[str, Tensor], text: str) -> Any:
    """The tree that `pack` was given; its tensors are on the CPU, laid out as they were."""
    return _unpacked(json.loads(text), tensors)


def _packed(node: Any, tensors: dict[str, Tensor]) -> Any:
    if isinstance(node, Tensor):
        name = str(len(tensors))
        # A copy of its own: safetensors refuses tensors that share memory.
        tensors[name] = node.detach().cpu().clone(memory_format=torch.contiguous_format)
        # Fused optimisers take it that a parameter and its moments are laid out alike.
        stride = None if node.is_contiguous() else list(node.stride())
        return {"tensor": name, "stride": stride}
    if isinstance(node, Mapping):
        # Pairs, because keys may be numbers.
        return {"dict": [[key, _packed(value, tensors)] for key, value in node.items()]}
    if isinstance(node, tuple):
        return {"tuple": [_packed(value, tensors) for value in node]}
    if isinstance(node, list):
        return [_packed(value, tensors) for value in node]
    if node is None or isinstance(node, bool | int | float | str):
        return node
    raise TypeError(f"a {type(node).__name__} cannot be kept; only tensors, numbers and texts can")


def _unpacked(node: Any, tensors: Mapping[str, Tensor]) -> Any:
    if isinstance(node, list):
        return [_unpacked(value, tensors) for value in node]
    if not isinstance(node, dict):
        return node
    if "dict" in node:
        return {key: _unpacked(value, tensors) for key, value in node["dict"]}
    if "tuple" in node:
        return tuple(_unpacked(value, tensors) for value in node["tuple"])
    tensor = tensors[node["tensor"]]
    if node["stride"] is None:
        return tensor
    return torch.empty_strided(tensor.shape, node["stride"], dtype=tensor.dtype).copy_(tensor)
