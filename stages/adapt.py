"""adapt: backtest windows after a break, once more with what the verdict known at their origin asks for.

Writes adapt/forecasts.parquet, the backtest's table with those windows in the place of the first ones, and
adapt/windows.parquet, how well they sampled. Detection looks at residuals of the model as declared, so one pass after
it is enough; nothing later than a window's origin decides what is asked of it.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from engine import backtest
from engine.backtest import Window
from engine.reaction import Reaction
from engine.spec import Spec
from engine.table import Panel, read_parquet, write_parquet
from stages.inputs import CHOICES, ORIGINS, TABLE, asked, model_spec, origin_verdicts, panel
from stages.stage import SPEC, Context, Stage

FORECASTS = "backtest/forecasts.parquet"


class _Task(NamedTuple):
    spec: Spec
    panel: Panel
    origin: int
    asked: Reaction


def _window(task: _Task) -> Window:
    return backtest.run_window(task.spec, task.panel, task.origin, task.asked)


def _run(context: Context, out: Path) -> None:
    spec = model_spec(context)
    data = panel(context)
    tasks = [
        _Task(spec, data, origin, asked(spec, data, verdict, origin))
        for origin, verdict in origin_verdicts(context).items()
    ]
    windows = context.workers.map(f"{spec.name}: windows after a break", _window, tasks) if tasks else []
    first = read_parquet(context.artifact(FORECASTS))
    write_parquet(_replaced(first, backtest.forecasts_table(spec, data, windows)), out / "forecasts.parquet")
    write_parquet(backtest.diagnostics_table(windows), out / "windows.parquet")


def _replaced(first: pa.Table, again: pa.Table) -> pa.Table:
    """`first` with the origins of `again` in its own place, in the order of origins."""
    kept = first.filter(pc.invert(pc.is_in(first["origin"], again["origin"].combine_chunks())))
    joined = pa.concat_tables([kept, again])
    order = sorted(range(joined.num_rows), key=joined.column("origin").to_pylist().__getitem__)
    return joined.take(pa.array(order, pa.int64())).combine_chunks()


STAGE = Stage("adapt", reads=(TABLE, CHOICES, FORECASTS, ORIGINS, SPEC), run=_run)
