"""The bench of verdicts: what is registered is named more often than coincidence would."""

from __future__ import annotations

from datetime import date

from engine.hazard import Calibration, Scores
from engine.operating import Operation
from engine.registered import KnownEvent
from engine.reliability import Block
from stages import bench_verdicts
from stages.bench_verdicts import World
from tests import small

SMALL = small.spec().detect
DETECT = SMALL.model_copy(
    update={"window": 8, "segments": SMALL.segments.model_copy(update={"max_run_length": 120})},
)
SCORES = Scores(log=0.07, brier=0.016)
ALARMS = Operation(false_alarms_per_year=0.2, quiet_years=100.0, changes=8, noticed=6, delay=2.0)
CALIBRATION = Calibration(
    hazard=0.0024, threshold=0.35, map=(Block(0, 0.1),), window=8, periods=100, labelled=9, out=SCORES, within=SCORES,
    uncalibrated=Scores(log=0.12, brier=0.025), base_rate=Scores(log=0.1, brier=0.02), alarms_out=ALARMS,
    alarms_within=ALARMS, chosen_without=(2, 0), simulated_series=16, real_series=("nile",), groups=3,
    registry_sha256="0" * 64,
)  # fmt: skip


def known(name: str, kind: str, day: date, last: date) -> KnownEvent:
    return KnownEvent.model_validate(
        {"id": name, "kind": kind, "first": day, "last": last, "public": day, "confidence": "high"}
    )


def test_registered_events_are_named_and_unregistered_ones_are_not() -> None:
    events = (
        known("law", "regime_change", date(2021, 6, 1), date(2021, 6, 1)),
        known("sale", "transient_promotion", date(2022, 11, 25), date(2022, 12, 5)),
        known("talk", "null_announcement", date(2023, 1, 3), date(2023, 1, 3)),
    )
    found = list(bench_verdicts.verdicts("shop", World(DETECT, CALIBRATION, events), 8, 4))
    assert [row.what for row in found] == [
        "shop: unregistered level called unexplained",
        "shop: unregistered pulse called unexplained",
        "shop: registered level given to its event",
        "shop: registered pulse given to its event",
    ]
    shares = [int(row.value.rstrip("%")) for row in found]
    assert min(shares) >= 70
    assert [row.note.split(";")[0] for row in found] == ["of 8", "of 8", "of 4", "of 4"]


def test_the_calibration_is_told_beside_its_rivals() -> None:
    log, brier, false, noticed = bench_verdicts._calibration("shop", CALIBRATION)
    assert (log.value, "base rate 0.1000" in log.note, "own 0.1200" in log.note) == ("0.0700", True, True)
    assert brier.value == "0.0160"
    assert false.value == "0.200 a year"
    assert (noticed.value, noticed.note) == ("75%", "6 of 8 within a quarter; median delay 2.0 weeks")
