"""Past forecasts of one forecaster beside what came."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
import pyarrow as pa

from engine.levels import bounds as interval_bounds
from engine.levels import probability_name

Forecaster = Literal["noptik", "seasonal_naive", "last_value"]
FORECASTERS: tuple[Forecaster, ...] = ("noptik", "seasonal_naive", "last_value")


class Cases(NamedTuple):
    """Past forecasts and outcomes of one forecaster, n of them; bounds as (level, n), in the KPI's unit."""

    origin: np.ndarray  # (n,) int
    horizon: np.ndarray  # (n,) int
    location: tuple[str, ...]  # (n,)
    outcome: np.ndarray  # (n,)
    scale: np.ndarray  # (n,)
    point: np.ndarray  # (n,) the point forecast
    median: np.ndarray  # (n,)
    lower: np.ndarray  # (level, n)
    upper: np.ndarray  # (level, n)


def read(table: pa.Table, forecaster: Forecaster, levels: Sequence[float]) -> Cases:
    """The cases in a backtest table; a naive forecaster's bounds are its point forecast."""

    def column(name: str) -> np.ndarray:
        return table.column(name).to_numpy(zero_copy_only=False)

    def bound(level: float, side: int) -> np.ndarray:
        return column(forecaster if forecaster != "noptik" else "q" + probability_name(interval_bounds(level)[side]))

    return Cases(
        origin=column("origin"),
        horizon=column("horizon"),
        location=tuple(table.column("location").to_pylist()),
        outcome=column("outcome"),
        scale=column("scale"),
        point=column("point" if forecaster == "noptik" else forecaster),
        median=column("q0.5") if forecaster == "noptik" else column(forecaster),
        lower=np.stack([bound(level, 0) for level in levels]),
        upper=np.stack([bound(level, 1) for level in levels]),
    )


def select(past: Cases, rows: np.ndarray) -> Cases:
    """The cases at `rows` (indices)."""
    return Cases(
        past.origin[rows], past.horizon[rows], tuple(past.location[int(i)] for i in rows), past.outcome[rows],
        past.scale[rows], past.point[rows], past.median[rows], past.lower[:, rows], past.upper[:, rows],
    )  # fmt: skip


def joined(parts: Sequence[Cases]) -> Cases:
    """The cases of all `parts`, at least one, end to end."""

    def end_to_end(name: str, axis: int = 0) -> np.ndarray:
        return np.concatenate([getattr(part, name) for part in parts], axis=axis)

    return Cases(
        origin=end_to_end("origin"),
        horizon=end_to_end("horizon"),
        location=tuple(name for part in parts for name in part.location),
        outcome=end_to_end("outcome"),
        scale=end_to_end("scale"),
        point=end_to_end("point"),
        median=end_to_end("median"),
        lower=end_to_end("lower", axis=1),
        upper=end_to_end("upper", axis=1),
    )
