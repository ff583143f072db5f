"""`python -m audit keys`: begin, rotate, revoke, sign, publish and show the root of trust. Reads clock and terminal."""

from __future__ import annotations

import argparse
import getpass
import os
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from audit import durable, rootchange
from audit.environment import metadata
from audit.errors import KeyRefused, Unavailable, Usage
from audit.keyring import Keyring
from audit.places import places
from audit.root import MAX_ROOT_BYTES, RootFile, load_chain, missing, parse_root, read_anchor
from audit.rootchange import Change
from audit.signing import Secret, load_public, read_passphrase
from audit.statement import Metadata

if TYPE_CHECKING:
    from audit.home import Home

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def add(commands: Commands, parents: argparse.ArgumentParser) -> None:
    """Adds the command `keys` and its own commands."""
    keys = commands.add_parser("keys", help="make, rotate, revoke and show the keys of the root of trust")
    nested = keys.add_subparsers(title="commands", required=True, metavar="COMMAND")

    def sub(name: str, command: Callable[[argparse.Namespace], int], text: str) -> argparse.ArgumentParser:
        parser = nested.add_parser(name, parents=[parents], help=text, description=text[0].upper() + text[1:] + ".")
        parser.set_defaults(command=command)
        parser.add_argument("--passphrase-file", type=Path, metavar="FILE", help="opens the private keys; mode 0600")
        parser.add_argument("--ask", action="store_true", help="ask for the passphrase on the terminal")
        return parser

    begin = sub("init", _init, "make root key, log key and root of trust; what is there stays")
    begin.add_argument("--origin", metavar="NAME", help="the log's name (default: derived from the root key)")
    begin.add_argument(
        "--threshold", type=int, default=1, metavar="N", help="how many root keys must sign (default: 1)"
    )
    begin.add_argument(
        "--root-key", type=Path, action="append", default=[], metavar="PUB.pem", help="one more root key"
    )
    rotate = sub("rotate", _rotate, "put a new key in the place of the log key, or change the root keys")
    rotate.add_argument("--role", choices=("log", "root"), default="log", help="which key (default: log)")
    rotate.add_argument("--add", type=Path, action="append", default=[], metavar="PUB.pem", help="root: one more key")
    rotate.add_argument("--remove", action="append", default=[], metavar="ID", help="root: a key less")
    rotate.add_argument("--threshold", type=int, metavar="N", help="root: how many must sign from now on")
    revoke = sub("revoke", _revoke, "void the log key from a tree size on and put a new one in its place")
    revoke.add_argument("--from", type=int, dest="void_from", metavar="SIZE", help="(default: the next entry's)")
    sign = sub("sign", _sign, "add the signature of a root key to a root.json that waits for it")
    sign.add_argument("file", type=Path, metavar="ROOT.json")
    sign.add_argument("--key", type=Path, metavar="PRIVATE.pem", help="(default: the root keys at home)")
    publish = sub("publish", _publish, "put the draft in force, with the signatures that its signed copies hold")
    publish.add_argument("files", type=Path, nargs="*", metavar="ROOT.json")
    show = sub("show", _show, "print the log's name, its keys, and what is signed by how many")
    show.add_argument("-o", "--output", type=Path, metavar="FILE", help="write the root public key there, PEM")


def home_of(arguments: argparse.Namespace) -> Home:
    """The evidence that the arguments, or else the environment, point to; what knows a database is loaded now."""
    from audit.home import Home

    found = places(arguments.project, os.environ, arguments.home)
    secret = _passphrase(arguments, new=False)
    return Home(found.home, found.database, found.passphrase if secret is None else secret.reveal())


def now() -> Metadata:
    """The facts of this moment and machine."""
    stamp = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return metadata(stamp, stamp)


def _init(arguments: argparse.Namespace) -> int:
    keyring = _keyring(arguments, new=True)
    others = [load_public(path) for path in arguments.root_key]
    _report(rootchange.begin(keyring, others, arguments.threshold, arguments.origin), keyring)
    return 0


