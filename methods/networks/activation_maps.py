"""Reading from a network, in one pass, its logits, class activation maps and Grad-CAMs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from methods.losses.activation_maps import class_activation_maps, grad_cam
from methods.networks.calls import untold
from methods.networks.inspection import final_layer, noise
from methods.networks.stages import stages


class Regions(NamedTuple):
    """What a network says of a batch, in float32, and where it looks.

    ``of_classes`` are the class activation maps, B×K×h×w, or None; ``of_stages`` the Grad-CAMs of
    one class for every image, B×h×w for each stage.
    """

    logits: Tensor
    of_classes: Tensor | None
    of_stages: list[Tensor]


class RegionReader:
    """Reads the `Regions` of one network.

    Args:
        network: it has timm's interface; a teacher counts its own passes.
        image_shape: (C, H, W) of its input.
        of_classes: whether class activation maps are read.
        of_stages: whether Grad-CAMs are read.

    Raises:
        ValueError: when class activation maps are wanted of a network that has none.
    """

    def __init__(
        self,
        network: nn.Module,
        image_shape: tuple[int, int, int],
        *,
        of_classes: bool,
        of_stages: bool,
    ) -> None:
        self._network: Any = network
        self._classifier: nn.Linear | None = None
        if of_classes:
            found = classifier_of_maps(network, image_shape)
            if found is None:
                raise ValueError("the network's logits are not linear in its last features")
            self._classifier = found[0]
        self._stages = list(stages(network, image_shape).values()) if of_stages else []

    def __call__(self, images: Tensor, choose: Callable[[Tensor], Tensor]) -> Regions:
        """Read the regions of a batch, with gradients to the network's parameters if it has any.

        The weights of Grad-CAM and the classifier's are constants. The graph is kept for the
        caller's own gradients.

        Args:
            images: B×C×H×W.
            choose: takes the logits, and says of which class the Grad-CAM of every image is, B.
        """
        # A frozen network needs a graph too, for the gradients of its own maps.
        learns = torch.is_grad_enabled() and any(
            p.requires_grad for p in self._network.parameters()
        )
        with (
            torch.set_grad_enabled(learns or bool(self._stages)),
            tapped(self._network, self._stages) as taps,
        ):
            features = self._network.forward_features(images)
            logits = self._network.forward_head(features).float()
            maps = [taps[name] for name in self._stages]
            gradients: Sequence[Tensor] = ()
            if maps:
                of_chosen = logits.gather(1, choose(logits.detach())[:, None]).sum()
                gradients = torch.autograd.grad(of_chosen, maps, retain_graph=learns)
        with (
            torch.set_grad_enabled(learns),
            torch.autocast(images.device.type, enabled=False),
        ):
            of_classes = None
            if self._classifier is not None:
                weight = self._classifier.weight.detach().float()
                of_classes = class_activation_maps(features.float(), weight)
            pairs = zip(maps, gradients, strict=True)
            of_stages = [grad_cam(part.float(), slope.float()) for part, slope in pairs]
            return Regions(logits, of_classes, of_stages)


@contextmanager
def tapped(network: nn.Module, names: Sequence[str]) -> Iterator[dict[str, Tensor]]:
    """Within the block the outputs of the named modules appear in the yielded dictionary.

    The network goes on from copies of them, so that gradients of its output reach them and later
    layers that work in place leave them alone. Of a frozen network they are leaves, and no
    gradient goes further back.

    Args:
        network: its hooks are removed at the end of the block, whatever happens there.
        names: names of modules that give one tensor.
    """
    taken: dict[str, Tensor] = {}

    def tap(name: str, output: Tensor) -> Tensor:
        if torch.is_grad_enabled() and not output.requires_grad:
            output = output.detach().requires_grad_()
        taken[name] = output
        return output.clone()

    handles = [
        network.get_submodule(name).register_forward_hook(
            lambda module, inputs, output, name=name: tap(name, output)
        )
        for name in names
    ]
    try:
        yield taken
    finally:
        for handle in handles:
            handle.remove()


@torch.no_grad()
def classifier_of_maps(
    network: nn.Module, image_shape: tuple[int, int, int]
) -> tuple[nn.Linear, tuple[int, int]] | None:
    """The linear layer that gives the logits, and the height and width of its maps.

    Its class activation maps are found on two images and must give the logits: as their mean, where
    features are pooled by the mean, or as their sum, where they are flattened.

    Args:
        network: left in its mode.
        image_shape: (C, H, W) of its input.

    Returns:
        None where the logits are not linear in the last features.
    """
    with _evaluated(network), untold():
        layer = final_layer(network, image_shape)
        images = noise(image_shape).to(next(network.parameters()))
        features = network.forward_features(images)  # type: ignore[operator]
        if not isinstance(layer, nn.Linear) or features.ndim != 4:
            return None
        logits = network.forward_head(features)  # type: ignore[operator]
        size = features.shape[2], features.shape[3]
        inputs = features.shape[1], features[0].numel()
        if layer.in_features not in inputs:
            return None
        maps = class_activation_maps(features, layer.weight)
        pooled = layer.in_features == inputs[0]
        found = maps.mean(dim=(2, 3)) if pooled else maps.sum(dim=(2, 3))
        if layer.bias is not None:
            found = found + layer.bias
        return (layer, size) if torch.allclose(found, logits, rtol=1e-3, atol=1e-3) else None


def unlike_regions(
    teacher: nn.Module,
    student: nn.Module,
    image_shape: tuple[int, int, int],
    *,
    of_classes: bool,
    of_stages: bool,
) -> str | None:
    """Why two networks' regions cannot be compared one by one; None where they can.

    Args:
        teacher: left in its mode.
        student: left in its mode.
        image_shape: (C, H, W) of their input.
        of_classes: whether class activation maps are compared.
        of_stages: whether Grad-CAMs are compared.
    """
    networks = {"teacher": teacher, "student": student}
    if of_classes:
        sizes = set()
        for which, network in networks.items():
            found = classifier_of_maps(network, image_shape)
            if found is None:
                return (
                    "class activation maps need logits that are linear in the last features, and "
                    f"the {which}'s are not; cam=0 does without"
                )
            sizes.add(found[1])
        if len(sizes) > 1:
            return (
                "the class activation maps of teacher and student differ in size; "
                "cam=0 does without"
            )
    if of_stages:
        theirs, mine = (list(stages(network, image_shape)) for network in networks.values())
        if not theirs or theirs != mine:
            return (
                "Grad-CAMs are compared stage by stage, and the teacher's maps are "
                f"{_listed(theirs)}, the student's {_listed(mine)}; grad_cam=0 does without"
            )
    return None


def _listed(sizes: Sequence[tuple[int, int]]) -> str:
    return ", ".join(f"{height}×{width}" for height, width in sizes) or "none"


@contextmanager
def _evaluated(network: nn.Module) -> Iterator[None]:
    """Within the block the network is in eval mode, then in its own again."""
    training = network.training
    network.eval()
    try:
        yield
    finally:
        network.train(training)
