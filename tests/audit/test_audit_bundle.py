"""Bundles: the same bytes from the same input, nothing of anyone else's inside, and everything that was promised."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from bundle_case import (
    ANCHOR,
    OTHER_FORECAST,
    SECRETS,
    Parts,
    audit,
    case_with_siblings,
    parts,
    verify,
    write,
)
from ledger_case import FORECAST, KEY, Case, home_at, project, statement

from audit import age
from audit.bundle import parse_info
from audit.bundleplan import Order, Origins
from audit.bundleverify import verify_bundle
from audit.bundlewrite import write_bundle
from audit.digest import sha256
from audit.errors import BadSignature, Inconsistent, KeyRefused, Malformed, Unavailable, Usage
from audit.ledger import Pending
from audit.proof import check_proof
from audit.replay import offline
from audit.root import Anchor
from audit.signing import SigningKey
from audit.statement import core_bytes, parse_statement

ARTIFACTS = f"data/artifacts/{FORECAST}"


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Case:
    return case_with_siblings(tmp_path_factory.mktemp("sealed"))


@pytest.fixture(scope="module")
def whole(case: Case, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(case, tmp_path_factory.mktemp("bundle") / "whole.tar")


@pytest.fixture(scope="module")
def inside(whole: Path) -> Parts:
    return parts(whole)


def test_a_bundle_verifies_from_its_bytes_and_the_root_key_alone(whole: Path) -> None:
    report = verify(whole)
    assert report.info.forecast == FORECAST
    assert report.unchecked == ()
    assert report.withheld == {"stage": len(SECRETS)}
    assert report.files == len(parts(whole).files)


def test_the_same_input_gives_the_same_bytes_whoever_writes_them_wherever_and_whenever(
    case: Case, whole: Path, tmp_path: Path
) -> None:
    there = tmp_path / "another place"
    there.mkdir()
    settings = {"TZ": "Pacific/Kiritimati", "PYTHONHASHSEED": "7", "LC_ALL": "C", "HOME": str(tmp_path)}
    umask = os.umask(0o077)
    try:
        done = audit("bundle", FORECAST, "-o", "again.tar", "--home", case.home.root, cwd=there, **settings)
    finally:
        os.umask(umask)
    assert done.returncode == 0, done.stderr
    assert (there / "again.tar").read_bytes() == whole.read_bytes()


def test_everything_that_was_promised_is_inside(inside: Parts, case: Case) -> None:
    expected = {
        "VERIFY.md",
        "verify.html",
        "manifest-sha256.txt.sig",
        "data/bundle.json",
        "data/trust/1.root.json",
        "data/log/checkpoint",
        "data/log/tile/entries/000.p/5",
        "data/log/tile/0/000.p/5",
        "data/log/proofs/2.tlog-proof",
        "data/log/consistency/1-3.json",
        "data/log/consistency/3-5.json",
        "data/source/data/input.csv",
        "data/source/requirements.lock",
        f"{ARTIFACTS}/register/spec.json",
        f"{ARTIFACTS}/register/receipt.json",
        f"{ARTIFACTS}/seal/receipt.json",
        f"{ARTIFACTS}/fit/posterior/c0",
        f"{ARTIFACTS}/statements/fit.json",
    }
    assert expected <= set(inside.files)
    artifacts = {name: raw for name, raw in inside.files.items() if name.startswith(ARTIFACTS)}
    assert artifacts == {f"data/{name}": (case.root / name).read_bytes() for name in _workspace(case)}


def _workspace(case: Case) -> list[str]:
    """The files of the forecast's folder in the workspace, where what it leaves there is evidence."""
    return [str(path.relative_to(case.root)) for path in (case.root / "artifacts").rglob("*") if path.is_file()]


def test_each_proof_inside_is_one_that_check_proof_accepts(inside: Parts) -> None:
    proofs = [name for name in inside.files if name.endswith(".tlog-proof")]
    assert len(proofs) == 3
    for name in proofs:
        proven = check_proof(inside.files[name], ANCHOR, name)
        assert proven.head.size == 5


def test_no_private_key_is_inside(inside: Parts, case: Case) -> None:
    everything = b"".join(inside.files.values())
    assert b"PRIVATE KEY" not in everything
    for secret in (bytes(range(32)), bytes(range(32)).hex().encode()):
        assert secret not in everything
    assert str(case.home.root).encode() not in everything


