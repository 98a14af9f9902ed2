"""DeepLabV3: a dilated backbone, atrous spatial pyramid pooling, and logits drawn up to full size.

Source: Chen et al. 2017, "Rethinking Atrous Convolution". Backbones are timm's or torchvision's,
the pyramid is torchvision's; only the interface that methods expect is written here.
"""

from __future__ import annotations

from typing import Any

import timm
from torch import Tensor, nn
from torchvision.models.resnet import ResNet101_Weights, resnet101
from torchvision.models.segmentation.deeplabv3 import ASPP

from benchmark.errors import UserError
from benchmark.tasks.models.atrous import with_atrous_convolutions
from benchmark.tasks.models.maps import upsampled
from methods.base.errors import described

ATROUS_RATES = {8: (12, 24, 36), 16: (6, 12, 18)}
"""Dilations of the pyramid by output stride (Chen et al. 2017, Section 4.1)."""


class DeepLabV3(nn.Module):
    """A segmentation network in timm's convention.

    Args:
        backbone: images B×C×H×W to a sequence of feature maps, of which the last is used.
        num_features: D, its channels.
        num_classes: K.
        output_stride: output stride of that map, 8 or 16.
        width: channels of the pyramid; 256 in the paper.
        dropout: behind the pyramid, while training. Only for networks trained on labels: a run's
            students may not draw from torch's global generator.
        pretrained: name of weights that `load_backbone` fetches.
    """

    def __init__(
        self,
        backbone: nn.Module,
        num_features: int,
        num_classes: int,
        output_stride: int,
        width: int = 256,
        dropout: float = 0.0,
        pretrained: str = "",
    ) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.num_features = num_features
        self.output_stride = output_stride
        self.pretrained = pretrained
        self.backbone = backbone
        self.pyramid = ASPP(num_features, ATROUS_RATES[output_stride], width)
        self.pyramid.project[-1] = nn.Dropout(dropout) if dropout else nn.Identity()
        self.fuse = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()
        )
        self.classifier = nn.Conv2d(width, num_classes, 1)
        with_atrous_convolutions(self)

    def forward_features(self, images: Tensor) -> Tensor:
        """B×C×H×W to the backbone's last map, B×D×h×w with h = H / output_stride."""
        features: Tensor = self.backbone(images)[-1]
        return features

    def forward_head(self, features: Tensor, pre_logits: bool = False) -> Tensor:
        """B×D×h×w to logits B×K×H×W; with ``pre_logits`` the classifier's input, B×width×h×w."""
        x: Tensor = self.fuse(self.pyramid(features))
        if pre_logits:
            return x
        return upsampled(self.classifier(x), self.output_stride)

    def forward(self, images: Tensor) -> Tensor:
        """Logits, B×K×H×W."""
        return self.forward_head(self.forward_features(images))


def timm_deeplab(
    name: str, num_classes: int, output_stride: int, width: int = 256, dropout: float = 0.0
) -> DeepLabV3:
    """DeepLabV3 on one of timm's backbones, untrained."""
    backbone: Any = timm.create_model(
        name, features_only=True, out_indices=(-1,), output_stride=output_stride, pretrained=False
    )
    channels = backbone.feature_info.channels()[-1]
    return DeepLabV3(backbone, channels, num_classes, output_stride, width, dropout, name)


class _LastStage(nn.Module):
    """torchvision's ResNet without pooling and classifier."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        children = dict(network.named_children())
        for name in ("avgpool", "fc"):
            del children[name]
        self.stages = nn.Sequential()
        for name, child in children.items():
            self.stages.add_module(name, child)

    def forward(self, images: Tensor) -> list[Tensor]:
        return [self.stages(images)]


TORCHVISION_RESNET101 = "torchvision/resnet101"


def torchvision_deeplab_resnet101(num_classes: int, dropout: float = 0.5) -> DeepLabV3:
    """torchvision's ``deeplabv3_resnet101`` (output stride 8), untrained."""
    network = resnet101(weights=None, replace_stride_with_dilation=[False, True, True])
    backbone = _LastStage(network)
    return DeepLabV3(
        backbone, 2048, num_classes, 8, dropout=dropout, pretrained=TORCHVISION_RESNET101
    )


def load_imagenet_backbone(network: DeepLabV3) -> None:
    """Give an untrained network's backbone its ImageNet weights, fetched unless they are cached.

    Raises:
        UserError: when they are neither here nor can be fetched.
    """
    name = network.pretrained
    try:
        if name == TORCHVISION_RESNET101:
            weights = ResNet101_Weights.IMAGENET1K_V2.get_state_dict(progress=False)
            weights = {f"stages.{key}": value for key, value in weights.items()}
        else:
            source: Any = timm.create_model(name, features_only=True, pretrained=True)
            weights = source.state_dict()
    # Without a network urllib, requests and the hub raise errors of different types.
    except Exception as error:
        raise UserError(
            f"the ImageNet weights of '{name}' are not cached here and cannot be fetched "
            f"({described(error)}); go online once, or choose the task that starts "
            "from scratch (its name has no '-imagenet')"
        ) from None
    wanted = network.backbone.state_dict()
    network.backbone.load_state_dict({key: weights[key] for key in wanted})
