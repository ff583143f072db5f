"""Which window's one-step residual of a period detection looks at.

Every window predicts all later periods one step ahead, with the parameters it had at its origin. A window that has
seen a new level for some periods has learned a part of it, and its residuals show less of it; one that has seen all of
it shows nothing. So that what is new keeps looking as new as it is,

- a period is looked at by the last window whose origin lies `lag` periods before it (the first, where there is none),
- from the start of the first change that lasts on, by the last window that knew nothing of it, and by no later one:
  whatever changes after that is then measured from one place.

Worked example: origins 100, 102, .. 120, lag 8, a change at 111. Periods 110 and 111 are looked at by the windows of
102 and 110, and every period after 111 by that of 110.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from engine.changepoint import Alarming, Online, online_panel
from engine.detection import Heard
from engine.spec_detect import Detect
from engine.verdict import Verdict

Floats = npt.NDArray[np.float64]

ROUNDS = 12  # of looking again; each finds one more change, and a year has no dozen


@dataclass(frozen=True)
class Looks:
    """Residuals of every window, each (time - origin, location); origins ascending, periods from the first on."""

    origins: tuple[int, ...]
    residuals: tuple[Floats, ...]
    periods: tuple[date, ...]

    def stream(self, lag: int, changes: Sequence[int]) -> Floats:
        """The residuals looked at, (time, location), given the starts of changes that last, as indices into periods."""
        first = self.origins[0]
        rows = []
        for t in range(len(self.periods)):
            since = min((start for start in changes if start <= t), default=None)
            latest = first + (t - lag if since is None else since)
            window = max((k for k, origin in enumerate(self.origins) if origin <= latest), default=0)
            rows.append(self.residuals[window][first + t - self.origins[window]])
        return np.asarray(rows)


def read(table: pa.Table) -> Looks:
    """The residuals in the backtest's one-step table (`engine.backtest.one_step_table`)."""
    origin, period = (table.column(name).to_pylist() for name in ("origin", "period"))
    locations = len(set(table.column("location").to_pylist()))
    values = table.column("residual").to_numpy(zero_copy_only=False)
    origins = sorted(set(origin))
    parts = [values[[i for i, each in enumerate(origin) if each == known]].reshape(-1, locations) for known in origins]
    return Looks(tuple(origins), tuple(parts), tuple(sorted(set(period))))


def judged(
    looks: Looks, detect: Detect, alarming: Alarming, judge: Callable[[Heard], Verdict]
) -> tuple[Verdict, Online, Floats]:
    """The verdict on the stream that fits it, what the detector said of that stream, and the stream.

    judge: gives the verdict on what was heard, from as much of it as was known. Each change that lasts has the stream
    looked at again with it; the rounds end when no new one is found, or after ROUNDS.
    """
    changes: tuple[int, ...] = ()
    for _ in range(ROUNDS):
        residuals = looks.stream(detect.lag, changes)
        online = online_panel(residuals, detect.segments, alarming)
        verdict = judge(Heard(online, residuals, looks.periods))
        found = [f.start for f in verdict.findings if f.lasting and f.cause != "nothing"]
        new = [start for start in map(looks.periods.index, found) if all(start > known for known in changes)]
        if not new:
            break
        changes = (*changes, new[0])
    return verdict, online, residuals
