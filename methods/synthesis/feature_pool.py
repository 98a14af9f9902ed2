"""A memory of a generator's features, from which its present form makes images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from methods.base.run import Run
from methods.base.samples import Batch, Batches, SampleSource
from methods.networks.decoding_generator import DecodingGenerator
from methods.synthesis.memory import set_aside


def exchange_channels(features: Tensor, kept: Tensor) -> Tensor:
    """Every image's features, with the channels that it does not keep from its opposite.

    The opposite of image i of B is image B−1−i.
    Source: SpaceshipNet (Yu et al. 2023), channel-wise feature exchange.

    Args:
        features: B×D×h×w.
        kept: B×D, whether an image keeps a channel.

    Returns:
        B×D×h×w.
    """
    return torch.where(kept[:, :, None, None], features, features.flip(0))


def half_of_channels(count: int, channels: int, stream: torch.Generator) -> Tensor:
    """For every image another random half of the channels, B×D, on the CPU."""
    ranks = torch.rand(count, channels, generator=stream).argsort(dim=1)
    return ranks < channels // 2


class FeaturePool(SampleSource):
    """A pool of feature maps to which every round adds; images are made anew for every batch.

    Every batch is of one of the generator's hidden layers, chosen at random, whose maps go through
    the rest of the generator as it is then, with the statistics of its training. Half precision
    keeps the maps; with 128 channels and 32×32 pixels those of an image take 208 KiB.

    Args:
        generator: makes the images.
        exchange: share of the batches whose images exchange channels.
        run: gives device and ledger.
    """

    def __init__(self, generator: DecodingGenerator, exchange: float, run: Run) -> None:
        self._generator, self._exchange, self._run = generator, exchange, run
        self._choice = run.stream("held-out")
        self._maps: list[Tensor] = []
        self._held_out: Tensor | None = None

    def __len__(self) -> int:
        """Number of images whose features are there to learn from."""
        return len(self._maps[0]) if self._maps else 0

    @torch.no_grad()
    def add(self, images: Tensor, maps: Sequence[Tensor]) -> None:
        """Add a batch; a few of its images are held out, and the features of the rest are kept.

        Args:
            images: B×C×H×W in the teacher's input space.
            maps: the feature maps of these images behind every hidden layer.
        """
        before = 0 if self._held_out is None else len(self._held_out)
        aside, rest = set_aside(len(images), before, self._run, self._choice)
        held_out = images[aside.to(images.device)].float()
        self._held_out = (
            held_out if self._held_out is None else torch.cat([self._held_out, held_out])
        )
        chosen = rest.to(images.device)
        found = [layer[chosen].to(self._run.device, torch.float16) for layer in maps]
        self._maps = (
            [torch.cat(pair) for pair in zip(self._maps, found, strict=True)]
            if self._maps
            else found
        )
        self._run.ledger.add({"synthetic_images": len(images)})

    @torch.no_grad()
    def make(self, size: int, stream: torch.Generator) -> Tensor:
        """Images of ``size`` features, B×C×H×W in the teacher's input space.

        Raises:
            ValueError: when the pool is empty.
        """
        if not self._maps:
            raise ValueError("the student cannot learn from an empty pool: add features first")
        layer = int(torch.randint(len(self._maps), (), generator=stream))
        exchanges = float(torch.rand((), generator=stream)) < self._exchange
        maps = self._maps[layer]
        chosen = torch.randint(len(maps), (size,), generator=stream)
        features = maps[chosen.to(maps.device)].float()
        if exchanges:
            kept = half_of_channels(size, features.shape[1], stream)
            features = exchange_channels(features, kept.to(features.device))
        self._generator.eval()
        with self._run.autocast():
            images = self._generator.decode(features, layer).float()
        self._run.ledger.add({"synthetic_images": size})
        return images

    def batches(self, size: int, stream: torch.Generator) -> Batches:
        """Batches of ``size`` images of the pool and the generator as they are at each."""
        return _MadeBatches(self, size, stream)

    def validation(self, count: int, stream: torch.Generator) -> Tensor:
        """At most ``count`` images as they were made at first, whose features are not kept.

        Raises:
            ValueError: when the pool is empty.
        """
        if self._held_out is None:
            raise ValueError("an empty pool has no images for validation")
        return self._held_out[:count]

    def state_dict(self) -> dict[str, Any]:
        """All features and held-out images, and the stream that chooses these."""
        return {"maps": self._maps, "held_out": self._held_out, "choice": self._choice.get_state()}

    def load_state_dict(self, state: Mapping[str, Any], /) -> None:
        """Restore ``state``."""
        device = self._run.device
        self._maps = [layer.to(device) for layer in state["maps"]]
        held_out = state["held_out"]
        self._held_out = None if held_out is None else held_out.to(device)
        self._choice.set_state(state["choice"])


class _MadeBatches(Batches):
    """Batches of a `FeaturePool`."""

    def __init__(self, pool: FeaturePool, size: int, stream: torch.Generator) -> None:
        self._pool, self._size, self._stream = pool, size, stream

    def __next__(self) -> Batch:
        return Batch(self._pool.make(self._size, self._stream))

    def state_dict(self) -> dict[str, Any]:
        return {"stream": self._stream.get_state()}

    def load_state_dict(self, state: Mapping[str, Any], /) -> None:
        self._stream.set_state(state["stream"])
