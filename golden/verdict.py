"""Detection alone: a fixed series of residuals judged against the registry of regime events that ships.

An edit of registry/regimes that changes what an alarm means, or a change of the detector, changes these bytes.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from pathlib import Path

from golden.case import How
from registry import regimes
from stages.stage import canonical_json

RESIDUALS = "residuals.csv"  # week, residual in thousandths
DETECT = "detect.json"  # as `detect` of a specification
CALIBRATED = "calibrated.json"  # hazard, threshold and map, fixed: the calibration itself is in the other cases


def produce(root: Path, _how: How) -> Path:
    """Judges the series of the project at `root`: leaves verdict.json, as the detect stage writes it."""
    import numpy as np

    from engine import changepoint, detection
    from engine.changepoint import Alarming
    from engine.hazard import Calibrated
    from engine.spec import period_dates
    from engine.spec_detect import Detect
    from stages.known_events import known_event

    law = Detect.model_validate_json((root / DETECT).read_bytes())
    calibrated = Calibrated.model_validate_json((root / CALIBRATED).read_bytes())
    (start, *_), numbers = zip(*_rows(root / RESIDUALS), strict=True)
    periods = period_dates(start, 7, len(numbers))
    residuals = np.asarray(numbers)[:, None]
    known = regimes.load(regimes.SHIPPED)
    events = [known_event(event) for event in known.concerning(law.registered.channels, law.registered.regions)]
    alarming = Alarming(calibrated.hazard, law.window, calibrated.threshold)
    heard = detection.Heard(changepoint.online_panel(residuals, law.segments, alarming), residuals, periods)
    verdict = detection.judge(heard, len(periods), events, law, calibrated, known.digest)
    out = root / "found"
    out.mkdir()
    (out / "verdict.json").write_bytes(canonical_json(verdict))
    return out


def _rows(path: Path) -> Iterator[tuple[date, float]]:
    for line in path.read_text("ascii").splitlines()[1:]:
        week, thousandths = line.split(",")
        yield date.fromisoformat(week), int(thousandths) / 1000
