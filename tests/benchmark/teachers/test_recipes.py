"""How teachers are trained: recipes by budget, their identity, and the augmentation."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from benchmark.tasks.base import TeacherRecipe
from benchmark.tasks.cifar10 import CIFAR10, CIFAR10Lite
from benchmark.tasks.data.base import Dataset, Split
from benchmark.tasks.digits import Digits
from benchmark.tasks.mnist import MNIST
from benchmark.tasks.registry import all_tasks, get_task
from benchmark.tasks.tiny import Tiny
from benchmark.teachers.critic import critic_task
from benchmark.teachers.teacher import TrainedTeacher, find_teacher, read_teacher, teacher_file
from benchmark.teachers.training import obtain_teacher
from benchmark.teachers.training import train_teacher as train
from methods.synthesis.augmentation import crop_flip

RESULTS = Path(__file__).parents[3] / "results"


def train_teacher(recipe: TeacherRecipe, **options: str) -> tuple[TrainedTeacher, list[float]]:
    """The tiny task's teacher by another recipe, and its losses."""
    task = Tiny()
    task.teacher_recipe = recipe  # type: ignore[misc]
    losses: list[float] = []
    teacher = train(task, task.load(None), lambda *event: losses.append(event[3]), **options)
    return teacher, losses


RECIPE = TeacherRecipe(
    epochs=4, batch=32, learning_rate=0.05, optimizer="sgd", momentum=0.9, weight_decay=1e-3
)

COLOUR_TASKS = ["svhn", "cifar10", "cifar10-wrn", "cifar10-lite", "cifar100-wrn"]

# Identity


def test_the_committed_teacher_keeps_its_name() -> None:
    name = teacher_file(MNIST(), "3ee7f568b8fdc891")
    assert name == "mnist-6f02223511b691d9.safetensors"
    assert (RESULTS / "teachers" / name).is_file()


@pytest.mark.parametrize("task", [Digits(), MNIST(), Tiny()], ids=lambda task: task.name)
def test_first_recipes_are_identified_as_they_were(task) -> None:
    identity = task.teacher_recipe.identity()
    first = ("epochs", "batch", "learning_rate", "optimizer", "schedule", "augmentation", "seed")
    assert set(identity) == set(first)
    assert {teacher_file(task, "x", preset) for preset in ["", *task.budgets]} == {
        teacher_file(task, "x")
    }


def test_every_number_of_a_recipe_is_part_of_its_identity() -> None:
    changes = {
        "epochs": 9,
        "batch": 9,
        "learning_rate": 9.0,
        "optimizer": "adam",
        "schedule": "one-cycle",
        "augmentation": "crop-flip",
        "seed": 9,
        "name": "paper",
        "momentum": 0.5,
        "weight_decay": 0.5,
        "mixed_precision": True,
        "class_balanced": True,
        "pretrained": "imagenet",
        "images": 9,
    }
    assert set(changes) == set(TeacherRecipe.model_fields)
    identities = [RECIPE.identity()]
    identities += [
        RECIPE.model_copy(update={name: value}).identity() for name, value in changes.items()
    ]
    assert len({str(identity) for identity in identities}) == len(changes) + 1


SHIPPED = [
    path
    for path in sorted((RESULTS / "teachers").glob("*.safetensors"))
    if not path.name.endswith(".metadata.safetensors")
]


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_every_shipped_teacher_was_trained_by_a_recipe_of_its_task(path: Path) -> None:
    name = path.stem.rpartition("-")[0]
    task = get_task(name.removesuffix("-critic"))
    posed = critic_task(task) if name.endswith("-critic") else task
    assert read_teacher(path).info.recipe in [recipe.identity() for recipe in posed.recipes()]


# Budgets


