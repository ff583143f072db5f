"""The kinds of log entry, and what the statement under each must say for itself.

Glossary
--------
register   a specification, declared before anything is fitted: names it, the data and the holdout
stage      what one stage of a run read and wrote
seal       a whole run: the statement names every stage statement by its core's digest, and every artifact
verdict    what a check found: a replay of a sealed run, or a gate that failed
key        the log's key was rotated or revoked; concerns no forecast
admission  a client's own signed verdict on a run, taken into the log
run id     the core digest of a run's seal statement
"""

from __future__ import annotations

from typing import Final, Literal, NamedTuple, TypeAlias

from audit.digest import Sha256
from audit.errors import Inconsistent
from audit.model import Count, Frozen
from audit.statement import AdmissionStatement, AnyStatement, KeyStatement, Statement, VerdictStatement

Kind: TypeAlias = Literal["register", "stage", "seal", "verdict", "key", "admission"]

NUMBER: Final = "specification_number"
DATA: Final = "data"
HOLDOUT: Final = "holdout"


class About(NamedTuple):
    """Which forecast an entry concerns ('' for a key), and which stage ('' for what concerns a whole run)."""

    forecast: str
    stage: str


class Registration(Frozen):
    """A specification for some data: the `number`-th distinct one logged for it, counted from 1."""

    data_sha256: Sha256
    specification_sha256: Sha256
    number: Count


def about(kind: str, statement: AnyStatement, where: str) -> About:
    """What an entry of this kind and statement concerns; Inconsistent if the statement is of another kind."""
    if isinstance(statement, VerdictStatement):
        _require("verdict", kind, where)
        verdict = statement.predicate
        return About(verdict.forecast, verdict.stage or "")
    if isinstance(statement, KeyStatement):
        _require("key", kind, where)
        return About("", "")
    if isinstance(statement, AdmissionStatement):
        _require("admission", kind, where)
        return About(statement.predicate.forecast, "")
    stated = statement.predicate.build_definition.external_parameters
    allowed = {"seal": "seal", "register": "register or stage"}.get(stated.stage, "stage")
    if kind not in allowed.split(" or "):
        _require(allowed, kind, where)
    return About(stated.forecast, stated.stage)


def registration_of(statement: AnyStatement, where: str) -> Registration:
    """What a statement of kind 'register' registers; Inconsistent if it does not say."""
    data = input_of(statement, DATA)
    if isinstance(statement, Statement) and data is not None:
        stated = statement.predicate.build_definition.external_parameters
        number, specification = stated.parameters.get(NUMBER), stated.specification_sha256
        if type(number) is int and specification is not None:
            return Registration(data_sha256=data, specification_sha256=specification, number=number)
    raise Inconsistent("registration incomplete", where, f"a specification, {DATA}, {NUMBER}", "not all of them")


def input_of(statement: AnyStatement, name: str) -> Sha256 | None:
    """The digest of what the statement says it read under this name, None if it does not say."""
    if not isinstance(statement, Statement):
        return None
    inputs = statement.predicate.build_definition.resolved_dependencies
    return next((item.sha256 for item in inputs if item.name == name), None)


def _require(expected: str, found: str, where: str) -> None:
    if found != expected:
        raise Inconsistent("statement logged as another kind", where, expected, found)
