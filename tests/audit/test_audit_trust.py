"""The rules of a log, each broken once, on a log in memory: whoever keeps it, whatever of it is withheld."""

from __future__ import annotations

import base64
import dataclasses
from collections.abc import Callable

import pytest
from ledger_case import BUILDER, FORECAST, INTERNAL, metadata, statement
from memory_log import ORIGIN, MemoryLog

from audit import merkle
from audit.admission import admission, sign_verdict
from audit.digest import sha256
from audit.errors import AuditError, BadSignature, DigestMismatch, Inconsistent, Malformed, Tampered, Unavailable
from audit.evidence import evidence
from audit.note import Checkpoint, sign_checkpoint
from audit.receipt import check_receipt
from audit.resource import DigestSet, ResourceDescriptor, Subject
from audit.run import seal_statement
from audit.signing import SigningKey
from audit.source import SourceFile, SourceTree
from audit.statement import (
    BuildDefinition,
    Detail,
    ExternalParameters,
    KeyChange,
    KeyStatement,
    Provenance,
    RunDetails,
    Statement,
    Verdict,
    VerdictStatement,
    core_bytes,
)
from audit.trust import TrustedLog, trust
from audit.trustroot import KeySpan, TrustRoot

KEY, NEXT, CLIENT = (SigningKey.from_seed(bytes([n]) * 32) for n in (1, 2, 3))
KEYS = TrustRoot.of(ORIGIN, KEY.public)
SOURCE = SourceTree((SourceFile("requirements.lock", "c" * 64, 1, False),), "d" * 64, dirty=False, commit=None)


def registration(number: int = 1, spec: str = "spec") -> Statement:
    build = BuildDefinition(
        external_parameters=ExternalParameters(
            forecast=FORECAST,
            stage="register",
            specification_sha256=sha256(spec.encode()),
            parameters={"specification_number": number},
        ),
        internal_parameters=INTERNAL,
        resolved_dependencies=(ResourceDescriptor(name="data", digest=DigestSet(sha256="e" * 64)),),
    )
    return Statement(
        subject=statement("register", spec).subject,
        predicate=Provenance(build_definition=build, run_details=RunDetails(builder=BUILDER)),
    )


def seal(stages: list[Statement], registered: str, forecast: str = FORECAST) -> Statement:
    return seal_statement(forecast, stages, SOURCE, registered, INTERNAL, BUILDER)


def verdict(run: str, subjects: tuple[Subject, ...]) -> VerdictStatement:
    found = Verdict(
        verdict="identical",
        forecast=FORECAST,
        run=run,
        details=(Detail(name="x", expected="1", found="1"),),
        metadata=metadata(),
    )
    return VerdictStatement(subject=subjects, predicate=found)


def story(key: SigningKey = KEY) -> tuple[MemoryLog, list[str]]:
    """Two runs: register, ingest, fit, seal, verdict; another fit, seal; and their cores."""
    log = MemoryLog().begin(key)
    ingest, fit, again = statement("ingest", "a"), statement("fit", "b"), statement("fit", "c")
    cores = [log.add("register", registration(), key)]
    cores += [log.add("stage", item, key) for item in (ingest, fit)]
    first = seal([ingest, fit], cores[0])
    cores.append(log.add("seal", first, key))
    cores.append(log.add("verdict", verdict(cores[3], first.subject), key))
    cores.append(log.add("stage", again, key))
    cores.append(log.add("seal", seal([ingest, again], cores[0]), key))
    return log, cores


def test_a_log_that_keeps_the_rules_is_trusted_with_its_runs_and_receipts() -> None:
    log, cores = story()
    seen: list[int] = []
    found = trust(log, KEYS, visit=lambda entry: seen.append(entry.seq))
    assert seen == list(range(7))
    assert [run.id for run in found.of(FORECAST)] == [cores[3], cores[6]]
    assert (found.head.size, found.withheld, found.void) == (7, 0, 0)
    for ref in found.runs:
        known = evidence(found, ref)
        assert known.seal.seq == ref.seq
        assert known.seal.tree_size == ref.seq + 1  # the first head that covers it
        check_receipt(known.seal, KEYS)
        assert known.registration is not None
        check_receipt(known.registration, KEYS)


def edit(seq: int, **fields: bytes) -> Callable[[MemoryLog], None]:
    def change(log: MemoryLog) -> None:
        log.rows[seq] = dataclasses.replace(log.rows[seq], **fields)

    return change


def other_tile(log: MemoryLog) -> None:
    log.tiles[0, 0] = log.tiles[0, 0][:-1] + bytes([log.tiles[0, 0][-1] ^ 1])


