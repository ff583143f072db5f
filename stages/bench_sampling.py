"""Sampling beside PyMC-Marketing: min bulk ESS per CPU second of cold processes, imports and compilation included.

Both fit the world of `stages.bench_world`: the same arrays, terms and priors, 4 chains of 500 + 500 iterations. The
rival runs as its users have it (its MMM class) and with media centred as they are here, its chains one after the other
and vectorised; the ratio is to the best of these. Its intercept is the outcome without media in the first form, and at
typical spend in the second, as here: that is all in which the forms differ.

PyMC-Marketing needs Python 3.12: `python3.12` on the path, or what NOPTIK_RIVAL_PYTHON names. Its environment is made
from requirements-rival.lock in `.rival`, once.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from engine import precision
from stages.bench_row import Row

SEEDS = (1, 2, 3)  # of the samplers
FORMS = {"its MMM": "mmm", "centred": "centred"}  # to the rows, and to stages/bench_rival.py
METHODS = ("sequential", "vectorized")
LOCK = "requirements-rival.lock"


class Run(NamedTuple):
    """One fit."""

    ess: float  # smallest bulk ESS of all sampled scalars
    cpu: float  # seconds of the process and all it started

    @property
    def rate(self) -> float:
        """Effective draws a CPU second."""
        return self.ess / self.cpu


def rows(root: Path) -> Iterator[Row]:
    """Every line of the bench; runs are taken in turn, seed by seed."""
    rival = _rival(root)
    chains = range(4)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        _run(root, _ours(folder, "world"))
        mine: list[Run] = []
        theirs: dict[tuple[str, str], list[Run]] = {(name, method): [] for name in FORMS for method in METHODS}
        for seed in SEEDS:
            mine.append(_measured(root, [_ours(folder, "fit", seed, ",".join(map(str, chains)))]))
            for (name, method), found in theirs.items():
                if rival is not None:
                    found.append(_measured(root, [_theirs(rival, folder, FORMS[name], method, seed)]))
        yield _row("noptik, one process", mine)
        apart = [_ours(folder, "fit", SEEDS[0], str(chain)) for chain in chains]
        yield _row("noptik, a process a chain, nothing cached", [_measured(root, apart)])
    if rival is None:
        yield Row("PyMC-Marketing", "not measured", "no python3.12 on the path; set NOPTIK_RIVAL_PYTHON=/path/to/it")
        return
    for (name, method), found in theirs.items():
        yield _row(f"PyMC-Marketing, {name}, {method}", found)
    best = max(_median(found).rate for found in theirs.values())
    yield Row("noptik over the best of PyMC-Marketing", f"{_median(mine).rate / best:.1f} times", "medians")


def _row(what: str, runs: Sequence[Run]) -> Row:
    middle = _median(runs)
    low, high = min(run.rate for run in runs), max(run.rate for run in runs)
    spread = f", {low:.1f} to {high:.1f} over {len(runs)} seeds" if len(runs) > 1 else ""
    return Row(what, f"{middle.rate:.1f} ESS/s", f"ESS {middle.ess:.0f}, {middle.cpu:.1f} CPU s{spread}")


def _median(runs: Sequence[Run]) -> Run:
    return sorted(runs, key=lambda run: run.rate)[len(runs) // 2]


class Command(NamedTuple):
    """A process to be measured, and where it writes its draws, (chain, draw, scalar) by name."""

    line: tuple[str, ...]
    environment: Mapping[str, str]
    out: Path


def _ours(folder: Path, what: str, seed: int = 0, chains: str = "") -> Command:
    out = folder / f"{what}{seed}-{chains}.json"
    line = (sys.executable, "-m", "stages.bench_sampling", what, str(folder), str(out), str(seed), chains)
    return Command(line, precision.environment(os.environ), out)


def _theirs(python: Path, folder: Path, form: str, method: str, seed: int) -> Command:
    """With nothing compiled before, and without this project's pins."""
    own = Path(tempfile.mkdtemp(dir=folder))
    pins = {name for name, _ in precision.PROFILE.variables}
    plain = {name: value for name, value in os.environ.items() if name not in pins}
    plain |= {"PYTENSOR_FLAGS": f"base_compiledir={own}", "NUMBA_CACHE_DIR": str(own), "XDG_CACHE_HOME": str(own)}
    plain |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    script = str(Path(__file__).with_name("bench_rival.py"))
    out = own / "draws.json"
    return Command((str(python), script, str(folder), str(out), form, method, str(seed)), plain, out)


