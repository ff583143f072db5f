"""Bundles of logs whose keys have changed, and what a reader may demand of one: witnesses, freshness, proof of time."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from authority import Authority, serving
from browser import Browser, browser
from bundle_case import OTHER_FORECAST, audit, parts
from ledger_case import FORECAST, Case, metadata, project, stages, statement
from test_audit_bundle_others import blocks, followed, unpacked
from test_audit_page import FILE, verdict

from audit import keychange
from audit.bundledemands import Demands, moment, require
from audit.bundleplan import Order, Origins
from audit.bundlereport import BundleReport
from audit.bundleverify import verify_bundle
from audit.bundlewrite import write_bundle
from audit.cosignature import VKey, cosign
from audit.errors import BadSignature, DigestMismatch, Inconsistent, Tampered, Unavailable
from audit.home import Home
from audit.ledger import Ledger, Pending
from audit.note import Verifier, parse_note
from audit.policy import parse_policy
from audit.root import Anchor
from audit.signing import PublicKey, SigningKey
from audit.timestamp import read_roots, request_timestamp

WITNESS = SigningKey.from_seed(b"w" * 32)
VKEY = VKey.cosigner("client.example/witness", WITNESS.public)
POLICY = f"witness one {VKEY}\nquorum one\n".encode()
SEEN = 1_700_000_000  # 2023-11-14


class Installed(Case):
    """A project with keys of its own, made on first use: one root key, and log keys that change."""

    @property
    def ledger(self) -> Ledger:
        return self.home.writer()

    @property
    def root_key(self) -> PublicKey:
        """What a reader of this installation's bundles was given."""
        return self.home.keyring.versions()[0].root_keys[0]

    def bundle(self, path: Path, key: SigningKey | None = None) -> Path:
        ledger = self.home.reader()
        with ledger.trusted() as log, ledger.reading() as attachments:
            chain, key = self.home.keyring.chain(), key or self.home.keyring.signing_key()
            origins = Origins(log, self.home.store, chain, key, attachments.attached)
            write_bundle(Order(FORECAST), origins, path)
        return path

    def verified(self, path: Path, kept: Path | None = None) -> BundleReport:
        return verify_bundle(path, Anchor(self.root_key), kept)

    def head(self) -> tuple[int, bytes]:
        with self.home.reader().reading() as log:
            return log.head()


def sealed(folder: Path) -> Installed:
    case = Installed(project(folder).root, Home(folder / "installation"))
    receipt = case.register()
    case.run()
    case.seal(receipt)
    return case


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browser(tmp_path_factory.mktemp("profile")) as opened:
        opened.open(FILE)
        yield opened


def accepted_by_all(case: Installed, page: Browser, bundle: Path, folder: Path) -> BundleReport:
    """The report, when our verifier, the page and who follows VERIFY.md agree that all is well."""
    report = case.verified(bundle)
    assert verdict(page, bundle, case.root_key.key_id)[0] == "verified"
    folder.mkdir()
    (folder / "root.pem").write_bytes(case.root_key.to_pem())
    bag = unpacked(bundle, folder / "bag")
    assert followed(bag, folder / "root.pem") == [f"{number} ok" for number in range(1, 8)]
    return report


def test_a_bundle_made_after_rotations_is_checked_from_the_first_root_key(tmp_path: Path, page: Browser) -> None:
    case = sealed(tmp_path)
    before = case.bundle(tmp_path / "before.tar")
    for number in range(2):
        keychange.change_log_key(case.home, "rotated", metadata())
        case.ledger.append(stages(f"later {number}"))
    after = case.bundle(tmp_path / "after.tar")
    report = accepted_by_all(case, page, after, tmp_path / "all")
    assert (len(report.keys.spans), report.info.size, report.void) == (3, 7, 0)
    accepted_by_all(case, page, before, tmp_path / "older")  # it stays what it was
    kept = tmp_path / "kept"
    case.verified(before, kept)
    case.verified(after, kept)
    with pytest.raises(Tampered):
        case.verified(before, kept)


