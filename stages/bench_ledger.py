"""`make bench`, the ledger's part: what appending, proving and verifying cost, and how each grows with the log.

append       entries a second, one commit each and 1,000 in one commit, on top of logs of 10^3 to 10^5 entries
verify       seconds an entry of the whole verification of such a log: leaves, tiles, heads, envelopes, statements
proof        time and size of an inclusion proof from the database, at 10^3 to 10^6 entries
tree         a million entries from scratch: leaf bytes, every tile, the root against the signed head

A log of a million is written around the ledger, in SQL: its leaves and tiles are real, its envelopes are empty. Memory
is the peak of a process of its own, start-up included.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from audit.digest import sha256
from audit.home import Home
from audit.ledger import Ledger, Pending
from audit.merkle import leaf_hash
from audit.note import Checkpoint, sign_checkpoint
from audit.record import Entry, entry_bytes
from audit.resource import Subject
from audit.signing import SigningKey
from audit.statement import (
    BuildDefinition,
    Builder,
    ExternalParameters,
    InternalParameters,
    Provenance,
    RunDetails,
    Statement,
)
from audit.tiles import TreeBuilder
from stages.bench_row import Row

KEY = SigningKey.from_seed(bytes(range(32)))
SIZES = (1_000, 10_000, 100_000)
MILLION = 1_000_000
BATCH = 1_000
SINGLES = 100  # appends of one entry that are timed, at each size
PROOFS = 200


def rows(url: str | None = None, sizes: Sequence[int] = SIZES, million: int = MILLION) -> Iterator[Row]:
    """The ledger's figures; those of PostgreSQL in the empty database at `url`, if there is one."""
    with tempfile.TemporaryDirectory() as folder:
        yield from _grown("SQLite", Home(Path(folder) / "sqlite"), sizes)
        if url is not None:
            yield from _grown("PostgreSQL", Home(Path(folder) / "postgresql", url), sizes)
        yield from _large(Home(Path(folder) / "large"), million)


def _grown(name: str, home: Home, sizes: Sequence[int]) -> Iterator[Row]:
    """A log that grows by real appends to each of the sizes in turn."""
    ledger = home.writer(KEY)
    size = 0
    for wanted in sizes:
        batched: list[float] = []
        while size < wanted:
            batched.append(_seconds(lambda start=size: ledger.append(_items(start, BATCH))))  # type: ignore[misc]
            size += BATCH
        singles = [_seconds(lambda at=size + i: ledger.append(_items(at, 1))) for i in range(SINGLES)]  # type: ignore[misc]
        size += SINGLES
        one, many = 1 / statistics.median(singles), BATCH / statistics.median(batched[-10:])
        yield Row(f"{name}: append at {wanted:,} entries", f"{one:.0f} /s", f"one commit each; {many:.0f} /s batched")
        yield _proof(name, ledger, size)
        cost = _child("verify", home)
        micro = cost["seconds"] / size * 1e6
        peak = cost["peak"] / 2**20
        yield Row(f"{name}: verify {size:,} entries", f"{1e6 / micro:.0f} /s", f"{micro:.0f} us each, {peak:.0f} MiB")
        size = _rounded(ledger, size)


def _rounded(ledger: Ledger, size: int) -> int:
    """Afterwards the log has a multiple of BATCH entries."""
    rest = -size % BATCH
    if rest:
        ledger.append(_items(size, rest))
    return size + rest


def _proof(name: str, ledger: Ledger, size: int) -> Row:
    random_ = random.Random(size)
    seconds, length = [], 0
    for _ in range(PROOFS):
        with ledger.reading() as log:  # a new one each time: no tile is remembered
            seq = random_.randrange(size)
            seconds.append(_seconds(lambda log=log, seq=seq: log.inclusion(seq, size)))  # type: ignore[misc]
            length = max(length, 32 * len(log.inclusion(seq, size)))
    worst = f"{max(seconds) * 1e3:.1f} ms at worst"
    return Row(
        f"{name}: proof at {size:,} entries", f"{statistics.median(seconds) * 1e3:.1f} ms", f"{worst}, {length} bytes"
    )


