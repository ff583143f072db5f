"""`python -m audit bundle|decrypt`, and `verify` and `replay` of a bundle. Reads clock and environment.

What knows a database is imported by the commands that need the ledger, so that a bundle verifies without it.
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeAlias

from audit import admission, age, cli_admit, durable
from audit.bundledemands import Demands, moment
from audit.bundlereplay import replay_bundle
from audit.bundlereport import BundleReport
from audit.bundleverify import verify_bundle
from audit.bundlewithheld import quotes
from audit.cli_keys import home_of
from audit.errors import Unavailable, Usage, readers_own
from audit.places import places
from audit.policy import MAX_POLICY_BYTES, Policy, parse_policy
from audit.replay import Replayed
from audit.root import Anchor, read_anchor
from audit.signing import Secret, load_or_create
from audit.timestamp import read_roots

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def add(commands: Commands, parents: argparse.ArgumentParser) -> None:
    """Adds the commands `bundle`, `decrypt` and `admit`."""

    def sub(name: str, command: Callable[[argparse.Namespace], int], text: str) -> argparse.ArgumentParser:
        parser = commands.add_parser(name, parents=[parents], help=text, description=text[0].upper() + text[1:] + ".")
        parser.set_defaults(command=command)
        return parser

    bundle = sub("bundle", _bundle, "write the latest run of a forecast, with all that proves it, into one file")
    bundle.add_argument("forecast", metavar="FORECAST")
    bundle.add_argument("-o", "--output", type=Path, required=True, metavar="FILE.tar", help="a new file")
    bundle.add_argument("--light", action="store_true", help="only the digests of the artifacts, not their bytes")
    bundle.add_argument(
        "--withhold",
        action="append",
        default=[],
        metavar="KIND",
        help="leave out: register, stage, verdict, key, admission, a stage by its name, source, data, creatives (with "
        "the rows of features), or recordings, which quote the creatives; repeatable",
    )
    bundle.add_argument(
        "--recipient", action="append", default=[], metavar="age1...", help="encrypt to this reader; repeatable"
    )
    opening = sub("decrypt", _decrypt, "decrypt a bundle that was encrypted to you; it appears whole or not at all")
    opening.add_argument("file", type=Path, metavar="FILE.age")
    opening.add_argument("-o", "--output", type=Path, required=True, metavar="FILE.tar", help="a new file")
    opening.add_argument("--identity", type=Path, required=True, metavar="KEYS.txt", help="as age-keygen writes it")
    cli_admit.add(commands, parents)


def verify_options(parser: argparse.ArgumentParser) -> None:
    """Adds what `verify` may demand of a bundle."""
    demands = parser.add_argument_group("of a bundle")
    demands.add_argument(
        "--kept", type=Path, metavar="FILE", help="the last head you saw of this log: it must still hold; then updated"
    )
    demands.add_argument("--policy", type=Path, metavar="FILE", help="which witnesses must have cosigned (C2SP policy)")
    demands.add_argument(
        "--not-before", type=_time, default=0, metavar="TIME", help="count only cosignatures since then (UTC, RFC 3339)"
    )
    demands.add_argument(
        "--tsa-root", type=Path, metavar="CERT.pem", help="a timestamp under this certificate must cover the run"
    )


def replay_options(parser: argparse.ArgumentParser) -> None:
    """Adds where and how `replay` runs."""
    parser.add_argument("--keep", type=Path, metavar="DIR", help="replay in this new folder and leave it there")
    parser.add_argument(
        "--python",
        metavar="COMMAND",
        help="interpreter to replay with, such as an emulator and its python "
        "(default: this one; of a bundle: one built from the bundled lock file)",
    )
    signing = parser.add_argument_group("of a bundle")
    signing.add_argument(
        "--statement", type=Path, metavar="OUT", help="write what was found there, signed (default: FILE.replay.json)"
    )
    signing.add_argument(
        "--sign-with",
        type=Path,
        metavar="KEY.pem",
        help="in a folder of mode 0700; made on first use (default: HOME/keys/client.pem)",
    )


def verify_file(arguments: argparse.Namespace) -> int:
    """The bundle is verified, and what the reader demands of it holds."""
    path = Path(arguments.what)
    anchor, demands = _anchor(arguments), _demands(arguments)
    _require_plain(path)
    before = arguments.kept is not None and arguments.kept.exists()
    report = verify_bundle(path, anchor, arguments.kept, demands)
    if arguments.kept is not None:
        print(
            f"kept: {'it holds the head seen last' if before else 'the first head seen'}; remembered {arguments.kept}"
        )
    _print_report(report)
    return 0


def replay_file(arguments: argparse.Namespace) -> int:
    """The bundle is verified, run again and compared; what was found is signed."""
    path, anchor = Path(arguments.what), _anchor(arguments)
    statement = arguments.statement or path.with_name(f"{path.name}.replay.json")
    if os.path.lexists(statement):
        raise Usage("something is already there", statement)
    _require_plain(path)
    place = places(arguments.project, os.environ, arguments.home)
    secret = None if place.passphrase is None else Secret(place.passphrase)
    key = load_or_create(arguments.sign_with or place.home / "keys" / "client.pem", secret)  # before hours of work
    interpreter = None if arguments.python is None else shlex.split(arguments.python)
    with _workdir(arguments.keep) as workdir:
        report, found = replay_bundle(path, anchor, workdir, _clock, sys.executable, interpreter)
    durable.create(statement, admission.sign_verdict(found.statement, key))
    _print_replay(found, report.known.run.id)
    print(f"statement signed by key SHA256:{key.public.key_id}, in {statement}")
    return found.exit_code


def replay_home(arguments: argparse.Namespace) -> int:
    """The forecast's latest run is run again from the store; the verdict is in the log."""
    from audit.replayhome import replay

    home = home_of(arguments)
    home.reader()  # before a key could be made on first use: without a ledger there is nothing to replay
    interpreter = (sys.executable,) if arguments.python is None else tuple(shlex.split(arguments.python))
    with _workdir(arguments.keep) as workdir:
        report = replay(arguments.what, home.writer(), home.store, workdir, _clock, interpreter)
    _print_replay(report.found, report.run.id)
    print(f"verdict logged as entry {report.receipt.seq}")
    return report.exit_code