@pytest.mark.parametrize(("before", "between", "after"), [(0, 0, 0), (1, 0, 2), (3, 5, 7), (6, 1, 1), (300, 20, 270)])
def test_trees_of_any_shape_are_checked_alike_by_all(
    tmp_path: Path, page: Browser, before: int, between: int, after: int
) -> None:
    def others(what: str, count: int) -> list[Pending]:
        return [Pending("stage", statement("fit", f"{what} {number}", OTHER_FORECAST)) for number in range(count)]

    case = Installed(project(tmp_path).root, Home(tmp_path / "installation"))
    for entry in others("before", before)[:5]:  # as many heads as entries, for a while; then all in one append
        case.ledger.append([entry])
    case.ledger.append(others("before", before))
    receipt = case.register()
    case.ledger.append(others("between", between))
    case.run()
    case.seal(receipt)
    case.ledger.append(others("after", after))
    report = accepted_by_all(case, page, case.bundle(tmp_path / "b.tar"), tmp_path / "all")
    assert report.info.size == before + between + after + 3


def test_what_a_revoked_key_signed_is_void_and_the_run_before_it_stands(tmp_path: Path, page: Browser) -> None:
    case = sealed(tmp_path)
    case.ledger.append(stages("by the thief", "also by the thief"))
    keychange.change_log_key(case.home, "revoked", metadata(), void_from=4)
    bundle = case.bundle(tmp_path / "b.tar")
    report = accepted_by_all(case, page, bundle, tmp_path / "all")
    assert report.void == 2
    assert "data/log/proofs/3.tlog-proof" not in parts(bundle).files


def test_a_run_that_a_revoked_key_sealed_is_in_no_bundle(tmp_path: Path) -> None:
    case = sealed(tmp_path)
    keychange.change_log_key(case.home, "revoked", metadata(), void_from=3)
    with pytest.raises(Unavailable, match="no sealed run"):
        case.bundle(tmp_path / "b.tar")


def test_a_thief_with_the_old_key_convinces_nobody_who_knows_of_the_revocation(tmp_path: Path) -> None:
    case = sealed(tmp_path)
    stolen = case.home.keyring.signing_key()
    old = case.bundle(tmp_path / "old.tar")
    keychange.change_log_key(case.home, "revoked", metadata(), void_from=3)
    latest = Anchor.parse(case.home.keyring.chain()[-1])
    for bundle in (old, parts(old).signed_again(stolen).to(tmp_path / "forged.tar")):
        with pytest.raises(BadSignature, match=r"without the trusted root\.json"):
            verify_bundle(bundle, latest)
    with_new_chain = parts(old)
    with_new_chain.files["data/trust/2.root.json"] = case.home.keyring.chain()[1]
    with pytest.raises(BadSignature, match="manifest"):
        verify_bundle(with_new_chain.signed_again(stolen).to(tmp_path / "mixed.tar"), latest)


def test_verify_md_stops_at_an_entry_key_that_the_root_of_trust_does_not_name(tmp_path: Path) -> None:
    case = sealed(tmp_path)
    keychange.change_log_key(case.home, "rotated", metadata())
    bundle = parts(case.bundle(tmp_path / "b.tar"))
    old, stranger = case.home.trust().spans[0].key, SigningKey.from_seed(b"s" * 32).public
    guide = bundle.files["VERIFY.md"].replace(old.key_id.encode(), stranger.key_id.encode())
    bundle.files["VERIFY.md"] = guide
    bundle.files[f"data/openssl/{stranger.key_id}.pem"] = stranger.to_pem()
    (tmp_path / "root.pem").write_bytes(case.root_key.to_pem())
    bag = bundle.signed_again(case.home.keyring.signing_key()).on_disk(tmp_path / "bag")
    assert followed(bag, tmp_path / "root.pem") == ["1 ok"]


def test_a_shortened_or_reordered_root_of_trust_is_refused(tmp_path: Path, page: Browser) -> None:
    case = sealed(tmp_path)
    keychange.change_log_key(case.home, "rotated", metadata())
    good = case.bundle(tmp_path / "b.tar")
    key = case.home.keyring.signing_key()
    first, second = "data/trust/1.root.json", "data/trust/2.root.json"
    for edit in (
        lambda files: files.pop(first),
        lambda files: files.pop(second),
        lambda files: files.update({first: files[second], second: files[first]}),
        lambda files: files.update({second: files[first]}),
    ):
        bundle = parts(good)
        edit(bundle.files)
        path = bundle.signed_again(key).to(tmp_path / "bad.tar")
        with pytest.raises(Tampered):
            case.verified(path)
        assert verdict(page, path, case.root_key.key_id)[0] == "refused"


