"""Variations that must not matter: the cases are checked under each, and every byte must stay as it is.

A run is a `python -m golden check` in a process of its own. Variations that do not exclude each other share a run, so
that all of them fit into minutes; a run that differs is taken apart with `--only NAME`.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from time import monotonic
from typing import NamedTuple

from audit.errors import Unavailable
from golden.case import HERE


@dataclass(frozen=True)
class Start:
    """How a check is started. `scratch` is a fresh folder for what a variation needs."""

    scratch: Path
    environ: tuple[tuple[str, str], ...]
    before: tuple[str, ...] = ()  # what runs the interpreter
    options: tuple[str, ...] = ()  # of `check`
    folder: Path = HERE.parent
    umask: int = -1  # as it is
    cores: int = 0  # how many it may use; 0: as many as there are

    def setting(self, **variables: str) -> Start:
        """This start with variables of the environment set."""
        return replace(self, environ=tuple({**dict(self.environ), **variables}.items()))


class Skip(NamedTuple):
    """Why a variation cannot be made here."""

    reason: str


Variation = Callable[[Start], Start | Skip]


def one_core(start: Start) -> Start:
    """One worker process on one core."""
    return replace(start, cores=1, options=(*start.options, "--workers", "1"))


def two_cores(start: Start) -> Start | Skip:
    """Two worker processes on two cores."""
    if len(os.sched_getaffinity(0)) < 2:
        return Skip("this process may use one core only")
    return replace(start, cores=2, options=(*start.options, "--workers", "2"))


def inline(start: Start) -> Start:
    """No worker process: everything in one."""
    return replace(start, options=(*start.options, "--workers", "0"))


def folder(start: Start) -> Start:
    """Another working folder and another place for temporary files, with a space and a letter beyond ASCII."""
    other = start.scratch / "another földer"
    other.mkdir()
    return replace(start.setting(TMPDIR=str(other)), folder=other)


def home(start: Start) -> Start:
    """Another home folder, empty."""
    other = start.scratch / "home"
    other.mkdir()
    return start.setting(HOME=str(other), XDG_CACHE_HOME=str(other / "cache"), XDG_CONFIG_HOME=str(other / "config"))


def user(start: Start) -> Start:
    """Another user's name in the environment."""
    return start.setting(USER="mallory", LOGNAME="mallory", USERNAME="mallory")


def timezone(start: Start) -> Start:
    """A time zone three quarters of an hour off, a day ahead."""
    return start.setting(TZ="Pacific/Chatham")


def locale(start: Start) -> Start:
    """Another locale: an installed one of another language, or else POSIX."""
    done = subprocess.run(["locale", "-a"], capture_output=True, text=True, check=False)
    others = [name for name in done.stdout.split() if name.split(".")[0] not in ("C", "POSIX")]
    name = others[0] if others else "POSIX"
    return start.setting(LC_ALL=name, LANG=name, LANGUAGE="tr:de")


def umask(start: Start) -> Start:
    """Files that nobody else may read."""
    return replace(start, umask=0o077)


def hash_seed(start: Start) -> Start:
    """Another seed of Python's string hashes, so another order of sets."""
    return start.setting(PYTHONHASHSEED="12345")


def hostname(start: Start) -> Start | Skip:
    """Another host's name, in a UTS namespace of its own."""
    rename = ("sh", "-c", 'hostname elsewhere && exec "$@"', "sh")
    for unshare in (("unshare", "--uts"), ("unshare", "--user", "--map-root-user", "--uts")):
        if shutil.which("unshare") and not _run([*unshare, *rename, "true"]):
            return replace(start, before=(*unshare, *rename, *start.before))
    return Skip("this system gives no namespace to name the host in")


def file_order(start: Start) -> Start:
    """The case's files created in reverse order."""
    return replace(start, options=(*start.options, "--backwards"))


def date(start: Start) -> Start | Skip:
    """A day in 2031."""
    if shutil.which("faketime") is None:
        return Skip("no faketime; on Debian: apt-get install faketime")
    # a monotonic clock that jumps would only make waiting processes wait wrongly
    later = start.setting(FAKETIME_DONT_FAKE_MONOTONIC="1", DONT_FAKE_MONOTONIC="1")
    return replace(later, before=(*start.before, "faketime", "-f", "@2031-05-17 03:04:05"))


