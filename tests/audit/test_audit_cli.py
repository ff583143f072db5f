"""The commands as people call them: exit codes, one-line errors, proofs that stand alone, and no heavy imports."""

from __future__ import annotations

import dataclasses
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from ledger_case import FORECAST, KEY, Case, sealed_project

from audit.cli import EXIT_CODES, main
from audit.errors import BadProof, BadSignature, DigestMismatch, Tampered
from audit.home import Home
from audit.proof import Proof, Proven, check_proof, parse_proof, proof_bytes, prove
from audit.root import Anchor
from audit.signing import SigningKey

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def _sealed(tmp_path_factory: pytest.TempPathFactory) -> Case:
    return sealed_project(tmp_path_factory.mktemp("sealed"))[0]


@pytest.fixture
def case(_sealed: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Case:
    shutil.copytree(_sealed.root.parent, tmp_path / "copy", symlinks=True)
    case = Case(tmp_path / "copy" / "project", Home(tmp_path / "copy" / "home"))
    monkeypatch.chdir(case.root)
    monkeypatch.setenv("NOPTIK_HOME", str(case.home.root))
    return case


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = main(arguments)
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_verify_exits_0_and_prints_the_head(case: Case, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "verify")
    assert (code, err) == (0, "")
    with case.ledger.trusted() as log:
        assert log.head.root.hex() in out
    assert run(capsys, "verify", FORECAST)[0] == 0


def test_tampering_exits_1_on_one_line_that_names_it(case: Case, capsys: pytest.CaptureFixture[str]) -> None:
    case.path("fit/result.json").write_text("[]")
    code, out, err = run(capsys, "verify", FORECAST)
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert "fit/result.json" in err
    assert "expected" in err
    assert "found" in err
    assert run(capsys, "verify", "--stored-only")[0] == 0


@pytest.mark.parametrize(
    "arguments",
    [
        ("verify", "geo"),
        ("replay", "geo"),
        ("prove", "geo", "-o", "x"),
        ("prove", FORECAST, "-o", "/no/such/folder/x"),
        ("check-proof", "absent"),
        ("verify", "--root", "absent.pem"),
        ("verify", "--home", "nowhere"),
        ("replay", FORECAST, "--home", "nowhere"),
        ("replay", FORECAST, "--keep", "."),
        ("replay", FORECAST, "--python", "/no/such/python"),
        ("show", "--home", "nowhere"),
        ("keys", "show", "--home", "nowhere"),
        ("verify", "absent.tar", "--root", "root.pem"),
        ("replay", "absent.tar", "--root", "root.pem"),
    ],
)
def test_what_cannot_be_checked_exits_2_and_changes_nothing(
    case: Case, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...]
) -> None:
    before = case.database.read_bytes()
    code, out, err = run(capsys, *arguments)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert not Path("nowhere").exists()
    assert case.database.read_bytes() == before


