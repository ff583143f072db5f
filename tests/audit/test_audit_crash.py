"""Crashes, for real: killed at any moment, a disk that fails or is full. Nothing acknowledged is lost, fsck is clean.

NOPTIK_CRASH_ROUNDS multiplies how much is tried; 1 already kills one append before each of its system calls.
"""

from __future__ import annotations

import os
import random
import re
import resource
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import databases
import pytest
from ledger_case import KEY, home_at, stages

from audit.fsck import fsck
from audit.home import Home
from audit.receipt import receipt_bytes

ROUNDS = int(os.environ.get("NOPTIK_CRASH_ROUNDS", "1"))
WRITER = Path(__file__).with_name("crash_writer.py")
DISK = "write,pwrite64,fsync,fdatasync,rename,renameat,renameat2,link,linkat,unlink,unlinkat,ftruncate"
CALL = re.compile(r"^\d+ +([a-z0-9_]+)\(", re.MULTILINE)
STEPS = {"killed": 1, "EIO": 2, "ENOSPC": 2, "EIO from then on": 3, "ENOSPC from then on": 3}
UNAVAILABLE = "failed Unavailable 2 "
OUTCOME = re.compile(r"(done|failed|ended) ?(.*)\n")


@dataclass
class Writers:
    """A process that forks one writer for each append; `strace` injects faults into one of them."""

    process: subprocess.Popen[str]

    def append(self, home: Home, *contents: str, strace: tuple[str, ...] = (), kill_after: float = 0.0) -> list[str]:
        """How the append of these contents ended: what the writer said, then its exit code."""
        pid = self._start(home, contents)
        tracer = _attach(pid, strace) if strace else None
        self._tell("go")
        if kill_after:
            time.sleep(kill_after)
            os.kill(pid, 9)
        said = list(iter(self._outcome, None))
        if tracer is not None:
            tracer.communicate()
        return [line for line in said if line is not None]

    def _start(self, home: Home, contents: tuple[str, ...]) -> int:
        self._ended = False
        self._tell(f"{home.root} {home.database or '-'} {' '.join(contents)}")
        return int(self._line().split()[1])

    def _outcome(self) -> str | None:
        if self._ended:
            return None
        line = self._line()
        assert OUTCOME.fullmatch(line), line
        self._ended = line.startswith("ended")
        return line.strip()

    def _tell(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def _line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline()


def _attach(pid: int, options: tuple[str, ...]) -> subprocess.Popen[str]:
    """strace, once it has taken hold of the process."""
    command = ["strace", "-f", "-p", str(pid), *options]
    tracer = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert tracer.stderr is not None
    line = tracer.stderr.readline()
    assert "attached" in line, line
    return tracer


@pytest.fixture(scope="module")
def writers() -> Iterator[Writers]:
    path = os.pathsep.join([str(WRITER.parent), str(WRITER.parents[2])])
    command = [sys.executable, str(WRITER)]
    with subprocess.Popen(
        command,
        env={"PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield Writers(process)


@dataclass
class Survivor:
    """A ledger in `home`, and every receipt that was ever handed out for it."""

    home: Home
    receipts: dict[str, bytes] = field(default_factory=dict)

    def check(self, contents: list[str], acknowledged: list[int]) -> None:
        """Afterwards the contents are logged; what was acknowledged of them was so before, and everything is clean."""
        assert [f"{one.part}: {one.note}" for one in fsck(self.home) if one.fault is not None] == []
        with self.home.reader().reading() as log:
            assert log.size >= max(acknowledged, default=-1) + 1
        self._log(contents)
        found = [self.receipts[content] for content in contents[: len(acknowledged)]]
        assert [f'"seq":{seq},' in receipt.decode() for seq, receipt in zip(acknowledged, found, strict=True)] == [
            True for _ in found
        ]
        assert [one.note for one in fsck(self.home) if one.part == "intent"] == ["none open"]

    def finish(self) -> None:
        """Returns only if every receipt is still given, byte for byte, and nothing was logged but their entries."""
        contents = sorted(self.receipts)
        for content, receipt in zip(contents, self.home.writer(KEY).append(stages(*contents)), strict=True):
            assert receipt_bytes(receipt) == self.receipts[content]
        with self.home.reader().trusted() as log:
            assert log.head.size == len(contents)

    def _log(self, contents: list[str]) -> None:
        for content, receipt in zip(contents, self.home.writer(KEY).append(stages(*contents)), strict=True):
            assert self.receipts.setdefault(content, receipt_bytes(receipt)) == receipt_bytes(receipt)


@pytest.fixture(params=databases.KINDS)
def survivor(request: pytest.FixtureRequest, tmp_path: Path) -> Survivor:
    return begun(tmp_path, request.param)


def begun(folder: Path, kind: str) -> Survivor:
    """A ledger that has begun, with one entry."""
    survivor = Survivor(home_at(folder / "home", databases.new_database(kind)))
    survivor.home.writer(KEY)
    survivor.check(["first"], [])
    return survivor


def acknowledged(said: list[str]) -> list[int]:
    return [int(seq) for line in said if line.startswith("done") for seq in line.split()[1:]]


def calls(survivor: Survivor, writers: Writers, log: Path, traced: str) -> list[tuple[str, int]]:
    """Every system call of `traced` in one append: its name, and the how-manieth of that name it is."""
    said = writers.append(survivor.home, "counted", "and-counted", strace=("-e", f"trace={traced}", "-o", str(log)))
    assert said[-1] == "ended 0"
    survivor.check(["counted", "and-counted"], acknowledged(said))
    names = Counter(CALL.findall(log.read_text()))
    return [(name, number) for name in sorted(names) for number in range(1, names[name] + 1)]


FAULTS = {
    "killed": ("signal=SIGKILL", ""),
    "EIO": ("error=EIO", ""),
    "ENOSPC": ("error=ENOSPC", ""),
    "EIO from then on": ("error=EIO", "+"),
    "ENOSPC from then on": ("error=ENOSPC", "+"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_an_append_that_fails_at_any_system_call_loses_nothing_and_ends_as_if_it_had_not(
    survivor: Survivor, writers: Writers, tmp_path: Path, fault: str
) -> None:
    """Each call in turn, by name and number; a message to the server only as the last thing the writer does."""
    what, onwards = FAULTS[fault]
    traced = f"{DISK},sendto" if survivor.home.database and fault == "killed" else DISK
    every = calls(survivor, writers, tmp_path / "calls", traced)
    assert {name for name, _ in every} >= {"write", "fsync", "rename", "unlink"}
    ends: set[str] = set()
    step = 1 if ROUNDS > 1 else STEPS[fault] + 3 * (traced != DISK)
    for round_ in range(ROUNDS):
        for name, number in every[round_ % step :: step]:
            contents = [f"{round_}-{name}-{number}-{which}" for which in "ab"]
            inject = f"inject={name}:{what}:when={number}{onwards}"
            said = writers.append(survivor.home, *contents, strace=("-e", inject, "-o", "/dev/null"))
            assert not any(line.startswith("failed") and not line.startswith(UNAVAILABLE) for line in said), said
            ends.add(said[0].split()[0] + said[-1])
            survivor.check(contents, acknowledged(said))
    survivor.finish()
    assert ("endedended -9" if fault == "killed" else "failedended 0") in ends


def test_kill_minus_nine_in_a_loop_loses_nothing_that_was_acknowledged(survivor: Survivor, writers: Writers) -> None:
    random_ = random.Random(20240101)
    for round_ in range(8 * ROUNDS):
        said = writers.append(survivor.home, f"loop{round_}*", kill_after=random_.uniform(0.01, 0.3))
        assert said[-1] == "ended -9"
        seqs = acknowledged(said)
        survivor.check([f"loop{round_}*{number}" for number in range(len(seqs) + 1)], seqs)
    survivor.finish()


def test_the_creation_of_a_ledger_may_be_killed_at_any_system_call(writers: Writers, tmp_path: Path) -> None:
    first = Survivor(home_at(tmp_path / "counted"))
    every = calls(first, writers, tmp_path / "calls", DISK)
    killed = 0
    for name, number in every[:: 1 if ROUNDS > 1 else 3]:
        survivor = Survivor(home_at(tmp_path / f"home-{name}-{number}"))
        inject = f"inject={name}:signal=SIGKILL:when={number}"
        said = writers.append(survivor.home, "a", "b", strace=("-e", inject, "-o", "/dev/null"))
        killed += said == ["ended -9"]
        survivor.home.writer(KEY)
        survivor.check(["a", "b"], [])
        survivor.finish()
    assert killed > 10  # a page more or less, and the last of them is not reached


def test_a_database_server_that_drops_its_clients_loses_nothing(writers: Writers, tmp_path: Path) -> None:
    """Every connection is cut again and again: an append fails as unavailable, or it is there."""
    survivor = begun(tmp_path, "postgresql")
    url = survivor.home.database
    assert url is not None
    random_, failed = random.Random(3), 0
    for round_ in range(10 * ROUNDS):
        contents = [f"cut-{round_}-{name}" for name in "ab"]
        writers._tell(f"{survivor.home.root} {url} {' '.join(contents)}")
        writers._ended = False
        writers._line()
        writers._tell("go")
        time.sleep(random_.uniform(0.02, 0.1))
        databases.run(url, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()")
        said = [line for line in iter(writers._outcome, None) if line is not None]
        assert said[-1] == "ended 0"
        assert said[0].startswith(("done", UNAVAILABLE))
        failed += said[0].startswith("failed")
        survivor.check(contents, acknowledged(said))
    survivor.finish()
    assert failed > 0


@contextmanager
def small_disk(folder: Path, size: int) -> Iterator[Path]:
    """A file system of `size` bytes at `folder`."""
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size},mode=700", "tmpfs", str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def may_mount() -> bool:
    command = ["unshare", "--mount", "mount", "-t", "tmpfs", "tmpfs", "/mnt"]
    return subprocess.run(command, check=False, capture_output=True).returncode == 0


def fill(path: Path, leave: int) -> None:
    """Afterwards `leave` bytes are free on the disk of `path`, to a page."""
    space = os.statvfs(path.parent)
    with path.open("wb", buffering=0) as file:
        file.write(b"\0" * max(0, space.f_bavail * space.f_bsize - leave))


@pytest.mark.skipif(
    not may_mount(), reason="nobody may mount here; ENOSPC is injected and RLIMIT_FSIZE set all the same"
)
def test_a_full_disk_loses_nothing_and_the_ledger_goes_on_when_there_is_room_again(
    writers: Writers, tmp_path: Path
) -> None:
    with small_disk(tmp_path / "disk", 4 * 2**20) as disk:
        survivor = begun(disk, "sqlite")
        failed = 0
        for pages in range(0, 60 * ROUNDS, 3):
            contents = [f"full-{pages}-{name}" for name in "abc"]
            fill(disk / "filler", pages * 4096)
            said = writers.append(survivor.home, *contents)
            assert said[0].startswith(("done", UNAVAILABLE)), said
            failed += said[0].startswith("failed")
            assert [one.note for one in fsck(survivor.home) if one.fault is not None] == []  # on the full disk too
            (disk / "filler").unlink()
            survivor.check(contents, acknowledged(said))
        survivor.finish()
        assert 0 < failed < 20 * ROUNDS


def test_a_file_that_may_not_grow_loses_nothing(tmp_path: Path) -> None:
    """RLIMIT_FSIZE: the write that would pass it is cut short or refused, like one on a full disk."""
    survivor = begun(tmp_path, "sqlite")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    failed = 0
    for limit in range(2_000, 100_000, 7_000):
        contents = [f"limit-{limit}-{name}" for name in "ab"]
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
            survivor.home.writer(KEY).append(stages(*contents))
        except Exception as error:
            failed += 1
            assert type(error).__name__ == "Unavailable", error  # noqa: PT017 - whatever it is, it must be this
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        survivor.check(contents, [])
    survivor.finish()
    assert failed > 0