def _measured(root: Path, commands: Sequence[Command]) -> Run:
    """Of processes run one after the other, whose chains belong together."""
    import numpy as np
    from arviz_stats.base import array_stats

    cpu = sum(_run(root, command) for command in commands)
    parts = [json.loads(command.out.read_text("utf-8")) for command in commands]
    smallest = math.inf
    for name in parts[0]:
        draws = np.concatenate([np.array(part[name]) for part in parts])
        varying = [k for k in range(draws.shape[2]) if np.ptp(draws[:, :, k]) > 0.0]
        smallest = min([smallest, *(float(array_stats.ess(draws[:, :, k], method="bulk")) for k in varying)])
    return Run(smallest, cpu)


def _run(root: Path, command: Command) -> float:
    """CPU seconds, user and system, of the process and of what it started."""
    process = subprocess.Popen(command.line, cwd=root, env=dict(command.environment), stdout=sys.stderr)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command.line)
    return used.ru_utime + used.ru_stime


def _rival(root: Path) -> Path | None:
    """The interpreter of PyMC-Marketing's environment, made where it is not there or of another lock; or None."""
    base = os.environ.get("NOPTIK_RIVAL_PYTHON") or shutil.which("python3.12")
    if base is None:
        return None
    folder, lock = root / ".rival", root / LOCK
    python, marker = folder / "bin" / "python", folder / ".locked"
    digest = hashlib.sha256(lock.read_bytes()).hexdigest()
    if not marker.is_file() or marker.read_text("ascii") != digest:
        uv = str(Path(sys.executable).with_name("uv"))
        subprocess.run([uv, "venv", "--quiet", "--clear", "--python", base, str(folder)], check=True)
        sync = ["pip", "sync", "--quiet", "--python", str(python), "--require-hashes", str(lock)]
        subprocess.run([uv, "--system-certs", *sync], check=True)
        marker.write_text(digest, "ascii")
    return python


def _child(what: str, folder: Path, out: Path, seed: int, chains: str) -> None:
    """`world`: what the rival fits, as files. `fit`: chains in this process, their draws as a file."""
    precision.enter(os.environ, sys.modules)
    import numpy as np

    from engine import design as designs
    from stages import bench_world

    spec, panel = bench_world.declared(Path.cwd()), bench_world.world(bench_world.SEED)
    weeks = len(panel.periods)
    design, _ = designs.build(panel, spec, weeks)
    if what == "world":
        arrays: dict[str, Any] = {"y": design.y[:, 0], "media": design.media.spend[:, 0, :, 0]}
        arrays |= {"controls": design.controls[:, 0], "trend": design.trend.columns, "season": design.season}
        known = {name: np.asarray(each)[:weeks].tolist() for name, each in arrays.items()}
        (folder / "world.json").write_text(json.dumps(known), "utf-8")
        (folder / "terms.json").write_text(json.dumps(bench_world.terms(spec)), "utf-8")
        return
    from engine.fit import Sampler
    from engine.model import named
    from engine.prng import stream

    sampler = Sampler(spec, spec.inference.warmup, spec.inference.draws, design)
    found = [named(sampler.chain(design, stream(seed, "fit", int(chain))).parameters) for chain in chains.split(",")]
    stacked = {name: np.stack([each[name] for each in found]) for name in found[0]}
    finite = {name: each for name, each in stacked.items() if each.size and np.all(np.isfinite(each))}
    flat = {name: each.reshape(*each.shape[:2], -1).tolist() for name, each in finite.items()}
    out.write_text(json.dumps(flat), "utf-8")


if __name__ == "__main__":
    _child(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4]), sys.argv[5])
