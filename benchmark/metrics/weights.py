"""Official weight files of pretrained networks: found on this machine, or downloaded."""

from __future__ import annotations

import hashlib
import os
import urllib.request
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch_fidelity.feature_extractor_inceptionv3 import URL_INCEPTION_V3
from torchvision.models import AlexNet_Weights

from benchmark.errors import UserError
from benchmark.machine.cache import cache_dir
from benchmark.records.files import write_atomic

WEIGHTS_VARIABLE = "DFKD_WEIGHTS"
DOWNLOAD_TIMEOUT = 20
"""Seconds without an answer after which a network counts as absent."""


@dataclass(frozen=True)
class WeightFile:
    """A published weight file, whose name ends in the first digits of its SHA-256 by convention."""

    what: str
    url: str

    @property
    def name(self) -> str:
        """Name under which the file is looked for."""
        return self.url.rpartition("/")[2]


INCEPTION = WeightFile("torch-fidelity's Inception-v3", URL_INCEPTION_V3)
ALEXNET = WeightFile("torchvision's AlexNet", AlexNet_Weights.IMAGENET1K_V1.url)


def weight_places(weights_dir: Path | None) -> list[Path]:
    """Folders that may hold weight files; the first match wins."""
    if weights_dir is not None:
        return [weights_dir]
    configured = os.environ.get(WEIGHTS_VARIABLE)
    named = [Path(configured)] if configured else []
    return [*named, Path(torch.hub.get_dir()) / "checkpoints", cache_dir() / "weights"]


def find_weights(file: WeightFile, weights_dir: Path | None) -> Path:
    """The path of a weight file, which is downloaded if it is nowhere and no folder was named.

    Raises:
        UserError: when the file is in none of the folders and cannot be downloaded; the message
            names the file, the folders searched and the address.
    """
    places = weight_places(weights_dir)
    for place in places:
        if (place / file.name).is_file():
            return place / file.name
    searched = ", ".join(f"'{place}'" for place in places)
    missing = f"{file.what} is not here: no {file.name} in {searched}"
    remedy = (
        f"put the file of {file.url} into one of these folders, or name its folder with "
        f"--weights-dir or {WEIGHTS_VARIABLE}"
    )
    if weights_dir is not None:
        raise UserError(f"{missing}; {remedy}")
    try:
        with urllib.request.urlopen(file.url, timeout=DOWNLOAD_TIMEOUT) as answer:
            content: bytes = answer.read()
    except OSError as error:
        raise UserError(f"{missing}, and it cannot be downloaded ({error}); {remedy}") from None
    if not hashlib.sha256(content).hexdigest().startswith(Path(file.name).stem.split("-")[-1]):
        raise UserError(f"{missing}, and {file.url} sent another file; {remedy}")
    write_atomic(places[-1] / file.name, content)
    return places[-1] / file.name


def load_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of a weight file. Nothing but tensors is unpickled.

    Raises:
        UserError: when the file is damaged or holds anything else.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises exceptions of many types on damaged bytes
        reason = " ".join(str(error).split())[:120]
        raise UserError(f"weight file '{path}' cannot be read ({reason}); fetch it again") from None
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        raise UserError(f"weight file '{path}' holds no table of tensors; fetch it again")
    return state
