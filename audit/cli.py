"""`python -m audit`: verify, replay, show and prove, for people. Owner of argv and clock here."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from audit.errors import AuditError, Unavailable
from audit.home import Home, origin
from audit.kinds import registration_of
from audit.note import Verifier
from audit.proof import check_proof, proof_bytes, prove
from audit.replay import replay
from audit.run import Run
from audit.signing import PublicKey, load_public
from audit.statement import Statement, VerdictStatement
from audit.trust import TrustedEntry, TrustedLog, trust
from audit.verify import Report, verify

EXIT_CODES = """\
exit codes:
  0  verified; proven; or replayed: identical
  1  tampered: the first thing that is wrong is named; or replayed: different
  2  usage, or unavailable: nothing is known to be wrong, but it could not be checked
  3  replayed: within tolerance
"""


def main(argv: Sequence[str] | None = None, prog: str = "python -m audit") -> int:
    """What the command line asks for is done; the exit code. Errors are one line on standard error."""
    arguments = _parser(prog).parse_args(argv)
    command: Callable[[argparse.Namespace], int] = arguments.command
    try:
        return command(arguments)
    except AuditError as error:
        print(f"{prog}: {type(error).__name__}: {error}", file=sys.stderr)
        return error.exit_code


def _parser(prog: str) -> argparse.ArgumentParser:
    places = argparse.ArgumentParser(add_help=False)
    places.add_argument("--root", type=Path, default=Path(), help="the project's folder (default: here)")
    places.add_argument("--home", type=Path, help="ledger, keys and store (default: $NOPTIK_HOME or ROOT/.noptik)")
    places.add_argument("--key", type=Path, help="the log's public key, PEM (default: the one in HOME/keys)")
    parser = argparse.ArgumentParser(
        prog=prog,
        description="Check, replay and prove forecasts by their signed record.",
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    def add(name: str, command: Callable[[argparse.Namespace], int], text: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(
            name,
            parents=[places],
            help=text,
            description=text[0].upper() + text[1:] + ".",
            epilog=EXIT_CODES,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        sub.set_defaults(command=command)
        return sub

    check = add("verify", _verify, "re-hash every artifact, envelope, the whole tree and the checkpoint")
    check.add_argument("forecast", nargs="?", metavar="FORECAST", help="only this forecast's artifacts (default: all)")
    check.add_argument("--stored-only", action="store_true", help="do not check the workspace's artifacts/ folder")
    again = add("replay", _replay, "run a sealed run again from the record alone, and compare every artifact")
    again.add_argument("forecast", metavar="FORECAST")
    again.add_argument("--keep", type=Path, metavar="DIR", help="replay in this new folder and leave it there")
    again.add_argument(
        "--python",
        metavar="COMMAND",
        help="interpreter to replay with, such as an emulator and its python (default: this one)",
    )
    listing = add("show", _show, "list the log's entries, runs, specification numbers and head")
    listing.add_argument("forecast", nargs="?", metavar="FORECAST")
    proving = add("prove", _prove, "write the proof that the latest sealed run of a forecast is in the log")
    proving.add_argument("forecast", metavar="FORECAST")
    proving.add_argument("-o", "--output", type=Path, required=True, metavar="FILE", help="a .tlog-proof file")
    checking = add("check-proof", _check_proof, "check a proof file offline: needs the file and --key, nothing else")
    checking.add_argument("file", type=Path, metavar="FILE")
    add("key", _key, "print the log's name, the public key and its fingerprint")
    return parser


def _verify(arguments: argparse.Namespace) -> int:
    key = _public(arguments)
    root = None if arguments.stored_only else arguments.root
    home = _home(arguments)
    _print_report(verify(home.reader(key), key, home.store, root, arguments.forecast))
    return 0


def _replay(arguments: argparse.Namespace) -> int:
    home, key = _home(arguments), _public(arguments)
    home.reader(key)  # before a key could be made on first use: without a ledger there is nothing to replay
    with _workdir(arguments.keep) as workdir:
        report = replay(
            arguments.forecast, home.writer(), home.store, key, workdir, _now, _interpreter(arguments.python)
        )
    for detail in report.verdict.details:
        if detail.expected != detail.found:
            print(f"{detail.name}: expected {detail.expected}, found {detail.found}")
    count = len(report.verdict.details)
    print(f"{arguments.forecast}: {report.verdict.verdict}, {count} artifacts of run {report.run.id}")
    print(f"verdict logged as entry {report.receipt.seq}")
    return report.exit_code


def _interpreter(command: str | None) -> tuple[str, ...]:
    return (sys.executable,) if command is None else tuple(shlex.split(command))


def _show(arguments: argparse.Namespace) -> int:
    log = _trusted(arguments)
    for entry in log.entries:
        if arguments.forecast in (None, entry.row.forecast):
            print(_line(entry))
    for run in log.runs:
        if arguments.forecast in (None, run.forecast):
            print(f"run {run.id}  {_about(run)}")
    print(_head(log))
    return 0


def _prove(arguments: argparse.Namespace) -> int:
    log = _trusted(arguments)
    runs = log.of(arguments.forecast)
    if not runs:
        raise Unavailable("no sealed run of this forecast", arguments.forecast)
    try:
        arguments.output.write_bytes(proof_bytes(prove(log, runs[-1].seq)))
    except OSError as error:
        raise Unavailable(f"cannot write: {error.strerror}", arguments.output) from error
    print(f"entry {runs[-1].seq} (run {runs[-1].id}) proven in {arguments.output}")
    return 0


def _check_proof(arguments: argparse.Namespace) -> int:
    key = _public(arguments)
    try:
        raw = arguments.file.read_bytes()
    except OSError as error:
        raise Unavailable(f"cannot read: {error.strerror}", arguments.file) from error
    proven = check_proof(raw, Verifier(origin(key), key), str(arguments.file))
    head, record = proven.head, proven.record
    print(f"proven: entry {record.seq}, kind {record.kind}, is in log {head.origin} of size {head.size}")
    for subject in proven.statement.subject:
        print(f"{subject.sha256}  {subject.name}")
    return 0


def _key(arguments: argparse.Namespace) -> int:
    key = _public(arguments)
    print(f"log          {origin(key)}\nfingerprint  SHA256:{key.key_id}")
    print(key.to_pem().decode(), end="")
    return 0


def _home(arguments: argparse.Namespace) -> Home:
    return Home(arguments.home or Path(os.environ.get("NOPTIK_HOME") or arguments.root / ".noptik"))


def _public(arguments: argparse.Namespace) -> PublicKey:
    return load_public(arguments.key) if arguments.key else _home(arguments).public_key()


def _trusted(arguments: argparse.Namespace) -> TrustedLog:
    key = _public(arguments)
    ledger = _home(arguments).reader(key)
    return trust(ledger.snapshot(), Verifier(ledger.origin, key), str(ledger.path))


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@contextmanager
def _workdir(keep: Path | None) -> Iterator[Path]:
    """An empty folder: `keep`, which must be new, or one that is gone afterwards."""
    if keep is None:
        with tempfile.TemporaryDirectory(prefix="noptik-replay-") as name:
            yield Path(name)
        return
    try:
        keep.mkdir(parents=True)
    except OSError as error:
        raise Unavailable(f"cannot make the folder: {error.strerror}", keep) from error
    yield keep.resolve()


def _print_report(report: Report) -> None:
    for workspace in report.workspaces:
        place = "the latest" if workspace.latest else "not the latest"
        print(f"{workspace.forecast}: artifacts of run {workspace.run.id} ({place}), {workspace.size} bytes")
    print(f"store: artifacts and source of {len(report.runs)} runs, {report.stored} bytes")
    if report.interrupted:
        print("ledger: the last write was cut short; the signatures hold; the next write renews the digest")
    print(f"verified: {_head(report.log)}")


def _head(log: TrustedLog) -> str:
    return f"log {log.head.origin}, size {log.head.size}, root {log.head.root.hex()}"


def _line(entry: TrustedEntry) -> str:
    row, statement = entry.row, entry.statement
    if isinstance(statement, VerdictStatement):
        note = f"{statement.predicate.verdict}, run {(statement.predicate.run or 'none')[:12]}"
    elif row.kind == "register":
        note = f"specification number {registration_of(statement, 'entry').number}"
    else:
        note = row.stage
    times = _times(statement)
    return f"{row.seq:>5}  {row.kind:<8}  {row.forecast:<12}  {row.core_sha256[:12]}  {times}  {note}"


def _times(statement: Statement | VerdictStatement) -> str:
    if isinstance(statement, VerdictStatement):
        facts = statement.predicate.metadata
    else:
        facts = statement.predicate.run_details.metadata
    return facts.finished_on if facts else "-"


def _about(run: Run) -> str:
    state = "dirty" if run.dirty else "clean"
    source = f"commit {run.commit[:12]} ({state})" if run.commit else "no git"
    tree = f"source {run.source_tree[:12]}, {source}"
    return f"{run.forecast}, entry {run.seq}, {len(run.artifacts)} artifacts, {tree}"