def hostile(start: Start) -> Start:
    """Settings that would change numbers, were they obeyed: of XLA, JAX, NumPy, BLAS and the C library."""
    return start.setting(
        XLA_FLAGS="--xla_cpu_enable_fast_math=true",
        JAX_ENABLE_X64="0",
        JAX_DEFAULT_MATMUL_PRECISION="bfloat16",
        PJRT_NPROC="8",
        OMP_NUM_THREADS="7",
        OPENBLAS_NUM_THREADS="5",
        OPENBLAS_CORETYPE="SkylakeX",
        MKL_NUM_THREADS="3",
        MKL_CBWR="AVX512",
        NPY_DISABLE_CPU_FEATURES="AVX2",
        GLIBC_TUNABLES="glibc.cpu.hwcaps=-AVX2,-FMA",
        PYTHONOPTIMIZE="1",
    )


class Group(NamedTuple):
    """Variations that share a run, and the cases that it checks."""

    variations: tuple[Variation, ...]
    cases: tuple[str, ...]


GROUPS = (
    Group((one_core, folder, home, user, timezone, umask, hostname), ("national", "detection")),
    Group((two_cores, locale, hash_seed, hostile), ("national", "geo", "detection")),
    Group((inline, file_order, date), ("break", "detection")),
)
NAMES = tuple(variation.__name__ for group in GROUPS for variation in group.variations)


def vary(only: Sequence[str]) -> int:
    """Checks under every variation, or under each of `only` by itself; 0: all equal, 1: some run differed.

    One line a variation says equal, different or skipped with the reason. Unavailable: a run did not finish.
    """
    alone = [Group((v,), group.cases) for group in GROUPS for v in group.variations if v.__name__ in only]
    groups = alone or GROUPS
    code = 0
    for number, group in enumerate(groups, 1):
        print(f"run {number} of {len(groups)}: {', '.join(group.cases)}", file=sys.stderr, flush=True)
        code = max(code, check(group, number))
    return code


def check(group: Group, number: int) -> int:
    """Checks under all variations of `group` at once, and prints a line for each; 0 equal, 1 different."""
    began = monotonic()
    with tempfile.TemporaryDirectory(prefix="noptik-vary-") as scratch:
        start = Start(Path(scratch), tuple({**os.environ, "PYTHONPATH": str(HERE.parent)}.items()))
        made: list[Variation] = []
        for variation in group.variations:
            varied = variation(start)
            if isinstance(varied, Skip):
                print(f"{variation.__name__:<10} skipped    {varied.reason}", flush=True)
            else:
                start = varied
                made.append(variation)
        if not made:
            return 0
        cases = [argument for case in group.cases for argument in ("--case", case)]
        command = [*start.before, sys.executable, "-m", "golden", "check", *cases, *start.options]
        code = _run(command, start)
    if code not in (0, 1):
        raise Unavailable("the check did not finish", ", ".join(v.__name__ for v in made), "exit code 0 or 1", code)
    for variation in made:
        word = "different" if code else "equal"
        print(f"{variation.__name__:<10} {word:<10} run {number}, {monotonic() - began:.0f} s", flush=True)
    return code


def _run(command: Sequence[str], start: Start | None = None) -> int:
    """The exit code of `command`; what it prints is progress, except what differs."""
    if start is None:
        return subprocess.run(command, capture_output=True, check=False).returncode
    with _on(start.cores):
        return subprocess.run(
            command,
            cwd=start.folder,
            env=dict(start.environ),
            umask=start.umask,
            stdin=subprocess.DEVNULL,
            stdout=2,
            check=False,
        ).returncode


@contextmanager
def _on(count: int) -> Iterator[None]:
    """Processes started within the block may use the first `count` cores that this one may; 0: all."""
    mine = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, sorted(mine)[: count or len(mine)])
        yield
    finally:
        os.sched_setaffinity(0, mine)
