"""`python -m audit admit`: a client's signed replay statement, taken into the log."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TypeAlias

from audit import admission, durable
from audit.cli_keys import home_of, now
from audit.errors import Inconsistent, Unavailable
from audit.signing import load_public
from audit.statement import AdmissionStatement
from audit.trust import TrustedLog

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"
MAX_STATEMENT_BYTES = 4 * 2**20


def add(commands: Commands, parents: argparse.ArgumentParser) -> None:
    """Adds the command `admit`."""
    text = "take the replay statement that a client signed into the log"
    parser = commands.add_parser("admit", parents=[parents], help=text, description=text[0].upper() + text[1:] + ".")
    parser.set_defaults(command=_admit)
    parser.add_argument("file", type=Path, metavar="FILE")
    parser.add_argument("--client", type=Path, required=True, metavar="PUB.pem", help="the client's public key")


def _admit(arguments: argparse.Namespace) -> int:
    from audit.ledger import Pending

    raw = durable.read(arguments.file, MAX_STATEMENT_BYTES)
    if raw is None:
        raise Unavailable("no such file", arguments.file, "a signed replay statement")
    client = load_public(arguments.client)
    stated = admission.admission(raw, client, now(), str(arguments.file))
    home = home_of(arguments)
    with home.reader().trusted() as log:
        _require_run(stated, log, str(arguments.file))
    (receipt,) = home.writer().append([Pending("admission", stated)])
    verdict = stated.predicate
    print(f"{verdict.forecast}: {verdict.verdict}, run {verdict.run}, by the client of key SHA256:{client.key_id}")
    print(f"admitted as entry {receipt.seq}")
    return 0


def _require_run(statement: AdmissionStatement, log: TrustedLog, where: str) -> None:
    """Returns only if the log holds the run that was judged, with the artifacts that were; else Inconsistent."""
    stated = statement.predicate
    ref = next((run for run in log.of(stated.forecast) if run.id == stated.run), None)
    if ref is None:
        raise Inconsistent("verdict on a run that this log does not hold", where, "a run of the log", stated.run)
    sealed = {(subject.name, subject.sha256) for subject in log.artifacts(log.run(ref))}
    judged = {(subject.name, subject.sha256) for subject in statement.subject}
    if sealed != judged:
        name = min(sealed ^ judged)[0]
        raise Inconsistent(f"verdict on another {name}", where, dict(sealed).get(name), dict(judged).get(name))
