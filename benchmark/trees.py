"""Nested states, such as an optimiser's, as tensors by name and a JSON text; nothing is pickled."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor


def pack(tree: Any) -> tuple[dict[str, Tensor], str]:
    """Tensors by number, and the JSON text of everything else.

    Args:
        tree: tensors, numbers, texts, None, and dicts, lists and tuples of them.

    Raises:
        TypeError: when it holds anything else.
    """
    tensors: dict[str, Tensor] = {}
    return tensors, json.dumps(_packed(tree, tensors))


def unpack(tensors: Mapping[str, Tensor], text: str) -> Any:
    """What `pack` was given; tensors are on the CPU, laid out in memory as they were."""
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
