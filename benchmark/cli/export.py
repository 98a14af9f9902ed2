"""A student as a file: its weights, or a program in the format of ONNX or torch.export."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor, nn

from benchmark.errors import UserError
from benchmark.records.files import write_atomic
from methods.base.errors import described
from methods.settings.params import nearest

SUFFIXES = {"onnx": ".onnx", "torch": ".pt2"}
ONNX_PACKAGES = ("onnx", "onnxscript")


def check_export(kind: str) -> None:
    """Refuse an export that cannot work, before the training.

    Raises:
        UserError: for an unknown format, or when its packages are not installed.
    """
    if kind not in SUFFIXES:
        raise UserError(f"--export is '{kind}'; {nearest(kind, list(SUFFIXES))}")
    if kind == "onnx" and not all(find_spec(package) for package in ONNX_PACKAGES):
        raise UserError(
            f"--export onnx needs {' and '.join(ONNX_PACKAGES)}; install them with: "
            f"pip install {' '.join(ONNX_PACKAGES)}"
        )


def write_student(student: nn.Module, path: Path, about: Mapping[str, Any]) -> None:
    """Write a student's weights as safetensors, with ``about`` as JSON in the header (``dfkd``).

    Raises:
        UserError: when the file cannot be written.
    """
    weights = {
        # Copies, because safetensors refuses weights that share their memory.
        name: value.detach().cpu().contiguous().clone()
        for name, value in student.state_dict().items()
        if isinstance(value, Tensor)
    }
    write_atomic(path, save(weights, metadata={"dfkd": json.dumps(about, sort_keys=True)}))


def export(student: nn.Module, image_shape: tuple[int, int, int], path: Path, kind: str) -> Path:
    """Write a student's program to the folder of ``path``; it takes normalised batches of any size.

    Args:
        student: any network; exported on the CPU, in eval mode.
        image_shape: (C, H, W).
        path: the file of the weights; the program's suffix is ``.onnx`` or ``.pt2`` instead.
        kind: ``onnx`` or ``torch``.

    Raises:
        UserError: when the network cannot be exported.
    """
    target = path.with_suffix(SUFFIXES[kind])
    network, example = student.cpu().eval(), (torch.zeros(2, *image_shape),)
    shapes = ({0: torch.export.Dim("batch")},)
    try:
        program = torch.export.export(network, example, dynamic_shapes=shapes)
        if kind == "torch":
            buffer = io.BytesIO()
            torch.export.save(program, buffer)
            content = buffer.getvalue()
        else:
            onnx = torch.onnx.export(
                program, input_names=["images"], output_names=["logits"], dynamo=True, verbose=False
            )
            assert onnx is not None
            content = onnx.model_proto.SerializeToString()
    except Exception as error:  # whatever the tracer trips over in somebody's network
        raise UserError(
            f"the student cannot be exported as {kind} ({described(error)}); its weights are in "
            f"'{path}'"
        ) from None
    write_atomic(target, content)
    return target