def test_nothing_of_another_forecast_is_inside_but_salted_digests(inside: Parts, case: Case) -> None:
    everything = b"".join(inside.files.values())
    with case.home.reader().trusted() as log:
        siblings = [entry for entry in log.entries() if entry.require().about.forecast == OTHER_FORECAST]
        assert len(siblings) == len(SECRETS)
        for entry in siblings:
            told = entry.require()
            guesses = [told.core, sha256(told.envelope), sha256(core_bytes(told.statement)), told.salt.hex()]
            guesses += [subject.sha256 for subject in told.statement.subject]
            guesses += [subject.name for subject in told.statement.subject]
            for guess in guesses:
                assert guess.encode() not in everything
            assert entry.record.envelope_sha256.encode() in everything
            assert told.salt not in everything
    assert OTHER_FORECAST.encode() not in everything
    for secret in SECRETS:
        assert sha256(secret.encode()).encode() not in everything


def test_nothing_of_another_client_is_inside(inside: Parts, tmp_path: Path) -> None:
    other = project(tmp_path, factor="9.75")
    other = Case(other.root, home_at(tmp_path / "other"))
    receipt = other.register(data="another client's data")
    other.run()
    other.seal(receipt)
    everything = b"".join(inside.files.values())
    with other.home.reader().trusted() as log:
        own = [entry for entry in log.entries() if entry.record.kind != "seal"]
        digests = {entry.require().core for entry in own} | {entry.record.envelope_sha256 for entry in own}
        digests |= {subject.sha256 for subject in log.artifacts(log.run(log.of(FORECAST)[-1]))}
        assert len(digests) > 5
        assert not [digest for digest in digests if digest.encode() in everything]


def test_a_light_bundle_holds_the_digests_and_verifies(case: Case, tmp_path: Path) -> None:
    light = write(case, tmp_path / "light.tar", light=True)
    report, files = verify(light), parts(light).files
    assert "light bundle" in report.unchecked[0]
    assert f"{ARTIFACTS}/register/spec.json" in files
    assert not [name for name in files if name.startswith(f"{ARTIFACTS}/fit")]
    assert b"artifacts/retail/fit/posterior/c2\n" in files["data/expected.sha256"]


@pytest.mark.parametrize(
    ("words", "gone", "said"),
    [
        (("fit",), [f"{ARTIFACTS}/fit/result.json", f"{ARTIFACTS}/statements/fit.json"], ["stage fit", "posterior"]),
        (("stage",), [f"{ARTIFACTS}/fit/posterior/c0", "data/envelopes/1.json"], ["stage fit", "result.json"]),
        (("register",), [f"{ARTIFACTS}/register/spec.json", f"{ARTIFACTS}/register/receipt.json"], ["registration"]),
        (("source",), ["data/source.sha256", "data/source/stages/replay.py"], ["source: withheld"]),
        (("data",), ["data/source/data/input.csv"], ["inputs below source/data/"]),
        (("verdict", "admission", "key"), [], []),
        (("data", "fit", "register"), ["data/source/data/input.csv"], ["registration", "stage fit", "inputs"]),
    ],
)
@pytest.mark.parametrize("light", [False, True])
def test_what_is_withheld_is_gone_and_said_and_everything_else_verifies(
    case: Case, inside: Parts, tmp_path: Path, words: tuple[str, ...], gone: list[str], said: list[str], light: bool
) -> None:
    path = write(case, tmp_path / "some.tar", light=light, withheld=words)
    report, files = verify(path), parts(path).files
    assert set(gone) <= set(inside.files)
    assert not set(gone) & set(files)
    assert report.info.withheld == tuple(sorted(words))
    for text in said:
        assert any(text in line for line in report.unchecked), report.unchecked
    if not said and not light:
        assert report.unchecked == ()


def test_a_withheld_statement_is_nowhere_inside_in_another_form(case: Case, inside: Parts, tmp_path: Path) -> None:
    pae = inside.files["data/openssl/1.pae"]
    payload = pae[pae.index(b"{") :]
    stated = parse_statement(payload)
    files = parts(write(case, tmp_path / "some.tar", withheld=("fit",))).files
    for raw in files.values():
        assert payload[:200] not in raw
        assert core_bytes(stated) not in raw


