"""What methods of inverted images share: a field declared again keeps all but its default."""

import pytest

from methods.settings.params import ParameterError
from methods.synthesis.inverting import SmoothedInversionParams


class Published(SmoothedInversionParams):
    bn_weight: float = SmoothedInversionParams.published("bn_weight", 10.0, "table 3")
    warm_up: float = SmoothedInversionParams.published("warm_up", 0.5, description="another use")


def test_a_field_declared_again_has_the_new_default_and_source() -> None:
    assert Published().bn_weight == 10.0
    assert Published.info("bn_weight").source == "table 3"
    assert SmoothedInversionParams().bn_weight == 1.0
    assert SmoothedInversionParams.info("bn_weight").source == "released code"


def test_a_field_declared_again_keeps_its_tuning_and_its_sentence() -> None:
    before, after = (cls.model_fields for cls in (SmoothedInversionParams, Published))
    assert Published.info("bn_weight").tune == "weight"
    assert after["bn_weight"].description == before["bn_weight"].description
    assert after["warm_up"].description == "another use"


@pytest.mark.parametrize("settings", [{"bn_weight": -0.1}, {"warm_up": 1.0}, {"warm_up": -0.1}])
def test_a_field_declared_again_keeps_its_bounds(settings: dict[str, float]) -> None:
    with pytest.raises(ParameterError, match=next(iter(settings))):
        Published.build("ours", settings)
