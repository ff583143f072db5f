"""Which claim a report makes follows from the specification, and never more than it supports."""

from __future__ import annotations

from typing import Any

import pytest

from stages import report
from stages.wording import CLAIMS
from tests import small

SPLIT: dict[str, Any] = {"kind": "split"}
ACI: dict[str, Any] = {"kind": "aci", "rate": 0.02}
PID: dict[str, Any] = {"kind": "pid", "rate": 0.1, "gain": 0.1, "saturation": 0.5}


@pytest.mark.parametrize(
    ("groups", "moments", "decay", "method", "claim"),
    [
        ("location", "media", 0.99, SPLIT, "disjoint_moments"),
        ("location", "none", 0.99, SPLIT, "disjoint_moments"),  # age is known beforehand
        ("location", "none", 1.0, SPLIT, "exchangeable"),
        ("location", "media", 1.0, SPLIT, "disjoint_moments"),
        ("location", "outcome", 0.99, SPLIT, "empirical"),
        ("location", "outcome", 1.0, SPLIT, "empirical"),
        ("pooled", "media", 0.99, SPLIT, "empirical"),  # two locations share each week
        ("pooled", "none", 1.0, SPLIT, "empirical"),
        ("location", "media", 0.99, ACI, "long_run"),
        ("pooled", "outcome", 0.99, PID, "long_run"),
    ],
)
def test_the_claim_is_what_the_specification_supports(
    groups: str, moments: str, decay: float, method: dict[str, Any], claim: str
) -> None:
    spec = small.spec(
        calibrate__groups=groups, calibrate__moments=moments, calibrate__decay=decay, calibrate__method=method
    )
    assert report._claim(spec) == claim
    assert claim in CLAIMS


def test_the_protocol_says_whose_scores_weigh_how_and_what_follows() -> None:
    spec = small.spec(calibrate__groups="location", calibrate__moments="outcome", calibrate__method=ACI)
    said = report._protocol(spec)
    assert "its own location's scores" in said
    assert "regime of the outcome" in said
    assert "adaptive conformal inference" in said
    said = report._protocol(small.spec(calibrate__moments="none"))
    assert "over all locations" in said
    assert "regime" not in said
    assert said.endswith("from the age of a score.")
