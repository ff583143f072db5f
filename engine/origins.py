"""From where forecasts are made: origins count the periods that are known."""

from __future__ import annotations

from engine.spec import Spec


def origins(spec: Spec, time: int) -> tuple[int, ...]:
    """Every origin, ascending: each step from the first that leaves a whole horizon, and those of the holdout.

    time: periods in the panel. Precondition: first_origin + horizon <= time.
    """
    horizon = spec.backtest.horizon
    regular = range(spec.backtest.first_origin, time - horizon + 1, spec.backtest.step)
    return tuple(sorted({*regular, *holdout_origins(spec, time)}))


def holdout_origins(spec: Spec, time: int) -> tuple[int, ...]:
    """Origins whose horizons tile the holdout without overlap."""
    return tuple(range(time - spec.holdout.periods, time, spec.backtest.horizon))
