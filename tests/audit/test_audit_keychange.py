"""Laws and attacks of changing keys: rotation, revocation and shared root keys, on a real ledger."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from audit import keychange, keyring, rootchange, signing
from audit.errors import BadSignature, Inconsistent, KeyRefused, Tampered, Unavailable, Usage
from audit.fsck import exit_code, fsck
from audit.home import Home
from audit.ledger import Ledger
from audit.note import Checkpoint, sign_checkpoint
from audit.root import Anchor, RootFile, load_chain
from audit.signing import SigningKey
from audit.statement import KeyStatement
from tests.audit.ledger_case import metadata, stages

NOW = metadata()


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """A log of three entries."""
    home = Home(tmp_path / "home")
    home.writer().append(stages("a", "b", "c"))
    return home


def rotate(home: Home) -> rootchange.Change:
    return keychange.change_log_key(home, "rotated", NOW)


def revoke(home: Home, void_from: int | None = None) -> rootchange.Change:
    return keychange.change_log_key(home, "revoked", NOW, void_from)


def size(home: Home) -> int:
    with home.reader().trusted() as log:
        return log.head.size


def root_key(home: Home) -> Path:
    return home.root / "keys" / "root.pem"


def statements(home: Home) -> list[tuple[int, KeyStatement]]:
    with home.reader().trusted() as log:
        found = [(entry.seq, entry.disclosed.statement) for entry in log.entries() if entry.disclosed]
    return [(seq, statement) for seq, statement in found if isinstance(statement, KeyStatement)]


def test_a_rotation_is_an_entry_that_names_the_root_of_trust_and_is_signed_by_the_new_key(home: Home) -> None:
    old = home.keyring.signing_key()
    change = rotate(home)
    assert change.receipt is not None
    assert (change.receipt.seq, change.lacking) == (3, ())
    ((seq, stated),) = statements(home)
    said = stated.predicate
    assert (seq, said.action, said.root_version, said.key, said.void_from) == (3, "rotate", 2, old.public.key_id, 4)
    (subject,) = stated.subject
    assert (subject.name, subject.sha256) == ("trust/2.root.json", signing.sha256(home.keyring.chain()[1]))
    assert home.keyring.signing_key().public == home.trust().span(4).key != old.public
    home.writer().append(stages("d"))
    assert size(home) == 5


def test_after_a_rotation_the_old_key_signs_nothing_that_counts(home: Home) -> None:
    old = home.keyring.signing_key()
    rotate(home)
    with home.reader().reading() as log:
        head = log.head()
    forged = sign_checkpoint(Checkpoint(home.trust().origin, head[0], bytes(31) + b"\1"), old)
    with pytest.raises(BadSignature):
        home.trust().open_head(forged)
    with pytest.raises(KeyRefused, match="another key"):
        home.writer(old)


def test_a_writer_from_before_a_rotation_does_not_sign_after_it(home: Home) -> None:
    late = home.writer()
    rotate(home)
    with pytest.raises(KeyRefused, match="another key"):
        late.append(stages("d"))
    assert size(home) == 4


def test_a_stolen_key_is_revoked_from_a_size_in_the_past(home: Home) -> None:
    thief = home.keyring.signing_key()
    home.writer().append(stages("d", "e"))
    change = revoke(home, 4)
    assert change.receipt is not None
    trust = home.trust()
    assert [(span.first, span.void_from) for span in trust.spans] == [(0, 4), (6, None)]
    with home.reader().trusted() as log:
        assert [entry.seq for entry in log.entries() if entry.void] == [3, 4]
    for number, refused in ((3, False), (4, True), (5, True), (6, True), (9, True)):
        head = sign_checkpoint(Checkpoint(trust.origin, number, bytes(31) + b"\1"), thief)
        if refused:
            with pytest.raises(BadSignature):
                trust.open_head(head)
        else:
            trust.open_head(head)
    home.writer().append(stages("f"))
    assert size(home) == 7


def test_what_a_revocation_made_void_is_logged_again_under_the_new_key(home: Home) -> None:
    (first, void) = home.writer().append(stages("a", "d"))
    revoke(home, 4)
    (same, again) = home.writer().append(stages("a", "d"))
    assert same == first
    assert (again.core_sha256, again.seq) == (void.core_sha256, void.seq + 2)
    assert home.writer().append(stages("d")) == (again,)
    with home.reader().trusted() as log:
        entry = log.entry(void.core_sha256)
        assert entry is not None
        assert (entry.seq, entry.void) == (again.seq, False)


def test_a_lost_key_is_revoked_without_it_but_not_rotated(home: Home) -> None:
    (home.root / "keys" / "ledger.pem").unlink()
    with pytest.raises(Unavailable, match="gone"):
        rotate(home)
    assert revoke(home).receipt is not None
    assert size(home) == 4


@pytest.mark.parametrize("void_from", [-1, 5, 99])
def test_a_size_outside_the_key_s_span_is_refused(home: Home, void_from: int) -> None:
    before = home.keyring.chain()
    with pytest.raises(Usage, match=r"void_from|two keys|signs from this size on"):
        revoke(home, void_from)
    assert home.keyring.chain() == before
    assert size(home) == 3


def test_a_reader_with_the_first_root_key_follows_every_change(home: Home) -> None:
    anchors = [Anchor(signing.load(root_key(home)).public), Anchor.parse(home.keyring.chain()[0])]
    rotate(home)
    rootchange.change_root_keys(home.keyring, [], [], None)
    revoke(home)
    for anchor in anchors:
        trust = load_chain(home.keyring.chain(), anchor)
        assert (trust.version, len(trust.spans)) == (4, 3)
        with home.reader(trust).trusted() as log:
            assert log.head.size == 5


def test_an_older_root_of_trust_does_not_vouch_for_what_the_new_key_signed(home: Home) -> None:
    first = load_chain(home.keyring.chain(), Anchor.parse(home.keyring.chain()[0]))
    rotate(home)
    with pytest.raises(Tampered), home.reader(first).trusted():
        pass


def test_a_change_that_was_cut_short_is_completed_by_doing_it_again(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise Unavailable("no space left")

    monkeypatch.setattr(Ledger, "append", full)
    with pytest.raises(Unavailable):
        rotate(home)
    monkeypatch.undo()
    assert home.trust().version == 2
    assert size(home) == 3
    home.writer().append(stages("in between"))
    change = rotate(home)
    assert change.receipt is not None
    assert (change.receipt.seq, home.trust().version) == (4, 2)
    assert [seq for seq, _ in statements(home)] == [4]
    assert rotate(home).file.version == 3


def test_a_revocation_that_was_cut_short_is_told_as_such_and_not_as_tampering(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise Unavailable("disk full", "ledger")

    monkeypatch.setattr(Ledger, "append", full)
    with pytest.raises(Unavailable):
        revoke(home, 2)
    monkeypatch.undo()
    found = list(fsck(home))
    assert exit_code(found) == 2
    assert [(finding.part, "do it again" in finding.note) for finding in found if finding.fault] == [("keys", True)]
    revoke(home, 2)
    assert exit_code(list(fsck(home))) == 0


KILLED = """
import os, signal, sys
from pathlib import Path
from audit import durable, keychange, keyring, signing
from audit.home import Home
from audit.ledger import Ledger
from tests.audit.ledger_case import metadata
def before(name, owner):
    real = getattr(owner, name)
    def deadly(*arguments, **more):
        os.kill(os.getpid(), signal.SIGKILL)
    setattr(owner, name, deadly)
    return real
