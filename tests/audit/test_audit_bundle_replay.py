"""A bundle run again by whoever holds it, from its own contents, and what they say of it taken into the log."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from bundle_case import ANCHOR, audit, case_with_siblings, parts, verify, write
from ledger_case import FORECAST, KEY, REPLAY, Case, project, sealed_project

from audit.admission import admission, open_admission, sign_verdict
from audit.bundlereplay import replay_bundle
from audit.envelope import PAYLOAD_TYPE, open_envelope, seal
from audit.errors import BadSignature, Inconsistent, Malformed, Tampered, Unavailable
from audit.ledger import Pending
from audit.replay import Replayed
from audit.replayenv import build
from audit.signing import SigningKey, load_public
from audit.statement import AdmissionStatement, Metadata, VerdictStatement, parse_statement, statement_bytes

CLIENT = SigningKey.from_seed(bytes(range(2, 34)))
NOW = Metadata(
    started_on="2024-03-01T00:00:00Z", finished_on="2024-03-01T00:00:00Z", host="h", cpu="c", libc="l", python="p"
)
ROOT = Path(__file__).parents[2]


def replayed(bundle: Path, workdir: Path) -> Replayed:
    workdir.mkdir()
    clock = iter(("2024-02-03T04:05:06Z", "2024-02-03T04:05:07Z"))
    return replay_bundle(bundle, ANCHOR, workdir, lambda: next(clock), sys.executable, (sys.executable,))[1]


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Case:
    return case_with_siblings(tmp_path_factory.mktemp("sealed"))


@pytest.fixture(scope="module")
def verdict(case: Case, tmp_path_factory: pytest.TempPathFactory) -> VerdictStatement:
    folder = tmp_path_factory.mktemp("replayed")
    return replayed(write(case, folder / "b.tar"), folder / "work").statement


@pytest.mark.parametrize("light", [False, True])
def test_a_bundle_replays_to_identical_also_from_digests_alone(case: Case, tmp_path: Path, light: bool) -> None:
    bundle = write(case, tmp_path / "b.tar", light=light)
    shutil.move(case.root, tmp_path / "away")  # and the store is not asked either
    shutil.move(case.home.root / "store", tmp_path / "store")
    try:
        found = replayed(bundle, tmp_path / "work")
    finally:
        shutil.move(tmp_path / "away", case.root)
        shutil.move(tmp_path / "store", case.home.root / "store")
    assert (found.verdict.verdict, found.exit_code, len(found.verdict.details)) == ("identical", 0, 3)
    assert found.verdict.run == verify(bundle).info.run
    assert (tmp_path / "work/tree/artifacts" / FORECAST / "fit/result.json").exists()


def differing(folder: Path, source: str) -> Path:
    """The bundle of a project whose recorded source, unlike what was run, is `source`."""
    case = project(folder)
    receipt = case.register()
    case.run()
    (case.root / "stages/replay.py").write_text(source)
    case.seal(receipt)
    return write(case, folder / "b.tar")


def test_a_bundle_whose_source_computes_something_else_is_different_and_says_where(tmp_path: Path) -> None:
    bundle = differing(tmp_path, REPLAY.replace("float(x) * factor", "float(x) * factor * 1.5"))
    found = replayed(bundle, tmp_path / "work")
    assert (found.verdict.verdict, found.exit_code) == ("different", 1)
    changed = {detail.name: detail.found for detail in found.verdict.details if detail.expected != detail.found}
    assert set(changed) == {f"artifacts/{FORECAST}/fit/{name}" for name in ("posterior", "result.json")}
    assert "max_rel 0.5" in changed[f"artifacts/{FORECAST}/fit/result.json"]


def test_a_replayed_stage_reaches_no_network_and_no_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "in the user's environment")  # the tiny project's stage asserts that it is not told
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)):
            pass  # reachable from here
        call = f"import socket\nassert socket.socket().connect_ex(('127.0.0.1', {port})) != 0\n"
        found = replayed(differing(tmp_path, call + REPLAY), tmp_path / "work")
    assert found.offline
    assert found.verdict.verdict == "identical"


@pytest.mark.parametrize("word", ["source", "data", "register"])
def test_without_what_it_needs_a_bundle_verifies_but_is_not_replayed(case: Case, tmp_path: Path, word: str) -> None:
    bundle = write(case, tmp_path / "b.tar", withheld=(word,))
    verify(bundle)
    with pytest.raises(Unavailable, match=f"withheld.*{word}"):
        replayed(bundle, tmp_path / "work")


def test_a_tampered_bundle_is_never_replayed(case: Case, tmp_path: Path) -> None:
    bundle = parts(write(case, tmp_path / "b.tar"))
    bundle.files["data/source/stages/replay.py"] += b"\nprint('owned')\n"
    with pytest.raises(Tampered):
        replayed(bundle.signed_again().to(tmp_path / "bad.tar"), tmp_path / "work")
    assert list((tmp_path / "work").iterdir()) == []


def test_packages_that_are_not_the_recorded_ones_are_named(tmp_path: Path) -> None:
    case = project(tmp_path, lock=f"pydantic=={version('pydantic')}\npytest==0.0.1\n")
    receipt = case.register()
    case.run()
    case.seal(receipt)
    with pytest.raises(Unavailable, match=rf"pytest {version('pytest')} \(locked 0\.0\.1\)"):
        replayed(write(case, tmp_path / "b.tar"), tmp_path / "work")


def pinned(name: str) -> str:
    """The lines by which the project's own lock file pins a package."""
    lines = (ROOT / "requirements.lock").read_text().splitlines(keepends=True)
    start = next(i for i, line in enumerate(lines) if line.startswith(f"{name}=="))
    end = next(i for i in range(start + 1, len(lines)) if not lines[i].startswith(" "))
    return "".join(lines[start:end])


