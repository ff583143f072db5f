"""Bundles judged by programs that this project did not write: each accepts the good one and rejects its twin."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import bagit
import pytest
from bundle_case import Parts, case_with_siblings, parts, write
from ledger_case import FORECAST, KEY, Case
from securesystemslib.dsse import Envelope
from securesystemslib.exceptions import VerificationError
from securesystemslib.signer import SSlibKey  # type: ignore[attr-defined]

from audit import sshsig
from audit.digest import sha256
from audit.signing import SigningKey

OTHER = SigningKey.from_seed(bytes(range(1, 33)))
KEY_ID = KEY.public.key_id
Edit = Callable[[Parts], None]


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Case:
    return case_with_siblings(tmp_path_factory.mktemp("sealed"))


@pytest.fixture(scope="module")
def good(case: Case, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(case, tmp_path_factory.mktemp("bundle") / "good.tar")


def unpacked(tar: Path, folder: Path) -> Path:
    """The bag that Debian's tar unpacks."""
    folder.mkdir()
    subprocess.run(["tar", "-xf", tar, "-C", folder], check=True)
    (bag,) = folder.iterdir()
    return bag


def accepts(command: list[object], cwd: Path, stdin: bytes = b"") -> bool:
    """Whether a program exits with 0."""
    line = [str(word) for word in command]
    return subprocess.run(line, cwd=cwd, input=stdin, capture_output=True, check=False).returncode == 0


def replaced(name: str, raw: bytes = b"[]") -> Edit:
    def edit(bundle: Parts) -> None:
        bundle.files[name] = raw

    return edit


RESULT = f"data/artifacts/{FORECAST}/fit/result.json"


def test_sha256sum_and_bagit_py_accept_the_bag_and_reject_its_twin(good: Path, tmp_path: Path) -> None:
    sums = [["sha256sum", "-c", "--strict", f"{kind}-sha256.txt"] for kind in ("manifest", "tagmanifest")]
    bag = unpacked(good, tmp_path / "good")
    assert all(accepts(command, bag) for command in sums)
    bagit.Bag(str(bag)).validate()
    validate = [sys.executable, "-m", "bagit", "--validate", bag]
    assert accepts(validate, tmp_path)
    (bag / RESULT).write_bytes(b"[]")
    assert not accepts(sums[0], bag)
    with pytest.raises(bagit.BagValidationError):
        bagit.Bag(str(bag)).validate()
    assert not accepts(validate, tmp_path)


def test_ssh_keygen_accepts_the_signed_manifest_and_rejects_its_twin(good: Path, tmp_path: Path) -> None:
    bag = unpacked(good, tmp_path / "good")
    (tmp_path / "signers").write_bytes(sshsig.allowed_signer("bundle", KEY.public))
    check = ["ssh-keygen", "-Y", "verify", "-f", "../../signers", "-I", "bundle", "-n", "noptik-bundle"]
    check += ["-s", "manifest-sha256.txt.sig"]
    manifest = (bag / "manifest-sha256.txt").read_bytes()
    assert accepts(check, bag, manifest)
    assert not accepts(check, bag, manifest.replace(b"0", b"1", 1))


def openssl(bag: Path, key: str, message: str, signature: str) -> bool:
    line = ["openssl", "pkeyutl", "-verify", "-rawin", "-pubin", "-inkey", key, "-in", message, "-sigfile", signature]
    return accepts(line, bag / "data" / "openssl")


def test_openssl_accepts_every_signature_inside_and_rejects_its_twin(good: Path, tmp_path: Path) -> None:
    bag = unpacked(good, tmp_path / "good")
    folder, key = bag / "data" / "openssl", f"{KEY_ID}.pem"
    pairs = [(f"{seq}.pae", f"{seq}.sig") for seq in (0, 1, 2)]
    pairs += [("checkpoint.text", "checkpoint.sig"), ("1.root.signed", f"1.root.{KEY_ID}.sig")]
    assert {path.name for path in folder.iterdir() if path.suffix == ".sig"} == {signature for _, signature in pairs}
    for message, signature in pairs:
        assert openssl(bag, key, message, signature)
        raw = bytearray((folder / message).read_bytes())
        raw[len(raw) // 2] ^= 1
        (folder / message).write_bytes(raw)
        assert not openssl(bag, key, message, signature)


def test_securesystemslib_accepts_every_envelope_and_rejects_its_twin(good: Path) -> None:
    files = parts(good).files
    key = SSlibKey(KEY_ID, "ed25519", "ed25519", {"public": KEY.public.raw.hex()})
    names = [name for name in files if name.startswith("data/envelopes/") and name.endswith(".json")]
    assert len(names) == 3
    for name in names:
        assert set(Envelope.from_dict(json.loads(files[name])).verify([key], 1)) == {KEY_ID}
        twin = Envelope.from_dict(json.loads(files[name]) | {"payloadType": "application/x"})
        with pytest.raises(VerificationError):
            twin.verify([key], 1)


def test_coreutils_find_the_salted_commitments_in_the_entries(good: Path, tmp_path: Path) -> None:
    bag = unpacked(good, tmp_path / "good")
    entries = next((bag / "data/log/tile/entries").rglob("5")).read_bytes()
    for seq in (0, 1, 2):
        command = f"cat {seq}.salt {seq}.json | sha256sum | cut -c1-64"
        said = subprocess.run(["sh", "-c", command], cwd=bag / "data/envelopes", capture_output=True, check=True)
        assert said.stdout.strip() in entries


def blocks(guide: str) -> list[str]:
    """The blocks of commands in VERIFY.md, in order."""
    return re.findall(r"^```sh\n(.*?)^```$", guide, re.MULTILINE | re.DOTALL)


def followed(bag: Path, root: Path) -> list[str]:
    """What VERIFY.md's commands confirm, when a stranger runs them one after the other."""
    script = "\n".join(blocks((bag / "VERIFY.md").read_text()))
    environment = {"PATH": "/usr/bin:/bin", "ROOT": str(root), "LC_ALL": "C"}
    done = subprocess.run(["sh", "-eu", "-c", script], cwd=bag, env=environment, capture_output=True, check=False)
    confirmed = re.findall(r"^[0-9] ok$", done.stdout.decode(), re.MULTILINE)
    assert (done.returncode == 0) == (len(confirmed) == len(blocks((bag / "VERIFY.md").read_text()))), done
    return confirmed


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "root.pem").write_bytes(KEY.public.to_pem())
    return tmp_path / "root.pem"