def test_a_budget_may_have_a_teacher_of_its_own(tmp_path: Path) -> None:
    task = Tiny()
    task.teacher_recipes = {"paper": task.teacher_recipe.model_copy(update={"epochs": 1})}  # type: ignore[misc]
    data = task.load(None)
    usual = obtain_teacher(task, data, [tmp_path], preset="smoke")
    other = obtain_teacher(task, data, [tmp_path], preset="paper")
    assert (usual.info.recipe["epochs"], other.info.recipe["epochs"]) == (8, 1)
    assert len(list(tmp_path.iterdir())) == 2
    for preset, teacher in (("smoke", usual), ("paper", other)):
        found = find_teacher(task, data.checksum(), [tmp_path], preset=preset)
        assert found is not None
        assert found.info == teacher.info


@pytest.mark.parametrize("name", COLOUR_TASKS)
def test_colour_tasks_have_a_teacher_for_minutes_and_one_for_the_paper(name: str) -> None:
    task = get_task(name)
    assert set(task.budgets) == {"smoke", "cpu", "gpu", "paper"}
    assert {preset: budget.name for preset, budget in task.budgets.items()} == {
        preset: preset for preset in task.budgets
    }
    kinds = {preset: task.recipe(preset).name for preset in task.budgets}
    gpu = "paper" if name == "svhn" else "gpu"
    assert kinds == {"smoke": "smoke", "cpu": "cpu", "gpu": gpu, "paper": "paper"}
    assert task.recipe("smoke").images is not None
    assert task.recipe("cpu").identity()["name"] == "cpu"
    assert task.recipe("cpu").epochs < task.recipe("paper").epochs
    recipes = task.recipes()
    assert sorted(preset for presets in recipes.values() for preset in presets) == sorted(kinds)
    assert len(recipes) == len(set(kinds.values()))


@pytest.mark.parametrize("name", COLOUR_TASKS)
def test_colour_tasks_normalise_by_their_own_statistics(name: str) -> None:
    task = get_task(name)
    pixels = torch.tensor([0, 255, 51], dtype=torch.uint8).view(1, 3, 1, 1).expand(2, 3, 32, 32)
    images = task.preprocess(pixels)
    mean, std = task.normalization.mean, task.normalization.std
    for channel, value in enumerate((0.0, 1.0, 0.2)):
        expected = (value - mean[channel]) / std[channel]
        torch.testing.assert_close(images[:, channel], torch.full((2, 32, 32), expected))
    assert images.shape == (2, *task.image_shape)


def test_names_of_the_colour_tasks_are_theirs() -> None:
    families = {name: cls.family for name, cls in all_tasks().items()}
    assert families["svhn"] == "svhn"
    assert families["cifar100-wrn"] == "cifar100"
    assert {families[n] for n in ("cifar10", "cifar10-wrn", "cifar10-lite")} == {"cifar10"}
    assert issubclass(CIFAR10Lite, CIFAR10)


# Training


def test_sgd_with_one_cycle_learns() -> None:
    _, losses = train_teacher(RECIPE.model_copy(update={"schedule": "one-cycle"}))
    assert sum(losses[-4:]) < 0.8 * sum(losses[:4])


def test_augmentation_acts_and_repeats() -> None:
    recipe = RECIPE.model_copy(update={"epochs": 1, "augmentation": "crop-flip"})
    first, _ = train_teacher(recipe)
    assert train_teacher(recipe)[0].info == first.info
    plain, _ = train_teacher(recipe.model_copy(update={"augmentation": "none"}))
    assert plain.info.checksum != first.info.checksum


@pytest.mark.parametrize(
    "change", [{"weight_decay": 0.0}, {"momentum": 0.0}, {"schedule": "cosine"}]
)
def test_every_setting_of_sgd_acts(change: dict[str, object]) -> None:
    recipe = RECIPE.model_copy(update={"epochs": 1, "schedule": "one-cycle"})
    first, _ = train_teacher(recipe)
    other, _ = train_teacher(recipe.model_copy(update=change))
    assert other.info.checksum != first.info.checksum


