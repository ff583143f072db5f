"""detect: has the world changed; online change-point detection on one-step residuals, and what an alarm means.

Writes detect/changes.parquet (per period), detect/verdict.json. Reads the curated registry of regime events.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa

from audit import canonical
from engine import changepoint, detection
from engine.changepoint import Online
from engine.detection import KnownEvent
from engine.spec import Spec
from engine.table import read_parquet, write_parquet
from registry import regimes
from stages.stage import SPEC, Context, Stage

ONE_STEP = "backtest/one_step.parquet"
REGIMES = "registry/regimes"


def _run(context: Context, out: Path) -> None:
    spec = context.spec()
    table = read_parquet(context.artifact(ONE_STEP))
    periods = sorted(set(table.column("period").to_pylist()))
    residuals = table.column("residual").to_numpy(zero_copy_only=False).reshape(len(periods), -1)
    online = changepoint.online_panel(residuals, spec.detect)
    segments = changepoint.segmentation(residuals, spec.detect)
    known = regimes.load(context.root / REGIMES)
    verdict = detection.judge(online, periods, _events(known, spec), spec.detect, known.digest)
    write_parquet(_table(periods, online, segments.starts), out / "changes.parquet")
    (out / "verdict.json").write_bytes(canonical.encode(json.loads(verdict.model_dump_json())))


def _events(known: regimes.Registry, spec: Spec) -> list[KnownEvent]:
    """The registered events that concern this forecast's channels and regions."""
    return [
        KnownEvent(id=event.id, kind=event.kind, first=event.first, last=event.last)
        for event in known.concerning(spec.detect.channels, spec.detect.regions)
    ]


def _table(periods: list[object], online: Online, starts: tuple[int, ...]) -> pa.Table:
    return pa.table(
        {
            "period": pa.array(periods, pa.date32()),
            "change_probability": pa.array(np.asarray(online.change_probability).tolist(), pa.float64()),
            "map_run_length": pa.array(np.asarray(online.map_run_length).tolist(), pa.int64()),
            "expected_run_length": pa.array(np.asarray(online.expected_run_length).tolist(), pa.float64()),
            "log_predictive": pa.array(np.asarray(online.log_predictive).tolist(), pa.float64()),
            "segment_start": pa.array([t in starts for t in range(len(periods))], pa.bool_()),
        }
    )


STAGE = Stage("detect", reads=(ONE_STEP, SPEC), run=_run, inputs=lambda context: regimes.files(context.root, REGIMES))
