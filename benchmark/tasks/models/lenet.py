"""LeNet-5 for 32×32 grey images and its half-width student, as DAFL and RDSKD count them."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from benchmark.tasks.models.banded import BatchLastConv2d, conv_max_pool2, max_pool2, on_cpu
from methods.acceleration.batch_last import or_zeros, to_batch_last
from methods.networks.inspection import has_hooks


class LeNet5(nn.Module):
    """conv5×5 6, max-pool, conv5×5 16, max-pool, conv5×5 120, fc 84, fc K; ReLU throughout.

    The features entering the classifier (``pre_logits``) are the flattened 120 outputs of the
    third convolution, on which DAFL puts its activation loss.

    Args:
        num_classes: K.
        widths: outputs of the three convolutions and of the hidden layer. The default has
            61,706 parameters; (3, 8, 60, 42) is LeNet-5-Half with 15,738.
    """

    def __init__(
        self, num_classes: int = 10, widths: tuple[int, int, int, int] = (6, 16, 120, 84)
    ) -> None:
        super().__init__()
        first, second, third, hidden = widths
        self.num_classes = num_classes
        self.conv1 = BatchLastConv2d(1, first, 5)
        self.conv2 = BatchLastConv2d(first, second, 5)
        self.conv3 = nn.Conv2d(second, third, 5)
        self.fc1 = nn.Linear(third, hidden)
        self.fc2 = nn.Linear(hidden, num_classes)

    def forward_features(self, images: Tensor) -> Tensor:
        """B×1×32×32 to B×120×1×1.

        A CPU computes the banded form of the same function, with the layers themselves where hooks
        want to see them.
        """
        if not on_cpu(images):
            return self.plain(images)
        return self.banded_layers(images) if has_hooks(self) else self.banded(images)

    def plain(self, images: Tensor) -> Tensor:
        """The features as described above."""
        x = F.max_pool2d(F.relu(self.conv1(images)), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        return F.relu(self.conv3(x))

    def banded_layers(self, images: Tensor) -> Tensor:
        """The same features, layer by layer, on tensors with the batch innermost."""
        x = to_batch_last(images)
        for conv in (self.conv1, self.conv2):
            rectified = F.relu(conv(x.permute(3, 0, 1, 2)))
            x = max_pool2(rectified.permute(1, 2, 3, 0))
        return F.relu(self.conv3(x.permute(3, 0, 1, 2)))

    def banded(self, images: Tensor) -> Tensor:
        """The same features by matrix products (`benchmark.tasks.models.banded`)."""
        x = to_batch_last(images)
        for conv in (self.conv1, self.conv2):
            x = conv_max_pool2(x, conv.weight, conv.bias)
        # The third convolution sees its whole input once: a product with the flattened image.
        weight, bias = self.conv3.weight.flatten(1), or_zeros(self.conv3.bias, self.conv3.weight)
        return F.relu(weight @ x.flatten(0, 2) + bias[:, None]).t()[:, :, None, None]

    def forward_head(self, features: Tensor, pre_logits: bool = False) -> Tensor:
        """B×120×1×1 to logits B×K, or to the flattened B×120 with ``pre_logits``."""
        x = features.flatten(1)
        if pre_logits:
            return x
        out: Tensor = self.fc2(F.relu(self.fc1(x)))
        return out

    def forward(self, images: Tensor) -> Tensor:
        """Logits, B×K."""
        return self.forward_head(self.forward_features(images))


def lenet5(num_classes: int = 10) -> LeNet5:
    """The teacher: 61,706 parameters at K = 10."""
    return LeNet5(num_classes)


def lenet5_half(num_classes: int = 10) -> LeNet5:
    """The student: 15,738 parameters at K = 10."""
    return LeNet5(num_classes, (3, 8, 60, 42))
