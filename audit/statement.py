"""What is stated: in-toto Statement v1 with SLSA provenance v1, a verdict, a change of key, an admission.

Glossary
--------
subject     what the statement is about: artifacts, each by digest
predicate   what it says of them: how they were made (provenance), what a check of them found (verdict), which
            key they replace (key change), or what a client found (admission)
core        a statement without what varies from run to run (`metadata`: time, host): what replay compares,
            and what makes sealing idempotent
payload     the canonical JSON of a whole statement, as it is signed in an envelope
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Annotated, Final, Literal, Self, TypeAlias, TypeVar

from pydantic import AfterValidator, ConfigDict, Field, PlainSerializer, TypeAdapter, model_validator
from pydantic.alias_generators import to_camel

from audit import model
from audit.digest import Sha256
from audit.model import Count, Frozen, Integer, Name, RunId, Text
from audit.resource import Resources, Subjects

STATEMENT_TYPE: Final = "https://in-toto.io/Statement/v1"
PROVENANCE_TYPE: Final = "https://slsa.dev/provenance/v1"
VERDICT_TYPE: Final = "urn:noptik:verdict:v1"
KEYS_TYPE: Final = "urn:noptik:keys:v1"
ADMISSION_TYPE: Final = "urn:noptik:admission:v1"
BUILD_TYPE: Final = "urn:noptik:stage:v1"
BUILDER_ID: Final = "urn:noptik:builder:v1"


def _existing(text: str) -> str:
    datetime.fromisoformat(text)  # ValueError for the 31st of February
    return text


Timestamp: TypeAlias = Annotated[
    str,
    Field(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z$"),
    AfterValidator(_existing),
]
Key: TypeAlias = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_.-]{0,99}$")]
Scalar: TypeAlias = bool | Integer | Annotated[str, Field(max_length=10_000)]
Scalars: TypeAlias = Annotated[
    Mapping[Key, Scalar],
    AfterValidator(lambda values: MappingProxyType(dict(values))),
    PlainSerializer(dict, return_type=dict[str, bool | int | str]),
]
Versions: TypeAlias = Annotated[
    Mapping[Key, Text],
    AfterValidator(lambda values: MappingProxyType(dict(values))),
    PlainSerializer(dict, return_type=dict[str, str]),
]


class ExternalParameters(Frozen):
    """What the user chose: which stage of which forecast, under which registered specification."""

    forecast: Name
    stage: Name
    specification_sha256: Sha256 | None = None
    parameters: Scalars = Field(default={}, validate_default=True)


class InternalParameters(Frozen):
    """What the house fixed: the determinism profile, and this machine's numeric fingerprint under it."""

    profile: Name
    profile_sha256: Sha256
    fingerprint_sha256: Sha256
    settings: Scalars = Field(default={}, validate_default=True)


class BuildDefinition(Frozen):
    """All inputs of a stage: the same definition gives the same subjects, byte for byte."""

    build_type: Literal["urn:noptik:stage:v1"] = BUILD_TYPE
    external_parameters: ExternalParameters
    internal_parameters: InternalParameters
    resolved_dependencies: Resources


class Builder(Frozen):
    """Who ran the stage: this program, by the versions of its parts."""

    id: Literal["urn:noptik:builder:v1"] = BUILDER_ID
    version: Versions


class Metadata(Frozen):
    """What varies from run to run; never compared. Times are UTC, whole seconds."""

    model_config = ConfigDict(
        alias_generator=lambda name: to_camel(name) if name in ("started_on", "finished_on") else f"noptik_{name}",
    )

    started_on: Timestamp
    finished_on: Timestamp
    host: Text
    cpu: Text
    libc: Text
    python: Text


class RunDetails(Frozen):
    """This particular run. `byproducts` are reproducible files that are not outputs."""

    builder: Builder
    metadata: Metadata | None = None
    byproducts: Resources | None = None


class Provenance(Frozen):
    """SLSA provenance v1: how the subjects were made."""

    build_definition: BuildDefinition
    run_details: RunDetails

    def with_metadata(self, metadata: Metadata | None) -> Self:
        """This provenance with other volatile facts, or none."""
        details = self.run_details.model_copy(update={"metadata": metadata})
        return self.model_copy(update={"run_details": details})


class Detail(Frozen):
    """One thing a verdict compared: an artifact's digest, or a gate's bound and what was measured."""

    name: Text
    expected: Annotated[str, Field(max_length=1000)]
    found: Annotated[str, Field(max_length=1000)]