@pytest.mark.parametrize(
    ("light", "withheld", "count"),
    [
        (False, (), 7),
        (True, (), 7),
        (False, ("fit",), 7),
        (False, ("register", "data"), 7),
        (True, ("stage", "register", "source"), 6),
    ],
)
def test_a_stranger_who_follows_verify_md_confirms_every_step(
    case: Case, tmp_path: Path, root: Path, light: bool, withheld: tuple[str, ...], count: int
) -> None:
    bag = unpacked(write(case, tmp_path / "b.tar", light=light, withheld=withheld), tmp_path / "good")
    assert followed(bag, root) == [f"{number} ok" for number in range(1, count + 1)]


def cheat_listing(bundle: Parts) -> None:
    old, new = sha256(bundle.files[RESULT]), sha256(b"[]")
    bundle.files[RESULT] = b"[]"
    bundle.files["data/expected.sha256"] = bundle.files["data/expected.sha256"].replace(old.encode(), new.encode())


def cheat_source(bundle: Parts) -> None:
    name = "data/source/stages/compare.py"
    old, new = sha256(bundle.files[name]), sha256(b"pass")
    bundle.files[name] = b"pass"
    bundle.files["data/source.sha256"] = bundle.files["data/source.sha256"].replace(old.encode(), new.encode())


def cheat_envelope(bundle: Parts) -> None:
    for end in ("json", "salt"):
        bundle.files[f"data/envelopes/1.{end}"] = bundle.files[f"data/envelopes/0.{end}"]


def cheat_leaf(bundle: Parts) -> None:
    """The helper says what the log does not: a leaf that commits to another envelope."""
    cheat_envelope(bundle)
    commitment = sha256(bundle.files["data/envelopes/0.salt"] + bundle.files["data/envelopes/0.json"])
    leaf = json.loads(bundle.files["data/openssl/1.leaf"]) | {"envelopeSha256": commitment}
    bundle.files["data/openssl/1.leaf"] = json.dumps(leaf, separators=(",", ":"), sort_keys=True).encode()
    for end in ("pae", "sig"):
        bundle.files[f"data/openssl/1.{end}"] = bundle.files[f"data/openssl/0.{end}"]


def cheat_checkpoint(bundle: Parts) -> None:
    text = bundle.files["data/openssl/checkpoint.text"]
    bundle.files["data/openssl/checkpoint.text"] = text.replace(b"\n5\n", b"\n4\n")
    raw = bundle.files["data/log/checkpoint"]
    bundle.files["data/log/checkpoint"] = raw.replace(b"\n5\n", b"\n4\n")


def cheat_root(bundle: Parts) -> None:
    for name in ("data/openssl/1.root.signed", "data/trust/1.root.json"):
        bundle.files[name] = bundle.files[name].replace(b'"first":0', b'"first":1')


@pytest.mark.parametrize(
    ("edit", "key", "step"),
    [
        (replaced(RESULT), None, 1),  # nothing is signed again: step 1 finds it
        (replaced("data/extra"), None, 1),
        (replaced("VERIFY.html"), None, 1),
        (cheat_root, KEY, 2),
        (replaced(f"data/openssl/{KEY_ID}.pem", OTHER.public.to_pem()), KEY, 2),
        (replaced(RESULT), OTHER, 3),  # manifests made anew and signed by another key
        (cheat_checkpoint, KEY, 4),  # from here on by who holds the log's key
        (cheat_envelope, KEY, 5),
        (cheat_leaf, KEY, 5),
        (replaced("data/openssl/2.pae"), KEY, 5),
        (cheat_listing, KEY, 6),
        (replaced(RESULT), KEY, 6),
        (cheat_source, KEY, 7),
        (replaced("data/source/data/input.csv"), KEY, 7),
    ],
)
def test_verify_md_stops_at_the_step_that_is_wrong(
    good: Path, tmp_path: Path, root: Path, edit: Edit, key: SigningKey | None, step: int
) -> None:
    bundle = parts(good)
    edit(bundle)
    if key is not None:
        bundle.signed_again(key)
    bag = bundle.on_disk(tmp_path / "bad")
    assert followed(bag, root) == [f"{number} ok" for number in range(1, step)]


def test_verify_md_stops_at_another_root_key(good: Path, tmp_path: Path) -> None:
    bag = unpacked(good, tmp_path / "good")
    (tmp_path / "other.pem").write_bytes(OTHER.public.to_pem())
    assert followed(bag, tmp_path / "other.pem") == ["1 ok"]
