"""The first inputs of every target: bytes this project writes. `python -m tests.fuzz.seeds` puts them in the corpus."""

from __future__ import annotations

import base64
import io
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import pyrage

from audit import addcheckpoint, age, bag, canonical, cosignature, merkle, note, sshsig, ustar
from audit.addcheckpoint import Request
from audit.admission import admission, sign_verdict
from audit.bundle import BundleInfo, info_bytes
from audit.cosignature import VKey
from audit.envelope import PAYLOAD_TYPE, seal
from audit.intent import intended, intent_bytes
from audit.logsource import Logged
from audit.proof import Extra, Proof, proof_bytes
from audit.receipt import Receipt, receipt_bytes
from audit.record import Entry, commitment, entry_bytes
from audit.recording import Recording, Recordings, Response, Settings
from audit.recording import Request as Asked
from audit.resource import Annotations, DigestSet, ResourceDescriptor, Subject
from audit.root import RootFile, first_root, with_log_key
from audit.signing import NOTE_ED25519, SigningKey
from audit.statement import (
    BuildDefinition,
    Builder,
    Detail,
    ExternalParameters,
    InternalParameters,
    InToto,
    KeyChange,
    KeyStatement,
    Provenance,
    RunDetails,
    Statement,
    Verdict,
    VerdictStatement,
    core_bytes,
    statement_bytes,
)
from tests.fuzz.authority import stamp
from tests.fuzz.containers import IDENTITY
from tests.fuzz.records import METADATA, ORIGIN
from tests.fuzz.targets import CORPUS, content_name
from tests.fuzz.texts import CHECKPOINT, KEY, MESSAGE, WITNESS

SUBJECT = Subject(
    name="artifacts/retail/fit/result.json",
    digest=DigestSet(sha256="a" * 64),
    annotations=Annotations(size=7, kind="file"),
)


def statements() -> list[InToto]:
    """One of each kind."""
    parameters: dict[str, bool | int | str] = {"specification_number": 1, "scale": "0.5", "holdout": True}
    stated = ExternalParameters(
        forecast="retail", stage="register", specification_sha256="b" * 64, parameters=parameters
    )
    internal = InternalParameters(profile="det-1", profile_sha256="c" * 64, fingerprint_sha256="d" * 64)
    inputs = tuple(
        ResourceDescriptor(name=name, digest=DigestSet(dir_hash="e" * 64), uri=uri)
        for name, uri in (("data", None), ("holdout", "urn:noptik:holdout"))
    )
    build = BuildDefinition(external_parameters=stated, internal_parameters=internal, resolved_dependencies=inputs)
    details = RunDetails(builder=Builder(version={"noptik": "0.1.0"}), metadata=METADATA, byproducts=inputs[:1])
    change = KeyChange(action="revoke", root_version=2, key=KEY.public.key_id, void_from=7, metadata=METADATA)
    return [
        Statement(subject=(SUBJECT,), predicate=Provenance(build_definition=build, run_details=details)),
        verdict(),
        KeyStatement(subject=(SUBJECT,), predicate=change),
        admission(sign_verdict(verdict(), KEY), KEY.public, METADATA),
    ]


def verdict() -> VerdictStatement:
    """A client's."""
    return VerdictStatement(
        subject=(SUBJECT,),
        predicate=Verdict(
            verdict="within_tolerance",
            forecast="retail",
            run="f" * 64,
            details=(Detail(name="fit/result.json", expected="a" * 64, found="b" * 64),),
            metadata=METADATA,
        ),
    )


def envelopes() -> list[bytes]:
    """A sealed envelope of each statement."""
    return [seal(statement_bytes(statement), PAYLOAD_TYPE, KEY) for statement in statements()]


def log() -> list[Logged]:
    """A log of these envelopes."""
    salts = [KEY.salt(raw) for raw in envelopes()]
    return [
        Logged(seq, entry_bytes(_entry(seq, salt, raw)), salt, raw)
        for seq, (salt, raw) in enumerate(zip(salts, envelopes(), strict=True))
    ]


def _entry(seq: int, salt: bytes, raw: bytes) -> Entry:
    kind = ("register", "verdict", "key", "admission")[seq]
    return Entry(kind=kind, seq=seq, envelope_sha256=commitment(salt, raw), payload_type=PAYLOAD_TYPE)


