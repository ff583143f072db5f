"""backtest: forecasts from past origins with the model that is published, and what then came.

Depends on the registration receipt: nothing is fitted before the specification is logged. Writes
backtest/forecasts.parquet, backtest/one_step.parquet (standardised one-step residuals), backtest/windows.parquet.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from engine import backtest
from engine.backtest import Window
from engine.origins import origins
from engine.spec import Spec
from engine.table import Panel, write_parquet
from stages.inputs import CHOICES, TABLE, model_spec, panel
from stages.stage import RECEIPT, SPEC, Context, Stage


class _Task(NamedTuple):
    spec: Spec
    panel: Panel
    origin: int


def _window(task: _Task) -> Window:
    return backtest.run_window(task.spec, task.panel, task.origin)


def _run(context: Context, out: Path) -> None:
    spec = model_spec(context)
    data = panel(context)
    tasks = [_Task(spec, data, origin) for origin in origins(spec, len(data.periods))]
    windows = context.workers.map(f"{spec.name}: backtest windows", _window, tasks)
    write_parquet(backtest.forecasts_table(spec, data, windows), out / "forecasts.parquet")
    write_parquet(backtest.one_step_table(data, windows), out / "one_step.parquet")
    write_parquet(backtest.diagnostics_table(windows), out / "windows.parquet")


STAGE = Stage("backtest", reads=(TABLE, CHOICES, SPEC, RECEIPT), run=_run)
