"""`noptik doctor` tells may from may not from cannot tell, and names each operation that differs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from engine.precision import PROFILE
from stages import doctor
from tests.fresh import REPOSITORY, defaults

COMMITTED = REPOSITORY / "engine" / "fingerprint.json"
HOSTILE = {"XLA_FLAGS": "--xla_cpu_max_isa=AVX512", "JAX_ENABLE_X64": "0", "OPENBLAS_CORETYPE": "SkylakeX"}


def run(*arguments: str, environ: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "stages.doctor", *arguments],
        cwd=REPOSITORY,
        env=dict(environ),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_this_machine_computes_the_committed_bytes_from_a_hostile_environment(tmp_path: Path) -> None:
    path = tmp_path / "fingerprint.json"
    done = run("--write", "--expected", str(path), environ={**defaults(), **HOSTILE})
    assert done.returncode == 0, done.stderr
    assert path.read_bytes() == COMMITTED.read_bytes()


def test_an_operation_that_differs_is_named_and_forbids_replay(tmp_path: Path) -> None:
    altered = json.loads(COMMITTED.read_text(encoding="utf-8"))
    real = dict(altered["operations"])
    altered["operations"].update(cholesky_20="0" * 16, f32_exp="1" * 16)
    path = tmp_path / "fingerprint.json"
    path.write_text(json.dumps(altered), encoding="utf-8")
    done = run("--json", "--expected", str(path), environ=defaults())
    assert done.returncode == 1, done.stderr
    found = json.loads(done.stdout)
    assert found["may_replay"] is False
    assert found["expected"] != found["found"]
    assert found["profile_sha256"] == PROFILE.sha256
    assert found["differing"] == [
        ["cholesky_20", "sentinel", "0" * 16, real["cholesky_20"]],
        ["f32_exp", "canary", "1" * 16, real["f32_exp"]],
    ]


@pytest.mark.parametrize("content", [None, '{"profile": "det-0", "sha256": "", "operations": {}}'])
def test_without_a_fingerprint_of_this_profile_it_cannot_tell(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "fingerprint.json"
    if content is not None:
        path.write_text(content, encoding="utf-8")
    done = run("--expected", str(path), environ=os.environ)
    assert done.returncode == 2
    assert done.stdout.startswith("unavailable: ")
    assert done.stderr == ""


def diagnosis(*differing: tuple[str, str, str, str]) -> doctor.Diagnosis:
    return doctor.Diagnosis(
        cpu="a CPU",
        cpu_features=("AVX", "AVX2", "FMA3", "SSE2"),
        cores=2,
        libc="glibc 2.36",
        kernel="6.1",
        python="3.11.2",
        profile=PROFILE.name,
        profile_sha256=PROFILE.sha256,
        versions=PROFILE.versions,
        operations=135,
        expected="e" * 64,
        found="f" * 64,
        differing=differing,
        may_replay=all(role == "canary" for _, role, *_ in differing),
    )


def test_the_last_line_says_whether_this_machine_may_replay() -> None:
    sentinel, canary = ("sort", "sentinel", "a" * 16, "b" * 16), ("f32_exp", "canary", "a" * 16, "b" * 16)
    for differing, line in (
        ((), "This machine may replay: every operation agrees."),
        ((canary,), "This machine may replay: what differs is not on the replayed path."),
        ((sentinel, canary), "This machine may NOT replay: 1 operation of the replayed path differs."),
        ((sentinel, sentinel), "This machine may NOT replay: 2 operations of the replayed path differ."),
    ):
        table = doctor.table(diagnosis(*differing))
        assert table.splitlines()[-1] == line
        assert all(name in table for name, *_ in differing)


def test_the_exit_codes_are_in_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        doctor.main(["--help"])
    assert stopped.value.code == 0
    assert "exit codes: 0 this machine may replay; 1 it may not; 2 it cannot be told" in capsys.readouterr().out