moment = sys.argv[2]
owners = {"keep": keyring.Keyring, "accept": keyring.Keyring, "append": Ledger, "create": durable}
before(moment, owners[moment])
keychange.change_log_key(Home(Path(sys.argv[1])), "rotated", metadata())
"""


@pytest.mark.parametrize(("moment", "version"), [("keep", 1), ("accept", 1), ("create", 1), ("append", 2)])
def test_killed_at_any_step_of_a_rotation_the_log_stays_whole(home: Home, moment: str, version: int) -> None:
    command = [sys.executable, "-c", KILLED, str(home.root), moment]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": "."})
    assert done.returncode == -9, done
    assert home.trust().version == version
    assert size(home) == 3
    change = rotate(home)
    assert change.receipt is not None
    assert (home.trust().version, size(home)) == (2, 4)
    home.writer().append(stages("after"))


@pytest.fixture
def shared(tmp_path: Path) -> tuple[Home, keyring.Keyring, RootFile]:
    """A home whose root of trust needs two of three root keys, still a draft; another owner's keys; the draft."""
    owner = keyring.Keyring(tmp_path / "owner")
    signing.load_or_create(owner.folder / "root.pem")
    others = [signing.load(owner.folder / "root.pem").public, SigningKey.generate().public]
    home = Home(tmp_path / "shared")
    change = rootchange.begin(home.keyring, others, 2, "client.example/log")
    assert change.lacking == ("1 of 2 root keys of version 1",)
    return home, owner, change.file


