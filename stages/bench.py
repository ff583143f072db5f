"""`make bench`: what the pipeline costs here, as a table. Nothing is asserted; ratios are of runs taken in turn.

sampling     min bulk ESS per CPU second of the published fit, compilation included, every chain a cold process
rival        the same of PyMC-Marketing and of this project on one world (`stages.bench_sampling`)
tax          CPU seconds of one chain in the determinism profile over the same chain with XLA's defaults (float64)
fresh clone  wall seconds of `make repro` in a new clone with an empty environment, its peak memory, then of a
             `dvc repro` that has nothing to do
verify       bytes hashed a second by `python -m audit verify`, beside SHA-256 alone
ledger       appends, proofs and verification of logs of up to a million entries (`stages.bench_ledger`)
bundle       verification of a large bundle beside `sha256sum` (`stages.bench_bundle`)
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import psutil

from engine import precision
from stages import bench_bundle, bench_ledger, bench_sampling
from stages.bench_row import Row, show

POLL_SECONDS = 0.25


class Cost(NamedTuple):
    """Of a finished command and everything it started."""

    wall: float  # seconds
    peak: int  # bytes: largest sum over its process tree of resident memory not shared with others
    code: int


def main(argv: Sequence[str] | None = None) -> int:
    """Prints the table; every row as soon as it is known."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--only", choices=sorted(BENCHES), action="append", help="some of the benches")
    parser.add_argument("--chain", nargs=2, metavar=("FORECAST", "CHAIN"), help=argparse.SUPPRESS)
    arguments = parser.parse_args(argv)
    if arguments.chain:
        return _chain(arguments.chain[0], int(arguments.chain[1]))
    show(BENCHES, arguments.only or BENCHES, 44)
    return 0


def _sampling(root: Path) -> Iterator[Row]:
    from stages.stage import load_params

    for forecast in load_params(root)["forecasts"]:
        chains = load_params(root)["specs"][forecast]["inference"]["chains"]
        runs = [_run_chain(root, forecast, chain, precision.environment(os.environ)) for chain in range(chains)]
        cpu = sum(run["cpu"] for run in runs)
        ess = _min_bulk_ess([run["draws"] for run in runs])
        yield Row(f"{forecast}: min bulk ESS per CPU second", f"{ess / cpu:.1f}", f"ESS {ess:.0f}, {cpu:.0f} CPU s")
        warm = sum(run["again"] for run in runs)
        yield Row(f"{forecast}: the same without compilation", f"{ess / warm:.1f}", f"{warm:.0f} CPU s")


def _tax(root: Path) -> Iterator[Row]:
    plain = {k: v for k, v in os.environ.items() if k not in dict(precision.PROFILE.variables)}
    plain |= {"JAX_ENABLE_X64": "1", "JAX_PLATFORMS": "cpu", "NOPTIK_BENCH_DEFAULTS": "1"}
    pinned = precision.environment(os.environ)
    pairs = [[_run_chain(root, "retail", 0, each)["again"] for each in (pinned, plain)] for _ in range(3)]
    ratios = sorted(on / off for on, off in pairs)
    yield Row(
        "determinism tax (profile on / off)", f"{statistics.median(ratios):.2f}",
        f"{ratios[0]:.2f} to {ratios[-1]:.2f} over {len(pairs)} pairs, CPU of one compiled chain, retail",
    )  # fmt: skip


def _fresh(root: Path) -> Iterator[Row]:
    with tempfile.TemporaryDirectory() as folder:
        clone = Path(folder) / "clone"
        subprocess.run(["git", "clone", "--quiet", str(root), str(clone)], check=True)
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("VIRTUAL_ENV", "NOPTIK_", "JAX"))}
        cost = _measure(["make", "repro"], clone, environment)
        yield Row("make repro, fresh clone", f"{cost.wall:.0f} s", f"set-up included, exit code {cost.code}")
        yield Row("peak memory of make repro", f"{cost.peak / 2**30:.2f} GiB", "unique to its processes, summed")
        path = f"{clone / '.venv' / 'bin'}{os.pathsep}{environment['PATH']}"
        idle = [_measure(["dvc", "repro", "--quiet"], clone, environment | {"PATH": path}).wall for _ in range(3)]
        yield Row("dvc repro, nothing to do", f"{statistics.median(idle):.1f} s", f"median of {len(idle)}")
        yield from _verify(clone)