def roots() -> list[RootFile]:
    """A chain of three: made, rotated, revoked."""
    second, third = (SigningKey.from_seed(bytes([n]) * 32) for n in (2, 3))
    one = first_root(ORIGIN, KEY.public, [KEY.public]).sign(KEY)
    two = with_log_key(one, second.public, 3, "rotated").sign(KEY, second)
    return [one, two, with_log_key(two, third.public, 9, "revoked", 5).sign(KEY, third)]


def proofs() -> Iterator[bytes]:
    """A proof of each entry."""
    hashes = [merkle.leaf_hash(row.leaf) for row in log()]
    head = note.sign_checkpoint(note.Checkpoint(ORIGIN, len(hashes), merkle.root(hashes)), KEY)
    for row in log():
        parts = (base64.b64encode(part or b"").decode() for part in (row.leaf, row.envelope, row.salt))
        leaf, envelope, salt = parts
        chain = (base64.b64encode(roots()[0].to_bytes()).decode(),)
        extra = Extra(leaf=leaf, envelope=envelope, salt=salt, roots=chain)
        yield proof_bytes(Proof(extra, row.seq, merkle.inclusion_proof(hashes, row.seq, len(hashes)), head))


def receipts() -> Iterator[bytes]:
    """The receipt of an entry."""
    hashes = [merkle.leaf_hash(row.leaf) for row in log()]
    head = note.Checkpoint(ORIGIN, len(hashes), merkle.root(hashes))
    yield receipt_bytes(
        Receipt(
            origin=ORIGIN,
            seq=1,
            leaf_hash=hashes[1].hex(),
            envelope_sha256=commitment(log()[1].salt or b"", log()[1].envelope or b""),
            core_sha256="a" * 64,
            tree_size=head.size,
            root=head.root.hex(),
            checkpoint=note.sign_checkpoint(head, KEY).decode(),
            inclusion=tuple(node.hex() for node in merkle.inclusion_proof(hashes, 1, 4)),
        )
    )


def checkpoints() -> list[str]:
    """Of an empty log, a small and a large one."""
    root = merkle.leaf_hash(b"x")
    heads = [note.Checkpoint(ORIGIN, 0, merkle.EMPTY_ROOT), *(note.Checkpoint(ORIGIN, n, root) for n in (1, 2**40))]
    return [note.checkpoint_text(head) for head in heads]


def bags() -> bytes:
    """The tag files of a bag of two files."""
    digests = {"data/a": "a" * 64, "data/b/c": "b" * 64}
    listed = bag.manifest(digests)
    tags = bag.manifest({bag.BAGIT: "c" * 64, bag.INFO: "d" * 64, bag.MANIFEST: "e" * 64})
    return b"\0".join([bag.DECLARATION, bag.info("retail", dict.fromkeys(digests, 1)), listed, tags])


def tars() -> Iterator[bytes]:
    """An empty one, and one with a folder, an executable and a long name."""
    for members in ({}, {"a": b"text\n", "b/c.sh": b"#!/bin/sh\n", "b/" + "d" * 90 + "/e" + "f" * 20: b""}):
        file = io.BytesIO()
        writer = ustar.Writer(file)
        for name, contents in members.items():
            writer.add(name, len(contents), [contents], executable=name.endswith(".sh"))
        writer.close()
        yield file.getvalue()


def sealed_to_client() -> bytes:
    """An age file. Its bytes differ every time: age draws a key for each."""
    with tempfile.TemporaryDirectory() as folder:
        source, sealed = Path(folder) / "plain", Path(folder) / "sealed"
        source.write_bytes(b"a bundle\n")
        age.encrypt(source, sealed, [str(pyrage.x25519.Identity.from_str(IDENTITY).to_public())])
        return sealed.read_bytes()


def cosign(time: int) -> bytes:
    """The known witness's line."""
    made = cosignature.cosign(note.parse_note(CHECKPOINT).text, WITNESS.name, KEY, time)
    return made.line.encode()


VALUES = [1.5, -0.0, 1e21, True, None, {"\u20ac": "\u00e9\\\n", "a": [[]]}]
PROOF = (bytes(32), bytes(range(32)))
POLICY = f"""# two of three, and the log itself
log {VKey("noptik.example/log", KEY.public, NOTE_ED25519)}
witness a {WITNESS} https://client.example/
witness b {VKey.cosigner("client.example/w2", SigningKey.from_seed(bytes(32)).public)}
witness c {VKey.cosigner("client.example/w3", SigningKey.from_seed(bytes([3]) * 32).public)}
group two 2 a b c
group any any two
quorum any
"""


