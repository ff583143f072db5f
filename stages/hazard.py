"""hazard: which hazard and threshold detection uses, and what its probabilities are worth, by labelled events.

Calibrated against series simulated around the registry's events, and every real series under data/labelled, each event
held out in turn. Writes hazard/calibration.json, hazard/reliability.parquet (the diagram, out of sample) and
hazard/scores.parquet (one row an event).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
from pydantic import ValidationError

from audit.errors import Malformed
from engine import hazard, labelled
from engine.labelled import Labelled, Observed
from engine.reliability import Bin
from engine.spec import Spec
from engine.table import write_parquet
from registry import regimes
from registry.regimes import Registry
from stages.known_events import known_event
from stages.registered import REGIMES
from stages.stage import RECEIPT, SPEC, Context, Stage, canonical_json

LABELLED = "data/labelled"


def _run(context: Context, out: Path) -> None:
    spec = context.spec()
    known = regimes.load(context.root / REGIMES)
    found = hazard.calibrate(labelled_series(context.root, spec, known), spec.detect, known.digest)
    (out / "calibration.json").write_bytes(canonical_json(found.calibration))
    write_parquet(_reliability(found.mapped, found.uncalibrated), out / "reliability.parquet")
    write_parquet(_table(found.held, _HELD), out / "scores.parquet")


def labelled_series(root: Path, spec: Spec, known: Registry) -> tuple[Labelled, ...]:
    """Everything that the detector of `spec` is calibrated against in the project at `root`."""
    asked = spec.detect.hazard
    events = [known_event(event) for event in known.current]
    simulated = labelled.simulated(events, asked.repeats, asked.periods, spec.seed)
    return labelled.together(simulated, _real(root))


def _files(root: Path) -> tuple[str, ...]:
    """The labelled real series that ship; none where the project has no such folder."""
    return tuple(f"{LABELLED}/{path.name}" for path in sorted((root / LABELLED).glob("*.json")))


def _real(root: Path) -> list[Observed]:
    found = []
    for name in _files(root):
        try:
            found.append(Observed.model_validate_json((root / name).read_bytes()))
        except ValidationError as error:
            raise Malformed("labelled series", name, "the fields of engine.labelled.Observed", str(error)) from error
    return found


_HELD = {
    "group": pa.string(),
    "kind": pa.string(),
    "series": pa.int64(),
    "periods": pa.int64(),
    "labelled": pa.int64(),
    "hazard": pa.float64(),
    "threshold": pa.float64(),
    "log": pa.float64(),
    "brier": pa.float64(),
    "log_uncalibrated": pa.float64(),
    "brier_uncalibrated": pa.float64(),
    "log_base_rate": pa.float64(),
    "brier_base_rate": pa.float64(),
    "changes": pa.int64(),
    "noticed": pa.int64(),
    "false_alarms": pa.int64(),
    "quiet_periods": pa.int64(),
}
_BIN = {
    "low": pa.float64(),
    "high": pa.float64(),
    "cases": pa.int64(),
    "happened": pa.int64(),
    "mean": pa.float64(),
}


def _reliability(mapped: Sequence[Bin], uncalibrated: Sequence[Bin]) -> pa.Table:
    """Both diagrams below one another: the mapped probability, then the detector's own."""
    table = _table([*mapped, *uncalibrated], _BIN)
    names = ["calibrated"] * len(mapped) + ["detector"] * len(uncalibrated)
    return table.add_column(0, pa.field("probability", pa.string()), pa.array(names, pa.string()))


def _table(rows: Sequence[NamedTuple], fields: dict[str, pa.DataType]) -> pa.Table:
    columns = list(zip(*rows, strict=True))
    arrays = [pa.array(list(values), kind) for values, kind in zip(columns, fields.values(), strict=True)]
    return pa.table(arrays, schema=pa.schema(list(fields.items())))


def _inputs(context: Context) -> tuple[str, ...]:
    return (*regimes.files(context.root, REGIMES), *_files(context.root))


STAGE = Stage("hazard", reads=(SPEC, RECEIPT), run=_run, inputs=_inputs)