@pytest.mark.slow
def test_the_environment_is_built_from_the_bundled_lock_and_nothing_else(tmp_path: Path) -> None:
    case = project(tmp_path, lock=pinned("rfc8785"))
    for name in ("requirements-bootstrap.lock", "requirements-build.lock"):
        shutil.copy(ROOT / name, case.root)
    receipt = case.register()
    case.run()
    check = (
        "import sys, importlib.metadata as m\n"
        "names = {d.metadata['Name'].lower() for d in m.distributions()}\n"
        "assert names == {'rfc8785', 'pip', 'setuptools', 'uv'}, names\n"
        "assert sys.prefix != sys.base_prefix\n"
    )
    (case.root / "stages/replay.py").write_text(check + REPLAY)
    case.seal(receipt)
    write(case, tmp_path / "b.tar")
    (tmp_path / "root.pem").write_bytes(KEY.public.to_pem())
    words = ("--root", "root.pem", "--home", "client", "--keep", "work")
    done = audit("replay", "b.tar", *words, cwd=tmp_path, HOME=str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert f"{FORECAST}: identical, 3 artifacts" in done.stdout


def test_without_lock_files_no_environment_can_be_built(case: Case, tmp_path: Path) -> None:
    bundle = write(case, tmp_path / "b.tar")
    (tmp_path / "work").mkdir()
    with pytest.raises(Unavailable, match="no environment can be built"):
        replay_bundle(bundle, ANCHOR, tmp_path / "work", lambda: "", sys.executable)


@pytest.mark.parametrize(
    "line", ["--index-url=x", "-e .", "name @ file:///x", "name>=1", "name==1 --hash=md5:00", "    --find-links=x"]
)
def test_a_lock_that_could_name_another_source_builds_nothing(tmp_path: Path, line: str) -> None:
    for name in ("requirements.lock", "requirements-bootstrap.lock", "requirements-build.lock"):
        (tmp_path / name).write_text(f"name==1.0 \\\n    --hash=sha256:{'0' * 64}\n")
    (tmp_path / "requirements-build.lock").write_text(f"# pins\n{line}\n")
    with pytest.raises(Malformed, match=r"requirements-build\.lock:2"):
        build(tmp_path, tmp_path / "venv", sys.executable)
    assert not (tmp_path / "venv").exists()


def test_a_client_replays_signs_and_sends_back_what_the_ledger_then_admits(tmp_path: Path) -> None:
    case, sealed = sealed_project(tmp_path)
    write(case, tmp_path / "b.tar")
    (tmp_path / "root.pem").write_bytes(KEY.public.to_pem())
    words = ("--root", "root.pem", "--home", "client", "--python", sys.executable)
    done = audit("replay", "b.tar", *words, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"{FORECAST}: identical, 3 artifacts of run {sealed.run_id}" in done.stdout
    assert "without a network" in done.stdout
    again = audit("replay", "b.tar", *words, cwd=tmp_path)
    assert (again.returncode, "already there" in again.stderr) == (2, True)
    private = tmp_path / "client/keys/client.pem"
    assert private.stat().st_mode & 0o777 == 0o600
    subprocess.run(["openssl", "pkey", "-in", private, "-pubout", "-out", tmp_path / "client.pem"], check=True)
    home = ("--client", "client.pem", "--home", case.home.root)
    admitted = audit("admit", "b.tar.replay.json", *home, cwd=tmp_path)
    assert (admitted.returncode, admitted.stderr) == (0, "")
    assert "admitted as entry 3" in admitted.stdout
    assert "admitted as entry 3" in audit("admit", "b.tar.replay.json", *home, cwd=tmp_path).stdout  # once
    with case.home.reader().trusted() as log:
        entry = log.at(3)
        assert entry.record.kind == "admission"
        stated = entry.require().statement
        assert isinstance(stated, AdmissionStatement)
        raw = (tmp_path / "b.tar.replay.json").read_bytes()
        assert open_admission(stated, "here") == parse_statement(
            open_envelope(raw, load_public(tmp_path / "client.pem"), PAYLOAD_TYPE)
        )
    later = verify(write(case, tmp_path / "later.tar"))  # the admission travels with the next bundle
    assert (later.info.size, later.unchecked) == (4, ())


def test_a_statement_under_another_key_or_altered_is_not_admitted(verdict: VerdictStatement) -> None:
    raw = sign_verdict(verdict, CLIENT)
    assert sign_verdict(verdict, CLIENT) == raw
    admission(raw, CLIENT.public, NOW)
    with pytest.raises(BadSignature):
        admission(raw, KEY.public, NOW)
    for place in range(0, len(raw), 61):
        flipped = bytearray(raw)
        flipped[place] ^= 1
        with pytest.raises((BadSignature, Malformed)):
            admission(bytes(flipped), CLIENT.public, NOW)


def test_only_a_verdict_on_a_run_is_admitted(verdict: VerdictStatement, case: Case) -> None:
    with case.home.reader().trusted() as log:
        stage = log.at(1).require().statement
    with pytest.raises(Malformed, match="not a verdict"):
        admission(seal(statement_bytes(stage), PAYLOAD_TYPE, CLIENT), CLIENT.public, NOW)
    with pytest.raises(Malformed):
        admission(seal(statement_bytes(verdict), "text/plain", CLIENT), CLIENT.public, NOW)
    gate = verdict.predicate.model_copy(update={"verdict": "failed_gate"})
    with pytest.raises(Malformed, match="not a verdict on a run"):
        admission(sign_verdict(verdict.model_copy(update={"predicate": gate}), CLIENT), CLIENT.public, NOW)


@pytest.mark.parametrize(
    "changes", [{"forecast": "other"}, {"run": "0" * 64}, {"verdict": "different"}, {"client": KEY.public.raw.hex()}]
)
def test_an_admission_that_says_other_than_the_client_did_is_refused(
    verdict: VerdictStatement, changes: dict[str, str]
) -> None:
    stated = admission(sign_verdict(verdict, CLIENT), CLIENT.public, NOW)
    assert open_admission(stated, "here") == verdict
    other = stated.model_copy(update={"predicate": stated.predicate.model_copy(update=changes)})
    with pytest.raises((Inconsistent, BadSignature)):
        open_admission(other, "here")


def test_an_admission_of_other_artifacts_or_an_impossible_key_is_refused(verdict: VerdictStatement) -> None:
    stated = admission(sign_verdict(verdict, CLIENT), CLIENT.public, NOW)
    with pytest.raises(Inconsistent):
        open_admission(stated.model_copy(update={"subject": stated.subject[:1]}), "here")
    weak = stated.predicate.model_copy(update={"client": "00" * 32})
    with pytest.raises(Malformed, match="small order"):
        open_admission(stated.model_copy(update={"predicate": weak}), "here")


def test_a_verdict_on_a_run_that_the_log_does_not_hold_is_not_admitted(
    verdict: VerdictStatement, case: Case, tmp_path: Path
) -> None:
    (tmp_path / "client.pem").write_bytes(CLIENT.public.to_pem())
    (tmp_path / "other.json").write_bytes(
        sign_verdict(
            verdict.model_copy(update={"predicate": verdict.predicate.model_copy(update={"run": "0" * 64})}), CLIENT
        )
    )
    (tmp_path / "fewer.json").write_bytes(
        sign_verdict(verdict.model_copy(update={"subject": verdict.subject[:1]}), CLIENT)
    )
    for name, why in (("other.json", "does not hold"), ("fewer.json", "verdict on another")):
        done = audit("admit", name, "--client", "client.pem", "--home", case.home.root, cwd=tmp_path)
        assert (done.returncode, why in done.stderr) == (1, True), done.stderr
    assert audit("admit", "absent", "--client", "client.pem", "--home", case.home.root, cwd=tmp_path).returncode == 2


def test_a_log_that_admits_what_no_client_signed_is_not_trusted(verdict: VerdictStatement, tmp_path: Path) -> None:
    """The trust rules check the client's signature again: the log's own key is not enough."""
    case, sealed = sealed_project(tmp_path)
    own = verdict.predicate.model_copy(update={"run": sealed.run_id})
    stated = admission(sign_verdict(verdict.model_copy(update={"predicate": own}), CLIENT), CLIENT.public, NOW)
    forged = stated.predicate.model_copy(update={"client": KEY.public.raw.hex()})
    case.ledger.append([Pending("admission", stated.model_copy(update={"predicate": forged}))])
    with pytest.raises(Tampered, match="admission in entry 3"), case.home.reader().trusted():
        pass


def test_the_statement_is_a_plain_dsse_envelope(verdict: VerdictStatement) -> None:
    value = json.loads(sign_verdict(verdict, CLIENT))
    assert set(value) == {"payload", "payloadType", "signatures"}
    assert value["signatures"][0]["keyid"] == CLIENT.public.key_id
