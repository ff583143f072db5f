"""register: the specification, signed and logged before anything is fitted, with the holdout committed to by digest.

Writes register/spec.json (canonical JSON), register/private.json (the client's own regime events; none: an empty
array), register/table.json (the digest of the table with its covariates) and register/receipt.json (its place in the
log). A second specification for the same data is allowed and gets
number n. A specification already logged gives its first receipt again.
"""

from __future__ import annotations

from pathlib import Path

from audit import canonical
from audit.digest import sha256
from audit.home import Home
from audit.receipt import receipt_bytes
from audit.registration import register_spec
from engine.errors import SpecError
from engine.origins import holdout_origins
from engine.spec import parse_spec
from engine.table import ipc_bytes, read_parquet, schema_of, to_panel
from stages.inputs import INGESTED, TABLE
from stages.registered import PRIVATE, REGIMES, private_events
from stages.stage import BUILDER, SPEC, Context, Stage, internal

COMMITTED = "register/table.json"


def _run(context: Context, out: Path) -> None:
    raw = context.declared()
    spec = parse_spec(raw)
    # the client's own numbers: a specification with other features is another specification for the same data
    table = read_parquet(context.artifact(INGESTED), schema_of(spec.data.of_table))
    featured = read_parquet(context.artifact(TABLE), schema_of(spec.data))
    panel = to_panel(featured, spec.data)
    time = len(panel.periods)
    needed = spec.backtest.first_origin + spec.backtest.horizon + spec.holdout.periods
    if time < needed:
        raise SpecError(
            f"{spec.name}: expected at least first_origin + horizon + holdout = {needed} periods, found {time}"
        )
    first = panel.periods[holdout_origins(spec, time)[0]]
    kept = [period >= first for period in table.column("period").to_pylist()]
    (out / "spec.json").write_bytes(raw)
    (out / "private.json").write_bytes(private_events(context.root, spec.detect.registered.private))
    # what creatives add to the table is committed to as well: other covariates are another specification
    (out / "table.json").write_bytes(canonical.encode({"table_sha256": sha256(ipc_bytes(featured))}))
    now = context.clock()
    home = Home(context.home, context.database, context.passphrase)
    receipt = register_spec(
        home.writer(context.key),
        home.store,
        out / "spec.json",
        context.artifact_name(SPEC),
        spec.name,
        sha256(ipc_bytes(table)),
        sha256(ipc_bytes(table.filter(kept))),
        internal(context),
        BUILDER,
        context.metadata(now, now),
        beside=[
            (out / "private.json", context.artifact_name(PRIVATE)),
            (out / "table.json", context.artifact_name(COMMITTED)),
        ],
    )
    (out / "receipt.json").write_bytes(receipt_bytes(receipt))


def _inputs(context: Context) -> tuple[str, ...]:
    private = parse_spec(context.declared()).detect.registered.private
    return () if private is None else (private.folder, REGIMES)


STAGE = Stage(
    "register",
    reads=(INGESTED, TABLE),
    run=_run,
    inputs=_inputs,
    stated=False,  # the registration itself is its statement
)
