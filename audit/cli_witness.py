"""`python -m audit witness`: a client's own witness of a log. Reads the clock."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

from audit import durable
from audit.addcheckpoint import Request, parse_proof
from audit.errors import Unavailable, Usage
from audit.note import MAX_NOTE_BYTES, with_lines
from audit.root import MAX_ROOT_BYTES
from audit.signing import read_passphrase
from audit.witness import Witness
from audit.witnessserver import listen

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def add(commands: Commands, parents: argparse.ArgumentParser) -> None:
    """Adds the command `witness` and its own commands."""
    witness = commands.add_parser("witness", help="watch a log: remember its heads, cosign what extends them")
    nested = witness.add_subparsers(title="commands", required=True, metavar="COMMAND")

    def sub(name: str, command: Callable[[argparse.Namespace], int], text: str) -> argparse.ArgumentParser:
        parser = nested.add_parser(name, parents=[parents], help=text, description=text[0].upper() + text[1:] + ".")
        parser.set_defaults(command=command)
        parser.add_argument("--state", type=Path, required=True, metavar="DIR", help="the witness's key and memory")
        parser.add_argument("--passphrase-file", type=Path, metavar="FILE", help="opens the private key; mode 0600")
        return parser

    init = sub("init", _init, "make the witness, and watch the log that --root vouches for")
    init.add_argument("--name", required=True, help="the witness's name, such as client.example/witness")
    init.add_argument(
        "--chain", type=Path, nargs="+", required=True, metavar="PATH", help="root.json files, or a folder"
    )
    cosign = sub("cosign", _cosign, "cosign a checkpoint file if it extends what was seen last")
    cosign.add_argument("checkpoint", type=Path, metavar="CHECKPOINT")
    cosign.add_argument("--proof", type=Path, metavar="FILE", help="consistency proof from the head seen last")
    cosign.add_argument("-o", "--output", type=Path, required=True, metavar="FILE", help="the cosigned checkpoint")
    serve = sub("serve", _serve, "serve C2SP tlog-witness, POST /add-checkpoint")
    serve.add_argument("--listen", default="127.0.0.1:0", metavar="HOST:PORT", help="(default: a free port here)")
    sub("show", _show, "print the witness's public key and what it has seen")


def _init(arguments: argparse.Namespace) -> int:
    if arguments.root is None:
        raise Usage("the log's root of trust is needed", "witness init", "--root KEY", "none")
    witness = _witness(arguments)
    witness.create(arguments.name)
    trust = witness.pin(_read(arguments.root, MAX_ROOT_BYTES), tuple(_chain(arguments.chain)))
    print(f"watching     {trust.origin}, root of trust version {trust.version}\nwitness key  {witness.vkey}")
    return 0


def _cosign(arguments: argparse.Namespace) -> int:
    witness = _witness(arguments)
    raw = _read(arguments.checkpoint, MAX_NOTE_BYTES)
    old, proof = (0, ()) if arguments.proof is None else parse_proof(_read(arguments.proof, 2**16), arguments.proof)
    made = witness.add(Request(old, proof, raw), _now())
    durable.replace(arguments.output, with_lines(raw, [made.line.encode()], str(arguments.checkpoint)))
    print(f"cosigned by {witness.name}: {arguments.output}")
    return 0


def _serve(arguments: argparse.Namespace) -> int:
    witness = _witness(arguments)
    print(f"witness key  {witness.vkey}", flush=True)
    with listen(arguments.listen, witness, _now) as server:
        host, port = server.server_address[:2]
        print(f"serving      http://{host if isinstance(host, str) else host.decode()}:{port}/", flush=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            return 0
    return 0


def _show(arguments: argparse.Namespace) -> int:
    witness = _witness(arguments)
    print(f"witness key  {witness.vkey}")
    for origin in witness.origins():
        head = witness.head(origin)
        seen = "nothing yet" if head is None else f"size {head.size}, root {head.root.hex()}"
        print(f"log          {origin}: {seen}")
    return 0


def _witness(arguments: argparse.Namespace) -> Witness:
    secret = None if arguments.passphrase_file is None else read_passphrase(arguments.passphrase_file)
    return Witness(arguments.state, secret)


def _chain(paths: list[Path]) -> list[bytes]:
    """The files given, or those of the one folder given, in the order of their versions."""
    if len(paths) == 1 and paths[0].is_dir():
        names = (paths[0] / f"{number}.root.json" for number in range(1, 1 + sum(1 for _ in paths[0].iterdir())))
        paths = [path for path in names if path.exists()]
    return [_read(path, MAX_ROOT_BYTES) for path in paths]


def _read(path: Path, max_bytes: int) -> bytes:
    raw = durable.read(path, max_bytes)
    if raw is None:
        raise Unavailable("no such file", path)
    return raw


def _now() -> int:
    return int(time.time())