def cut_tile(log: MemoryLog) -> None:
    log.tiles[0, 0] = log.tiles[0, 0][:-32]


def fork(log: MemoryLog) -> None:
    log.notes[3] = (3, sign_checkpoint(Checkpoint(ORIGIN, 3, b"\x01" * 32), KEY))


def swap(log: MemoryLog) -> None:
    log.rows[1], log.rows[2] = log.rows[2], log.rows[1]


EDITS: dict[str, tuple[Callable[[MemoryLog], None], type[AuditError], str]] = {
    "an entry deleted": (lambda log: log.rows.pop(2), Inconsistent, "an entry 2"),
    "the last entry deleted": (lambda log: log.rows.pop(), Inconsistent, "checkpoint of size 7"),
    "two entries swapped": (swap, Inconsistent, "an entry 1"),
    "a leaf of another number": (edit(1, leaf=story()[0].rows[2].leaf), Inconsistent, "leaf of entry 1"),
    "a leaf that is no record": (edit(1, leaf=b"{}"), Malformed, "leaf of entry 1"),
    "another envelope": (edit(1, envelope=story()[0].rows[2].envelope or b""), DigestMismatch, "envelope of entry 1"),
    "another salt": (edit(1, salt=b"\0" * 32), DigestMismatch, "envelope of entry 1"),
    "no salt": (edit(1, salt=b""), DigestMismatch, "envelope of entry 1"),
    "a short salt": (edit(1, salt=b"\0" * 31), Malformed, "salt"),
    "a tile changed": (other_tile, DigestMismatch, "tile 0/0, hash 6"),
    "a tile cut": (cut_tile, DigestMismatch, "tile 0/0"),
    "a tile gone": (lambda log: log.tiles.clear(), DigestMismatch, "tile 0/0"),
    "a head of another tree": (fork, DigestMismatch, "checkpoint of size 3"),
    "a head under another's size": (lambda log: log.notes.__setitem__(3, (3, log.notes[2][1])), Inconsistent, "size 3"),
    "the last head gone": (lambda log: log.notes.pop(), Inconsistent, "a head of size 7"),
    "every head gone": (lambda log: log.notes.clear(), Inconsistent, "no head"),
    "heads out of order": (lambda log: log.notes.reverse(), Inconsistent, "order of sizes"),
}


@pytest.mark.parametrize("name", EDITS)
def test_a_log_that_breaks_a_rule_is_refused_and_the_place_is_named(name: str) -> None:
    change, kind, place = EDITS[name]
    log, _ = story()
    change(log)
    with pytest.raises(kind) as caught:
        trust(log, KEYS)
    assert isinstance(caught.value, Tampered)
    assert place in str(caught.value)


def test_a_log_of_another_name_is_refused() -> None:
    log, _ = story()
    with pytest.raises(Inconsistent, match="another log"):
        trust(log, TrustRoot.of("noptik.test/other", KEY.public))


def test_a_log_signed_by_another_key_is_refused() -> None:
    with pytest.raises(BadSignature):
        trust(story()[0], TrustRoot.of(ORIGIN, NEXT.public))


# Lies told by whoever holds the key: consistent trees over statements that contradict each other.
def lie(tell: Callable[[MemoryLog, list[str]], object]) -> MemoryLog:
    log, cores = story()
    tell(log, cores)
    return log


LIES: dict[str, tuple[Callable[[MemoryLog, list[str]], object], str]] = {
    "a specification number twice": (
        lambda log, _: log.add("register", registration(1, "other"), KEY),
        "specification number",
    ),
    "a specification number left out": (
        lambda log, _: log.add("register", registration(3, "other"), KEY),
        "specification number",
    ),
    "a seal of a stage that was never logged": (
        lambda log, cores: log.add("seal", seal([statement("fit", "never")], cores[0]), KEY),
        "not logged before the seal",
    ),
    "a seal without its registration": (
        lambda log, _: log.add("seal", seal([statement("ingest", "a")], "f" * 64), KEY),
        "not logged before the seal",
    ),
    "a seal of another forecast's stage": (
        lambda log, cores: log.add("seal", other_forecast(log, cores), KEY),
        "statement of stage fit",
    ),
    "a stage logged as a verdict": (
        lambda log, _: log.add("verdict", statement("fit", "z"), KEY),
        "another kind",
    ),
    "a verdict on a run that was never sealed": (
        lambda log, cores: log.add("verdict", verdict("a" * 64, seal_of(log, cores)), KEY),
        "run judged",
    ),
    "a verdict on a stage": (
        lambda log, cores: log.add("verdict", verdict(cores[1], seal_of(log, cores)), KEY),
        "run judged",
    ),
    "a verdict that leaves an artifact out": (
        lambda log, cores: log.add("verdict", verdict(cores[3], seal_of(log, cores)[:1]), KEY),
        "judged",
    ),
    "an entry of another forecast's run": (
        lambda log, _: log.add("stage", statement("fit", "q"), KEY, forecast="geo"),
        "previous run",
    ),
}


