"""`python -m audit keys`, `checkpoint` and `witness`, as people use them."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from audit import signing
from audit.cli import main
from audit.cosignature import VKey
from audit.home import Home
from audit.note import parse_note
from audit.policy import check, parse_policy
from audit.root import Anchor, load_chain
from audit.signing import Secret, SigningKey
from audit.timestamp import read_roots, verify_timestamp
from tests.audit.authority import Authority, serving
from tests.audit.ledger_case import stages
from tests.leaks import forms

PASSPHRASE = b"correct horse battery"


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to work in; the evidence goes to `home` in it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NOPTIK_HOME", "home")
    monkeypatch.delenv("NOPTIK_DATABASE_URL", raising=False)
    monkeypatch.delenv("NOPTIK_PASSPHRASE_FILE", raising=False)
    return tmp_path


def append(*contents: str, passphrase: bytes | None = None) -> None:
    Home(Path("home"), None, passphrase).writer().append(stages(*contents))


def test_keys_are_made_shown_rotated_and_revoked(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["keys", "init", "--origin", "client.example/log"]) == 0
    assert main(["keys", "show", "-o", "root.pem"]) == 0
    pem = Path("root.pem").read_bytes()
    der = subprocess.run(["openssl", "pkey", "-pubin", "-outform", "DER"], input=pem, capture_output=True, check=True)
    assert f"root key     SHA256:{signing.sha256(der.stdout)}\n" in capsys.readouterr().out
    append("a", "b")
    assert main(["keys", "rotate"]) == 0
    assert main(["keys", "revoke", "--from", "3"]) == 0
    assert main(["keys", "rotate", "--role", "root"]) == 0
    capsys.readouterr()
    assert main(["keys", "show", "--root", "root.pem"]) == 0
    shown = capsys.readouterr().out
    for part in ("version      4\n", "void from size 3 (rotated)", "void from size 3 (revoked)", "from size 4, active"):
        assert part in shown
    assert "trusted      root.pem vouches for version 4" in shown


def test_several_owners_sign_one_after_the_other(capsys: pytest.CaptureFixture[str]) -> None:
    other = signing.load_or_create(Path("other/root.pem"))
    Path("other.pub.pem").write_bytes(other.public.to_pem())
    assert main(["keys", "init", "--threshold", "2", "--root-key", "other.pub.pem"]) == 0
    assert "lacks        1 of 2 root keys" in capsys.readouterr().out
    assert main(["keys", "show"]) == 0
    Path("sent.json").write_bytes(Path("home/keys/draft.root.json").read_bytes())
    assert main(["keys", "sign", "sent.json", "--key", "other/root.pem"]) == 0
    assert main(["keys", "publish", "sent.json"]) == 0
    assert "threshold    2 of 2 root keys" in capsys.readouterr().out
    append("a")


def test_what_cannot_be_done_is_said_with_its_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["keys", "show"]) == 2
    assert main(["keys", "init", "--threshold", "3"]) == 2
    assert main(["keys", "init"]) == 0
    stranger = SigningKey.generate().public
    Path("stranger.pem").write_bytes(stranger.to_pem())
    assert main(["keys", "show", "--root", "stranger.pem"]) == 1
    assert main(["keys", "rotate", "--threshold", "2"]) == 2
    assert main(["keys", "sign", "none.json"]) == 2
    assert main(["keys", "publish"]) == 2
    assert main(["keys", "init", "--ask"]) == 2
    Path("home/keys/root/1.root.json").write_bytes(b"{}")
    assert main(["keys", "show"]) == 1
    said = capsys.readouterr().err
    for part in ("no root of trust here", "threshold 3 of 1 keys", "trusted root key", "no such file", "no terminal"):
        assert part in said


def _files(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_no_command_writes_or_prints_a_secret(place: Path) -> None:
    (place / "passphrase").write_bytes(PASSPHRASE + b"\n")
    (place / "passphrase").chmod(0o600)
    (place / "wrong").write_bytes(PASSPHRASE + b" staple")
    (place / "wrong").chmod(0o600)
    (place / "open").write_bytes(PASSPHRASE)
    (place / "open").chmod(0o644)
    good, wrong, bad = (["--passphrase-file", name] for name in ("passphrase", "wrong", "open"))
    said = [run("keys", "init", *good)]
    append("a", passphrase=PASSPHRASE)
    said += [run("keys", name, *good) for name in ("rotate", "revoke", "show")]
    refused = [run("keys", "rotate", *options) for options in (wrong, bad, [])]
    refused += [
        run("keys", "sign", "home/keys/root/1.root.json", *wrong),
        run("checkpoint", NOPTIK_PASSPHRASE_FILE="open"),
    ]
    (place / "home" / "keys" / "root.pem").chmod(0o644)
    refused += [run("keys", "rotate", "--role", "root", *good), run("keys", "init", NOPTIK_PASSPHRASE_FILE="missing")]
    assert [done.returncode for done in said] == [0] * 4
    assert [done.returncode for done in refused] == [2] * 7
    keys = place / "home" / "keys"
    (keys / "root.pem").chmod(0o600)
    secrets = [PASSPHRASE]
    for path in keys.glob("*.pem"):
        key = signing.load(path, Secret(PASSPHRASE))
        with pytest.raises(TypeError):
            pickle.dumps(key)
        secrets.append(_seed(path))
    assert len(secrets) == 5
    assert all(b"Traceback" in done.stderr for done in refused)
    printed = b"".join(done.stdout + done.stderr for done in (*said, *refused))
    written = b"".join(_files(place / "home").values())
    for secret in secrets:
        for form in forms(secret):
            assert form not in printed
            assert form not in written


def _seed(path: Path) -> bytes:
    """The 32 secret bytes of an encrypted key, as openssl reads them."""
    command = ["openssl", "pkey", "-in", str(path), "-passin", f"pass:{PASSPHRASE.decode()}", "-outform", "DER"]
    return subprocess.run(command, capture_output=True, check=True).stdout[-32:]


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
    """`python -m audit`; an error is printed with its whole traceback and every local variable."""
    program = (
        "import sys, traceback\n"
        "from audit import cli\n"
        "from audit.errors import AuditError\n"
        "try:\n"
        "    arguments = cli._parser('audit').parse_args()\n"
        "    sys.exit(arguments.command(arguments))\n"
        "except AuditError as error:\n"
        "    while error is not None:\n"
        "        shown = traceback.TracebackException.from_exception(error, capture_locals=True)\n"
        "        print(''.join(shown.format(chain=False)), file=sys.stderr)\n"
        "        error = error.__cause__ or error.__context__\n"
        "    sys.exit(2)\n"
    )
    environ = {**os.environ, **environment, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    return subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, env=environ)


@contextmanager
def witness_service(state: str) -> Iterator[tuple[str, str]]:
    """The address and key of `python -m audit witness serve`."""
    environ = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    command = [sys.executable, "-m", "audit", "witness", "serve", "--state", state]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environ) as process:
        assert process.stdout is not None
        key = process.stdout.readline().split()[-1]
        url = process.stdout.readline().split()[-1]
        try:
            yield url, key
        finally:
            process.terminate()
            process.wait(10)


def test_a_client_s_witness_cosigns_over_http_and_a_policy_is_met(capsys: pytest.CaptureFixture[str]) -> None:
    append("a", "b")
    main(["keys", "show", "-o", "root.pem"])
    init = ["witness", "init", "--state", "w", "--name", "client.example/w", "--root", "root.pem", "--chain"]
    assert main([*init, "home/keys/root"]) == 0
    with witness_service("w") as (url, key):
        ask = ["checkpoint", "--witness", url, "--witness-key", key]
        assert main([*ask, "-o", "first"]) == 0
        append("c")
        assert main([*ask, "-o", "second"]) == 0
        assert main(["keys", "rotate"]) == 0
        assert main(ask) == 2
        assert main([*init, "home/keys/root"]) == 0
        assert main([*ask, "-o", "third"]) == 0
    policy = parse_policy(f"witness w {key}\nquorum w\n".encode())
    for name in ("first", "second", "third"):
        assert len(check(policy, Path(name).read_bytes())) == 1
    capsys.readouterr()
    assert main(["witness", "show", "--state", "w"]) == 0
    assert ": size 4, root " in capsys.readouterr().out
    assert main(["checkpoint"]) == 0
    assert capsys.readouterr().out == Path("third").read_text()


def test_a_client_s_witness_cosigns_files(capsys: pytest.CaptureFixture[str]) -> None:
    append("a", "b")
    main(["keys", "show", "-o", "root.pem"])
    chain = ["home/keys/root/1.root.json"]
    state = ["--state", "w"]
    assert main(["witness", "init", *state, "--name", "w.example", "--root", "root.pem", "--chain", *chain]) == 0
    assert main(["checkpoint", "-o", "head"]) == 0
    assert main(["witness", "cosign", "head", *state, "-o", "cosigned"]) == 0
    append("c")
    assert main(["checkpoint", "--since", "2", "--proof", "proof", "-o", "head"]) == 0
    assert main(["witness", "cosign", "head", *state, "-o", "refused"]) == 1
    assert not Path("refused").exists()
    assert main(["witness", "cosign", "head", *state, "--proof", "proof", "-o", "cosigned"]) == 0
    assert len(parse_note(Path("cosigned").read_bytes()).signatures) == 2
    assert main(["witness", "init", *state, "--name", "w.example", "--chain", *chain]) == 2
    assert "another head was seen last" in capsys.readouterr().err


def test_a_timestamp_is_fetched_verified_and_kept(place: Path) -> None:
    append("a")
    authority = Authority.make(place / "authority")
    other = Authority.make(place / "other")
    with serving(authority.answer) as url:
        assert main(["checkpoint", "--tsa", url, "--tsa-root", str(other.root)]) == 1
        assert main(["checkpoint", "--tsa", url]) == 2
        assert main(["checkpoint", "--tsa", url, "--tsa-root", str(authority.root), "-o", "head"]) == 0
    assert main(["checkpoint", "--tsa", "http://127.0.0.1:1/", "--tsa-root", str(authority.root)]) == 2
    home = Home(Path("home"))
    with home.reader().reading() as log:
        ((kind, answer),) = log.attached(1)
    note, trust = (
        Path("head").read_bytes(),
        load_chain(home.keyring.chain(), Anchor(home.keyring.versions()[0].root_keys[0])),
    )
    assert kind == "timestamp"
    assert (
        verify_timestamp(answer, note, trust.verifier(1, "head"), read_roots(authority.root), "token") > 1_700_000_000
    )
    assert authority.accepts(answer, note)


def test_options_that_belong_together_are_asked_for_together() -> None:
    append("a")
    vkey = str(VKey.cosigner("w", SigningKey.generate().public))
    for options in (["--witness", "http://x"], ["--witness-key", vkey], ["--since", "1"], ["--proof", "p"]):
        assert main(["checkpoint", *options]) == 2
    assert main(["checkpoint", "--witness", "http://x", "--witness-key", "junk"]) == 1
