"""What adversarial methods say of problems unlike those of their papers."""

from __future__ import annotations

import pytest
from torch import nn

from benchmark.tasks.models.lenet import lenet5, lenet5_half
from methods.base.method import Method
from methods.base.problem import Normalization, Problem
from methods.base.teacher import Teacher
from methods.dfad import DFAD
from methods.mad import MAD
from methods.pre_dfkd import PREDFKD
from methods.zskt import ZSKT
from tests.helpers import one_line, tiny_run
from tests.segmentation import posed as posed_segmentation


def small(cls: type[Method]) -> Method:
    return cls(cls.build_params({"latent_dim": 5, "width": 4}))


@pytest.mark.parametrize("cls", [DFAD, MAD, PREDFKD, ZSKT])
def test_a_teacher_without_batch_norm_will_do(cls: type[Method]) -> None:
    _, run = tiny_run(synthesis_steps=2, student_steps=4)
    problem = Problem(
        teacher=Teacher(lenet5(), run.ledger),
        make_student=lenet5_half,
        image_shape=(1, 32, 32),
        num_classes=10,
        normalization=Normalization((0.5,), (0.25,)),
    )
    method = small(cls)
    assert method.supports(problem) is None
    assert isinstance(method.fit(problem, run), nn.Module)
    assert run.ledger.student_steps == 4


@pytest.mark.parametrize("cls", [MAD, PREDFKD, ZSKT])
def test_label_maps_are_refused(cls: type[Method]) -> None:
    assert "classification" in one_line(small(cls).supports(posed_segmentation()[0]) or "")


@pytest.mark.parametrize("cls", [MAD, PREDFKD, ZSKT])
def test_images_that_cannot_be_halved_twice_are_refused(cls: type[Method]) -> None:
    problem, _ = tiny_run()
    problem.image_shape = (1, 10, 8)
    assert "divisible by 4, not 10×8" in one_line(small(cls).supports(problem) or "")
