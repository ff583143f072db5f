"""detect: has the world changed; online change-point detection on one-step residuals, and what each alarm means.

Writes detect/changes.parquet (per period), detect/verdict.json (as known at the end of the data), and
detect/origins.json: the verdicts of those backtest origins at which, by what was then known, something followed.
Reads the curated registry of regime events, and the client's own events where the specification names them.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from audit import canonical
from engine import changepoint, looks
from engine.changepoint import Alarming, Online
from engine.detection import Heard, judge
from engine.hazard import Calibration
from engine.origins import origins
from engine.reaction import acts
from engine.spec import Spec
from engine.table import read_parquet, write_parquet
from engine.verdict import Verdict
from registry import regimes
from stages.known_events import known_event
from stages.registered import PRIVATE, REGIMES, events
from stages.stage import SPEC, Context, Stage, canonical_json

ONE_STEP = "backtest/one_step.parquet"
CALIBRATION = "hazard/calibration.json"


def _run(context: Context, out: Path) -> None:
    spec, detect = context.spec(), context.spec().detect
    calibrated = Calibration.model_validate_json(context.artifact(CALIBRATION).read_bytes())
    looked = looks.read(read_parquet(context.artifact(ONE_STEP)))
    alarming = Alarming(calibrated.hazard, detect.window, calibrated.threshold)
    known, registered = events(context), detect.registered
    concerning = [known_event(event) for event in known.concerning(registered.channels, registered.regions)]

    def told(count: int) -> tuple[Verdict, Online, np.ndarray]:
        def verdict(heard: Heard) -> Verdict:
            return judge(heard, count, concerning, detect, calibrated, known.digest)

        return looks.judged(looked, detect, alarming, verdict)

    periods = looked.periods
    final, online, residuals = told(len(periods))
    segments = changepoint.segmentation(residuals, detect.segments, calibrated.hazard)
    write_parquet(_table(periods, online, segments.starts, calibrated), out / "changes.parquet")
    (out / "verdict.json").write_bytes(canonical_json(final))
    then = [(origin, told(count)[0]) for origin, count in _origins(spec, len(periods))]
    acted = [
        {"origin": origin, "verdict": json.loads(found.model_dump_json())} for origin, found in then if acts(found)
    ]
    (out / "origins.json").write_bytes(canonical.encode(acted))


def _origins(spec: Spec, count: int) -> list[tuple[int, int]]:
    """Every backtest origin, and how many of the `count` residuals were known there."""
    first = spec.backtest.first_origin
    return [(origin, origin - first) for origin in origins(spec, first + count)]


def _table(periods: Sequence[date], online: Online, starts: Sequence[int], calibrated: Calibration) -> pa.Table:
    change = online.change_probability.tolist()
    columns: dict[str, Any] = {
        "period": pa.array(periods, pa.date32()),
        "change_probability": pa.array(change, pa.float64()),
        "calibrated_probability": pa.array([calibrated.probability(p) for p in change], pa.float64()),
        "map_run_length": pa.array(online.map_run_length.tolist(), pa.int64()),
        "expected_run_length": pa.array(online.expected_run_length.tolist(), pa.float64()),
        "log_predictive": pa.array(online.log_predictive.tolist(), pa.float64()),
        "segment_start": pa.array([t in starts for t in range(len(periods))], pa.bool_()),
    }
    return pa.table(columns)


STAGE = Stage(
    "detect",
    reads=(ONE_STEP, CALIBRATION, PRIVATE, SPEC),
    run=_run,
    inputs=lambda context: regimes.files(context.root, REGIMES),
)