def cosigned(case: Installed, at: int = SEEN, key: SigningKey = WITNESS) -> None:
    """Afterwards the witness has cosigned the latest head."""
    size, note = case.head()
    line = cosign(parse_note(note).text, VKEY.name, key, at).line
    case.ledger.attach(size, "cosignature", line.encode())


def test_a_quorum_of_witnesses_can_be_demanded_and_a_frozen_head_is_found(tmp_path: Path, page: Browser) -> None:
    case = sealed(tmp_path)
    cosigned(case)
    bundle = case.bundle(tmp_path / "b.tar")
    report = accepted_by_all(case, page, bundle, tmp_path / "all")
    seen = require(Demands(parse_policy(POLICY), SEEN), report)
    assert [(found.witness, found.time) for found in seen.cosignatures] == [(VKEY, SEEN)]
    with pytest.raises(BadSignature, match="too old"):  # shown although newer heads exist, which were cosigned since
        require(Demands(parse_policy(POLICY), SEEN + 1), report)
    case.ledger.append(stages("one more"))
    unseen = case.verified(case.bundle(tmp_path / "unseen.tar"))
    with pytest.raises(BadSignature, match="policy of witnesses not met"):
        require(Demands(parse_policy(POLICY)), unseen)
    assert require(Demands(), unseen).cosignatures == ()


def test_a_cosignature_of_another_head_or_witness_does_not_count(tmp_path: Path) -> None:
    case = sealed(tmp_path)
    cosigned(case, key=SigningKey.from_seed(b"x" * 32))
    size, _ = case.head()
    with case.home.reader().reading() as log:
        older = log.note(1)
    assert older is not None
    line = cosign(parse_note(older).text, VKEY.name, WITNESS, SEEN).line
    with pytest.raises(BadSignature, match="policy of witnesses not met"):
        require(Demands(parse_policy(POLICY)), case.verified(case.bundle(tmp_path / "other.tar")))
    case.ledger.attach(size, "cosignature", line.encode())
    with pytest.raises(BadSignature, match="does not verify"):
        require(Demands(parse_policy(POLICY)), case.verified(case.bundle(tmp_path / "older.tar")))


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority.make(tmp_path_factory.mktemp("authority") / "a")


def stamped(case: Installed, authority: Authority) -> None:
    """Afterwards the authority has said when the latest head existed."""
    size, note = case.head()
    keys = case.home.trust()
    verifier = Verifier(keys.origin, keys.span(size).key)
    with serving(authority.answer) as url:
        case.ledger.attach(size, "timestamp", request_timestamp(url, note, verifier, read_roots(authority.root)))


def test_a_timestamp_can_be_demanded_and_openssl_reads_it_in_verify_md(
    tmp_path: Path, authority: Authority, page: Browser
) -> None:
    case = sealed(tmp_path)
    stamped(case, authority)
    case.ledger.append(stages("one more"))
    bundle = case.bundle(tmp_path / "b.tar")
    report = case.verified(bundle)
    assert [stamp.name for stamp in report.stamps] == ["log/timestamps/3-0.tsr"]
    seen = require(Demands(tsa_roots=read_roots(authority.root)), report)
    assert seen.sealed_by is not None
    assert abs(seen.sealed_by - time.time()) < 60
    assert moment(SEEN) == "2023-11-14T22:13:20Z"
    assert verdict(page, bundle, case.root_key.key_id)[0] == "verified"
    bag = unpacked(bundle, tmp_path / "bag")
    script, environment = blocks((bag / "VERIFY.md").read_text())[-1], {"PATH": "/usr/bin:/bin"}
    for root, expected in ((authority.root, 0), (Authority.make(tmp_path / "another").root, 1)):
        line = ["sh", "-eu", "-c", script]
        done = subprocess.run(line, cwd=bag, env=environment | {"TSA": str(root)}, capture_output=True, check=False)
        assert done.returncode == expected, done
        assert (b"8 ok" in done.stdout) == (expected == 0)


