"""What several stages read: the normalised table as arrays, the verdict of detection."""

from __future__ import annotations

from engine.detection import Verdict
from engine.spec import Spec
from engine.table import Panel, read_parquet, schema_of, to_panel
from stages.stage import Context

TABLE = "ingest/table.parquet"
VERDICT = "detect/verdict.json"


def panel(context: Context, spec: Spec) -> Panel:
    """The client's data as arrays."""
    return to_panel(read_parquet(context.artifact(TABLE), schema_of(spec.data)), spec.data)


def verdict(context: Context) -> Verdict:
    """What detection found, and what follows from it."""
    return Verdict.model_validate_json(context.artifact(VERDICT).read_bytes())
