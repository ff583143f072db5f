"""Laws of the keyring: one root of trust however many begin it, and private keys that stay where they are."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from audit import signing
from audit.errors import AuditError, Inconsistent, KeyRefused, Tampered, Unavailable, Usage
from audit.keyring import Keyring
from audit.root import Anchor, first_root, load_chain, with_log_key, with_root_keys
from audit.signing import Secret, SigningKey
from tests.leaks import forms, shown

KEY = SigningKey.from_seed(bytes(range(32)))
OTHER = SigningKey.from_seed(bytes(32))


@pytest.fixture
def keyring(tmp_path: Path) -> Keyring:
    return Keyring(tmp_path / "home" / "keys")


def names(keyring: Keyring) -> list[str]:
    return sorted(str(path.relative_to(keyring.folder)) for path in keyring.folder.rglob("*") if path.is_file())


def test_a_new_keyring_has_a_root_key_a_log_key_and_a_root_of_trust(keyring: Keyring) -> None:
    assert not keyring.exists
    keyring.begin()
    assert names(keyring) == ["ledger.pem", "root.pem", "root/1.root.json"]
    root = signing.load(keyring.folder / "root.pem").public
    trust = load_chain(keyring.chain(), Anchor(root))
    assert trust == keyring.trust()
    assert trust.origin == f"noptik.local/{root.key_id[:16]}"
    assert keyring.signing_key().public == trust.spans[0].key != root


def test_beginning_again_changes_nothing(keyring: Keyring) -> None:
    keyring.begin(origin="client.example/log")
    before = keyring.chain()
    keyring.begin()
    keyring.begin(origin="client.example/log")
    assert keyring.chain() == before
    with pytest.raises(KeyRefused, match="another name"):
        keyring.begin(origin="client.example/other")
    with pytest.raises(KeyRefused, match="another key"):
        keyring.begin(KEY)


def test_a_key_that_is_given_is_root_and_log_key_and_is_not_written_down(keyring: Keyring) -> None:
    keyring.begin(KEY)
    keyring.begin(KEY)
    assert names(keyring) == ["root/1.root.json"]
    assert load_chain(keyring.chain(), Anchor(KEY.public)).origin == f"noptik.local/{KEY.public.key_id[:16]}"
    with pytest.raises(Unavailable, match="gone"):
        keyring.signing_key()
    with keyring.signing(KEY) as (trust, key):
        assert (trust, key) == (keyring.trust(), KEY)
    with pytest.raises(KeyRefused, match="another key"), keyring.signing(OTHER):
        pass


def test_keys_of_the_first_schema_need_a_migration(keyring: Keyring) -> None:
    old = signing.load_or_create(keyring.folder / "ledger.pem")
    (keyring.folder / "ledger.pub.pem").write_bytes(old.public.to_pem())
    with pytest.raises(Usage, match="python -m audit migrate"):
        keyring.begin()
    with pytest.raises(KeyRefused, match="another key"):
        keyring.begin(OTHER)
    assert not keyring.exists
    keyring.begin(old)
    assert keyring.signing_key().public == old.public
    keyring.begin()


def test_a_passphrase_encrypts_what_is_kept_and_is_needed_to_sign(keyring: Keyring) -> None:
    locked = Keyring(keyring.folder, b"correct horse")
    locked.begin()
    for name in ("root.pem", "ledger.pem"):
        assert b"ENCRYPTED PRIVATE KEY" in (keyring.folder / name).read_bytes()
    assert Keyring(keyring.folder, Secret(b"correct horse")).signing_key().public == locked.trust().spans[0].key
    for wrong, match in ((None, "is encrypted"), (b"battery", "not decrypted")):
        with pytest.raises(KeyRefused, match=match):
            Keyring(keyring.folder, wrong).signing_key()
    assert Keyring(keyring.folder).trust() == locked.trust()


def test_a_key_that_is_gone_open_to_others_or_another_is_refused(keyring: Keyring) -> None:
    keyring.begin()
    path = keyring.folder / "ledger.pem"
    path.chmod(0o640)
    with pytest.raises(KeyRefused, match="open to others"):
        keyring.signing_key()
    path.unlink()
    with pytest.raises(Unavailable, match="gone"):
        keyring.signing_key()
    signing.keep(path, OTHER)
    with pytest.raises(KeyRefused, match="another"):
        keyring.signing_key()


def test_the_active_key_is_found_by_its_id(keyring: Keyring) -> None:
    keyring.begin()
    old, root = keyring.signing_key(), signing.load(keyring.folder / "root.pem")
    keyring.keep("ledger", KEY)
    keyring.accept(with_log_key(keyring.versions()[-1], KEY.public, 5, "rotated").sign(root, old, KEY))
    assert keyring.signing_key().public == KEY.public
    assert keyring.trust().version == 2
    assert {key.public for key in keyring.private_keys({old.public, root.public})} == {old.public, root.public}


def test_without_a_root_of_trust_nothing_is_trusted(keyring: Keyring) -> None:
    for ask in (keyring.chain, keyring.trust, keyring.signing_key):
        with pytest.raises(Unavailable, match="no root of trust"):
            ask()


def test_a_missing_or_changed_version_is_noticed(keyring: Keyring) -> None:
    keyring.begin()
    root = signing.load(keyring.folder / "root.pem")
    for number in (2, 3):
        keyring.accept(with_root_keys(keyring.versions()[-1], [root.public], 1).sign(root))
        assert keyring.trust().version == number
    second = keyring.version_path(2)
    whole = second.read_bytes()
    for change in (whole[:-1], whole[:40], b"", whole.replace(b'"version":2', b'"version":3')):
        second.write_bytes(change)
        with pytest.raises(Tampered):
            keyring.trust()
    second.unlink()
    with pytest.raises(Inconsistent, match="missing"):
        keyring.trust()
    second.symlink_to(keyring.version_path(1))
    with pytest.raises(Tampered):
        keyring.trust()


def test_files_that_are_no_versions_do_not_count(keyring: Keyring) -> None:
    keyring.begin()
    folder = keyring.version_path(1).parent
    for name in ("02.root.json", "2.root.json.bak", ".2.root.json.0011223344556677", "x.root.json", "0.root.json"):
        (folder / name).write_bytes(b"junk")
    assert len(keyring.chain()) == 1


def test_a_version_that_does_not_follow_is_not_accepted(keyring: Keyring) -> None:
    keyring.begin()
    unsigned = with_root_keys(keyring.versions()[-1], [OTHER.public], 1)
    with pytest.raises(Tampered):
        keyring.accept(unsigned.sign(OTHER))
    assert keyring.trust().version == 1


def test_a_draft_keeps_a_second_root_of_trust_from_being_begun(keyring: Keyring) -> None:
    draft = first_root("client.example/log", KEY.public, [KEY.public, OTHER.public], 2).sign(KEY)
    keyring.propose(draft)
    assert keyring.draft() == draft
    with pytest.raises(Unavailable, match="awaits signatures"):
        keyring.begin()
    assert not keyring.exists
    keyring.accept(draft.sign(OTHER))
    assert keyring.draft() is None
    keyring.begin()


RACE = """
import sys, time
from pathlib import Path
from audit.keyring import Keyring
keyring, start = Keyring(Path(sys.argv[1]), b"together"), Path(sys.argv[2])
print("ready", flush=True)
while not start.exists():
    time.sleep(0.001)