def _rotate(arguments: argparse.Namespace) -> int:
    if arguments.role == "root":
        keyring = _keyring(arguments)
        added = [load_public(path) for path in arguments.add]
        _report(rootchange.change_root_keys(keyring, added, arguments.remove, arguments.threshold), keyring)
        return 0
    if arguments.add or arguments.remove or arguments.threshold:
        raise Usage("--add, --remove and --threshold are about root keys", "keys rotate", "--role root", "--role log")
    from audit import keychange

    home = home_of(arguments)
    _report(keychange.change_log_key(home, "rotated", now()), home.keyring)
    return 0


def _revoke(arguments: argparse.Namespace) -> int:
    from audit import keychange

    home = home_of(arguments)
    _report(keychange.change_log_key(home, "revoked", now(), arguments.void_from), home.keyring)
    return 0


def _sign(arguments: argparse.Namespace) -> int:
    file = _read(arguments.file)
    signed = rootchange.sign_file(file, _keyring(arguments), arguments.key)
    durable.replace(arguments.file, signed.to_bytes())
    print(f"{arguments.file}: version {file.version} of {file.trust.origin}, {len(signed.signatures)} signatures")
    return 0


def _publish(arguments: argparse.Namespace) -> int:
    from audit import keychange

    home = home_of(arguments)
    _report(keychange.publish(home, [_read(path) for path in arguments.files], now()), home.keyring)
    return 0


def _show(arguments: argparse.Namespace) -> int:
    keyring = _keyring(arguments)
    draft = keyring.draft()
    if keyring.exists:
        versions = keyring.versions()
        if arguments.root is not None:
            load_chain(keyring.chain(), read_anchor(arguments.root))
            print(f"trusted      {arguments.root} vouches for version {versions[-1].version}")
        _describe(versions[-1])
        if arguments.output is not None:
            durable.replace(arguments.output, versions[-1].root_keys[0].to_pem())
            print(f"wrote root key {versions[-1].root_keys[0].key_id} to {arguments.output}")
    elif draft is None:
        raise Unavailable("no root of trust here", keyring.folder, "`keys init` makes one")
    if draft is not None:
        lacking = missing(draft, keyring.versions()[-1] if keyring.exists else None)
        print(f"draft        {keyring.draft_path}, version {draft.version}, lacks {'; '.join(lacking) or 'nothing'}")
    return 0


def _describe(file: RootFile) -> None:
    role = file.signed.roles.root
    print(f"log          {file.trust.origin}\nversion      {file.version}")
    print(f"threshold    {role.threshold} of {len(role.keyids)} root keys")
    for key in file.root_keys:
        print(f"root key     SHA256:{key.key_id}")
    for span, stated in zip(file.trust.spans, file.signed.noptik.spans, strict=True):
        end = f"void from size {span.void_from} ({stated.reason})" if stated.reason else "active"
        print(f"log key      SHA256:{span.key.key_id}  from size {span.first}, {end}")


def _report(change: Change, keyring: Keyring) -> None:
    if change.lacking:
        print(f"draft        {keyring.draft_path}\nlacks        {'; '.join(change.lacking)}")
        print("next         `keys sign` by their owners, then `keys publish`")
        return
    if change.receipt is not None:
        print(f"logged       entry {change.receipt.seq}")
    _describe(change.file)


def _keyring(arguments: argparse.Namespace, *, new: bool = False) -> Keyring:
    found = places(arguments.project, os.environ, arguments.home)
    return Keyring(found.home / "keys", _passphrase(arguments, new=new) or found.passphrase)


def _passphrase(arguments: argparse.Namespace, *, new: bool) -> Secret | None:
    """What --passphrase-file holds, or was typed; None without either."""
    options: Any = arguments
    if getattr(options, "passphrase_file", None) is not None:
        return read_passphrase(options.passphrase_file)
    if not getattr(options, "ask", False):
        return None
    if not sys.stdin.isatty():
        raise Usage("no terminal to ask on", "--ask", "a terminal, or --passphrase-file")
    typed = Secret(getpass.getpass("Passphrase: ").encode())
    if new and typed.reveal() != getpass.getpass("Again: ").encode():
        raise KeyRefused("the two passphrases differ", "--ask")
    if not typed.reveal():
        raise KeyRefused("no passphrase", "--ask")
    return typed


def _read(path: Path) -> RootFile:
    raw = durable.read(path, MAX_ROOT_BYTES)
    if raw is None:
        raise Unavailable("no such file", path, "a root.json")
    return parse_root(raw, str(path))
