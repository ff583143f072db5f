"""A calibration is declared whole: each method with its own numbers, and none of another's."""

from __future__ import annotations

import pytest

from engine.errors import SpecError
from engine.spec import parse_spec
from engine.spec_calibrate import Adaptive, Controlled, Split
from tests import small


@pytest.mark.parametrize(
    "method",
    [
        Split(kind="split"),
        Adaptive(kind="aci", rate=0.02),
        Controlled(kind="pid", rate=0.1, gain=0.0, saturation=0.5),
    ],
)
def test_each_method_survives_its_own_json(method: Split | Adaptive | Controlled) -> None:
    spec = small.spec(calibrate__method=method.model_dump())
    assert spec.calibrate.method == method
    assert parse_spec(spec.model_dump_json().encode()) == spec


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"calibrate__method": {"kind": "aci"}}, "method.aci.rate: Field required"),
        ({"calibrate__method": {"kind": "aci", "rate": 0.0}}, "method.aci.rate: .*greater than 0"),
        ({"calibrate__method": {"kind": "split", "rate": 0.1}}, "method.split.rate: Extra inputs"),
        ({"calibrate__method": {"kind": "pid", "rate": 0.1, "gain": 0.1}}, "method.pid.saturation: Field required"),
        ({"calibrate__method": {"kind": "jackknife"}}, "calibrate.method: .*'split', 'aci', 'pid'"),
        ({"calibrate__groups": "channel"}, "calibrate.groups: .*'pooled' or 'location'"),
        ({"calibrate__moments": "price"}, "calibrate.moments: .*'none', 'media' or 'outcome'"),
        ({"calibrate__levels": []}, "calibrate.levels: .*at least 1"),
        ({"calibrate__moment_window": 2}, "calibrate.moment_window: .*greater than or equal to 3"),
    ],
)
def test_what_no_calibration_can_be_is_refused_by_name(change: dict[str, object], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        small.spec(**change)
