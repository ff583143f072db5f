"""What several stages read: the normalised table as arrays, the verdict of detection."""

from __future__ import annotations

import json

from engine.reaction import Reaction, reaction
from engine.spec import Spec
from engine.table import Panel, read_parquet, schema_of, to_panel
from engine.verdict import Verdict
from stages.stage import Context

TABLE = "ingest/table.parquet"
VERDICT = "detect/verdict.json"
ORIGINS = "detect/origins.json"


def panel(context: Context, spec: Spec) -> Panel:
    """The client's data as arrays."""
    return to_panel(read_parquet(context.artifact(TABLE), schema_of(spec.data)), spec.data)


def verdict(context: Context) -> Verdict:
    """What detection found, and what follows from it."""
    return Verdict.model_validate_json(context.artifact(VERDICT).read_bytes())


def origin_verdicts(context: Context) -> dict[int, Verdict]:
    """What was known at each backtest origin from which something follows, by origin, ascending."""
    rows = json.loads(context.artifact(ORIGINS).read_bytes())
    return {row["origin"]: Verdict.model_validate_json(json.dumps(row["verdict"])) for row in rows}


def asked(spec: Spec, data: Panel, found: Verdict, origin: int) -> Reaction:
    """What the verdict `found`, known at `origin`, asks of a fit to the periods before it."""
    return reaction(spec.detect.consequences, found, data.periods, origin, spec.backtest.horizon)
