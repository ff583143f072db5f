"""seal: the run's artifacts and source into the store, its statements signed into the log, one receipt out.

Reads every statement and artifact of the run; writes seal/receipt.json. A run already sealed gives its first receipt
again, so a repeated or restored stage makes no false entry.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import TypeAdapter

from audit import model
from audit.digest import digest_path
from audit.errors import Unavailable
from audit.home import Home
from audit.receipt import parse_receipt, receipt_bytes
from audit.resource import Subject
from audit.sealing import StageRun, seal_run
from audit.source import SourceTree, source_tree
from audit.statement import Detail, Metadata, Verdict, VerdictStatement
from engine.gates import Diagnostics
from stages.stage import BUILDER, RECEIPT, SPEC, STAGES, Context, Stage, internal

STATED = tuple(name for name in STAGES if name not in ("register", "seal"))
GATES = "fit/gates.json"
_METADATA = TypeAdapter(Metadata)


def _run(context: Context, out: Path) -> None:
    source = context.source or source_tree(context.root)
    _require_data(context, source)
    home = Home(context.home, context.database, context.passphrase)
    now = context.clock()
    sealed = seal_run(
        home.writer(context.key),
        home.store,
        context.root,
        context.forecast,
        [_stage_run(context, name) for name in STATED],
        source,
        parse_receipt(context.artifact(RECEIPT).read_bytes()),
        internal(context),
        BUILDER,
        context.metadata(now, now),
        _verdicts(context),
    )
    (out / "receipt.json").write_bytes(receipt_bytes(sealed.receipt))


def _stage_run(context: Context, name: str) -> StageRun:
    core = context.artifact(f"statements/{name}.json").read_bytes()
    facts = model.from_bytes(_METADATA, context.artifact(f"run/{name}.json").read_bytes(), f"run/{name}.json")
    return StageRun(core, facts)


def _verdicts(context: Context) -> tuple[VerdictStatement, ...]:
    """A fit that failed a gate is on record as such, with every gate it failed."""
    gates = Diagnostics.model_validate_json(context.artifact(GATES).read_bytes())
    failed = [gate for gate in gates.gates if not gate.passed]
    if not failed:
        return ()
    name = context.artifact_name(GATES)
    verdict = Verdict(
        verdict="failed_gate",
        forecast=context.forecast,
        stage="fit",
        details=tuple(
            Detail(name=gate.name, expected=f"{gate.rule} {gate.threshold:g}", found=f"{gate.value!r} {gate.where}")
            for gate in failed
        ),
    )
    subject = Subject.of(name, digest_path(context.artifact(GATES)))
    return (VerdictStatement(subject=(subject,), predicate=verdict),)


def _require_data(context: Context, source: SourceTree) -> None:
    """A replay has the recorded source tree and nothing else, so the data must be in it."""
    path = context.spec().data.path
    if context.source is None and path not in {file.path for file in source.files}:
        raise Unavailable(
            "the data file is not tracked, so no replay could have it: `git add` it",
            path,
            "a tracked file",
            "untracked",
        )


STAGE = Stage(
    "seal",
    reads=(*(f"statements/{name}.json" for name in STATED), *STATED, SPEC, RECEIPT),
    run=_run,
    stated=False,
)
