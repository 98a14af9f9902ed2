"""Which methods carry over to label maps, and that they do."""

from __future__ import annotations

import pytest
import torch

from methods.base.registry import discover
from methods.networks.generators import DCGANDiscriminator, DCGANGenerator
from methods.synthesis.generator import GeneratorParams, build_generator
from tests.helpers import one_line
from tests.segmentation import CLASSES, SHAPE, posed, scenes

CLASSIFICATION_ONLY = {
    *("cmi", "deep-inversion", "metadata", "nayer", "nayer-text", "pre-dfkd", "zskd", "zskt"),
}
SMALL = {
    "untrained-generator": {"latent_dim": 8, "generator_width": 4},
    "dafl": {"latent_dim": 8, "generator_width": 4, "generator_lr": 1e-3},
    "rdskd": {"latent_dim": 8, "generator_width": 4},
    "mskd": {"latent_dim": 8, "generator_width": 4},
    "dcgan": {"latent_dim": 8, "width": 2, "mix": 0.5},
    "degan": {"latent_dim": 8, "width": 2, "mix": 0.5},
    "dfad": {"latent_dim": 8, "width": 16},
    "dfq": {"latent_dim": 8, "width": 4},
    "fast": {"latent_dim": 8, "width": 4},
}


@pytest.mark.parametrize("name", sorted(set(discover()) - CLASSIFICATION_ONLY))
def test_a_method_that_carries_over_trains_a_student_on_label_maps(name: str) -> None:
    cls = discover()[name]
    method = cls(cls.build_params(SMALL.get(name, {}), "camvid"))
    problem, run = posed(cls.access)
    assert method.supports(problem) is None
    student = method.fit(problem, run)
    assert student.eval()(torch.zeros(2, *SHAPE)).shape == (2, CLASSES, *SHAPE[1:])
    loss = run.curves["distillation/loss"]["value"]
    assert len(loss) == 6
    assert all(0 < value < 10 for value in loss)


@pytest.mark.parametrize("name", sorted(CLASSIFICATION_ONLY))
def test_a_method_of_whole_image_labels_says_why_it_stops(name: str) -> None:
    cls = discover()[name]
    answer = cls(cls.build_params({}, "camvid")).supports(posed(cls.access)[0])
    assert answer is not None
    assert one_line(answer)


def test_the_supervised_student_learns_around_the_void() -> None:
    cls = discover()["student-supervised"]
    problem, run = posed(cls.access, student_steps=60, student_lr=1e-2)
    student = cls().fit(problem, run).eval()
    images, labels = scenes(16, seed=9)
    known = labels != 255
    assert (student(images).argmax(dim=1) == labels)[known].float().mean() > 0.85


@pytest.mark.parametrize("side", [64, 128])
def test_generators_make_images_of_the_tasks_sizes(side: int) -> None:
    shape = (3, side, side)
    problem, run = posed()
    problem.image_shape = shape
    upsampling = build_generator(GeneratorParams(generator_width=4, latent_dim=5), problem, run)
    for generator in (upsampling, DCGANGenerator(5, shape, 2)):
        assert generator(torch.randn(2, 5)).shape == (2, *shape)
    assert DCGANDiscriminator(shape, 2)(torch.randn(2, *shape)).shape == (2,)


def test_dropout_in_a_student_draws_from_the_run_s_seed() -> None:
    def fit(seed: int) -> torch.Tensor:
        problem, run = posed(seed=seed)
        make = problem.make_student

        def with_dropout() -> torch.nn.Module:
            student = make()
            student.head_norm = torch.nn.Sequential(student.head_norm, torch.nn.Dropout(0.5))  # type: ignore[assignment, arg-type]
            return student

        problem.make_student = with_dropout
        cls = discover()["noise"]
        return cls().fit(problem, run).state_dict()["classifier.weight"]

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        first = fit(0)
        torch.manual_seed(2)
        assert torch.equal(fit(0), first)


@pytest.mark.parametrize("name", ["dcgan", "kd-real", "alternative-data", "noise", "degan"])
def test_both_segmentation_datasets_have_the_settings_of_the_report(name: str) -> None:
    cls = discover()[name]
    params = cls.build_params({}, "voc2012")
    assert params == cls.build_params({}, "camvid")
    assert params.model_dump()["temperature"] == 1.0
