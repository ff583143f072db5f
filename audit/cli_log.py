"""`python -m audit show|prove|check-proof`, and `verify` of the evidence at home."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from audit.cli_keys import home_of
from audit.errors import Unavailable
from audit.kinds import registration_of
from audit.note import Checkpoint
from audit.proof import check_proof, proof_bytes, prove
from audit.root import Anchor, load_chain, read_anchor
from audit.run import Run
from audit.signing import PublicKey
from audit.statement import AdmissionStatement, AnyStatement, KeyStatement, Statement, VerdictStatement
from audit.trust import TrustedLog
from audit.trustedentry import TrustedEntry
from audit.trustroot import TrustRoot
from audit.verify import Report, verify


def keys(arguments: argparse.Namespace) -> TrustRoot | None:
    """The keys that --root vouches for; None without it: then the home's own chain does."""
    if arguments.root is None:
        return None
    return load_chain(home_of(arguments).keyring.chain(), _anchor(arguments), "root of trust")


def verify_home(arguments: argparse.Namespace) -> int:
    """Every artifact, envelope and tile of the home, and the workspace's artifacts, re-hashed."""
    root = None if arguments.stored_only else arguments.project
    place = home_of(arguments)
    _print_report(verify(place.reader(keys(arguments)), place.store, root, arguments.what))
    return 0


def show(arguments: argparse.Namespace) -> int:
    """Prints entries, runs, specification numbers and head."""
    with _trusted(arguments) as log:
        for entry in log.entries():
            told = entry.disclosed
            if arguments.forecast is None or (told and told.about.forecast == arguments.forecast):
                print(_line(entry))
        for ref in log.runs:
            if arguments.forecast in (None, ref.forecast):
                print(f"run {ref.id}  {_about(log.run(ref))}")
        print(_head(log.head))
    return 0


def prove_run(arguments: argparse.Namespace) -> int:
    """Writes the proof of the forecast's latest run."""
    with _trusted(arguments) as log:
        runs = log.of(arguments.forecast)
        if not runs:
            raise Unavailable("no sealed run of this forecast", arguments.forecast)
        raw = proof_bytes(prove(log, runs[-1].seq, home_of(arguments).keyring.chain()))
    try:
        arguments.output.write_bytes(raw)
    except OSError as error:
        raise Unavailable(f"cannot write: {error.strerror}", arguments.output) from error
    print(f"entry {runs[-1].seq} (run {runs[-1].id}) proven in {arguments.output}")
    return 0


def check(arguments: argparse.Namespace) -> int:
    """Checks a proof file; needs nothing else but --root."""
    try:
        raw = arguments.file.read_bytes()
    except OSError as error:
        raise Unavailable(f"cannot read: {error.strerror}", arguments.file) from error
    anchor = (
        _anchor(arguments)
        if arguments.root
        else Anchor(home_of(arguments).keyring.chain()[0], "the home's own root of trust")
    )
    proven = check_proof(raw, anchor, str(arguments.file))
    head, record = proven.head, proven.entry.record
    print(f"proven: entry {record.seq}, kind {record.kind}, is in log {head.origin} of size {head.size}")
    for subject in proven.entry.require().statement.subject:
        print(f"{subject.sha256}  {subject.name}")
    return 0


def _anchor(arguments: argparse.Namespace) -> Anchor:
    root: Path = arguments.root
    return read_anchor(root)


@contextmanager
def _trusted(arguments: argparse.Namespace) -> Iterator[TrustedLog]:
    with home_of(arguments).reader(keys(arguments)).trusted() as log:
        yield log


def _print_report(report: Report) -> None:
    for workspace in report.workspaces:
        place = "the latest" if workspace.latest else "not the latest"
        print(f"{workspace.forecast}: artifacts of run {workspace.run.id} ({place}), {workspace.size} bytes")
    print(f"store: artifacts and source of {len(report.runs)} runs, {report.stored} bytes")
    if report.void:
        print(f"void: {report.void} entries, signed by a key in its revoked place")
    print(f"verified: {_head(report.head)}")


def _head(head: Checkpoint) -> str:
    return f"log {head.origin}, size {head.size}, root {head.root.hex()}"


def _line(entry: TrustedEntry) -> str:
    kind = entry.record.kind
    if entry.disclosed is None:
        return f"{entry.seq:>5}  {kind:<9}  withheld"
    told = entry.disclosed
    where = f"{told.about.forecast or '-':<12}  {told.core[:12]}  {_time(told.statement)}"
    return f"{entry.seq:>5}  {kind:<9}  {where}  {_note(told.statement, kind)}{'  (void)' if entry.void else ''}"


def _note(statement: AnyStatement, kind: str) -> str:
    if isinstance(statement, VerdictStatement):
        return f"{statement.predicate.verdict}, run {(statement.predicate.run or 'none')[:12]}"
    if isinstance(statement, AdmissionStatement):
        client = PublicKey(bytes.fromhex(statement.predicate.client)).key_id[:16]
        return f"{statement.predicate.verdict}, run {statement.predicate.run[:12]}, by the client {client}"
    if isinstance(statement, KeyStatement):
        change = statement.predicate
        return f"{change.action}: key {change.key[:12]} void from size {change.void_from}, root {change.root_version}"
    if kind == "register":
        return f"specification number {registration_of(statement, 'entry').number}"
    return statement.predicate.build_definition.external_parameters.stage


def _time(statement: AnyStatement) -> str:
    if isinstance(statement, Statement):
        facts = statement.predicate.run_details.metadata
    else:
        facts = statement.predicate.metadata
    return facts.finished_on if facts else f"{'-':<20}"


def _about(run: Run) -> str:
    state = "dirty" if run.dirty else "clean"
    source = f"commit {run.commit[:12]} ({state})" if run.commit else "no git"
    tree = f"source {run.source_tree[:12]}, {source}"
    return f"{run.forecast}, entry {run.seq}, {len(run.artifacts)} artifacts, {tree}"
