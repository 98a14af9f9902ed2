from __future__ import annotations

import math

import pytest

from methods.base.draws import draw_params, tunable
from methods.base.method import Method
from methods.base.registry import discover
from methods.base.samples import SampleSource
from methods.settings.params import MethodParams, ParameterError, param


class Drawn(Method):
    """A method with one parameter of every kind."""

    name = "drawn"
    title = "Drawn"
    paper = "none"

    class Params(MethodParams):
        """Hyper-parameters."""

        rate: float = param(0.01, "a rate", source="test", tune="rate", gt=0)
        weight: float = param(5.0, "a weight", source="test", tune="weight", ge=0)
        off: float = param(0.0, "a weight of nothing", source="test", tune="weight", ge=0)
        share: float = param(0.3, "a bounded rate", source="test", tune="rate", gt=0, lt=1)
        heat: float = param(4.0, "a temperature", source="test", tune="temperature", gt=0)
        width: int = param(8, "a width", source="test", ge=1)
        kind: str = param("a", "a kind", source="test")
        loop: bool = param(False, "a switch", source="test")
        pull: float = param(1.0, "of the loop", source="test", tune="weight", needs=("loop",))

    settings = {"big": {"rate": 0.5, "off": 2.0, "weight": 0.0}}

    def synthesize(self, problem: object, run: object) -> SampleSource:
        raise NotImplementedError


def test_draws_are_the_same_whenever_and_however_many_are_asked_for() -> None:
    assert draw_params(Drawn, 8) == draw_params(Drawn, 8)
    assert draw_params(Drawn, 3) == draw_params(Drawn, 8)[:3]
    assert len({str(draw) for draw in draw_params(Drawn, 8)}) == 8


def test_rates_and_weights_are_drawn_within_a_factor_of_ten_of_what_is_published() -> None:
    draws = draw_params(Drawn, 400)
    for name, published in (("rate", 0.01), ("weight", 5.0)):
        logs = [math.log10(draw[name] / published) for draw in draws]
        assert -1 <= min(logs) < -0.9
        assert 0.9 < max(logs) <= 1
        for low in (-1.0, -0.5, 0.0, 0.5):
            share = sum(low <= value < low + 0.5 for value in logs) / 400
            assert share == pytest.approx(0.25, abs=0.08)
        assert all(draw[name] == float(f"{draw[name]:.3g}") for draw in draws)


def test_temperatures_are_drawn_between_1_and_20_whatever_is_published() -> None:
    heats = [draw["heat"] for draw in draw_params(Drawn, 400)]
    assert 1 <= min(heats) < 1.1
    assert 18 < max(heats) <= 20
    assert sum(heat < math.sqrt(20) for heat in heats) / 400 == pytest.approx(0.5, abs=0.08)


def test_modes_sizes_switches_and_what_is_switched_off_are_never_drawn() -> None:
    for draw in draw_params(Drawn, 30):
        assert draw.keys() == {"rate", "weight", "share", "heat"}


def test_ranges_keep_to_the_bounds_of_a_parameter() -> None:
    assert Drawn.Params.tuning_range("share") == (0.03, 1.0)
    assert all(0.03 <= draw["share"] < 1 for draw in draw_params(Drawn, 400))


def test_what_is_published_for_a_task_family_is_what_ranges_are_around() -> None:
    assert tunable(Drawn)["rate"] == (0.001, 0.1)
    there = tunable(Drawn, family="big")
    assert there["rate"] == (0.05, 5.0)
    assert there["off"] == (0.2, 20.0)
    assert "weight" not in there


def test_a_draw_has_only_what_has_an_effect() -> None:
    assert "pull" not in tunable(Drawn)
    assert "pull" in draw_params(Drawn, 1, {"loop": True})[0]


def test_fixing_one_parameter_changes_no_other() -> None:
    free, held = draw_params(Drawn, 20), draw_params(Drawn, 20, {"kind": "b", "rate": 0.02})
    assert {(draw["kind"], draw["rate"]) for draw in held} == {("b", 0.02)}
    assert [draw["weight"] for draw in held] == [draw["weight"] for draw in free]
    assert [draw["heat"] for draw in held] == [draw["heat"] for draw in free]
    with pytest.raises(ParameterError, match="did you mean 'width'"):
        draw_params(Drawn, 1, {"widht": 3})


def test_no_method_draws_anything_but_numbers_within_the_rule() -> None:
    for method in discover().values():
        for name, interval in tunable(method, {}, "mnist").items():
            published = getattr(method.build_params({}, "mnist"), name)
            usual = (1, 20) if method.Params.info(name).tune == "temperature" else None
            assert interval == pytest.approx(usual or (published / 10, published * 10))
            assert method.Params.model_fields[name].annotation is float


@pytest.mark.parametrize("family", ["mnist", "cifar10"])
def test_every_method_can_be_drawn_from(family: str) -> None:
    for method in discover().values():
        for draw in draw_params(method, 6, {}, family):
            method.build_params(draw, family)