def seal_of(log: MemoryLog, cores: list[str]) -> tuple[Subject, ...]:
    found = trust(log, KEYS)
    return found.run(found.runs[0]).artifacts if cores else ()


def other_forecast(log: MemoryLog, cores: list[str]) -> Statement:
    geo = statement("fit", "g", "geo")
    log.add("stage", geo, KEY)
    sealed = seal([statement("ingest", "a")], cores[0])
    build = sealed.predicate.build_definition
    inputs = [item for item in build.resolved_dependencies if not item.name.endswith("ingest.json")]
    inputs.append(
        ResourceDescriptor(
            name=f"artifacts/{FORECAST}/statements/fit.json", digest=DigestSet(sha256=sha256(core_bytes(geo)))
        )
    )
    changed = build.model_copy(update={"resolved_dependencies": tuple(sorted(inputs, key=lambda item: item.name))})
    return Statement(subject=geo.subject, predicate=sealed.predicate.model_copy(update={"build_definition": changed}))


@pytest.mark.parametrize("name", LIES)
def test_a_lie_of_whoever_holds_the_key_is_refused(name: str) -> None:
    tell, words = LIES[name]
    with pytest.raises(Inconsistent, match=words):
        trust(lie(tell), KEYS)


def test_whatever_is_withheld_the_rest_is_trusted_and_the_report_counts_it() -> None:
    for hidden in ((0,), (1,), (2,), (3,), (4,), (5,), (1, 2, 5), (0, 1, 2, 3, 4, 5), (6,)):
        log, _ = story()
        log.withhold(*hidden)
        found = trust(log, KEYS)
        assert found.withheld == len(hidden)
        assert found.head.size == 7
        for ref in found.runs:
            assert found.run(ref).id == ref.id
        with pytest.raises(Unavailable, match="withheld"):
            found.at(hidden[0]).require()


def test_a_specification_registered_after_the_fit_is_refused() -> None:
    log = MemoryLog().begin(KEY)
    fit = statement("fit", "b")
    build = fit.predicate.build_definition
    stated = build.external_parameters.model_copy(update={"specification_sha256": sha256(b"spec")})
    made = build.model_copy(update={"external_parameters": stated})
    fit = fit.model_copy(update={"predicate": fit.predicate.model_copy(update={"build_definition": made})})
    log.add("stage", fit, KEY)
    core = log.add("register", registration(), KEY)
    log.add("seal", seal([fit], core), KEY)
    with pytest.raises(Inconsistent, match="fit logged before its specification was registered"):
        trust(log, KEYS)


def test_an_entry_of_another_payload_type_is_refused() -> None:
    log = MemoryLog().begin(KEY)
    log.add("stage", statement("fit", "b"), KEY, payload_type="application/json")
    with pytest.raises(Malformed, match="another payload type"):
        trust(log, KEYS)


def test_withholding_does_not_hide_a_lie_about_what_is_shown() -> None:
    log, cores = story()
    log.add("seal", seal([statement("ingest", "never")], cores[0]), KEY)
    log.withhold(4)  # a verdict: no stage is hidden, so the stage that is missing was never there
    with pytest.raises(Inconsistent, match="not logged before the seal"):
        trust(log, KEYS)


def test_what_is_withheld_does_not_stand_for_what_is_shown_too_late() -> None:
    log = MemoryLog().begin(KEY)
    log.add("register", registration(1, "of a sibling"), KEY)
    log.add("stage", statement("fit", "of a sibling", "geo"), KEY)
    fit = statement("fit", "b")
    late = registration(2)
    log.add("stage", fit, KEY)
    log.add("seal", seal([fit], sha256(core_bytes(late))), KEY)
    log.add("register", late, KEY)
    log.withhold(0, 1)
    with pytest.raises(Inconsistent, match="not logged before the seal"):
        trust(log, KEYS)


def test_a_commitment_does_not_confirm_a_guess_of_what_is_withheld() -> None:
    log, _ = story()
    envelope = log.rows[1].envelope
    assert envelope is not None
    log.withhold(1)
    published = b"".join(row.leaf for row in log.rows) + b"".join(log.tiles.values())
    assert sha256(envelope).encode() not in published