@pytest.mark.parametrize(("word", "why"), [("seal", "cannot be withheld"), ("nothing", "nothing of this name")])
def test_the_seal_and_what_does_not_exist_cannot_be_withheld(case: Case, tmp_path: Path, word: str, why: str) -> None:
    with pytest.raises(Usage, match=why):
        write(case, tmp_path / "no.tar", withheld=(word,))
    assert list(tmp_path.iterdir()) == []


def test_the_executable_bit_of_source_files_is_kept(tmp_path: Path) -> None:
    case = project(tmp_path)
    script = case.root / "stages" / "run.sh"
    script.write_text("#!/bin/sh\n")
    script.chmod(0o755)
    receipt = case.register()
    case.run()
    case.seal(receipt)
    path = write(case, tmp_path / "b.tar")
    assert verify(path).unchecked == ()
    assert parts(path).executables == {"data/source/stages/run.sh"}


@pytest.mark.parametrize("names", [("a b.txt",), ("ä.txt",), ("Readme", "README"), ("n" * 101,)])
def test_source_names_that_no_plain_tar_holds_are_a_clear_error_and_leave_nothing(
    tmp_path: Path, names: tuple[str, ...]
) -> None:
    case = project(tmp_path)
    for name in names:
        (case.root / "stages" / name).write_text("x")
    receipt = case.register()
    case.run()
    case.seal(receipt)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(Usage, match=r"not allowed in a bundle|too long for a tar"):
        write(case, tmp_path / "b.tar")
    assert sorted(tmp_path.iterdir()) == before


def test_nothing_that_exists_is_replaced_and_a_failure_leaves_nothing(case: Case, tmp_path: Path) -> None:
    path = tmp_path / "b.tar"
    path.write_bytes(b"mine")
    with pytest.raises(Usage, match="already there"):
        write(case, path)
    assert path.read_bytes() == b"mine"
    with pytest.raises(Unavailable):
        write(case, tmp_path / "absent" / "b.tar")
    ledger = case.home.reader()
    with ledger.trusted() as log:
        origins = Origins(log, case.home.store, case.home.keyring.chain(), SigningKey.generate())
        with pytest.raises(KeyRefused):
            write_bundle(Order(FORECAST), origins, tmp_path / "c.tar")
        with pytest.raises(Unavailable, match="no sealed run"):
            write_bundle(Order("nothing"), Origins(log, case.home.store, (), KEY), tmp_path / "c.tar")
    assert list(tmp_path.iterdir()) == [path]


