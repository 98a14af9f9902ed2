from __future__ import annotations

import math
from itertools import islice

import pytest
import torch

from methods.base.drawn_images import bank_of
from methods.base.ledger import Ledger
from methods.base.samples import Batch, ImageBank, MixedSource, OnlineSource
from methods.base.teacher import Teacher
from methods.baselines import Noise
from methods.synthesis.generator import draw_latents
from tests.helpers import IMAGE_SHAPE, tiny_network, tiny_run


def numbered(count: int) -> torch.Tensor:
    """Images whose every pixel is the image's index."""
    return torch.arange(float(count)).view(-1, 1, 1, 1).expand(count, *IMAGE_SHAPE).clone()


def indices(batch: Batch) -> list[int]:
    return [int(image.flatten()[0]) for image in batch.images]


def stream(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_a_bank_never_trains_on_its_held_out_images() -> None:
    bank = ImageBank(numbered(23), held_out=5)
    assert len(bank) == 18
    seen = {i for batch in islice(bank.batches(4, stream()), 60) for i in indices(batch)}
    assert seen == set(range(18))
    validation = [int(image.flatten()[0]) for image in bank.validation(100, stream())]
    assert validation == [18, 19, 20, 21, 22]
    assert len(bank.validation(2, stream())) == 2


def test_bank_batches_depend_on_the_stream_alone() -> None:
    bank = ImageBank(numbered(20), held_out=4)

    def order(seed: int) -> list[list[int]]:
        torch.manual_seed(seed * 31)
        return [indices(batch) for batch in islice(bank.batches(5, stream(seed)), 7)]

    first = order(1)
    torch.rand(9)
    assert order(1) == first
    assert order(2) != first


def test_every_batch_is_full_and_an_epoch_shows_no_image_twice() -> None:
    bank = ImageBank(numbered(20), held_out=4)
    batches = [indices(batch) for batch in islice(bank.batches(5, stream()), 6)]
    assert all(len(batch) == 5 for batch in batches)
    first_epoch = {i for batch in batches[:3] for i in batch}
    assert len(first_epoch) == 15


def test_a_batch_larger_than_the_bank_is_the_whole_bank() -> None:
    bank = ImageBank(numbered(10), held_out=4)
    batch = next(bank.batches(512, stream()))
    assert sorted(indices(batch)) == list(range(6))


@pytest.mark.parametrize("held_out", [0, 10, 11, -1])
def test_a_bank_needs_images_on_both_sides(held_out: int) -> None:
    with pytest.raises(ValueError, match=f"10 images cannot keep {held_out}"):
        ImageBank(numbered(10), held_out)


def test_labels_and_teacher_logits_stay_with_their_images(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ImageBank, "LABEL_CHUNK", 3)
    ledger = Ledger()
    teacher = Teacher(tiny_network(), ledger)
    bank = ImageBank(numbered(12), held_out=2, labels=torch.arange(12))
    assert bank.label(teacher) is bank
    assert ledger.teacher_forward == 10  # held-out images are not asked about
    for batch in islice(bank.batches(4, stream()), 8):
        assert batch.labels.tolist() == indices(batch)
        with torch.no_grad():
            torch.testing.assert_close(batch.teacher_logits, teacher.network(batch.images))


def test_bank_delivers_float32_whatever_it_stores() -> None:
    bank = ImageBank(numbered(6).half(), held_out=2)
    assert next(bank.batches(2, stream())).images.dtype == torch.float32
    assert bank.validation(2, stream()).dtype == torch.float32


def test_online_source_asks_for_fresh_images_and_counts_them() -> None:
    counted: list[int] = []
    source = OnlineSource(
        lambda count, stream: torch.rand(count, *IMAGE_SHAPE, generator=stream), counted.append
    )
    first, second = islice(source.batches(5, stream()), 2)
    assert counted == [5, 5]
    assert not torch.equal(first.images, second.images)
    again = next(source.batches(5, stream()))
    assert torch.equal(again.images, first.images)
    assert len(source.validation(3, stream())) == 3
    assert counted == [5, 5, 5]  # images to validate on are the harness's, not the method's
    assert source.label(Teacher(tiny_network())) is source


def test_a_drawn_bank_is_stored_as_float16_in_the_order_of_the_stream() -> None:
    sizes: list[int] = []

    def draw(count: int, stream: torch.Generator) -> torch.Tensor:
        sizes.append(count)
        return torch.rand(count, *IMAGE_SHAPE, generator=stream)

    bank = bank_of(draw, 20, 3, 8, stream(), torch.device("cpu"))
    assert sizes == [8, 8, 7]
    assert len(bank) == 20
    assert bank.held_out == 3
    assert bank.images.dtype == torch.float16
    expected = torch.rand(8, *IMAGE_SHAPE, generator=stream())
    assert torch.equal(bank.images[:8], expected.half())


def test_a_drawn_bank_needs_no_remainder() -> None:
    bank = bank_of(
        lambda count, stream: torch.zeros(count, *IMAGE_SHAPE),
        6,
        2,
        4,
        stream(),
        torch.device("cpu"),
    )
    assert len(bank.images) == 8


# Mixtures, and banks of score maps


def constant(value: float, count: int) -> ImageBank:
    return ImageBank(torch.full((count, 1, 2, 2), value), 2)


@pytest.mark.parametrize(("share", "ones"), [(0.0, 0), (0.3, 3), (0.5, 5), (0.96, 10), (1.0, 10)])
def test_a_mixture_has_the_same_share_of_its_parts_in_every_batch(share: float, ones: int) -> None:
    mixed = MixedSource(constant(1.0, 14), constant(0.0, 14), share)
    batches = mixed.batches(10, torch.Generator().manual_seed(0))
    for _, batch in zip(range(20), batches, strict=False):
        assert len(batch.images) == 10
        assert batch.images[:, 0, 0, 0].sum() == ones
        assert batch.labels is None


def test_a_mixture_repeats_itself_for_the_same_stream() -> None:
    def first(seed: int) -> torch.Tensor:
        parts = [ImageBank(torch.arange(40.0).view(40, 1, 1, 1) + 100 * i, 4) for i in range(2)]
        return next(MixedSource(*parts, 0.5).batches(8, torch.Generator().manual_seed(seed))).images

    assert torch.equal(first(0), first(0))
    assert not torch.equal(first(0), first(1))


def test_a_mixture_keeps_logits_only_when_all_of_its_parts_have_them() -> None:
    teacher = tiny_network().eval()
    stream = torch.Generator().manual_seed(0)
    bank = ImageBank(torch.randn(12, 1, 8, 8), 2)
    online = OnlineSource(lambda count, stream: torch.randn(count, 1, 8, 8, generator=stream))
    both = next(MixedSource(bank, bank, 0.5).label(teacher).batches(4, stream))
    assert both.teacher_logits is not None
    torch.testing.assert_close(both.teacher_logits, teacher(both.images))
    assert next(MixedSource(bank, online, 0.5).batches(4, stream)).teacher_logits is None


def test_a_bank_too_small_for_its_share_is_named() -> None:
    mixed = MixedSource(constant(1.0, 5), constant(0.0, 14), 0.5)
    with pytest.raises(ValueError, match="needs 5 images of a source that has 3"):
        next(mixed.batches(10, torch.Generator()))


def test_logits_too_large_to_keep_are_left_to_be_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    bank = ImageBank(numbered(12), held_out=2)
    ledger = Ledger()
    teacher = Teacher(tiny_network(), ledger)
    needed = 10 * teacher(bank.images[:1])[0].nbytes
    ledger.teacher_forward = 0
    monkeypatch.setattr(ImageBank, "LABEL_CHUNK", 4)
    monkeypatch.setattr(ImageBank, "LABEL_LIMIT", needed - 1)
    assert next(bank.label(teacher).batches(4, stream())).teacher_logits is None
    assert ledger.teacher_forward == 4
    monkeypatch.setattr(ImageBank, "LABEL_LIMIT", needed)
    assert next(bank.label(teacher).batches(4, stream())).teacher_logits is not None


def test_large_images_are_labelled_a_few_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    class Watching(Teacher):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            asked.append(len(images))
            return super().forward(images)

    monkeypatch.setattr(ImageBank, "LABEL_CHUNK_PIXELS", 3 * 8 * 8)
    ImageBank(numbered(12), held_out=2).label(Watching(tiny_network()))
    assert asked == [3, 3, 3, 1]


# What is drawn


def assert_normal(drawn: torch.Tensor, std: float) -> None:
    """Mean 0 and variance std² over all, in every column, and no two columns alike, to 5σ.

    Of n draws the mean has a standard error of σ/√n, the variance of σ²·√(2/n), and the correlation
    of two columns of 1/√n.
    """
    values = drawn.double()
    for part, n in ((values.reshape(-1, 1), values.numel()), (values, len(values))):
        assert part.mean(0).abs().max() < 5 * std / math.sqrt(n)
        error = part.var(0, correction=0) - std**2
        assert error.abs().max() < 5 * std**2 * math.sqrt(2 / n)
    others = torch.corrcoef(values.t()) - torch.eye(values.shape[1])
    assert others.abs().max() < 5 / math.sqrt(len(values))


def test_latents_are_standard_normal_and_go_on_where_the_stream_is() -> None:
    _, run = tiny_run()
    latents = stream()
    first, second = (draw_latents(10_000, 20, latents, run) for _ in range(2))
    assert first.shape == (10_000, 20)
    assert_normal(torch.cat([first, second]), 1.0)
    assert_normal(torch.cat([first, second], dim=1), 1.0)


@pytest.mark.parametrize("std", [0.25, 1.0])
def test_pixels_of_noise_are_normal_with_the_parameters_deviation(std: float) -> None:
    problem, run = tiny_run(images=9_000, validation_images=1_000, synthesis_batch=512)
    bank = Noise(Noise.build_params({"std": std})).synthesize(problem, run)
    assert isinstance(bank, ImageBank)
    assert bank.images.shape == (10_000, *IMAGE_SHAPE)
    assert_normal(bank.images.flatten(1), std)
