"""What is done to a bundle on its way, or by who writes it: refused, and the file that is wrong is named."""

from __future__ import annotations

import base64
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from bundle_case import ANCHOR, Parts, audit, case_with_siblings, parts, verify, write
from ledger_case import FORECAST, KEY, Case

from audit import sshsig
from audit.bundle import SIGNATURE, BundleInfo, info_bytes, parse_info
from audit.bundleread import open_bundle
from audit.bundleverify import check_bundle
from audit.digest import sha256
from audit.envelope import PAYLOAD_TYPE, seal
from audit.errors import BadSignature, DigestMismatch, Tampered
from audit.signing import SigningKey
from audit.source import listing
from audit.ustar import END

THIEF = SigningKey.from_seed(bytes(range(1, 33)))
SEAL, REGISTRATION = 2, 0


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Case:
    return case_with_siblings(tmp_path_factory.mktemp("sealed"))


@pytest.fixture(scope="module")
def good(case: Case, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(case, tmp_path_factory.mktemp("bundle") / "good.tar")


def test_damage_after_the_last_file_is_found(good: Path, tmp_path: Path) -> None:
    raw = good.read_bytes()
    for place in range(len(raw) - len(END), len(raw), 37):
        damaged = bytearray(raw)
        damaged[place] ^= 1
        (tmp_path / "damaged.tar").write_bytes(damaged)
        with pytest.raises(Tampered, match=r"verify\.html"):
            verify(tmp_path / "damaged.tar")


def flip(name: str) -> Callable[[Parts], str]:
    def change(bundle: Parts) -> str:
        raw = bytearray(bundle.files[name])
        raw[len(raw) // 2] ^= 1
        bundle.files[name] = bytes(raw)
        return name

    return change


def delete(name: str) -> Callable[[Parts], str]:
    def change(bundle: Parts) -> str:
        del bundle.files[name]
        return name

    return change


def add(name: str) -> Callable[[Parts], str]:
    def change(bundle: Parts) -> str:
        bundle.files[name] = b"more\n"
        return name

    return change


def sealed_other(bundle: Parts, seq: int, key: SigningKey, edit: Callable[[dict[str, object]], None]) -> str:
    """Afterwards entry `seq` has another envelope, which `key` signed; the log still commits to the old one."""
    envelope = json.loads(bundle.files[f"data/envelopes/{seq}.json"])
    payload = json.loads(base64.b64decode(envelope["payload"]))
    edit(payload)
    raw = json.dumps(payload, separators=(",", ":"), sort_keys=True).encode()
    bundle.files[f"data/envelopes/{seq}.json"] = seal(raw, PAYLOAD_TYPE, key)
    return f"envelope of entry {seq}"


def backdate(bundle: Parts) -> str:
    def edit(payload: dict) -> None:  # type: ignore[type-arg]
        payload["predicate"]["runDetails"]["metadata"]["finishedOn"] = "2020-01-01T00:00:00Z"

    return sealed_other(bundle, SEAL, KEY, edit)


def other_salt(bundle: Parts) -> str:
    bundle.files["data/envelopes/1.salt"] = bytes(32)
    return "envelope of entry 1"


def no_salt(bundle: Parts) -> str:
    del bundle.files["data/envelopes/1.salt"]
    return "data/envelopes/1.salt"


def lone_salt(bundle: Parts) -> str:
    bundle.files["data/envelopes/3.salt"] = bytes(32)
    return "envelopes/3.json"


def other_result(bundle: Parts) -> str:
    """The artifact and its line in the listing changed alike: only the seal contradicts them."""
    name = f"artifacts/{FORECAST}/fit/result.json"
    old = sha256(bundle.files[f"data/{name}"])
    bundle.files[f"data/{name}"] = b"[1.0]"
    text = bundle.files["data/expected.sha256"].replace(old.encode(), sha256(b"[1.0]").encode())
    bundle.files["data/expected.sha256"] = text
    return "data/expected.sha256"


def other_source(bundle: Parts) -> str:
    bundle.files["data/source/stages/replay.py"] = b"print('owned')\n"
    names = [name for name in bundle.files if name.startswith("data/source/")]
    lines = [(name.removeprefix("data/source/"), sha256(bundle.files[name])) for name in names]
    bundle.files["data/source.sha256"] = listing(lines)
    return "data/source.sha256"


def executable_source(bundle: Parts) -> str:
    bundle.executables = frozenset({"data/source/stages/replay.py"})
    return "data/source/stages/replay.py"


def executable_page(bundle: Parts) -> str:
    bundle.executables = frozenset({"verify.html"})
    return "verify.html"


def facts(**changes: object) -> Callable[[Parts], str]:
    def change(bundle: Parts) -> str:
        known = parse_info(bundle.files["data/bundle.json"])
        bundle.files["data/bundle.json"] = info_bytes(known.model_copy(update=changes))
        identifier = f"{known.origin}/{known.forecast}/{changes.get('run', known.run)}"
        bundle.files["bag-info.txt"] = f"External-Identifier: {identifier}\nx".encode()
        return "data/bundle.json"

    return change


def unsaid(bundle: Parts) -> str:
    """A statement is left out together with all that rests on it, and nothing says so."""
    for name in ("data/envelopes/1.json", "data/envelopes/1.salt", "data/log/proofs/1.tlog-proof"):
        del bundle.files[name]
    for end in ("leaf", "pae", "sig"):
        del bundle.files[f"data/openssl/1.{end}"]
    for name in [n for n in bundle.files if f"artifacts/{FORECAST}/fit" in n or n.endswith("statements/fit.json")]:
        del bundle.files[name]
    lines = bundle.files["data/expected.sha256"].splitlines(keepends=True)
    bundle.files["data/expected.sha256"] = b"".join(line for line in lines if b"/fit/" not in line)
    return "data/bundle.json"


def other_guide(bundle: Parts) -> str:
    bundle.files["VERIFY.md"] = b"Everything is fine.\n"
    return "VERIFY.md"


def renamed(bundle: Parts) -> str:
    bundle.folder = "retail-000000000000"
    return "retail-000000000000"


CHEATS = [
    flip(f"data/artifacts/{FORECAST}/fit/result.json"),
    flip(f"data/artifacts/{FORECAST}/fit/posterior/c1"),
    flip(f"data/artifacts/{FORECAST}/register/spec.json"),
    flip(f"data/artifacts/{FORECAST}/register/receipt.json"),
    flip(f"data/artifacts/{FORECAST}/seal/receipt.json"),
    flip(f"data/artifacts/{FORECAST}/statements/fit.json"),
    flip("data/source/data/input.csv"),
    flip("data/log/proofs/1.tlog-proof"),
    flip("data/log/consistency/1-3.json"),
    flip("data/log/checkpoint"),
    flip("data/openssl/checkpoint.sig"),
    flip("data/openssl/checkpoint.text"),
    flip("data/openssl/2.pae"),
    flip("data/openssl/2.sig"),
    flip("data/openssl/2.leaf"),
    flip("data/openssl/1.root.signed"),
    flip(f"data/openssl/{KEY.public.key_id}.pem"),
    delete("data/log/proofs/1.tlog-proof"),
    delete("data/log/consistency/3-5.json"),
    delete(f"data/artifacts/{FORECAST}/fit/posterior/c1"),
    delete(f"data/artifacts/{FORECAST}/seal/receipt.json"),
    delete("data/source/data/input.csv"),
    delete("data/openssl/2.pae"),
    delete("data/log/checkpoint"),
    delete("data/bundle.json"),
    delete("data/trust/1.root.json"),
    delete("VERIFY.md"),
    delete("verify.html"),
    add("data/more"),
    add("data/log/heads/extra"),
    add("data/envelopes/77.json"),
    lone_salt,
    add("data/source/more.py"),
    add(f"data/artifacts/{FORECAST}/more"),
    add("data/log/timestamps/5-3.tsr"),
    add("fetch.txt"),
    backdate,
    other_salt,
    no_salt,
    other_result,
    other_source,
    executable_source,
    executable_page,
    facts(run="0" * 64),
    facts(forecast="other"),
    facts(origin="noptik.local/other"),
    facts(seq=1),
    facts(size=4),
    facts(size=6),
    facts(light=True),
    unsaid,
    other_guide,
    renamed,
]


@pytest.mark.parametrize("cheat", CHEATS)
def test_who_holds_the_logs_key_cannot_hand_out_a_bundle_that_contradicts_the_log(
    good: Path, tmp_path: Path, cheat: Callable[[Parts], str]
) -> None:
    bundle = parts(good)
    where = cheat(bundle)
    with pytest.raises(Tampered) as error:
        verify(bundle.signed_again().to(tmp_path / "cheat.tar"))
    if "bundle.json" not in where:
        assert where.removeprefix("data/") in str(error.value)


def test_an_altered_file_with_manifests_made_anew_fails_at_the_signature(good: Path, tmp_path: Path) -> None:
    for forge in (Parts.listed_again, lambda bundle: bundle.signed_again(THIEF)):
        bundle = parts(good)
        flip(f"data/artifacts/{FORECAST}/fit/result.json")(bundle)
        payload = {name: sha256(raw) for name, raw in bundle.files.items() if name.startswith("data/")}
        bundle.files["manifest-sha256.txt"] = listing(payload.items())
        with pytest.raises(BadSignature, match="manifest-sha256"):
            verify(forge(bundle).to(tmp_path / "forged.tar"))


def test_a_signature_for_another_use_is_no_signature_of_the_manifest(good: Path, tmp_path: Path) -> None:
    bundle = parts(good)
    bundle.files[SIGNATURE] = sshsig.sign(bundle.files["manifest-sha256.txt"], KEY, "file")
    with pytest.raises(BadSignature, match="manifest-sha256"):
        verify(bundle.listed_again().to(tmp_path / "other.tar"))


def test_a_whole_bundle_of_another_key_is_refused(good: Path, tmp_path: Path) -> None:
    """Everything is consistent and signed, by a thief under the log's own name."""
    bundle = parts(good)
    chain = bundle.files["data/trust/1.root.json"]
    forged = chain.replace(KEY.public.raw.hex().encode(), THIEF.public.raw.hex().encode())
    forged = forged.replace(KEY.public.key_id.encode(), THIEF.public.key_id.encode())
    bundle.files["data/trust/1.root.json"] = forged
    with pytest.raises(BadSignature, match=r"1\.root\.json"):
        verify(bundle.signed_again(THIEF).to(tmp_path / "forged.tar"))


def test_an_older_checkpoint_under_newer_entries_is_refused(good: Path, tmp_path: Path) -> None:
    bundle = parts(good)
    bundle.files["data/log/checkpoint"] = bundle.files["data/log/heads/3"]
    with pytest.raises(Tampered, match="log/checkpoint"):
        verify(bundle.signed_again().to(tmp_path / "frozen.tar"))


def test_statements_replayed_from_another_run_are_refused(good: Path, tmp_path: Path) -> None:
    bundle = parts(good)
    for end in ("json", "salt"):
        bundle.files[f"data/envelopes/1.{end}"] = bundle.files[f"data/envelopes/0.{end}"]
    with pytest.raises(DigestMismatch, match="envelope of entry 1"):
        verify(bundle.signed_again().to(tmp_path / "replayed.tar"))


def test_a_bundle_swapped_after_hashing_is_not_what_is_used(good: Path, tmp_path: Path) -> None:
    """Its bytes are exchanged in place, between the pass that hashes and the reads that follow."""
    path = tmp_path / "b.tar"
    shutil.copy(good, path)
    bundle = parts(good)
    flip("data/envelopes/2.json")(bundle)
    with open_bundle(path) as files:
        with path.open("r+b") as file:
            file.write(bundle.to(tmp_path / "other.tar").read_bytes())
        with pytest.raises(DigestMismatch, match="changed while it was verified"):
            check_bundle(files, ANCHOR)


def test_tampering_exits_1_on_one_line_that_names_the_file(good: Path, tmp_path: Path) -> None:
    bundle = parts(good)
    name = f"data/artifacts/{FORECAST}/fit/result.json"
    flip(name)(bundle)
    bundle.to(tmp_path / "b.tar")
    (tmp_path / "root.pem").write_bytes(KEY.public.to_pem())
    done = audit("verify", "b.tar", "--root", "root.pem", cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert re.search(rf"DigestMismatch: {re.escape(name)}: file differs .*expected .*found", done.stderr)
    replayed = audit("replay", "b.tar", "--root", "root.pem", cwd=tmp_path)
    assert replayed.returncode == 1


def test_each_info_field_matters() -> None:
    """`facts` above changes them one by one; a new field needs a cheat there."""
    tried = {"run", "forecast", "origin", "seq", "size", "light"}
    bound = {"format", "withheld", "guide_sha256", "page_sha256"}  # by the model, `unsaid`, and the two tag files
    assert set(BundleInfo.model_fields) == tried | bound
