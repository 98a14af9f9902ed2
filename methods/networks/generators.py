"""Image generators and discriminators of the published methods."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn

from methods.acceleration import batch_last
from methods.networks.inspection import has_hooks

LEGACY_BATCH_NORM_EPS = 0.8
"""eps of the two middle BatchNorms in the released DAFL and RDSKD generators.

A positional-argument slip inherited from a public GAN collection; kept as the default because
every published number of these methods was obtained with it.
"""


Head = Literal["tanh-normalized", "normalized", "pixels"]
"""How a generator's last features become an input of the teacher.

``tanh-normalized``: Tanh, then BatchNorm without affine, as in DAFL, RDSKD and DFAD. It makes every
channel zero-mean and unit-variance, which is the range a teacher trained on normalised images
expects. ``normalized``: BatchNorm with affine alone, as in ZSKT. ``pixels``: a sigmoid gives pixels
in [0, 1], which are normalised as real ones are, as in CMI and what followed it.
"""


class UpsamplingGenerator(nn.Module):
    """The generator of most methods: two nearest-neighbour upsamplings between convolutions.

    Linear Z → width·(s/4)², BN, ×2, conv3×3 width, BN, LeakyReLU 0.2, ×2, conv3×3 width/2, BN,
    LeakyReLU 0.2, conv3×3 C, and a head.

    Args:
        latent_dim: Z, the length of a latent vector.
        image_shape: (C, H, W); H and W divisible by 4.
        width: channels of the first convolution (128 in the papers).
        batch_norm_eps: eps of the two middle BatchNorms.
        head: how the last features become images.
        bias: whether the convolutions before a BatchNorm have a bias.
        normalization: mean and standard deviation of the teacher's input, by channel, for the
            head ``pixels``.

    Raises:
        ValueError: when H or W is not divisible by 4.
    """

    FACTOR = 4
    """How often the first map's side is in the image's."""

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        latent_dim: int,
        image_shape: tuple[int, int, int],
        width: int = 128,
        batch_norm_eps: float = LEGACY_BATCH_NORM_EPS,
        *,
        head: Head = "tanh-normalized",
        bias: bool = True,
        normalization: tuple[Sequence[float], Sequence[float]] = ((0.0,), (1.0,)),
    ) -> None:
        super().__init__()
        channels, height, image_width = image_shape
        if height % 4 or image_width % 4:
            raise ValueError(
                f"the upsampling generator doubles twice, so it needs an image height and width "
                f"divisible by 4, not {height}×{image_width}"
            )
        half = max(width // 2, 1)
        self.latent_dim = latent_dim
        self.grid = (width, height // 4, image_width // 4)
        self.project = nn.Linear(latent_dim, width * self.grid[1] * self.grid[2])
        self.norm_in = nn.BatchNorm2d(width)
        self.upsample = nn.Upsample(scale_factor=2)
        self.conv1 = nn.Conv2d(width, width, 3, padding=1, bias=bias)
        self.norm1 = nn.BatchNorm2d(width, eps=batch_norm_eps)
        self.conv2 = nn.Conv2d(width, half, 3, padding=1, bias=bias)
        self.norm2 = nn.BatchNorm2d(half, eps=batch_norm_eps)
        self.activation = nn.LeakyReLU(0.2, inplace=True)
        self.conv_out = nn.Conv2d(half, channels, 3, padding=1)
        self.head = head
        if head == "pixels":
            mean, std = (torch.tensor(values).view(-1, 1, 1, 1) for values in normalization)
            self.register_buffer("mean", mean, persistent=False)
            self.register_buffer("std", std, persistent=False)
        else:
            self.norm_out = nn.BatchNorm2d(channels, affine=head == "normalized")

    def forward(self, latents: Tensor) -> Tensor:
        """Map latents (B×Z) to images (B×C×H×W) in the teacher's normalised input space.

        A CPU computes the batch-last form, the same function in half the time, unless layers have
        hooks. A GPU computes the plain form.
        """
        faster = latents.device.type == "cpu" and not has_hooks(self)
        return self.batch_last(latents) if faster else self.plain(latents)

    def plain(self, latents: Tensor) -> Tensor:
        """The network as it is described above."""
        x = self.project(latents).view(-1, *self.grid)
        x = self.upsample(self.norm_in(x))
        x = self.upsample(self.activation(self.norm1(self.conv1(x))))
        x = self.activation(self.norm2(self.conv2(x)))
        out = self.conv_out(x)
        if self.head == "pixels":
            return (torch.sigmoid(out) - self.mean[:, 0]) / self.std[:, 0]
        images: Tensor = self.norm_out(torch.tanh(out) if self.head == "tanh-normalized" else out)
        return images

    def batch_last(self, latents: Tensor) -> Tensor:
        """The same function of the same parameters, with fewer products.

        See `methods.acceleration.batch_last`.
        """
        x = (self.project.weight @ latents.t() + self.project.bias[:, None]).view(*self.grid, -1)
        x = batch_last.batch_norm(self.norm_in, x)
        x = batch_last.upsampled_conv2d(x, self.conv1.weight, self.conv1.bias)
        x = batch_last.batch_norm(self.norm1, x, self.activation)
        x = batch_last.upsampled_conv2d(x, self.conv2.weight, self.conv2.bias)
        x = batch_last.batch_norm(self.norm2, x, self.activation)
        x = batch_last.conv2d(x, self.conv_out.weight, self.conv_out.bias, padding=1)
        if self.head == "pixels":
            return batch_last.to_batch_first((torch.sigmoid(x) - self.mean) / self.std)
        if self.head == "tanh-normalized":
            x = torch.tanh(x)
        return batch_last.to_batch_first(batch_last.batch_norm(self.norm_out, x))


DCGAN_BASE = 4
"""Side of the DCGAN generator's first feature map."""