def test_kept_heads_must_lie_on_the_tree() -> None:
    log, _ = story()
    older = log.notes[4][1]
    assert trust(log, KEYS, kept=(older, log.notes[-1][1], log.notes[0][1]))
    forked = sign_checkpoint(Checkpoint(ORIGIN, 4, b"\x02" * 32), KEY)
    with pytest.raises(Inconsistent, match="another tree of size 4"):
        trust(log, KEYS, kept=(forked,))
    newer = sign_checkpoint(Checkpoint(ORIGIN, 9, b"\x02" * 32), KEY)
    with pytest.raises(Inconsistent, match="older than a head already signed"):
        trust(log, KEYS, kept=(newer,))
    stranger = sign_checkpoint(Checkpoint(ORIGIN, 4, b"\x02" * 32), NEXT)
    with pytest.raises(BadSignature):
        trust(log, KEYS, kept=(stranger,))


def change_key(action: str, void_from: int) -> KeyStatement:
    subject = {"name": "trust/2.root.json", "digest": {"sha256": "a" * 64}, "annotations": {"size": 1, "kind": "file"}}
    change = KeyChange(action=action, root_version=2, key=KEY.public.key_id, void_from=void_from)  # type: ignore[arg-type]
    return KeyStatement(subject=(Subject.model_validate(subject),), predicate=change)


def test_after_a_rotation_each_key_counts_in_its_own_place_only() -> None:
    log, _ = story()
    keys = TrustRoot(ORIGIN, (KeySpan(KEY.public, 0, 8), KeySpan(NEXT.public, 8)), 2)
    log.add("key", change_key("rotate", 8), NEXT)
    log.add("stage", statement("fit", "after"), NEXT)
    assert trust(log, keys).head.size == 9
    with pytest.raises(BadSignature, match="entry 7"):
        trust(log, KEYS)
    stolen, _ = story()
    stolen.add("stage", statement("fit", "by the old key"), KEY)
    with pytest.raises(BadSignature, match="entry 7"):
        trust(stolen, keys)


def test_what_a_stolen_key_signed_after_the_size_it_is_void_from_is_void() -> None:
    log, cores = story()
    keys = TrustRoot(ORIGIN, (KeySpan(KEY.public, 0, 6), KeySpan(NEXT.public, 8)), 2)
    with pytest.raises(BadSignature, match="revoked"):
        trust(log, keys)  # its latest head is void
    log.add("key", change_key("revoke", 6), NEXT)
    found = trust(log, keys)
    assert [run.id for run in found.runs] == [cores[3]]  # the second run's seal is void
    assert found.void == 2
    assert found.at(6).void


def test_what_became_void_can_be_logged_again_and_then_counts() -> None:
    log, cores = story()
    keys = TrustRoot(ORIGIN, (KeySpan(KEY.public, 0, 6), KeySpan(NEXT.public, 8)), 2)
    log.add("key", change_key("revoke", 6), NEXT)
    log.add("stage", statement("fit", "c"), NEXT)
    log.add("seal", seal([statement("ingest", "a"), statement("fit", "c")], cores[0]), NEXT)
    found = trust(log, keys)
    assert [(run.id, run.seq) for run in found.runs] == [(cores[3], 3), (cores[6], 9)]
    assert not evidence(found, found.runs[1]).seal.seq < 9


def test_a_thief_cannot_hide_a_run_behind_a_void_copy_of_it() -> None:
    log, cores = story()
    log.add("seal", seal([statement("ingest", "a"), statement("fit", "b")], cores[0]), KEY)
    keys = TrustRoot(ORIGIN, (KeySpan(KEY.public, 0, 8), KeySpan(NEXT.public, 9)), 2)
    log.add("key", change_key("revoke", 8), NEXT)
    found = trust(log, keys)
    assert [(run.id, run.seq) for run in found.runs] == [(cores[3], 3), (cores[6], 6)]
    assert found.run(found.runs[0]).seq == 3


def test_a_clients_admission_is_checked_again_under_the_clients_own_key() -> None:
    log, cores = story()
    judged = verdict(cores[3], seal_of(log, cores))
    raw = sign_verdict(judged, CLIENT)
    admitted = admission(raw, CLIENT.public, metadata())
    log.add("admission", admitted, KEY)
    assert trust(log, KEYS).head.size == 8
    other, cores = story()
    forged = admitted.predicate.model_copy(update={"envelope": base64.b64encode(sign_verdict(judged, NEXT)).decode()})
    other.add("admission", admitted.model_copy(update={"predicate": forged}), KEY)
    with pytest.raises(BadSignature):
        trust(other, KEYS)


def test_memory_log_of_no_entries_is_a_log() -> None:
    found: TrustedLog = trust(MemoryLog().begin(KEY), KEYS)
    assert found.head.root == merkle.EMPTY_ROOT
    assert found.runs == ()