def test_an_encrypted_bundle_is_read_by_its_recipient_only(case: Case, whole: Path, tmp_path: Path) -> None:
    for name in ("id", "stranger"):
        subprocess.run(["age-keygen", "-o", tmp_path / name], check=True, capture_output=True)
    shown = subprocess.run(["age-keygen", "-y", tmp_path / "id"], check=True, capture_output=True)
    recipient = shown.stdout.decode().strip()
    (tmp_path / "root.pem").write_bytes(KEY.public.to_pem())
    home = ("--home", case.home.root)
    done = audit("bundle", FORECAST, "-o", "b.tar.age", "--recipient", recipient, *home, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert age.is_encrypted(tmp_path / "b.tar.age")
    refused = audit("verify", "b.tar.age", "--root", "root.pem", cwd=tmp_path)
    assert (refused.returncode, "encrypted" in refused.stderr) == (2, True)
    stranger = audit("decrypt", "b.tar.age", "-o", "b.tar", "--identity", "stranger", cwd=tmp_path)
    assert stranger.returncode == 1
    assert not (tmp_path / "b.tar").exists()
    opened = audit("decrypt", "b.tar.age", "-o", "b.tar", "--identity", "id", cwd=tmp_path)
    assert opened.returncode == 0, opened.stderr
    assert (tmp_path / "b.tar").read_bytes() == whole.read_bytes()
    theirs = subprocess.run(["age", "-d", "-i", "id", "b.tar.age"], cwd=tmp_path, check=True, capture_output=True)
    assert theirs.stdout == whole.read_bytes()


def test_the_head_that_was_seen_is_kept_and_an_older_bundle_is_then_refused(tmp_path: Path) -> None:
    later = case_with_siblings(tmp_path / "later")
    old = write(later, tmp_path / "old.tar")
    later.ledger.append([Pending("stage", statement("fit", "later", OTHER_FORECAST))])
    new = write(later, tmp_path / "new.tar")
    kept = tmp_path / "kept"
    verify(old, kept)
    verify(old, kept)
    verify(new, kept)
    before = kept.read_bytes()
    with pytest.raises(Inconsistent, match="older than a head already signed"):
        verify(old, kept)
    assert kept.read_bytes() == before
    verify(old)  # consistent in itself: only memory tells


def test_a_log_with_another_past_is_refused_by_who_saw_the_first(whole: Path, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    verify(whole, kept)
    forked = project(tmp_path / "forked", factor="3.0")
    receipt = forked.register()
    forked.run()
    forked.seal(receipt)
    for number in range(4):
        forked.ledger.append([Pending("stage", statement("fit", f"fork {number}", OTHER_FORECAST))])
    fork = write(forked, tmp_path / "fork.tar")
    assert verify(fork).info.size > verify(whole).info.size
    with pytest.raises(Inconsistent, match="another tree of size 5"):
        verify(fork, kept)


def test_another_root_key_refuses_the_bundle_and_a_root_json_does_as_well_as_a_key(whole: Path, inside: Parts) -> None:
    with pytest.raises(BadSignature, match="not signed by the trusted root key"):
        verify_bundle(whole, Anchor(SigningKey.generate().public))
    verify_bundle(whole, Anchor.parse(inside.files["data/trust/1.root.json"]))


def test_the_command_names_what_is_verified_and_what_is_not(case: Case, tmp_path: Path) -> None:
    write(case, tmp_path / "b.tar", light=True, withheld=("data",))
    (tmp_path / "root.pem").write_bytes(KEY.public.to_pem())
    done = audit("verify", "b.tar", "--root", "root.pem", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "not checked: inputs below source/data/" in done.stdout
    assert "withheld: the envelopes of 2 stage entries" in done.stdout
    assert done.stdout.splitlines()[-1].startswith("verified: log noptik.local/")
    assert audit("verify", "b.tar", cwd=tmp_path).returncode == 2  # nothing is trusted without a key


def test_verification_imports_neither_database_nor_numbers() -> None:
    script = "import sys, audit.cli_bundle, audit.bundleverify; print(sorted(sys.modules))"
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", script], cwd=root, capture_output=True, text=True, check=True)
    for name in ("sqlmodel", "sqlalchemy", "psycopg", "numpy", "jax", "audit.ledger", "audit.home"):
        assert f"'{name}'" not in done.stdout


@pytest.fixture(scope="session")
def light_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An interpreter with the packages of requirements-audit.lock and no others."""
    root, folder = Path(__file__).parents[2], tmp_path_factory.mktemp("light")
    uv = str(Path(sys.executable).with_name("uv"))
    python = folder / "venv" / "bin" / "python"
    subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, folder / "venv"], check=True)
    sync = [uv, "--system-certs", "pip", "sync", "--quiet", "--require-hashes", "--python", python]
    subprocess.run([*sync, root / "requirements-audit.lock"], check=True)
    return python


def test_a_bundle_verifies_offline_with_the_light_lock_alone(light_python: Path, whole: Path, tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    (tmp_path / "audit").symlink_to(root / "audit")  # nothing else of the project
    (tmp_path / "root.pem").write_bytes(KEY.public.to_pem())
    words = offline()
    assert words, "this system cannot take the network from a command"
    command = [*words, light_python, "-m", "audit", "verify", whole, "--root", "root.pem"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, env={})
    assert (done.returncode, done.stderr) == (0, "")
    assert "verified: log" in done.stdout
    missing = subprocess.run([light_python, "-c", "import sqlmodel"], capture_output=True, check=False, env={})
    assert missing.returncode == 1


def test_bundle_json_has_one_form(inside: Parts) -> None:
    raw = inside.files["data/bundle.json"]
    parse_info(raw)
    value = json.loads(raw)
    for change in ({"light": 0}, {"size": "5"}, {"more": 1}, {"withheld": ["b", "a"]}, {"withheld": ["a", "a"]}):
        with pytest.raises(Malformed):
            parse_info(json.dumps(value | change, separators=(",", ":"), sort_keys=True).encode())
