"""The changes of a whole raw series, in hindsight: made ready for engine/changepoint.py, then segmented.

A person who marks changes in a plot sees a series scaled to the page, however long it is and whatever its unit. So
here each location is standardised, and the prior knows no period, only the whole: so many changes expected of a
series, so much rise of a line over all of it.

Raw series wander, and a wandering that lasts a few periods is no change. Each location's AR(1) coefficient phi is
estimated from its first differences d, which a change of level disturbs in one place only and a slope moves to
another median: for AR(1) noise their correlation at lag 1 is -(1 - phi) / 2. It is taken out up to a declared limit:

    ready[t] = (x[t] - phi x[t - 1]) / (1 - phi),

which keeps levels as they are, and makes the noise as large as dependent noise weighs.
"""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Iterable, Sequence
from typing import Annotated

import numpy as np
import numpy.typing as npt
from pydantic import Field

from engine.changepoint import Segmentation, segmentation
from engine.declared import Frozen, NonNegative, Positive
from engine.spec_detect import Robust, Segments

Floats = npt.NDArray[np.float64]

CLIP = 2.5  # robust sds beyond which a difference counts as one of that size
FEWEST = 6  # differences from which a correlation is estimated
_LARGEST_HAZARD = 0.4


class Hindsight(Frozen):
    """How the changes of a raw series are sought: one declaration for series of any length and unit."""

    changes: Positive  # expected of a series; the hazard is that over its length
    rise: Positive  # prior sd of what a segment's line would rise over the whole series, in its noise sd
    autocorrelation: Annotated[float, Field(ge=0, lt=1)]  # largest phi taken out; 0 takes out none
    mean_precision: Positive  # these as in Segments, of a series whose sd is 1
    shape: Positive
    rate: Positive
    linear_weight: NonNegative
    robust: Robust


def changes(series: Floats, how: Hindsight) -> Segmentation:
    """The most probable starts of a raw series (time, location), NaN missing; its locations change together.

    Nothing is forgotten: a segment may be as long as the series. Errors as `segmentation`.
    """
    length = len(series)
    segments = Segments(
        mean_precision=how.mean_precision,
        shape=how.shape,
        rate=how.rate,
        slope_scale=how.rise / max(length, 1),
        linear_weight=how.linear_weight,
        max_run_length=max(length, 1),
        settled=0,
        robust=how.robust,
    )
    columns = [ready(column.tolist(), how.autocorrelation) for column in series.T]
    panel = np.array(columns, dtype=np.float64).T.reshape(series.shape)
    return segmentation(panel, segments, min(how.changes / max(length, 1), _LARGEST_HAZARD))


def ready(column: Sequence[float], limit: float) -> list[float]:
    """A location's series with mean 0 and sd 1, then without its autocorrelation up to `limit`.

    NaN where the value or, if any phi is taken out, the one before it is missing. A constant series becomes 0.
    """
    seen = [x for x in column if not math.isnan(x)]
    if not seen:
        return list(column)
    mean = math.fsum(seen) / len(seen)
    sd = math.sqrt(math.fsum((x - mean) ** 2 for x in seen) / len(seen))
    x = [(value - mean) / (sd or 1.0) for value in column]
    phi = min(autocorrelation(x), limit)
    if phi == 0.0:
        return x
    return [x[0], *((now - phi * before) / (1.0 - phi) for before, now in itertools.pairwise(x))]


def autocorrelation(x: Sequence[float]) -> float:
    """phi >= 0 of AR(1) noise around levels and lines that change now and then; NaN is missing.

    1 + 2 r, r the lag-1 correlation of the differences about their median, each clipped at CLIP robust sds.
    0 from fewer than FEWEST differences. Above 1 for what is smoother than any AR(1) noise.
    """
    d = [after - before for before, after in itertools.pairwise(x)]
    known = [value for value in d if not math.isnan(value)]
    if len(known) < FEWEST:
        return 0.0
    middle = statistics.median(known)
    spread = 1.4826 * statistics.median(abs(value - middle) for value in known)
    top = CLIP * (spread or 1e-12)  # more than half of all differences are one: signs alone count
    clipped = [value if math.isnan(value) else min(max(value - middle, -top), top) for value in d]
    together = _sum(before * after for before, after in itertools.pairwise(clipped))
    power = _sum(value * value for value in clipped)
    return max(0.0, 1.0 + 2.0 * together / power) if power > 0.0 else 0.0


def _sum(terms: Iterable[float]) -> float:
    return math.fsum(term for term in terms if not math.isnan(term))
