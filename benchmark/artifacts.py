"""A content-addressed cache of what is dear to make: teachers and synthetic images.

Every entry is one safetensors file named by the hash of what it was made from; its header
carries the hash of what it contains, so a damaged file is noticed and made again. Nothing is
ever unpickled.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from benchmark.cache import CACHE_VARIABLE as CACHE_VARIABLE
from benchmark.cache import cache_dir as cache_dir
from benchmark.store import write_atomic


class Corrupted(Exception):
    """A cached file does not hold what it held when it was written."""


def checksum(tensors: Mapping[str, Tensor]) -> str:
    """A 16-digit hash of names, types, shapes and values."""
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
        Corrupted: when it is not what was written.
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