def _verify(root: Path) -> Iterator[Row]:
    """Throughput over a store filled up to a size at which start-up no longer counts."""
    start = time.perf_counter()
    done = subprocess.run([sys.executable, "-m", "audit", "verify"], cwd=root, check=False, stdout=subprocess.DEVNULL)
    wall = time.perf_counter() - start
    size = sum(path.stat().st_size for path in (root / ".noptik" / "store").rglob("*") if path.is_file())
    note = f"{size / 1e6:.1f} MB stored, exit code {done.returncode}"
    yield Row("audit verify, whole process", f"{wall:.1f} s", note)
    yield from _hashing()


def _hashing() -> Iterator[Row]:
    from audit.digest import digest_path, sha256_file

    with tempfile.TemporaryDirectory() as folder:
        big = Path(folder) / "tree" / "artifact"
        big.parent.mkdir()
        big.write_bytes(os.urandom(1 << 20) * 512)
        verify, alone = [], []
        for _ in range(3):
            verify.append(_seconds(lambda: digest_path(big.parent)))
            alone.append(_seconds(lambda: sha256_file(big)))
        size = big.stat().st_size
        rate, ratio = size / min(verify) / 1e9, statistics.median(a / b for a, b in zip(verify, alone, strict=True))
        yield Row("verify throughput", f"{rate:.2f} GB/s", f"{ratio:.2f} times the time of SHA-256 over the same bytes")


def _seconds(work: Any) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _ledger(_: Path) -> Iterator[Row]:
    return bench_ledger.rows(os.environ.get("NOPTIK_DATABASE_URL"))


def _bundle(_: Path) -> Iterator[Row]:
    return bench_bundle.rows()


BENCHES = {
    "sampling": _sampling,
    "rival": bench_sampling.rows,
    "tax": _tax,
    "fresh": _fresh,
    "ledger": _ledger,
    "bundle": _bundle,
}


def _run_chain(root: Path, forecast: str, chain: int, environment: Mapping[str, str]) -> dict[str, Any]:
    command = [sys.executable, "-m", "stages.bench", "--chain", forecast, str(chain)]
    done = subprocess.run(command, cwd=root, env=dict(environment), check=True, stdout=subprocess.PIPE)
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def _chain(forecast: str, chain: int) -> int:
    """One chain in this process, twice: cold with compilation, then compiled."""
    if "NOPTIK_BENCH_DEFAULTS" not in os.environ:
        precision.enter(os.environ, sys.modules)
    from engine import design as designs
    from engine import ingest
    from engine.fit import Sampler
    from engine.model import named
    from engine.prng import stream
    from engine.spec import parse_spec
    from engine.table import to_panel
    from stages.stage import declared_spec

    root = Path.cwd()
    spec = parse_spec(declared_spec(root, forecast))
    panel = to_panel(ingest.read((root / spec.data.path).read_bytes(), spec.data).table, spec.data)
    design, _ = designs.build(panel, spec, len(panel.periods))
    sampler = Sampler(spec, spec.inference.warmup, spec.inference.draws, design)
    found = sampler.chain(design, stream(spec.seed, "fit", chain))
    cold = time.process_time()
    sampler.chain(design, stream(spec.seed, "fit", chain))
    again = time.process_time() - cold
    draws = {name: value.reshape(len(found.energy), -1).tolist() for name, value in named(found.parameters).items()}
    json.dump({"cpu": cold, "again": again, "draws": draws}, sys.stdout)
    return 0


def _min_bulk_ess(chains: Sequence[Mapping[str, Any]]) -> float:
    import numpy as np
    from arviz_stats.base import array_stats

    smallest = float("inf")
    for name in chains[0]:
        stacked = np.asarray([chain[name] for chain in chains])  # (chain, draw, scalar)
        for i in range(stacked.shape[2] if stacked.ndim == 3 else 0):
            draws = stacked[:, :, i]
            if np.ptp(draws) > 0:
                smallest = min(smallest, float(array_stats.ess(draws, method="bulk")))
    return smallest


def _measure(command: Sequence[str], cwd: Path, environment: Mapping[str, str]) -> Cost:
    start = time.perf_counter()
    with subprocess.Popen(command, cwd=cwd, env=dict(environment), stdout=sys.stderr) as process:
        peak = 0
        while process.poll() is None:
            peak = max(peak, _resident(process.pid))
            time.sleep(POLL_SECONDS)
    return Cost(time.perf_counter() - start, peak, process.returncode)


def _resident(pid: int) -> int:
    total = 0
    try:
        tree = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    except psutil.NoSuchProcess:
        return 0
    for process in tree:
        try:
            total += process.memory_full_info().uss
        except psutil.NoSuchProcess:  # it ended meanwhile
            continue
    return total


if __name__ == "__main__":
    sys.exit(main())
