"""What several stages read: the normalised table as arrays, the verdict of detection."""

from __future__ import annotations

import json

from engine.choices import Choices, chosen, kept_panel
from engine.reaction import Reaction, reaction
from engine.spec import Spec
from engine.table import Panel, read_parquet, schema_of, to_panel
from engine.verdict import Verdict
from stages.stage import Context

INGESTED = "ingest/table.parquet"  # the client's table alone
TABLE = "features/table.parquet"  # with the covariates that come of creatives
CHOICES = "prepare/choices.json"
VERDICT = "detect/verdict.json"
ORIGINS = "detect/origins.json"


def table_panel(context: Context) -> Panel:
    """The client's data as arrays, as registered, features of creatives among the controls."""
    data = context.spec().data
    return to_panel(read_parquet(context.artifact(TABLE), schema_of(data)), data)


def model_spec(context: Context) -> Spec:
    """The specification of the model that is fitted: the registered one, with what the checks before it decided."""
    return chosen(context.spec(), _choices(context))


def panel(context: Context) -> Panel:
    """What the model that is fitted sees of the client's data, as arrays."""
    return kept_panel(table_panel(context), context.spec(), _choices(context))


def _choices(context: Context) -> Choices:
    return Choices.model_validate_json(context.artifact(CHOICES).read_bytes())


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
