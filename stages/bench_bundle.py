"""`make bench`, the bundle's part: verifying a large bundle, and the same bytes through coreutils' `sha256sum`.

The bundle is of a real sealed run whose one artifact is BYTES of noise; both read the finished tar, in turn, warm.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from audit.bundleplan import Order, Origins
from audit.bundlewrite import write_bundle
from audit.digest import digest_path, sha256
from audit.home import Home
from audit.registration import register_spec
from audit.resource import Subject
from audit.sealing import StageRun, seal_run
from audit.signing import SigningKey
from audit.source import source_tree
from audit.statement import (
    BuildDefinition,
    Builder,
    ExternalParameters,
    InternalParameters,
    Metadata,
    Provenance,
    RunDetails,
    Statement,
    core_bytes,
)
from stages.bench_row import Row

BYTES = 2**30
ROUNDS = 3
FORECAST = "bench"
KEY = SigningKey.from_seed(bytes(range(32)))
INTERNAL = InternalParameters(profile="det-1", profile_sha256="a" * 64, fingerprint_sha256="b" * 64)
BUILDER = Builder(version={"bench": "1"})
FACTS = Metadata(
    started_on="2026-01-01T00:00:00Z", finished_on="2026-01-01T00:00:00Z", host="h", cpu="c", libc="l", python="p"
)


def rows(size: int = BYTES, rounds: int = ROUNDS) -> Iterator[Row]:
    """Throughput of both, and their ratio in pairs."""
    with tempfile.TemporaryDirectory() as folder:
        bundle, anchor = _bundle(Path(folder), size)
        verify = [sys.executable, "-m", "audit", "verify", str(bundle), "--root", str(anchor)]
        pairs = [(_seconds(verify), _seconds(["sha256sum", str(bundle)])) for _ in range(rounds)]
        total = bundle.stat().st_size
    ours, theirs = (min(times) for times in zip(*pairs, strict=True))
    ratio = statistics.median(a / b for a, b in pairs)
    note = f"{total / 1e9:.2f} GB, whole process"
    yield Row("bundle: audit verify", f"{total / ours / 1e9:.2f} GB/s", note)
    yield Row("bundle: sha256sum", f"{total / theirs / 1e9:.2f} GB/s", note)
    yield Row("bundle: verify / sha256sum", f"{ratio:.2f}", f"median of {rounds} pairs, time over time")


def _bundle(folder: Path, size: int) -> tuple[Path, Path]:
    """A bundle of about `size` bytes, and the key that it is verified from."""
    root, home = folder / "project", Home(folder / "home")
    spec, artifact = (f"artifacts/{FORECAST}/{name}" for name in ("register/spec.json", "fit/noise"))
    for name in (spec, artifact, "requirements.lock"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"{}")
    with (root / artifact).open("wb") as file:
        for _ in range(size >> 20):
            file.write(os.urandom(1 << 20))
    data = sha256(b"data")
    place = root / spec
    registered = register_spec(
        home.writer(KEY), home.store, place, spec, FORECAST, data, data, INTERNAL, BUILDER, FACTS
    )
    core = core_bytes(_statement(Subject.of(artifact, digest_path(root / artifact))))
    seal_run(
        home.writer(KEY), home.store, root, FORECAST, [StageRun(core, FACTS)], source_tree(root), registered,
        INTERNAL, BUILDER, FACTS,
    )  # fmt: skip
    with home.reader().trusted() as log, home.reader().reading() as raw:
        origins = Origins(log, home.store, home.keyring.chain(), KEY, raw.attached)
        write_bundle(Order(FORECAST, light=False, withheld=()), origins, folder / "bench.tar")
    (folder / "root.pem").write_bytes(KEY.public.to_pem())
    return folder / "bench.tar", folder / "root.pem"


def _statement(subject: Subject) -> Statement:
    build = BuildDefinition(
        external_parameters=ExternalParameters(forecast=FORECAST, stage="fit"),
        internal_parameters=INTERNAL,
        resolved_dependencies=(),
    )
    return Statement(
        subject=(subject,), predicate=Provenance(build_definition=build, run_details=RunDetails(builder=BUILDER))
    )


def _seconds(command: Sequence[str]) -> float:
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start