def bundle_info() -> bytes:
    """Of a light bundle from which stages were withheld."""
    return info_bytes(
        BundleInfo(
            origin=ORIGIN,
            forecast="retail",
            run="a" * 64,
            seq=3,
            size=5,
            light=True,
            withheld=("data", "stage"),
            guide_sha256="b" * 64,
            page_sha256="c" * 64,
        )
    )


def recordings() -> Iterator[bytes]:
    """None, one, and three, among them one with an image and a seed."""
    image = {"type": "image_url", "image_url": {"url": f"sha256:{'a' * 64}"}}
    chats = (
        [{"role": "user", "content": "Sp\u00e4te \u20ac\n"}],
        [{"role": "system", "content": "s"}, {"role": "user", "content": ""}, {"role": "assistant", "content": "a"}],
        [{"role": "user", "content": [{"type": "text", "text": "t"}, image]}],
    )
    made = Recordings()
    for number, messages in enumerate(chats):
        settings = Settings(temperature=0, max_tokens=1 + number, seed=number or None)
        asked = Asked.of(model="m", revision="r", messages=messages, settings=settings)
        made = made.with_([Recording.of(asked, Response(content="[[ ## a ## ]]\nb", model="m", finish_reason="stop"))])
        if number != 1:
            yield made.raw
    yield b""


def edits() -> Iterator[bytes]:
    """No edit; one byte of a file changed; a file deleted."""
    yield from (b"", bytes([5, 0, 0, 3, 1]) + b"x", bytes([7, 3, 0, 0, 0]))


def seeds() -> Mapping[str, Iterable[bytes]]:
    """The inputs by target."""
    texts = checkpoints()
    chain = [root.to_bytes() for root in roots()]
    return {
        "json": [canonical.encode(VALUES), canonical.encode(VALUES[3:]), b'{"a":1,"a":2}'],
        "base64": [base64.b64encode(bytes(range(n))) for n in (0, 1, 2, 3, 64)],
        "note": [note.sign_note(text, ORIGIN, KEY) for text in texts],
        "checkpoint": [text.encode() for text in texts],
        "public_key": [KEY.public.to_pem()],
        "listing": [bag.manifest({"a": "a" * 64, "b/c d\u00e9": "b" * 64})],
        "bag": [bags()],
        "sshsig": [sshsig.sign(MESSAGE, KEY)],
        "entry": [row.leaf for row in log()],
        "statement": [*map(statement_bytes, statements()), *map(core_bytes, statements())],
        "envelope": [*envelopes(), seal(b"", "text/plain", KEY)],
        "receipt": receipts(),
        "proof": proofs(),
        "intent": [intent_bytes(intended(ORIGIN, (0, merkle.EMPTY_ROOT), merkle.leaf_hash(b"x"), log()[:2]))],
        "root": [b"\n".join(chain[:n]) for n in (1, 2, 3)],
        "tar": tars(),
        "cosignature": [cosign(0), cosign(1) + cosign(2**62)],
        "policy": [POLICY.encode(), b"quorum none\n"],
        "request": [Request(old, PROOF[:old], CHECKPOINT).to_bytes() for old in (0, 2)],
        "consistency": [addcheckpoint.proof_bytes(2**40, PROOF)],
        "timestamp": [stamp(), bytes.fromhex("30053003020102")],  # the last: refused, without a token
        "anchor": [KEY.public.to_pem(), chain[0]],
        "client_verdict": [sign_verdict(verdict(), KEY), statement_bytes(verdict())],
        "bundle_info": [bundle_info()],
        "recordings": recordings(),
        "bundle": edits(),
        "age": [sealed_to_client()],
    }


DRAWN = ("age", "timestamp")  # made with keys drawn anew: written once


def main() -> None:
    """The command."""
    for target, inputs in seeds().items():
        if target in DRAWN and (CORPUS / target).exists():
            continue
        (CORPUS / target).mkdir(parents=True, exist_ok=True)
        for raw in inputs:
            (CORPUS / target / content_name(raw)).write_bytes(raw)


if __name__ == "__main__":
    main()