def test_nesterov_sgd_takes_the_steps_of_its_formula() -> None:
    """g ← ∇ + λw; v ← μv + g; w ← w − η(g + μv), with η from cosine annealing."""
    task = Tiny()
    recipe = RECIPE.model_copy(update={"epochs": 1})
    one_batch = task.load(None)
    few = Split(one_batch.train.images[:64], one_batch.train.labels[:64])
    task.teacher_recipe = recipe  # type: ignore[misc]
    trained = train(task, Dataset(few, one_batch.test), lambda *event: None)

    from methods.base.run import derive_seed

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(0, "teacher-initialisation"))
        network = task.make_teacher()
    stream = torch.Generator().manual_seed(derive_seed(0, "teacher-batches"))
    order = torch.randperm(64, generator=stream)
    velocity = [torch.zeros_like(p) for p in network.parameters()]
    for rate, chosen in zip((0.05, 0.025), order.split(32), strict=True):
        logits = network(task.preprocess(few.images[chosen]))
        loss = torch.nn.functional.cross_entropy(logits, few.labels[chosen])
        gradients = torch.autograd.grad(loss, list(network.parameters()))
        with torch.no_grad():
            for p, g, v in zip(network.parameters(), gradients, velocity, strict=True):
                g = g + 1e-3 * p
                v.mul_(0.9).add_(g)
                p -= rate * (g + 0.9 * v)
    for name, value in network.named_parameters():
        torch.testing.assert_close(trained.weights[name], value.detach(), rtol=1e-4, atol=1e-5)


def test_bfloat16_is_used_by_recipes_of_mixed_precision_only() -> None:
    short = RECIPE.model_copy(update={"epochs": 1})
    mixed = short.model_copy(update={"mixed_precision": True})
    plain, _ = train_teacher(short)
    assert train_teacher(short, precision="bf16")[0].info == plain.info
    reduced, losses = train_teacher(mixed, precision="bf16")
    assert reduced.info.checksum != plain.info.checksum
    assert train_teacher(mixed)[0].info.checksum == plain.info.checksum
    assert all(loss == loss for loss in losses)
    assert all(w.dtype in (torch.float32, torch.int64) for w in reduced.weights.values())


# Augmentation


def test_crops_and_mirrors_are_those_of_a_plain_loop() -> None:
    images = torch.randint(0, 256, (6, 3, 8, 10), dtype=torch.uint8)
    result = crop_flip(images, torch.Generator().manual_seed(3))
    stream = torch.Generator().manual_seed(3)
    top = torch.randint(0, 9, (6,), generator=stream).tolist()
    left = torch.randint(0, 9, (6,), generator=stream).tolist()
    mirrored = (torch.rand(6, generator=stream) < 0.5).tolist()
    assert len(set(mirrored)) == 2
    for n, image in enumerate(images):
        canvas = torch.zeros(3, 16, 18, dtype=torch.uint8)
        canvas[:, 4:12, 4:14] = image
        crop = canvas[:, top[n] : top[n] + 8, left[n] : left[n] + 10]
        assert torch.equal(result[n], crop.flip(2) if mirrored[n] else crop)


def test_every_crop_and_both_mirrors_occur() -> None:
    image = torch.arange(1, 65, dtype=torch.uint8).view(1, 1, 8, 8)
    images = image.expand(4000, -1, -1, -1)
    results = crop_flip(images, torch.Generator().manual_seed(0))
    assert results.dtype == torch.uint8
    assert results.shape == images.shape
    assert len(results.flatten(1).unique(dim=0)) == 9 * 9 * 2


@pytest.mark.parametrize("name", ["camvid", "camvid-lite", "camvid-void", "voc2012"])
def test_the_segmentation_paper_s_student_has_its_falling_rate(name: str) -> None:
    budgets = get_task(name).budgets
    assert budgets["paper"].student_schedule == "thirds"
    assert {budgets[preset].student_schedule for preset in ("smoke", "cpu", "gpu")} == {"cosine"}