keyring.begin()
print(keyring.signing_key().public.raw.hex(), b"".join(keyring.chain()).hex())
"""


def test_creators_at_once_end_with_one_root_of_trust(keyring: Keyring, tmp_path: Path) -> None:
    start = tmp_path / "start"
    command = [sys.executable, "-c", RACE, str(keyring.folder), str(start)]
    racers = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    for racer in racers:
        assert racer.stdout is not None
        assert racer.stdout.readline() == "ready\n"
    start.touch()
    found = {racer.communicate(timeout=60)[0] for racer in racers}
    assert [racer.returncode for racer in racers] == [0] * 4
    assert len(found) == 1
    assert names(keyring) == ["ledger.pem", "root.pem", "root/1.root.json"]


def test_nobody_signs_while_the_keys_change(keyring: Keyring) -> None:
    keyring.begin()
    order: list[str] = []

    def sign() -> None:
        with keyring.signing():
            order.append("signed")

    thread = threading.Thread(target=sign)
    with keyring.changing():
        thread.start()
        thread.join(0.2)
        assert thread.is_alive()
        order.append("changed")
    thread.join(10)
    assert order == ["changed", "signed"]


def test_no_error_of_a_keyring_shows_a_secret(keyring: Keyring) -> None:
    passphrase = b"correct horse battery"
    locked = Keyring(keyring.folder, passphrase)
    locked.begin()
    path = keyring.folder / "ledger.pem"
    errors: list[AuditError] = []

    def attempt(ring: Keyring) -> None:
        with pytest.raises(AuditError) as caught, ring.signing():
            pass
        errors.append(caught.value)

    attempt(Keyring(keyring.folder, passphrase + b" staple"))
    attempt(keyring)
    path.chmod(0o644)
    attempt(locked)
    path.unlink()
    attempt(locked)
    signing.keep(path, OTHER, Secret(passphrase))
    attempt(locked)
    keyring.version_path(1).write_bytes(b"{}")
    attempt(locked)
    assert len(errors) == 6
    for error in errors:
        text = shown(error) + repr(locked) + repr(vars(locked))
        for form in (*forms(passphrase), *forms(bytes(32))):
            assert form not in text.encode()
