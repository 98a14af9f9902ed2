from __future__ import annotations

import pytest

from methods.base.draws import draw_params
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

        rate: float = param(0.01, "a rate", source="test", tune=(1e-4, 1.0), gt=0)
        weight: float = param(1.0, "a weight", source="test", tune=(0.0, 2.0), ge=0)
        width: int = param(8, "a width", source="test", tune=(4, 9), ge=1)
        kind: str = param("a", "a kind", source="test", tune=("a", "b", "c"))
        loop: bool = param(False, "a switch", source="test", tune=(True, False))
        turns: int = param(2, "of the loop", source="test", tune=(1, 5), needs=("loop",))
        frozen: float = param(3.0, "not tuned", source="test")

    def synthesize(self, problem: object, run: object) -> SampleSource:
        raise NotImplementedError


def test_draws_are_the_same_whenever_and_however_many_are_asked_for() -> None:
    assert draw_params(Drawn, 8) == draw_params(Drawn, 8)
    assert draw_params(Drawn, 3) == draw_params(Drawn, 8)[:3]
    assert len({str(draw) for draw in draw_params(Drawn, 8)}) == 8


def test_draws_fill_the_ranges_each_on_its_scale() -> None:
    draws = draw_params(Drawn, 400)
    rates = [draw["rate"] for draw in draws]
    # Four decades: a quarter of the draws in each.
    for decade in (1e-4, 1e-3, 1e-2, 1e-1):
        share = sum(decade <= rate < 10 * decade for rate in rates) / 400
        assert share == pytest.approx(0.25, abs=0.08)
    weights = [draw["weight"] for draw in draws]
    assert 0 <= min(weights) < 0.1
    assert 1.9 < max(weights) <= 2
    assert {draw["width"] for draw in draws} == set(range(4, 10))
    assert {draw["kind"] for draw in draws} == {"a", "b", "c"}
    assert all("frozen" not in draw for draw in draws)
    assert all(rate == float(f"{rate:.3g}") for rate in rates)


def test_a_draw_keeps_only_what_has_an_effect() -> None:
    draws = draw_params(Drawn, 50)
    assert {draw["loop"] for draw in draws} == {True, False}
    assert all(("turns" in draw) == draw["loop"] for draw in draws)


def test_fixed_parameters_are_not_drawn() -> None:
    draws = draw_params(Drawn, 20, {"kind": "b", "frozen": 4.0})
    assert {(draw["kind"], draw["frozen"]) for draw in draws} == {("b", 4.0)}
    with pytest.raises(ParameterError, match="did you mean 'width'"):
        draw_params(Drawn, 1, {"widht": 3})


@pytest.mark.parametrize("family", ["mnist", "cifar10"])
def test_every_method_can_be_drawn_from(family: str) -> None:
    for method in discover().values():
        for draw in draw_params(method, 6, {}, family):
            method.build_params(draw, family)
