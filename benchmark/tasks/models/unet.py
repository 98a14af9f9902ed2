"""U-Net, of any width and depth (Ronneberger et al. 2015), with BatchNorm and padding."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmark.tasks.models.maps import upsampled


def _double_convolution(inputs: int, outputs: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for channels in (inputs, outputs):
        layers.append(nn.Conv2d(channels, outputs, 3, padding=1, bias=False))
        layers += [nn.BatchNorm2d(outputs), nn.ReLU()]
    return nn.Sequential(*layers)


class UNet(nn.Module):
    """An encoder of ``depth`` halvings, and a decoder that adds what each halving lost.

    Args:
        num_classes: K.
        width: channels at full size; they double with every halving.
        depth: number of halvings; H and W are divisible by 2^depth.
        output_stride: stride at which the decoder ends, a power of two. The paper has 1, full size.
        in_channels: C.
    """

    def __init__(
        self,
        num_classes: int,
        width: int,
        depth: int,
        output_stride: int = 1,
        in_channels: int = 3,
    ) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.output_stride = output_stride
        last = output_stride.bit_length() - 1
        self.num_features = width * output_stride
        widths = [width * 2**level for level in range(depth + 1)]
        self.encoder = nn.ModuleList(
            _double_convolution(inputs, outputs)
            for inputs, outputs in zip([in_channels, *widths], widths, strict=False)
        )
        levels = range(depth - 1, last - 1, -1)
        self.enlarge = nn.ModuleList(
            nn.ConvTranspose2d(widths[level + 1], widths[level], 2, stride=2) for level in levels
        )
        self.decoder = nn.ModuleList(
            _double_convolution(2 * widths[level], widths[level]) for level in levels
        )
        self.classifier = nn.Conv2d(self.num_features, num_classes, 1)

    def forward_features(self, images: Tensor) -> Tensor:
        """B×C×H×W to the decoder's last map, B×D×h×w with h = H / output_stride."""
        x, passed = images, []
        for level, block in enumerate(self.encoder):
            x = block(F.max_pool2d(x, 2) if level else x)
            passed.append(x)
        passed.pop()
        for enlarge, block in zip(self.enlarge, self.decoder, strict=True):
            x = block(torch.cat([passed.pop(), enlarge(x)], dim=1))
        return x

    def forward_head(self, features: Tensor, pre_logits: bool = False) -> Tensor:
        """B×D×h×w to logits B×K×H×W; with ``pre_logits`` the features, which are classified."""
        if pre_logits:
            return features
        return upsampled(self.classifier(features), self.output_stride)

    def forward(self, images: Tensor) -> Tensor:
        """Logits, B×K×H×W."""
        return self.forward_head(self.forward_features(images))
