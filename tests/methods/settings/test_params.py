from __future__ import annotations

import math
from typing import Any

import pytest
from pydantic import ValidationError

from methods.dafl import DAFL
from methods.rdskd import RDSKD
from methods.settings.params import MethodParams, ParameterError, nearest, param
from tests.helpers import one_line


def complaint(method: Any, **overrides: Any) -> str:
    with pytest.raises(ParameterError) as caught:
        method.build_params(overrides)
    return one_line(str(caught.value))


def test_unknown_parameter_is_answered_with_the_nearest_name() -> None:
    message = complaint(RDSKD, generator_rl=0.1)
    assert message == "rdskd has no parameter 'generator_rl'; did you mean 'generator_lr'?"


def test_unknown_parameter_without_a_near_name_lists_the_valid_ones() -> None:
    message = complaint(RDSKD, zzz=1)
    assert message.startswith("rdskd has no parameter 'zzz'; choose from: ")
    assert "temperature" in message
    assert "choose from: (none)" in nearest("anything", [])


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("temperature", 0, "greater than 0"),
        ("temperature", -3.0, "greater than 0"),
        ("temperature", math.inf, "finite"),
        ("temperature", math.nan, "finite"),
        ("latent_dim", 0, "greater than or equal to 1"),
        ("temperature", "hot", "number"),
        ("latent_dim", 2.5, "integer"),
        ("one_hot", "perhaps", "boolean"),
        ("generator_mode", "both", "'eval' or 'train'"),
        ("temperature", None, "number"),
        ("temperature", [1.0], "number"),
    ],
)
def test_invalid_value_is_named_with_what_is_expected(name: str, value: Any, says: str) -> None:
    message = complaint(RDSKD, **{name: value})
    assert f"rdskd: parameter '{name}' is {value!r}" in message
    assert says in message
    assert "default" in message


def test_an_integer_is_a_fine_float() -> None:
    value = RDSKD.build_params({"temperature": 4}).temperature
    assert value == 4.0
    assert isinstance(value, float)


def test_setting_a_parameter_that_is_switched_off_says_why() -> None:
    message = complaint(RDSKD, exponential=False, previous="epoch-mean")
    assert "rdskd: parameter 'previous' has no effect while exponential=false" in message
    assert "leave 'previous' alone" in message
    message = complaint(DAFL, schedule="joint", generator_mode="eval")
    assert "'generator_mode' has no effect while schedule=joint" in message


def test_a_switched_off_parameter_may_be_left_alone_and_is_fine_once_switched_on() -> None:
    assert RDSKD.build_params({"exponential": False}).previous == "released"
    switched_on = DAFL.build_params({"schedule": "two-phase", "generator_mode": "eval"})
    assert switched_on.generator_mode == "eval"
    assert switched_on.inactive("generator_mode") == ""
    assert DAFL.build_params({"schedule": "joint"}).inactive("generator_mode") != ""


def test_parameters_split_into_two_phases() -> None:
    params = RDSKD.build_params({"temperature": 3.0})
    distillation, synthesis = params.of_phase("distillation"), params.of_phase("synthesis")
    assert distillation == {"temperature": 3.0}
    assert "temperature" not in synthesis
    assert distillation.keys() | synthesis.keys() == type(params).model_fields.keys()


def test_a_task_family_brings_its_published_settings() -> None:
    usual, cifar = DAFL.build_params({}), DAFL.build_params({}, "cifar10")
    assert (usual.latent_dim, usual.one_hot, usual.activation) == (100, 1.0, 0.1)
    assert (cifar.latent_dim, cifar.generator_lr) == (1000, 0.02)
    assert (cifar.one_hot, cifar.entropy, cifar.activation) == (0.05, 5.0, 0.01)
    assert DAFL.build_params({}, "mnist") == usual
    assert RDSKD.build_params({}, "svhn").latent_dim == 1000


def test_what_the_user_sets_overrules_the_family() -> None:
    params = DAFL.build_params({"latent_dim": 64}, "cifar10")
    assert (params.latent_dim, params.generator_lr) == (64, 0.02)


def test_parameters_cannot_be_changed_after_the_fact() -> None:
    with pytest.raises(ValidationError):
        RDSKD.build_params({}).temperature = 2.0


def test_param_keeps_what_was_declared() -> None:
    class Params(MethodParams):
        rate: float = param(
            0.5, "a rate", source="paper, Table 9", unit="1/s", tune="rate", ge=0, le=1
        )

    info = Params.info("rate")
    assert (info.source, info.unit, info.phase) == ("paper, Table 9", "1/s", "synthesis")
    assert info.tune == "rate"
    assert Params.tuning_range("rate") == (0.05, 1.0)
    assert Params.model_fields["rate"].description == "a rate"
    with pytest.raises(ParameterError, match="less than or equal to 1"):
        Params.build("mine", {"rate": 1.5})