def test_a_timestamp_of_another_authority_or_of_a_head_before_the_run_proves_nothing(
    tmp_path: Path, authority: Authority
) -> None:
    case = Installed(project(tmp_path).root, Home(tmp_path / "installation"))
    receipt = case.register()
    stamped(case, authority)  # before there is a run
    case.run()
    case.seal(receipt)
    demands = Demands(tsa_roots=read_roots(authority.root))
    with pytest.raises(BadSignature, match="no token"):
        require(demands, case.verified(case.bundle(tmp_path / "early.tar")))
    stamped(case, authority)
    report = case.verified(case.bundle(tmp_path / "late.tar"))
    require(demands, report)
    other = Authority.make(tmp_path / "other")
    with pytest.raises(BadSignature, match="tokens of others"):
        require(Demands(tsa_roots=read_roots(other.root)), report)


def test_a_timestamp_moved_to_another_head_is_back_dating_and_refused(tmp_path: Path, authority: Authority) -> None:
    case = Installed(project(tmp_path).root, Home(tmp_path / "installation"))
    receipt = case.register()
    stamped(case, authority)
    case.run()
    case.seal(receipt)
    bundle = parts(case.bundle(tmp_path / "b.tar"))
    bundle.files["data/log/timestamps/3-0.tsr"] = bundle.files.pop("data/log/timestamps/1-0.tsr")
    path = bundle.signed_again(case.home.keyring.signing_key()).to(tmp_path / "moved.tar")
    with pytest.raises(DigestMismatch, match="timestamp of other bytes"):
        require(Demands(tsa_roots=read_roots(authority.root)), case.verified(path))


def test_the_command_demands_witnesses_freshness_and_time(tmp_path: Path, authority: Authority) -> None:
    case = sealed(tmp_path)
    cosigned(case)
    stamped(case, authority)
    case.bundle(tmp_path / "b.tar")
    (tmp_path / "root.pem").write_bytes(case.root_key.to_pem())
    (tmp_path / "policy").write_bytes(POLICY)
    words = ("verify", "b.tar", "--root", "root.pem", "--policy", "policy", "--tsa-root", authority.root)
    done = audit(*words, "--not-before", "2023-11-14T00:00:00Z", "--kept", "kept", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "witness: client.example/witness saw this head at 2023-11-14T22:13:20Z" in done.stdout
    assert "time: the run was in the log by 20" in done.stdout
    assert (tmp_path / "kept").read_bytes() == case.head()[1]
    late = audit(*words, "--not-before", "2023-11-15T00:00:00Z", "--kept", "never", cwd=tmp_path)
    assert (late.returncode, late.stdout) == (1, "")
    assert not (tmp_path / "never").exists()
    for wrong in (("--not-before", "yesterday"), ("--not-before", "2023-11-14T00:00:00Z"), ("--policy", "absent")):
        assert audit("verify", "b.tar", "--root", "root.pem", *wrong, cwd=tmp_path).returncode == 2


def test_two_readers_at_once_never_move_the_kept_head_backwards(tmp_path: Path) -> None:
    case = sealed(tmp_path)
    old = case.bundle(tmp_path / "old.tar")
    case.ledger.append(stages("one more"))
    new, kept = case.bundle(tmp_path / "new.tar"), tmp_path / "kept"
    (tmp_path / "root.pem").write_bytes(case.root_key.to_pem())
    script = f"""
import sys; sys.path.insert(0, {str(Path(__file__).parents[2])!r})
from audit.cli import main
for turn in range(6):
    main(["verify", sys.argv[1], "--root", "root.pem", "--kept", "kept"])
"""
    readers = [
        subprocess.Popen([sys.executable, "-c", script, path.name], cwd=tmp_path, stderr=subprocess.DEVNULL)
        for path in (old, new, old, new)
    ]
    assert all(reader.wait() == 0 for reader in readers)
    assert kept.read_bytes() == case.head()[1]
    with pytest.raises(Inconsistent):
        case.verified(old, kept)