def dcgan_widths(image_shape: tuple[int, int, int], width: int) -> list[int]:
    """Channels of the DCGAN networks' hidden layers, from the image inwards.

    Up to 32×32 a hidden layer works at full resolution and the output layer leaves the size alone,
    as in DeGAN; from 64×64 the output layer doubles once more, as in DCGAN and DeGAN's
    segmentation version. So 32×32 and 64×64 have four layers, 128×128 five.

    Raises:
        ValueError: unless the images are square with a power of two of at least 8 as side.
    """
    _, height, side = image_shape
    if height != side or side < 2 * DCGAN_BASE or side & (side - 1):
        raise ValueError(
            f"the DCGAN networks need square images with a side of 8, 16, 32, 64, ..., "
            f"not {height}×{side}"
        )
    doublings = (side // DCGAN_BASE).bit_length() - 1
    return [width * 2**i for i in range(doublings + (side <= 32))]


class DCGANGenerator(nn.Module):
    """Transposed convolutions from a latent vector to an image in [−1, 1].

    At 32×32: Z → 8·width (kernel 4) → 4·width → 2·width → width (kernel 4, stride 2), each with
    BN and ReLU, then a 1×1 convolution to C and Tanh.
    Source: DCGAN (Radford et al. 2016) as in DeGAN's released code.

    Args:
        latent_dim: Z, the length of a latent vector.
        image_shape: (C, S, S), S a power of two of at least 8.
        width: channels of the last hidden layer (64 in the papers).

    Raises:
        ValueError: for another image size.
    """

    def __init__(self, latent_dim: int, image_shape: tuple[int, int, int], width: int = 64) -> None:
        super().__init__()
        channels, _, side = image_shape
        self.latent_dim = latent_dim
        layers: list[nn.Module] = []
        incoming = latent_dim
        for i, outgoing in enumerate(reversed(dcgan_widths(image_shape, width))):
            stride, padding = (2, 1) if i else (1, 0)
            layers += [
                nn.ConvTranspose2d(incoming, outgoing, DCGAN_BASE, stride, padding, bias=False),
                nn.BatchNorm2d(outgoing),
                nn.ReLU(inplace=True),
            ]
            incoming = outgoing
        layers.append(
            nn.ConvTranspose2d(incoming, channels, 1, bias=False)
            if side <= 32
            else nn.ConvTranspose2d(incoming, channels, 4, stride=2, padding=1, bias=False)
        )
        self.layers = nn.Sequential(*layers, nn.Tanh())
        self.apply(dcgan_initialize)

    def forward(self, latents: Tensor) -> Tensor:
        """Map latents (B×Z) to images (B×C×S×S) in [−1, 1]."""
        images: Tensor = self.layers(latents[:, :, None, None])
        return images


class TransposedGenerator(nn.Module):
    """DFAD's generator of large images: four transposed convolutions from a sixteenth of the size.

    Linear Z → width·(s/16)², BN, then 4×4 stride 2 to width/2, /4, /8 and /8, each with BN and
    LeakyReLU 0.2, conv3×3 C, Tanh. The authors' teachers see images in [−1, 1] as they are; here
    they are pixels in [0, 1], normalised as the teacher's own.

    Args:
        latent_dim: Z, the length of a latent vector.
        image_shape: (C, H, W); H and W divisible by 16.
        width: channels of the first map (512 in the paper).
        normalization: mean and standard deviation of the teacher's input, by channel.

    Raises:
        ValueError: when H or W is not divisible by 16.
    """

    FACTOR = 16
    """How often the first map's side is in the image's."""

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        latent_dim: int,
        image_shape: tuple[int, int, int],
        width: int = 512,
        *,
        normalization: tuple[Sequence[float], Sequence[float]],
    ) -> None:
        super().__init__()
        channels, height, image_width = image_shape
        if reason := indivisible(image_shape, self.FACTOR):
            raise ValueError(reason)
        self.latent_dim = latent_dim
        self.grid = (width, height // self.FACTOR, image_width // self.FACTOR)
        self.project = nn.Linear(latent_dim, width * self.grid[1] * self.grid[2])
        layers: list[nn.Module] = [nn.BatchNorm2d(width)]
        widths = [width, *(max(width // part, 1) for part in (2, 4, 8, 8))]
        for inputs, outputs in pairwise(widths):
            layers += [
                nn.ConvTranspose2d(inputs, outputs, 4, stride=2, padding=1, bias=False),
                nn.BatchNorm2d(outputs),
                nn.LeakyReLU(0.2, inplace=True),
            ]
        self.layers = nn.Sequential(*layers, nn.Conv2d(widths[-1], channels, 3, padding=1))
        self.apply(dcgan_initialize)
        mean, std = (torch.tensor(values).view(-1, 1, 1) for values in normalization)
        self.register_buffer("mean", mean, persistent=False)
        self.register_buffer("std", std, persistent=False)

    def forward(self, latents: Tensor) -> Tensor:
        """Map latents (B×Z) to images (B×C×H×W) in the teacher's normalised input space."""
        drawn: Tensor = torch.tanh(self.layers(self.project(latents).view(-1, *self.grid)))
        return ((drawn + 1) / 2 - self.mean) / self.std


def indivisible(image_shape: tuple[int, int, int], factor: int) -> str | None:
    """Why a generator that doubles often cannot draw images of that size; None where it can."""
    _, height, width = image_shape
    if height % factor == width % factor == 0:
        return None
    return (
        f"its generator needs an image height and width divisible by {factor}, not {height}×{width}"
    )


class DCGANDiscriminator(nn.Module):
    """Strided convolutions from an image in [−1, 1] to the logit of its being real.

    At 32×32: C → width → 2·width → 4·width → 8·width (kernel 4, stride 2), LeakyReLU 0.2, BN in
    all but the first, then a valid convolution to one number.
    Source: DCGAN (Radford et al. 2016) as in DeGAN's released code.

    Args:
        image_shape: (C, S, S), S a power of two of at least 8.
        width: channels of the first layer (64 in the papers).

    Raises:
        ValueError: for another image size.
    """

    def __init__(self, image_shape: tuple[int, int, int], width: int = 64) -> None:
        super().__init__()
        incoming, _, side = image_shape
        layers: list[nn.Module] = []
        for i, outgoing in enumerate(dcgan_widths(image_shape, width)):
            layers.append(nn.Conv2d(incoming, outgoing, 4, stride=2, padding=1, bias=False))
            if i:
                layers.append(nn.BatchNorm2d(outgoing))
            layers.append(nn.LeakyReLU(0.2, inplace=True))
            incoming, side = outgoing, side // 2
        self.layers = nn.Sequential(*layers, nn.Conv2d(incoming, 1, side, bias=False))
        self.apply(dcgan_initialize)

    def forward(self, images: Tensor) -> Tensor:
        """Logits, B, of images B×C×S×S."""
        logits: Tensor = self.layers(images)
        return logits.flatten()


def dcgan_initialize(module: nn.Module) -> None:
    """Weights from N(0, 0.02), BatchNorm scales from N(1, 0.02), biases 0 (DCGAN, Section 4)."""
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
        nn.init.normal_(module.weight, 0.0, 0.02)
    elif isinstance(module, nn.BatchNorm2d):
        nn.init.normal_(module.weight, 1.0, 0.02)
    if getattr(module, "bias", None) is not None:
        nn.init.zeros_(module.bias)  # type: ignore[arg-type]