def _large(home: Home, size: int) -> Iterator[Row]:
    for part in (size // 10, size):
        place = Home(home.root / str(part))
        ledger = place.writer(KEY)
        _write(place, ledger.origin, part)
        yield _proof("tree", ledger, part)
        cost = _child("tree", place)
        peak = cost["peak"] / 2**20
        yield Row(f"tree of {part:,} entries from scratch", f"{cost['seconds']:.1f} s", f"tiles, root, {peak:.0f} MiB")


def _write(home: Home, origin: str, size: int) -> None:
    """A log of `size` small entries, written without the ledger: leaves, tiles and a signed head."""
    with closing(sqlite3.connect(home.root / "ledger.sqlite")) as connection:
        connection.execute("PRAGMA synchronous=OFF")
        tiles: list[tuple[int, int, bytes]] = []
        tree = TreeBuilder(lambda level, index, hashes: tiles.append((level, index, hashes)))

        def entries() -> Iterator[tuple[int, int, str, str, str, bytes, bytes, bytes]]:
            for seq in range(size):
                digest = hashlib.sha256(b"%d" % seq).hexdigest()
                record = Entry(kind="stage", seq=seq, envelope_sha256=digest, payload_type="none")
                leaf = entry_bytes(record)
                tree.add(leaf_hash(leaf))
                yield seq, size, "stage", "bench", digest, leaf, b"", b""

        connection.executemany("INSERT INTO entries VALUES (?, ?, ?, ?, ?, ?, ?, ?)", entries())
        tree.flush()
        connection.executemany("INSERT INTO tiles VALUES (?, ?, ?)", tiles)
        note = sign_checkpoint(Checkpoint(origin, size, tree.root()), KEY)
        connection.execute("INSERT INTO checkpoints VALUES (?, ?)", (size, note))
        connection.commit()


def _items(start: int, count: int) -> list[Pending]:
    return [Pending("stage", _statement(number)) for number in range(start, start + count)]


def _statement(number: int) -> Statement:
    digest = sha256(b"%d" % number)
    name = f"artifacts/bench/fit/{number}"
    subject = {"name": name, "digest": {"sha256": digest}, "annotations": {"size": 1, "kind": "file"}}
    build = BuildDefinition(
        external_parameters=ExternalParameters(forecast="bench", stage="fit"),
        internal_parameters=InternalParameters(profile="det-1", profile_sha256="a" * 64, fingerprint_sha256="b" * 64),
        resolved_dependencies=(),
    )
    provenance = Provenance(build_definition=build, run_details=RunDetails(builder=Builder(version={})))
    return Statement(subject=(Subject.model_validate(subject),), predicate=provenance)


def _seconds(work: Callable[[], Any]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _child(what: str, home: Home) -> dict[str, float]:
    """Seconds and peak memory (bytes) of this work in a process of its own."""
    command = [sys.executable, "-m", "stages.bench_ledger", what, str(home.root)]
    environment = os.environ | {"NOPTIK_BENCH_DATABASE": home.database or ""}
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, env=environment)
    result: dict[str, float] = json.loads(done.stdout)
    return result


def _work(what: str, home: Home) -> None:
    ledger = home.reader()
    seconds = _seconds(lambda: _verify(ledger) if what == "verify" else _rebuild(ledger))
    json.dump({"seconds": seconds, "peak": _peak()}, sys.stdout)


def _peak() -> int:
    """Bytes of this program at most in memory; getrusage would count the process that started it, before exec."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) * 1024


def _verify(ledger: Ledger) -> None:
    with ledger.trusted():
        pass


def _rebuild(ledger: Ledger) -> None:
    """Every leaf re-hashed; every tile and the signed head compared."""
    with ledger.reading() as log:

        def compare(level: int, index: int, hashes: bytes) -> None:
            assert log.tile(level, index) == hashes

        tree = TreeBuilder(compare)
        for entry in log.entries():
            tree.add(leaf_hash(entry.leaf))
        tree.flush()
        head = log.keys.open_head(log.head()[1])
        assert (head.size, head.root) == (tree.size, tree.root())


if __name__ == "__main__":
    if len(sys.argv) == 3:
        _work(sys.argv[1], Home(Path(sys.argv[2]), os.environ.get("NOPTIK_BENCH_DATABASE") or None))
    else:
        for row in rows(os.environ.get("NOPTIK_DATABASE_URL")):
            print(f"{row.what:<44} {row.value:>16}  {row.note}", flush=True)