class Verdict(Frozen):
    """What a check found: a replay against the sealed run `run`, or a gate, before any run is sealed.

    identical: no detail differs. within_tolerance, different: at least one does. failed_gate: there is one.
    """

    verdict: Literal["identical", "within_tolerance", "different", "failed_gate"]
    forecast: Name
    stage: Name | None = None
    run: RunId | None = None
    details: tuple[Detail, ...]
    metadata: Metadata | None = None

    @model_validator(mode="after")
    def _details_agree(self) -> Self:
        differing = sum(detail.expected != detail.found for detail in self.details)
        if self.verdict == "failed_gate":
            if not self.details:
                raise ValueError("a failed gate needs a detail that names it")
        elif (self.verdict == "identical") != (differing == 0):
            raise ValueError(f"verdict {self.verdict} with {differing} differing details")
        elif self.run is None:
            raise ValueError("a replay verdict needs the run it replayed")
        return self

    def with_metadata(self, metadata: Metadata | None) -> Self:
        """This verdict with other volatile facts, or none."""
        return self.model_copy(update={"metadata": metadata})


class KeyChange(Frozen):
    """A change of the key that signs the log: the root of trust of this version declares it.

    `key` is the id of the key that is replaced, void for every tree of `void_from` entries or more.
    """

    action: Literal["rotate", "revoke"]
    root_version: Count
    key: Sha256
    void_from: Count
    metadata: Metadata | None = None

    def with_metadata(self, metadata: Metadata | None) -> Self:
        """This change with other volatile facts, or none."""
        return self.model_copy(update={"metadata": metadata})


class Admission(Frozen):
    """A client's own verdict on a run, signed by the client's key and admitted to the log.

    `client` is the client's public key, 32 bytes in hexadecimal; `envelope` its DSSE envelope, base64.
    """

    forecast: Name
    run: RunId
    verdict: Literal["identical", "within_tolerance", "different"]
    client: Sha256
    envelope: Annotated[str, Field(min_length=1, max_length=4 * 2**20)]
    metadata: Metadata | None = None

    def with_metadata(self, metadata: Metadata | None) -> Self:
        """This admission with other volatile facts, or none."""
        return self.model_copy(update={"metadata": metadata})


class InToto(Frozen):
    """in-toto Statement v1 without the predicate's type: abstract, common to the kinds of statement."""

    type_: Literal["https://in-toto.io/Statement/v1"] = Field(default=STATEMENT_TYPE, alias="_type")
    subject: Subjects
    predicate: Provenance | Verdict | KeyChange | Admission


class Statement(InToto):
    """These subjects came out of this stage."""

    predicate_type: Literal["https://slsa.dev/provenance/v1"] = PROVENANCE_TYPE
    predicate: Provenance


class VerdictStatement(InToto):
    """These subjects were checked, with this verdict."""

    predicate_type: Literal["urn:noptik:verdict:v1"] = VERDICT_TYPE
    predicate: Verdict


class KeyStatement(InToto):
    """This root of trust, the subject, changed the log's key."""

    predicate_type: Literal["urn:noptik:keys:v1"] = KEYS_TYPE
    predicate: KeyChange


class AdmissionStatement(InToto):
    """A client replayed these subjects, with this verdict of its own."""

    predicate_type: Literal["urn:noptik:admission:v1"] = ADMISSION_TYPE
    predicate: Admission


AnyStatement: TypeAlias = Statement | VerdictStatement | KeyStatement | AdmissionStatement
S = TypeVar("S", bound=InToto)
_STATEMENT: TypeAdapter[AnyStatement] = TypeAdapter(Annotated[AnyStatement, Field(discriminator="predicate_type")])


def statement_bytes(statement: InToto) -> bytes:
    """The canonical JSON of `statement`, metadata included: the payload that is sealed."""
    return model.to_bytes(statement)


def core_bytes(statement: InToto) -> bytes:
    """The canonical JSON of `statement` without its metadata: the same whoever ran it, whenever, wherever."""
    return model.to_bytes(_with(statement, None))


def with_metadata(statement: S, metadata: Metadata) -> S:
    """`statement` with its volatile facts; its `core_bytes` are unchanged."""
    return _with(statement, metadata)


def parse_statement(raw: bytes, where: str = "statement") -> AnyStatement:
    """The statement whose `statement_bytes` is `raw`; Malformed if there is none. Any of the kinds."""
    return model.from_bytes(_STATEMENT, raw, where)


def _with(statement: S, metadata: Metadata | None) -> S:
    return statement.model_copy(update={"predicate": statement.predicate.with_metadata(metadata)})
