"""A forecast, through all stages as they are, with everything that varies held fixed.

The clock, the machine's facts, its fingerprint and the key are constants here, so that even the receipts and the signed
head of the log (Ed25519 is deterministic) are the same bytes on every machine that may replay.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from time import monotonic

from audit.digest import sha256
from audit.home import Home
from audit.signing import SigningKey
from audit.source import source_tree
from audit.statement import Metadata
from engine import precision
from golden.case import How
from golden.say import say
from stages.progress import Progress
from stages.stage import STAGES, Context, load, run, stamp
from stages.workers import Workers

# Published here, so it signs nothing that anyone should believe.
KEY = SigningKey.from_seed(bytes.fromhex(sha256(b"noptik golden cases: a published test key")))
MOMENT = datetime(2026, 1, 1, tzinfo=UTC)
CHECKPOINT = "checkpoint"


def produce(root: Path, how: How) -> Path:
    """Runs the one forecast of the project at `root`; beside its artifacts, `checkpoint` is the log's signed head."""
    made = context(root, how)
    for name in STAGES:
        start = monotonic()
        run(load(name), made)
        say(f"{made.forecast}: {name}", monotonic() - start)
    with Home(made.home).reader().trusted() as log:
        made.artifact(CHECKPOINT).write_bytes(log.note)
    return made.artifact(CHECKPOINT).parent


def context(root: Path, how: How) -> Context:
    """What stages run under in the project at `root`, everything that varies held fixed."""
    home = root.with_name(f"{root.name}-home")
    return Context(
        root=root,
        home=home,
        forecast=root.name,
        workers=Workers(how.workers, how.cache, Progress()),
        fingerprint_sha256=_committed_fingerprint(),
        source=source_tree(root),
        key=KEY,
        clock=lambda: MOMENT,
        metadata=_facts,
    )


def _committed_fingerprint() -> str:
    """The digest that a machine which may replay finds; whether this one does is `noptik doctor`'s question."""
    from engine import fingerprint

    text = Path(precision.__file__).with_name("fingerprint.json").read_text("utf-8")
    return fingerprint.from_json(precision.PROFILE, text).sha256


def _facts(started: datetime, finished: datetime) -> Metadata:
    return Metadata(
        started_on=stamp(started), finished_on=stamp(finished), host="golden", cpu="any", libc="any", python="any"
    )