def test_a_shared_root_of_trust_begins_when_enough_owners_have_signed(
    shared: tuple[Home, keyring.Keyring, RootFile],
) -> None:
    home, owner, draft = shared
    with pytest.raises(Unavailable, match="awaits signatures"):
        home.writer()
    assert keychange.publish(home, [], NOW).lacking
    signed = rootchange.sign_file(draft, owner, None)
    assert keychange.publish(home, [signed], NOW).lacking == ()
    assert home.trust().origin == "client.example/log"
    home.writer().append(stages("a"))
    assert size(home) == 1


def test_beginning_again_keeps_the_draft(shared: tuple[Home, keyring.Keyring, RootFile]) -> None:
    home, _, draft = shared
    again = rootchange.begin(home.keyring, [SigningKey.generate().public], 2, None)
    assert again.file == draft


def test_a_shared_rotation_waits_for_signatures_and_for_a_log_that_has_not_grown(
    shared: tuple[Home, keyring.Keyring, RootFile],
) -> None:
    home, owner, draft = shared
    keychange.publish(home, [rootchange.sign_file(draft, owner, None)], NOW)
    home.writer().append(stages("a"))
    change = rotate(home)
    assert change.lacking == ("1 of 2 root keys of version 1", "1 of 2 root keys of version 2")
    with pytest.raises(Usage, match="draft waits"):
        rotate(home)
    signed = rootchange.sign_file(change.file, owner, None)
    home.writer().append(stages("b"))
    with pytest.raises(Usage, match="has grown"):
        keychange.publish(home, [signed], NOW)
    home.keyring.draft_path.unlink()
    again = rotate(home)
    done = keychange.publish(home, [rootchange.sign_file(again.file, owner, None)], NOW)
    assert done.receipt is not None
    assert (done.receipt.seq, size(home), home.trust().version) == (2, 3, 2)


def test_another_version_s_signatures_are_not_merged(shared: tuple[Home, keyring.Keyring, RootFile]) -> None:
    home, owner, draft = shared
    other = rootchange.begin(keyring.Keyring(home.root / "x"), [SigningKey.generate().public], 2, "client.example/x")
    with pytest.raises(Inconsistent, match="another root of trust"):
        keychange.publish(home, [other.file], NOW)
    stranger = keyring.Keyring(home.root / "stranger")
    stranger.begin()
    with pytest.raises(Unavailable, match="no private root key"):
        rootchange.sign_file(draft, stranger, None)
    with pytest.raises(KeyRefused, match="not a root key"):
        rootchange.sign_file(draft, stranger, stranger.folder / "root.pem")
    assert rootchange.sign_file(draft, stranger, owner.folder / "root.pem").signatures != draft.signatures


def test_root_keys_come_and_go_by_the_old_threshold(home: Home) -> None:
    own, new = signing.load(root_key(home)), SigningKey.generate()
    change = rootchange.change_root_keys(home.keyring, [new.public], [], 2)
    assert change.lacking == ("1 of 2 root keys of version 2",)
    done = keychange.publish(home, [change.file.sign(new)], NOW)
    assert done.lacking == ()
    assert set(home.keyring.versions()[-1].root_keys) == {own.public, new.public}
    with pytest.raises(Usage, match="root keys to remove"):
        rootchange.change_root_keys(home.keyring, [], ["f" * 65], 1)
    less = rootchange.change_root_keys(home.keyring, [], [own.public.key_id[:16]], 1)
    assert less.lacking == ("1 of 2 root keys of version 2", "0 of 1 root keys of version 3")
    assert keychange.publish(home, [less.file.sign(new)], NOW).lacking == ()
    assert home.keyring.versions()[-1].root_keys == (new.public,)
    assert size(home) == 3


def test_nothing_to_publish_is_said(home: Home) -> None:
    with pytest.raises(Usage, match="nothing to publish"):
        keychange.publish(home, [], NOW)


def test_one_key_for_everything_is_rotated_as_well(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    old = signing.load_or_create(home.root / "keys" / "ledger.pem")
    home.writer(old).append(stages("a"))
    assert rotate(home).receipt is not None
    assert home.trust().spans[-1].key != old.public
    assert size(home) == 2
