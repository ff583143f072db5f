"""prepare: what must be known before the fit, checked as declared, on periods before the first past forecast.

Writes prepare/choices.json (every KPSS test, whether the declared trend took the model's place, which controls the
model goes without), prepare/findings.parquet (what the data cannot tell, over all periods, since it decides nothing:
severity, subject, what, expected, found), prepare/components.parquet and strengths.parquet (the outcomes taken apart,
where that was declared to follow) and prepare/screening.parquet (every control: control, kept, reason). Tables of what
was not asked for are empty. National media under effects by location are refused here.
"""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from engine import national
from engine.before import before_fit
from engine.choices import chosen, kept_panel
from engine.decomposition import components_table, strengths_table
from engine.finding import findings_table
from engine.prepared import prepare
from engine.screening import Verdict
from engine.table import write_parquet
from stages.inputs import TABLE, table_panel
from stages.stage import RECEIPT, SPEC, Context, Stage, canonical_json

SCREENING = pa.schema(
    [
        pa.field("control", pa.string(), nullable=False),
        pa.field("kept", pa.bool_(), nullable=False),
        pa.field("reason", pa.string(), nullable=False),
    ]
)


def _run(context: Context, out: Path) -> None:
    spec, data = context.spec(), table_panel(context)
    national.require_identified(spec.data.media, spec.model.media.pooling, data)
    found = prepare(spec, data)
    (out / "choices.json").write_bytes(canonical_json(found.choices))
    told = before_fit(chosen(spec, found.choices), kept_panel(data, spec, found.choices))
    write_parquet(findings_table(told), out / "findings.parquet")
    write_parquet(components_table(found.components), out / "components.parquet")
    write_parquet(strengths_table(found.components), out / "strengths.parquet")
    write_parquet(_screening(() if found.screened is None else found.screened.verdicts), out / "screening.parquet")


def _screening(verdicts: tuple[Verdict, ...]) -> pa.Table:
    rows = {
        "control": [verdict.control for verdict in verdicts],
        "kept": [verdict.kept for verdict in verdicts],
        "reason": [verdict.reason for verdict in verdicts],
    }
    return pa.table(rows, schema=SCREENING)


STAGE = Stage("prepare", reads=(TABLE, SPEC, RECEIPT), run=_run)