@pytest.mark.parametrize("arguments", [(), ("no-such-command",), ("replay",), ("prove", FORECAST)])
def test_wrong_usage_exits_2(arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert "usage" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [("--help",), ("verify", "--help"), ("replay", "-h"), ("check-proof", "-h")])
def test_help_documents_the_exit_codes(arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 0
    assert EXIT_CODES in capsys.readouterr().out


def test_a_replay_prints_its_verdict_and_shows_in_the_log(case: Case, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["replay", FORECAST, "--keep", "kept"]) == 0
    assert f"{FORECAST}: identical, 3 artifacts" in capfd.readouterr().out
    assert Path("kept/tree/artifacts", FORECAST, "fit/result.json").exists()
    assert main(["show", FORECAST]) == 0
    out = capfd.readouterr().out
    assert "specification number 1" in out
    assert "identical" in out
    with case.ledger.trusted() as log:
        assert log.of(FORECAST)[0].id in out
    assert main(["show", "geo"]) == 0
    assert len(capfd.readouterr().out.splitlines()) == 1


def test_show_refuses_a_log_that_is_not_whole(case: Case, capsys: pytest.CaptureFixture[str]) -> None:
    with sqlite3.connect(case.database) as database:
        database.execute("UPDATE entries SET kind = 'verdict' WHERE seq = 1")
    code, _, err = run(capsys, "show")
    assert code == 1
    assert "entry 1" in err


def test_a_proof_checks_offline_with_the_root_key_alone(
    case: Case, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(capsys, "prove", FORECAST, "-o", str(tmp_path / "run.tlog-proof"))[0] == 0
    assert run(capsys, "check-proof", str(tmp_path / "run.tlog-proof"))[0] == 0
    code, out, _ = run(capsys, "keys", "show", "-o", str(tmp_path / "root.pem"))
    assert code == 0
    assert KEY.public.key_id in out
    shutil.rmtree(case.home.root)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("NOPTIK_HOME")
    code, out, err = run(capsys, "check-proof", "run.tlog-proof", "--root", "root.pem")
    assert (code, err) == (0, "")
    assert f"artifacts/{FORECAST}/fit/result.json" in out
    (tmp_path / "other.pem").write_bytes(SigningKey.from_seed(b"\x05" * 32).public.to_pem())
    assert run(capsys, "check-proof", "run.tlog-proof", "--root", "other.pem")[0] == 1


def proofs(case: Case) -> tuple[list[Proof], Proven]:
    """The proof of each of the case's entries, and what that of the seal proves."""
    with case.ledger.trusted() as log:
        made = [prove(log, seq, case.home.keyring.chain()) for seq in range(log.head.size)]
        return made, Proven(log.head, log.at(2))


ANCHOR = Anchor(KEY.public)


def test_a_proof_proves_its_entry_and_nothing_else(case: Case) -> None:
    made, seal = proofs(case)
    raw = proof_bytes(made[2])
    assert check_proof(raw, ANCHOR) == seal
    assert seal.entry.record.kind == "seal"
    assert parse_proof(raw) == made[2]
    for position in range(0, len(raw), 37):
        with pytest.raises(Tampered):
            check_proof(raw[:position] + bytes([raw[position] ^ 1]) + raw[position + 1 :], ANCHOR)


def test_parts_of_other_proofs_do_not_fit(case: Case) -> None:
    made, _ = proofs(case)
    one, other = made[1], made[2]
    mixed = one.extra.model_copy(update={"envelope": other.extra.envelope})
    salted = one.extra.model_copy(update={"salt": other.extra.salt})
    parts: dict[type[Tampered], list[dict[str, object]]] = {
        BadProof: [{"hashes": other.hashes}, {"index": 2}, {"index": 4}, {"extra": other.extra}],
        DigestMismatch: [{"extra": mixed}, {"extra": salted}],
        BadSignature: [{"checkpoint": one.checkpoint.replace(b"\n3\n", b"\n4\n")}],
    }
    for error, changes in parts.items():
        for change in changes:
            with pytest.raises(error):
                check_proof(proof_bytes(dataclasses.replace(one, **change)), ANCHOR)  # type: ignore[arg-type]


def test_the_commands_need_no_numerics_and_none_of_the_other_packages() -> None:
    script = (
        "import sys, audit.cli, audit.sealing, audit.registration\n"
        "heavy = {'numpy', 'jax', 'jaxlib', 'pandas', 'scipy', 'pyarrow', 'zarr', 'yaml', 'rich', 'dvc',"
        " 'engine', 'stages', 'registry', 'golden'}\n"
        "print(sorted(heavy & {name.split('.')[0] for name in sys.modules}))"
    )
    found = subprocess.run([sys.executable, "-c", script], cwd=REPOSITORY, check=True, capture_output=True, text=True)
    assert found.stdout == "[]\n"


def test_the_module_runs_as_a_command(case: Case) -> None:
    environment = {"NOPTIK_HOME": str(case.home.root), "PYTHONPATH": str(REPOSITORY)}
    command = [sys.executable, "-m", "audit", "verify"]
    case.path("fit/posterior/c0").unlink()
    done = subprocess.run(command, cwd=case.root, env=environment, check=False, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert "Traceback" not in done.stderr
