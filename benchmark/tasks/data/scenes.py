"""Street-like scenes drawn from a seed: segmentation data that need no download.

Sky above, a road to the vanishing point, pavement on both sides, houses and trees along it, and the
rare things that CamVid is hard for: poles, signs, pedestrians. Classes and colours are CamVid's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from benchmark.tasks.data import camvid
from benchmark.tasks.data.base import Dataset, Split
from methods.losses.predictions import IGNORE_INDEX

SIDE = 32
CLASSES = ("sky", "building", "pole", "road", "pavement", "tree", "sign", "car", "pedestrian")
PALETTE = tuple(camvid.PALETTE[camvid.CLASSES.index(name)] for name in CLASSES)
SKY, BUILDING, POLE, ROAD, PAVEMENT, TREE, SIGN, CAR, PEDESTRIAN = range(len(CLASSES))

Array = np.ndarray[Any, Any]
Colour = tuple[int, int, int]
ROWS, COLUMNS = np.mgrid[:SIDE, :SIDE]
GRAIN, SHADE = 9.0, 22.0
"""Standard deviations of a pixel's and of a whole object's intensity, which is at most 255."""


@dataclass(frozen=True)
class Place:
    """The style of drawn scenes: colours, and the least and most of each thing in a picture."""

    sky: Colour
    road: Colour
    pavement: Colour
    tree: Colour
    walls: tuple[Colour, ...]
    houses: tuple[int, int]
    trees: tuple[int, int]
    cars: tuple[int, int]
    poles: tuple[int, int]
    people: tuple[int, int]


TOWN = Place(
    sky=(190, 205, 220),
    road=(95, 90, 95),
    pavement=(150, 140, 140),
    tree=(60, 85, 45),
    walls=((140, 85, 70), (165, 145, 115), (120, 115, 120)),
    houses=(3, 6),
    trees=(0, 3),
    cars=(0, 3),
    poles=(0, 3),
    people=(0, 2),
)
COUNTRY = Place(
    sky=(215, 200, 190),
    road=(115, 105, 90),
    pavement=(140, 145, 110),
    tree=(70, 85, 40),
    walls=((175, 165, 150), (130, 75, 60)),
    houses=(0, 2),
    trees=(2, 6),
    cars=(0, 1),
    poles=(0, 2),
    people=(0, 1),
)
PAINTS: tuple[Colour, ...] = ((170, 40, 40), (40, 60, 140), (215, 215, 215), (35, 35, 40))
"""Colours of cars, signs and coats."""


def read_scenes() -> Dataset:
    """400 training and 100 test scenes of the town, 32×32."""
    return Dataset(draw_scenes(400, seed=0, place=TOWN), draw_scenes(100, seed=1, place=TOWN))


def draw_scenes(count: int, seed: int, place: Place) -> Split:
    """Draw scenes: images N×3×32×32 and maps N×32×32, uint8; litter is void."""
    # NumPy promises of this generator alone that no later version changes its numbers.
    chance = np.random.RandomState(seed)
    drawn = [Scene(chance, place).finished() for _ in range(count)]
    images, maps = (np.stack(arrays) for arrays in zip(*drawn, strict=True))
    return Split(torch.from_numpy(images), torch.from_numpy(maps))


class Scene:
    """One picture and its map, painted from back to front."""

    def __init__(self, chance: np.random.RandomState, place: Place) -> None:
        self.chance = chance
        self.place = place
        self.image = np.zeros((SIDE, SIDE, 3))
        self.map = np.zeros((SIDE, SIDE), np.uint8)
        self.horizon = chance.randint(SIDE // 3, SIDE // 2 + 1)
        self.vanishing = chance.randint(SIDE // 4, 3 * SIDE // 4)
        self._ground()
        for _ in range(self._number(place.houses)):
            self._house()
        for _ in range(self._number(place.trees)):
            self._tree()
        for _ in range(self._number(place.poles)):
            self._pole()
        for depth in sorted(self.chance.uniform(0.25, 0.9, self._number(place.cars))):
            self._car(depth)
        for _ in range(self._number(place.people)):
            self._person()
        if self.chance.uniform() < 0.3:
            self._litter()

    def finished(self) -> tuple[Array, Array]:
        """The picture with its grain, 3×32×32, and the map, 32×32."""
        grain = self.chance.normal(0, GRAIN, self.image.shape)
        pixels = np.clip(np.rint(self.image + grain), 0, 255).astype(np.uint8)
        return pixels.transpose(2, 0, 1).copy(), self.map

    def _number(self, limits: tuple[int, int]) -> int:
        return int(self.chance.randint(limits[0], limits[1] + 1))

    def _one_of(self, colours: tuple[Colour, ...]) -> Colour:
        return colours[self.chance.randint(len(colours))]

    def _paint(self, where: Array, label: int, colour: Colour) -> None:
        self.image[where] = np.add(colour, self.chance.normal(0, SHADE))
        self.map[where] = label

    def _box(
        self, label: int, colour: Colour, top: float, bottom: float, left: float, right: float
    ) -> None:
        inside = (top <= ROWS) & (bottom > ROWS) & (left <= COLUMNS) & (right > COLUMNS)
        self._paint(inside, label, colour)

    def _ground(self) -> None:
        self._paint(self.horizon > ROWS, SKY, self.place.sky)
        self._paint(self.horizon <= ROWS, PAVEMENT, self.place.pavement)
        depth = (ROWS - self.horizon + 1) / (SIDE - self.horizon)
        left, right = self.chance.uniform(-0.9, 0.1), self.chance.uniform(0.9, 1.9)
        from_left = self.vanishing + depth * (left * SIDE - self.vanishing)
        to_right = self.vanishing + depth * (right * SIDE - self.vanishing)
        road = (self.horizon <= ROWS) & (from_left <= COLUMNS) & (to_right > COLUMNS)
        self._paint(road, ROAD, self.place.road)

    def _house(self) -> None:
        width = self.chance.randint(4, 11)
        left = self.chance.randint(-2, SIDE - 2)
        top = self.chance.randint(2, self.horizon - 2)
        base = self.horizon + self.chance.randint(0, 3)
        self._box(BUILDING, self._one_of(self.place.walls), top, base, left, left + width)

    def _tree(self) -> None:
        x, y = self.chance.randint(0, SIDE), self.horizon - self.chance.randint(1, 6)
        radius = self.chance.uniform(2, 5)
        crown = (ROWS - y) ** 2 + (COLUMNS - x) ** 2 <= radius**2
        trunk = (x == COLUMNS) & (y <= ROWS) & (self.horizon + 2 > ROWS)
        self._paint(crown | trunk, TREE, self.place.tree)

    def _pole(self) -> None:
        x, foot = self.chance.randint(0, SIDE), self.horizon + self.chance.randint(2, 8)
        top = foot - self.chance.randint(8, 14)
        self._box(POLE, (70, 70, 65), top, foot, x, x + 1)
        if self.chance.uniform() < 0.6:
            size = self.chance.randint(2, 4)
            self._box(SIGN, self._one_of(PAINTS[:3]), top, top + size, x - 1, x - 1 + size)

    def _car(self, depth: float) -> None:
        foot = self.horizon + depth * (SIDE - self.horizon)
        height = 2 + 7 * depth
        width = 1.6 * height
        left = self.vanishing + self.chance.uniform(-0.5, 0.5) * depth * SIDE - width / 2
        self._box(CAR, self._one_of(PAINTS), foot - height, foot, left, left + width)

    def _person(self) -> None:
        x, foot = self.chance.randint(0, SIDE), self.horizon + self.chance.randint(4, 10)
        height = self.chance.randint(5, 8)
        width = self.chance.randint(1, 3)
        self._box(PEDESTRIAN, self._one_of(PAINTS), foot - height, foot, x, x + width)

    def _litter(self) -> None:
        x, y = self.chance.randint(0, SIDE - 2), self.chance.randint(self.horizon + 2, SIDE - 2)
        self._box(IGNORE_INDEX, (110, 120, 40), y, y + 2, x, x + 2)
