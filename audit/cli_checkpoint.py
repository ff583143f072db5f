"""`python -m audit checkpoint`: the latest head, with what witnesses and timestamp authorities sign over it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

from audit import durable
from audit.addcheckpoint import proof_bytes
from audit.cli_keys import home_of
from audit.cosignature import COSIGNATURE_ED25519, VKey
from audit.errors import Usage
from audit.note import Verifier, with_lines
from audit.timestamp import read_roots, request_timestamp
from audit.witnessclient import cosigned_by

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def add(commands: Commands, parents: argparse.ArgumentParser) -> None:
    """Adds the command `checkpoint`."""
    text = "print the latest head, after having it cosigned or timestamped if that is asked for"
    parser = commands.add_parser(
        "checkpoint", parents=[parents], help=text, description=text[0].upper() + text[1:] + "."
    )
    parser.set_defaults(command=_checkpoint)
    parser.add_argument("--witness", action="append", default=[], metavar="URL", help="ask this witness; repeatable")
    parser.add_argument("--witness-key", action="append", default=[], metavar="VKEY", help="its key, in the same order")
    parser.add_argument("--tsa", metavar="URL", help="ask this RFC 3161 timestamp authority")
    parser.add_argument("--tsa-root", type=Path, metavar="CERT.pem", help="what its answer must be signed under")
    parser.add_argument(
        "--since", type=int, metavar="SIZE", help="write the consistency proof from this size, for a witness"
    )
    parser.add_argument("--proof", type=Path, metavar="FILE", help="where the proof goes")
    parser.add_argument(
        "-o", "--output", type=Path, metavar="FILE", help="where the checkpoint goes (default: printed)"
    )


def _checkpoint(arguments: argparse.Namespace) -> int:
    witnesses = _witnesses(arguments)
    if (arguments.tsa is None) != (arguments.tsa_root is None):
        raise Usage("a timestamp needs both", "checkpoint", "--tsa and --tsa-root", "one of them")
    if (arguments.since is None) != (arguments.proof is None):
        raise Usage("a consistency proof needs both", "checkpoint", "--since and --proof", "one of them")
    ledger = home_of(arguments).reader()
    with ledger.reading() as log:
        size, note = log.head()
        keys = log.keys
    head = keys.open_head(note, "latest head")

    def consistency(size1: int, size2: int) -> Sequence[bytes]:
        with ledger.reading() as log:  # not held open while a witness takes its time
            return log.consistency(size1, size2)

    for url, vkey in witnesses:
        for line in cosigned_by(url, vkey, note, consistency):
            ledger.attach(size, "cosignature", line)
    if arguments.tsa is not None:
        verifier = Verifier(head.origin, keys.span(size).key)
        raw = request_timestamp(arguments.tsa, note, verifier, read_roots(arguments.tsa_root))
        ledger.attach(size, "timestamp", raw)
    with ledger.reading() as log:
        attached = log.attached(size)
        if arguments.since is not None:
            proof = log.consistency(arguments.since, size) if arguments.since else ()
            durable.replace(arguments.proof, proof_bytes(arguments.since, proof))
    _write(with_lines(note, [data for kind, data in attached if kind == "cosignature"]), arguments.output)
    return 0


def _witnesses(arguments: argparse.Namespace) -> list[tuple[str, VKey]]:
    urls, keys = arguments.witness, arguments.witness_key
    if len(urls) != len(keys):
        raise Usage("each witness needs its key", "checkpoint", f"{len(urls)} --witness-key", len(keys))
    return [(url, VKey.parse(key, COSIGNATURE_ED25519, "--witness-key")) for url, key in zip(urls, keys, strict=True)]


def _write(note: bytes, path: Path | None) -> None:
    if path is not None:
        durable.replace(path, note)
        return
    sys.stdout.buffer.write(note)
    sys.stdout.flush()
