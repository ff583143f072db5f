"""Laws of statements: in-toto and SLSA's own field names, one byte form, volatile facts outside the core."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from audit import canonical, digest, envelope, statement
from audit.errors import Malformed, Tampered
from audit.resource import Annotations, DigestSet, ResourceDescriptor, Subject
from audit.signing import SigningKey
from audit.statement import (
    BuildDefinition,
    Builder,
    Detail,
    ExternalParameters,
    InternalParameters,
    Metadata,
    Provenance,
    RunDetails,
    Statement,
    Verdict,
    VerdictStatement,
)


def sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


METADATA = Metadata(
    started_on="2024-02-29T23:59:59Z",
    finished_on="2024-03-01T00:01:02Z",
    host="h",
    cpu="c",
    libc="glibc 2.36",
    python="3.11.2",
)
TABLE = Subject(
    name="artifacts/retail/fit/table.parquet",
    digest=DigestSet(sha256=sha("table")),
    annotations=Annotations(size=7, kind="file", arrow_ipc_sha256=sha("rows")),
)
POSTERIOR = Subject(
    name="artifacts/retail/fit/posterior.zarr",
    digest=DigestSet(dir_hash=sha("zarr")),
    annotations=Annotations(size=9, kind="dir"),
)
CODE = ResourceDescriptor(name="engine/fit.py", digest=DigestSet(sha256=sha("code")))
LOCK = ResourceDescriptor(name="requirements.lock", uri="urn:noptik:lock", digest=DigestSet(sha256=sha("lock")))
FIT = Statement(
    subject=(TABLE, POSTERIOR),
    predicate=Provenance(
        build_definition=BuildDefinition(
            external_parameters=ExternalParameters(
                forecast="retail",
                stage="fit",
                specification_sha256=sha("spec"),
                parameters={"horizon": 13, "log": True, "label": "été"},
            ),
            internal_parameters=InternalParameters(
                profile="det-1", profile_sha256=sha("profile"), fingerprint_sha256=sha("fingerprint")
            ),
            resolved_dependencies=(LOCK, CODE),
        ),
        run_details=RunDetails(builder=Builder(version={"noptik": "0.1.0"}), byproducts=(CODE,)),
    ),
)
REPLAY = VerdictStatement(
    subject=(TABLE,),
    predicate=Verdict(
        verdict="different",
        forecast="retail",
        stage="fit",
        run="run-1",
        details=(
            Detail(name="a", expected="1", found="1"),
            Detail(name=TABLE.name, expected="aa", found="bb"),
        ),
    ),
)
BOTH = pytest.mark.parametrize("plain", [FIT, REPLAY], ids=["provenance", "verdict"])


def test_a_stage_is_stated_in_the_field_names_of_in_toto_and_slsa() -> None:
    # in-toto attestation spec/v1/{statement,resource_descriptor,digest_set}.md; slsa.dev/spec/v1.0/provenance
    raw = statement.statement_bytes(statement.with_metadata(FIT, METADATA))
    assert json.loads(raw) == {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [
            {
                "name": POSTERIOR.name,
                "digest": {"dirHash": sha("zarr")},
                "annotations": {"size": 9, "kind": "dir"},
            },
            {
                "name": TABLE.name,
                "digest": {"sha256": sha("table")},
                "annotations": {"size": 7, "kind": "file", "arrowIpcSha256": sha("rows")},
            },
        ],
        "predicateType": "https://slsa.dev/provenance/v1",
        "predicate": {
            "buildDefinition": {
                "buildType": "urn:noptik:stage:v1",
                "externalParameters": {
                    "forecast": "retail",
                    "stage": "fit",
                    "specificationSha256": sha("spec"),
                    "parameters": {"horizon": 13, "log": True, "label": "été"},
                },
                "internalParameters": {
                    "profile": "det-1",
                    "profileSha256": sha("profile"),
                    "fingerprintSha256": sha("fingerprint"),
                    "settings": {},
                },
                "resolvedDependencies": [
                    {"name": "engine/fit.py", "digest": {"sha256": sha("code")}},
                    {
                        "name": "requirements.lock",
                        "uri": "urn:noptik:lock",
                        "digest": {"sha256": sha("lock")},
                    },
                ],
            },
            "runDetails": {
                "builder": {"id": "urn:noptik:builder:v1", "version": {"noptik": "0.1.0"}},
                "metadata": {
                    "startedOn": "2024-02-29T23:59:59Z",
                    "finishedOn": "2024-03-01T00:01:02Z",
                    "noptik_host": "h",
                    "noptik_cpu": "c",
                    "noptik_libc": "glibc 2.36",
                    "noptik_python": "3.11.2",
                },
                "byproducts": [{"name": "engine/fit.py", "digest": {"sha256": sha("code")}}],
            },
        },
    }


def test_a_verdict_is_stated_beside_it_with_a_type_of_its_own() -> None:
    assert json.loads(statement.statement_bytes(REPLAY))["predicate"] == {
        "verdict": "different",
        "forecast": "retail",
        "stage": "fit",
        "run": "run-1",
        "details": [
            {"name": "a", "expected": "1", "found": "1"},
            {"name": TABLE.name, "expected": "aa", "found": "bb"},
        ],
    }
    assert json.loads(statement.statement_bytes(REPLAY))["predicateType"] == "urn:noptik:verdict:v1"


@BOTH
def test_parsing_inverts_writing(plain: Statement | VerdictStatement) -> None:
    for one in (plain, statement.with_metadata(plain, METADATA)):
        raw = statement.statement_bytes(one)
        again = statement.parse_statement(raw)
        assert (type(again), again) == (type(plain), one)
        assert statement.statement_bytes(again) == raw == canonical.record(json.loads(raw))


@BOTH
def test_the_core_is_blind_to_metadata_and_to_nothing_else(plain: Statement | VerdictStatement) -> None:
    later = METADATA.model_copy(update={"started_on": "2025-01-01T00:00:00Z", "host": "other"})
    core = statement.core_bytes(plain)
    for metadata in (METADATA, later):
        sealed = statement.with_metadata(plain, metadata)
        assert statement.core_bytes(sealed) == core == statement.statement_bytes(plain)
        assert statement.statement_bytes(sealed) != core
    other = plain.model_copy(update={"subject": (POSTERIOR,)})
    assert statement.core_bytes(other) != core


def test_order_given_does_not_matter() -> None:
    swapped = Statement(subject=FIT.subject[::-1], predicate=FIT.predicate)
    assert statement.core_bytes(swapped) == statement.core_bytes(FIT)
    parameters = {"label": "été", "log": True, "horizon": 13}
    external = FIT.predicate.build_definition.external_parameters.model_copy(update={"parameters": parameters})
    assert canonical.encode(external.model_dump(mode="json")) == canonical.encode(
        FIT.predicate.build_definition.external_parameters.model_dump(mode="json")
    )


def test_subjects_and_dependencies_state_what_was_measured(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    for path, name in ((tmp_path, "dirHash"), (tmp_path / "a", "sha256")):
        measured = digest.digest_path(path)
        subject = Subject.of("artifacts/x", measured)
        assert (subject.sha256, subject.annotations.size) == (measured.sha256, 3)
        for described in (subject, ResourceDescriptor.of("x", measured)):
            assert described.sha256 == measured.sha256
            wire = described.model_dump(mode="json", exclude_none=True)["digest"]
            assert wire == {name: measured.sha256}


def nodes(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of every object and member inside `value`."""
    yield path
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from nodes(inner, (*path, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from nodes(inner, (*path, index))


def at(value: Any, path: tuple[Any, ...]) -> Any:
    for step in path:
        value = value[step]
    return value


FREE = {
    "parameters",
    "settings",
    "version",
}  # open maps: a new name there is a new fact, not an unknown field


@BOTH
def test_unknown_missing_null_and_mistyped_fields_are_malformed_everywhere(
    plain: Statement | VerdictStatement,
) -> None:
    raw = statement.statement_bytes(statement.with_metadata(plain, METADATA))
    optional = {"specificationSha256", "arrowIpcSha256", "uri", "stage", "metadata", "byproducts"}
    for path in nodes(json.loads(raw)):
        value = json.loads(raw)
        node = at(value, path)
        if isinstance(node, dict) and path[-1:] != () and path[-1] not in FREE:
            node["extra"] = 1
            _refused(value)
        for wrong in (None, [node], {"x": node}, 1.5):
            value = json.loads(raw)
            if path:
                at(value, path[:-1])[path[-1]] = wrong
                _refused(value)
        if path and isinstance(path[-1], str) and not FREE & set(path) and path[-1] not in optional:
            value = json.loads(raw)
            del at(value, path[:-1])[path[-1]]
            _refused(value)


def _refused(value: Any) -> None:
    with pytest.raises(Malformed):
        statement.parse_statement(canonical.encode(value))


@BOTH
def test_any_changed_byte_changes_the_core_or_is_tampering(plain: Statement | VerdictStatement) -> None:
    raw = statement.statement_bytes(plain)
    for at_byte in range(0, len(raw), 3):
        changed = raw[:at_byte] + bytes([raw[at_byte] ^ 1]) + raw[at_byte + 1 :]
        try:
            again = statement.parse_statement(changed)
        except Tampered:
            continue
        assert statement.core_bytes(again) == changed != raw


def test_spellings_that_readers_take_for_the_same_are_malformed() -> None:
    raw = statement.statement_bytes(FIT)
    value = json.loads(raw)
    value["subject"].reverse()
    for other in (
        raw + b"\n",
        json.dumps(json.loads(raw)).encode(),
        raw.replace(b'"size":7', b'"size":8,"size":7'),
        raw.replace("é".encode(), b"\\u00e9"),
        canonical.encode(value),
    ):
        with pytest.raises(Malformed):
            statement.parse_statement(other)


def test_a_statement_of_one_type_never_parses_as_the_other() -> None:
    for plain, other in ((FIT, statement.VERDICT_TYPE), (REPLAY, statement.PROVENANCE_TYPE), (FIT, "x")):
        value = json.loads(statement.statement_bytes(plain))
        _refused(value | {"predicateType": other})
    for raw in (b"{}", b"[]", b"null", b"1", b'""'):
        with pytest.raises(Malformed):
            statement.parse_statement(raw)


@pytest.mark.parametrize(
    "name", ["", "/abs", "a/../b", "..", ".", "a//b", "a/", "a b", "é", "-x", "a\n", "a\\b", "./a", "a/."]
)
def test_a_subject_is_a_plain_relative_path(name: str) -> None:
    with pytest.raises(ValidationError):
        Subject(name=name, digest=TABLE.digest, annotations=TABLE.annotations)


@pytest.mark.parametrize("name", ["a", "a.b/c-d/_e", "..a/.b", "a/..b", "a/-x"])
def test_other_names_are_fine(name: str) -> None:
    assert Subject(name=name, digest=TABLE.digest, annotations=TABLE.annotations).name == name


def test_a_digest_is_one_and_agrees_with_its_kind() -> None:
    for digests in (
        {},
        {"sha256": sha("a"), "dir_hash": sha("a")},
        {"sha256": "zz"},
        {"sha256": sha("a").upper()},
    ):
        with pytest.raises(ValidationError):
            DigestSet(**digests)
    with pytest.raises(ValidationError):
        Subject(name="a", digest=TABLE.digest, annotations=POSTERIOR.annotations)


def test_names_are_unique_and_there_is_a_subject() -> None:
    for subjects in ((), (TABLE, TABLE)):
        with pytest.raises(ValidationError):
            Statement(subject=subjects, predicate=FIT.predicate)
    with pytest.raises(ValidationError):
        RunDetails(builder=Builder(version={}), byproducts=(CODE, CODE))


@pytest.mark.parametrize(
    "time",
    [
        "2024-02-30T00:00:00Z",
        "2024-01-01T24:00:01Z",
        "2024-01-01T00:00:00",
        "2024-01-01",
        "２024-01-01T00:00:00Z",
    ],
)
def test_times_are_utc_seconds_that_exist(time: str) -> None:
    with pytest.raises(ValidationError):
        Metadata(**(METADATA.model_dump(by_alias=False) | {"started_on": time}))


@pytest.mark.parametrize("value", [0.5, None, 2**53, [1], b"x", {"a": 1}])
def test_parameters_hold_only_what_a_record_may(value: Any) -> None:
    with pytest.raises(ValidationError):
        ExternalParameters(forecast="a", stage="b", parameters={"x": value})


SCALARS = st.dictionaries(
    st.from_regex(r"[A-Za-z][A-Za-z0-9_.-]{0,20}", fullmatch=True),
    st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.text(st.characters(exclude_categories=["Cs"])),
)


@settings(deadline=None, max_examples=100, derandomize=True)
@given(SCALARS)
def test_any_parameters_come_back_as_they_were(values: dict[str, bool | int | str]) -> None:
    external = ExternalParameters(forecast="a", stage="b", parameters=values)
    definition = FIT.predicate.build_definition.model_copy(update={"external_parameters": external})
    predicate = FIT.predicate.model_copy(update={"build_definition": definition})
    again = statement.parse_statement(statement.statement_bytes(FIT.model_copy(update={"predicate": predicate})))
    assert isinstance(again, Statement)
    found = dict(again.predicate.build_definition.external_parameters.parameters)
    assert found == values
    assert {key: type(value) for key, value in found.items()} == {k: type(v) for k, v in values.items()}


def test_a_statement_cannot_be_changed() -> None:
    mine = {"x": 1}
    external = ExternalParameters(forecast="a", stage="b", parameters=mine)
    mine["x"] = 2
    assert external.parameters["x"] == 1
    with pytest.raises(TypeError):
        external.parameters["x"] = 2  # type: ignore[index]
    with pytest.raises(TypeError):
        ExternalParameters(forecast="a", stage="b").parameters["x"] = 2  # type: ignore[index]
    with pytest.raises(ValidationError):
        external.stage = "c"


SAME, OTHER = Detail(name="x", expected="1", found="1"), Detail(name="y", expected="1", found="2")


@pytest.mark.parametrize(
    ("verdict", "run", "details"),
    [
        ("identical", "r", (SAME, OTHER)),
        ("identical", None, (SAME,)),
        ("within_tolerance", "r", (SAME,)),
        ("within_tolerance", "r", ()),
        ("different", "r", (SAME,)),
        ("different", None, (OTHER,)),
        ("failed_gate", None, ()),
        ("passed", "r", ()),
        ("tampered", "r", (OTHER,)),
    ],
)
def test_a_verdict_that_its_details_contradict_cannot_be_stated(
    verdict: Any, run: str | None, details: tuple[Detail, ...]
) -> None:
    with pytest.raises(ValidationError):
        Verdict(verdict=verdict, forecast="retail", run=run, details=details)


@pytest.mark.parametrize(
    ("verdict", "run", "details"),
    [
        ("identical", "r", ()),
        ("identical", "r", (SAME,)),
        ("within_tolerance", "r", (SAME, OTHER)),
        ("different", "r", (OTHER,)),
        ("failed_gate", None, (OTHER,)),
    ],
)
def test_a_verdict_that_its_details_bear_out_can(verdict: Any, run: str | None, details: tuple[Detail, ...]) -> None:
    stated = Verdict(verdict=verdict, forecast="retail", run=run, details=details)
    whole = VerdictStatement(subject=(TABLE,), predicate=stated)
    assert statement.parse_statement(statement.statement_bytes(whole)) == whole


def test_a_sealed_statement_comes_back_whole() -> None:
    key = SigningKey.from_seed(b"k" * 32)
    sealed = statement.with_metadata(FIT, METADATA)
    raw = envelope.seal(statement.statement_bytes(sealed), envelope.PAYLOAD_TYPE, key)
    assert statement.parse_statement(envelope.open_envelope(raw, key.public)) == sealed