def _bundle(arguments: argparse.Namespace) -> int:
    from audit.bundleplan import Order, Origins
    from audit.bundlewrite import write_bundle

    home = home_of(arguments)
    order = Order(arguments.forecast, arguments.light, tuple(arguments.withhold))
    ledger = home.reader()
    with ledger.trusted() as log, ledger.reading() as attachments:
        origins = Origins(log, home.store, home.keyring.chain(), home.keyring.signing_key(), attachments.attached)
        info = write_bundle(order, origins, arguments.output, arguments.recipient)
    print(f"{info.forecast}: run {info.run}, log {info.origin} of size {info.size}, in {arguments.output}")
    if info.withheld:
        print(f"withheld: {', '.join(info.withheld)}")
    if quotes(info.withheld):
        print("note: recordings quote the creatives word for word: --withhold recordings leaves them out as well")
    if arguments.recipient:
        print(f"encrypted to {len(arguments.recipient)} recipients")
    return 0


def _decrypt(arguments: argparse.Namespace) -> int:
    age.decrypt(arguments.file, arguments.output, arguments.identity)
    print(f"decrypted to {arguments.output}: not verified yet")
    return 0


def _anchor(arguments: argparse.Namespace) -> Anchor:
    if arguments.root is None:
        raise Usage("a bundle is verified from a key you have by another way", "--root", "a root key or root.json")
    return read_anchor(arguments.root)


def _demands(arguments: argparse.Namespace) -> Demands:
    policy = Policy()
    if arguments.policy is not None:
        with readers_own():
            raw = durable.read(arguments.policy, MAX_POLICY_BYTES)
            if raw is None:
                raise Unavailable("no such file", arguments.policy, "a policy")
            policy = parse_policy(raw, str(arguments.policy))
    elif arguments.not_before:
        raise Usage("a time without witnesses says nothing", "--not-before", "--policy as well")
    with readers_own():
        roots = () if arguments.tsa_root is None else read_roots(arguments.tsa_root)
    return Demands(policy, arguments.not_before, roots)


def _require_plain(path: Path) -> None:
    if age.is_encrypted(path):
        raise Usage("the bundle is encrypted", path, "python -m audit decrypt, first", "an age file")


def _time(text: str) -> int:
    """Seconds since the Epoch of a UTC time; for argparse, so ValueError otherwise."""
    return int(datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC).timestamp())


def _clock() -> str:
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


def _print_report(report: BundleReport) -> None:
    run, head, seen = report.known.run, report.head, report.seen
    print(f"{run.forecast}: run {run.id}, sealed as entry {run.seq}, {len(report.known.artifacts)} artifacts")
    print(f"bundle: {report.files} files, {report.size} bytes, each re-hashed")
    if report.withheld:
        counts = ", ".join(f"{count} {kind}" for kind, count in report.withheld.items())
        print(f"withheld: the envelopes of {counts} entries, of which only salted digests are here")
    if report.void:
        print(f"void: {report.void} entries that a revoked key signed")
    for line in report.unchecked:
        print(f"not checked: {line}")
    for cosigned in seen.cosignatures:
        print(f"witness: {cosigned.witness.name} saw this head at {moment(cosigned.time)}")
    if seen.sealed_by is not None:
        print(f"time: the run was in the log by {moment(seen.sealed_by)}")
    print(f"verified: log {head.origin}, size {head.size}, root {head.root.hex()}")


def _print_replay(found: Replayed, run: str) -> None:
    for detail in found.verdict.details:
        if detail.expected != detail.found:
            print(f"{detail.name}: expected {detail.expected}, found {detail.found}")
    network = "without a network" if found.offline else "with the network reachable: this system cannot take it away"
    count = len(found.verdict.details)
    print(f"{found.verdict.forecast}: {found.verdict.verdict}, {count} artifacts of run {run}")
    print(f"replayed {network}")
