"""Names of weights: one network, whose parts every code base names as it likes.

Names are compared in a common form. In it, wrappers such as ``backbone`` are left out, the blocks
of a network are numbered from its input on, whatever they are grouped by, and a part has one name:

- wide ResNets: ``block1.layer.0.bn1``, ``layer1.0.bn1`` and ``groups.0.norm1`` are
  ``block0.norm1``; ``convShortcut`` and a lone ``shortcut.0`` are ``shortcut``; the last
  BatchNorm, ``bn1``, is ``norm``;
- ResNets: ``downsample`` is ``shortcut``; ``linear``, ``classifier`` and ``head.fc`` are ``fc``;
- VGG: ``features.0`` and ``block0.0`` are ``block0``, and so on with every layer that has weights.

Shapes are compared afterwards, so that a wrong guess is noticed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from torch import Tensor

from methods.own_teacher.interface import Unsuitable

WRAPPER = re.compile(r"^(?:(?:module|_orig_mod|backbone|encoder|model|net|network)\.)+")
BLOCK = re.compile(
    r"^(?P<block>(?:features|layers?|blocks?|groups?|stages?)[._]?\d*(?:\.layers?|\.blocks?)?"
    r"(?:\.\d+)*)(?:\.(?P<part>.+))?$"
)
CLASSIFIER = re.compile(r"^(?:head\.fc|head|linear|classifier|last_linear|output)\b")
ALIASES = (
    (re.compile(r"\bbn(\d*)\b"), r"norm\1"),
    (re.compile(r"\b(?:downsample|convShortcut|conv_shortcut)\b"), "shortcut"),
)


def renamed(weights: Mapping[str, Tensor], renames: Sequence[tuple[str, str]]) -> dict[str, Tensor]:
    """Weights under other names.

    Args:
        weights: weights by name.
        renames: pairs (part, other part), applied in turn to every name that has the part between
            dots, as ``linear`` or ``layer1.0``. An empty other part leaves these weights out.

    Raises:
        Unsuitable: one line, when no name has a part.
    """
    named = dict(weights)
    for part, other in renames:
        pattern = re.compile(rf"(?<![^.]){re.escape(part)}(?![^.])")
        if not any(pattern.search(key) for key in named):
            raise Unsuitable(
                f"no weight has '{part}' in its name, so that it cannot become '{other}'; the "
                f"names are like {', '.join(list(named)[:2])}"
            )
        if other:
            named = {pattern.sub(other, key): value for key, value in named.items()}
        else:
            named = {key: value for key, value in named.items() if not pattern.search(key)}
    return named


def matched(
    weights: Mapping[str, Tensor], wanted: Mapping[str, Tensor]
) -> tuple[dict[str, Tensor], list[str], list[str]]:
    """Weights under the names of a network.

    Args:
        weights: weights by the names of a file.
        wanted: the network's own weights by name.

    Returns:
        The weights that the network has by its names, the names of the network that the file does
        not have, and those of the file that the network does not have.
    """
    theirs, ours = {key: key for key in weights}, {key: key for key in wanted}
    if theirs.keys() != ours.keys():
        common = common_names(weights), common_names(wanted)
        # Where the common form makes two names one, it says nothing.
        if all(len(set(names.values())) == len(names) for names in common):
            theirs, ours = common
    by_name = {name: key for key, name in theirs.items()}
    found = {key: weights[by_name[name]] for key, name in ours.items() if name in by_name}
    missing = [key for key in wanted if key not in found]
    surplus = [key for key, name in theirs.items() if name not in set(ours.values())]
    return found, missing, surplus


def common_names(keys: Iterable[str]) -> dict[str, str]:
    """The common form of names such as ``layer1.0.bn1.weight``, by name."""
    paths = {key: WRAPPER.sub("", key).rpartition(".")[::2] for key in keys}
    blocks = {path: found for path, _ in paths.values() if (found := BLOCK.match(path))}
    order = sorted({found["block"] for found in blocks.values()}, key=_by_number)
    numbers = {block: number for number, block in enumerate(order)}
    common = {}
    for path in dict.fromkeys(path for path, _ in paths.values()):
        block = blocks.get(path)
        part = _part((block["part"] or "") if block else path, whole=block is None)
        number = [f"block{numbers[block['block']]}"] if block else []
        common[path] = ".".join([*number, *filter(None, [part])])
    lone = {
        name
        for name in common.values()
        if name.endswith(".shortcut.0") and f"{name[:-1]}1" not in common.values()
    }
    return {
        key: f"{common[path].removesuffix('.0') if common[path] in lone else common[path]}.{leaf}"
        for key, (path, leaf) in paths.items()
    }


def _part(name: str, whole: bool) -> str:
    """The common name of a part of a block, or of a layer outside of the blocks."""
    for pattern, other in ALIASES:
        name = pattern.sub(other, name)
    if not whole:
        return name
    name = CLASSIFIER.sub("fc", name)
    return {"norm1": "norm", "conv": "conv1"}.get(name, name)


def _by_number(name: str) -> list[tuple[int, str]]:
    """A key that sorts ``block2`` before ``block10``."""
    return [(int(part), "") if part.isdigit() else (0, part) for part in re.split(r"(\d+)", name)]
