"""A sealed run: what its seal statement says, written and read in one place.

The seal statement names every artifact of the run as a subject, and as resolved dependencies the core of
every stage statement, the core of the registration, the source tree and the lock file. Its own core's digest
is the run id, so a run is the same run wherever and whenever it is repeated, and sealing it twice logs it
once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from audit.digest import Kind, Sha256, sha256
from audit.environment import LOCK
from audit.errors import Inconsistent, Usage
from audit.resource import DigestSet, ResourceDescriptor, Subject
from audit.source import SourceTree
from audit.statement import (
    BuildDefinition,
    Builder,
    ExternalParameters,
    InternalParameters,
    Provenance,
    RunDetails,
    Statement,
    core_bytes,
)

SEAL = "seal"
SOURCE_TREE = "source-tree"
REGISTRATION = "registration"
_DIRTY, _COMMIT, _EXECUTABLES = "source_dirty", "source_commit", "source_executables"


@dataclass(frozen=True, slots=True)
class StageCore:
    """One stage statement of a run: the stage, and the SHA-256 of its core, which is also its file's."""

    stage: str
    sha256: Sha256


@dataclass(frozen=True, slots=True)
class Run:
    """What entry `seq` seals. `commit` is '' where git knew none; artifacts are sorted by name."""

    id: Sha256
    forecast: str
    seq: int
    artifacts: tuple[Subject, ...]
    stages: tuple[StageCore, ...]
    registration: Sha256
    source_tree: Sha256
    executables: tuple[str, ...]
    dirty: bool
    commit: str
    lock: Sha256

    @classmethod
    def of(cls, statement: Statement, seq: int) -> Run:
        """The run that a seal statement, logged as entry `seq`, describes; Inconsistent if parts lack."""
        where = f"seal statement of entry {seq}"
        build = statement.predicate.build_definition
        stated = build.external_parameters
        inputs = {item.name: item.sha256 for item in build.resolved_dependencies}
        absent = [name for name in (REGISTRATION, SOURCE_TREE, LOCK) if name not in inputs]
        if absent:
            raise Inconsistent("seal statement incomplete", where, absent[0], "nothing of that name")
        prefix, suffix = statement_name(stated.forecast, "*").split("*")
        stages = [
            StageCore(name.removeprefix(prefix).removesuffix(suffix), digest)
            for name, digest in inputs.items()
            if name.startswith(prefix) and name.endswith(suffix)
        ]
        return cls(
            id=sha256(core_bytes(statement)),
            forecast=stated.forecast,
            seq=seq,
            artifacts=statement.subject,
            stages=tuple(stages),
            registration=inputs[REGISTRATION],
            source_tree=inputs[SOURCE_TREE],
            executables=tuple(filter(None, str(stated.parameters.get(_EXECUTABLES, "")).split("\n"))),
            dirty=stated.parameters.get(_DIRTY) is True,
            commit=str(stated.parameters.get(_COMMIT, "")),
            lock=inputs[LOCK],
        )


def folder(forecast: str) -> str:
    """Where the artifacts of a forecast lie, from the project's root."""
    return f"artifacts/{forecast}"


def statement_name(forecast: str, stage: str) -> str:
    """Where the core of a stage's statement lies, from the project's root."""
    return f"{folder(forecast)}/statements/{stage}.json"


def receipt_name(forecast: str, stage: str) -> str:
    """Where the receipt that 'register' or 'seal' was given lies, from the project's root."""
    return f"{folder(forecast)}/{stage}/receipt.json"


def seal_statement(
    forecast: str,
    stages: Sequence[Statement],
    source: SourceTree,
    registration: Sha256,
    internal: InternalParameters,
    builder: Builder,
) -> Statement:
    """The core of the statement that seals these stage statements, made from this source tree.

    Usage: a stage of another forecast, a stage or an artifact twice, an artifact outside the forecast's
    folder, or no lock file in the source tree.
    """
    lock = [file.sha256 for file in source.files if file.path == LOCK]
    if not lock:
        raise Usage("the source tree has no lock file", LOCK)
    subjects = [subject for statement in stages for subject in statement.subject]
    _require_own(forecast, [stage_of(statement, forecast) for statement in stages], subjects)
    parameters: dict[str, bool | int | str] = {
        _DIRTY: source.dirty,
        _EXECUTABLES: "\n".join(source.executables),
    }
    if source.commit is not None:
        parameters[_COMMIT] = source.commit
    inputs = [
        _input(statement_name(forecast, stage_of(statement, forecast)), "file", sha256(core_bytes(statement)))
        for statement in stages
    ]
    inputs.append(_input(REGISTRATION, "file", registration))
    inputs.append(_input(SOURCE_TREE, "dir", source.sha256))
    inputs.append(_input(LOCK, "file", lock[0]))
    stated = ExternalParameters(forecast=forecast, stage=SEAL, parameters=parameters)
    build = BuildDefinition(
        external_parameters=stated, internal_parameters=internal, resolved_dependencies=tuple(inputs)
    )
    provenance = Provenance(build_definition=build, run_details=RunDetails(builder=builder))
    return Statement(subject=tuple(subjects), predicate=provenance)


def _input(name: str, kind: Kind, digest: Sha256) -> ResourceDescriptor:
    return ResourceDescriptor(name=name, digest=DigestSet.of(kind, digest))


def stage_of(statement: Statement, forecast: str) -> str:
    """The stage that `statement` is of; Usage if it is of another forecast."""
    stated = statement.predicate.build_definition.external_parameters
    if stated.forecast != forecast:
        raise Usage("statement of another forecast", f"stage {stated.stage}", forecast, stated.forecast)
    return stated.stage


def _require_own(forecast: str, stages: list[str], subjects: list[Subject]) -> None:
    names = [subject.name for subject in subjects]
    for what, values in (("stage", stages), ("artifact", names)):
        twice = sorted({value for value in values if values.count(value) > 1})
        if twice:
            raise Usage(f"{what} stated twice", forecast, f"each {what} once", twice[0])
    outside = [name for name in names if not name.startswith(f"{folder(forecast)}/")]
    if outside:
        raise Usage("artifact outside its forecast's folder", forecast, f"{folder(forecast)}/...", outside[0])
