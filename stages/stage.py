"""The only runner of stages: owner of the clock, the environment, argv, params.yaml and the paths of artifacts.

A stage is a pure function of its declared inputs. The runner puts the process into the determinism profile before
anything numeric is imported, hashes what the stage reads before and after it runs, lets it write into a folder that
appears only whole, and states what happened:

    artifacts/<forecast>/<stage>/...              what the stage wrote
    artifacts/<forecast>/statements/<stage>.json  what was read and written, by digest; no volatile facts
    artifacts/<forecast>/run/<stage>.json         when, where, on what machine: outside what a replay compares

Exit codes: 0 done, 1 refused or failed (one line says why), 2 usage or unavailable.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from pydantic import BaseModel

from audit import canonical, model
from audit.digest import Digest, digest_path, sha256
from audit.environment import metadata
from audit.errors import AuditError, Malformed, Tampered, Unavailable
from audit.places import Places, places
from audit.resource import ResourceDescriptor, Subject
from audit.signing import SigningKey
from audit.source import SourceTree
from audit.statement import (
    BuildDefinition,
    Builder,
    ExternalParameters,
    InternalParameters,
    Metadata,
    Provenance,
    RunDetails,
    Statement,
    core_bytes,
)
from engine import precision
from engine.creative_errors import EmbeddingUnavailableError
from engine.errors import EngineError, ProfileError
from engine.spec import Spec, parse_spec
from registry.errors import RegistryError, RegistryUnavailableError
from stages.progress import Progress
from stages.workers import Workers

STAGES = (
    "ingest",
    "features",
    "register",
    "prepare",
    "hazard",
    "backtest",
    "detect",
    "adapt",
    "fit",
    "effects",
    "calibrate",
    "forecast",
    "report",
    "seal",
)
BUILDER = Builder(version={"noptik": "0.1.0"})
SPEC = "register/spec.json"
RECEIPT = "register/receipt.json"


def canonical_json(value: BaseModel) -> bytes:
    """The canonical JSON (RFC 8785) of a declared thing or a finding."""
    return canonical.encode(json.loads(value.model_dump_json()))


@dataclass(frozen=True)
class Stage:
    """What a stage is: the artifacts it reads, and the function that writes its folder.

    reads: paths under artifacts/<forecast>/, each written by an earlier stage. inputs: further files, from the root.
    parameters: what its statement says besides, once its folder is written.
    """

    name: str
    reads: tuple[str, ...]
    run: Callable[[Context, Path], None]
    inputs: Callable[[Context], tuple[str, ...]] = lambda _: ()
    parameters: Callable[[Context], Mapping[str, str | int]] = lambda _: {}
    stated: bool = True  # seal's own statement is the ledger's


@dataclass(frozen=True)
class Context:
    """Everything a stage may know. `clock` is read by the runner and by what signs, never by a computation."""

    root: Path
    home: Path
    forecast: str
    workers: Workers
    fingerprint_sha256: str
    source: SourceTree | None  # None: the project's tracked files as they are when the run is sealed
    key: SigningKey | None  # None: the installation's own, made on first use
    clock: Callable[[], datetime]
    metadata: Callable[[datetime, datetime], Metadata]
    database: str | None = field(default=None, repr=False)  # None: the ledger is a file in `home`
    passphrase: bytes | None = field(default=None, repr=False)  # of the installation's own key

    def artifact(self, name: str) -> Path:
        """The path of an artifact, by its name under artifacts/<forecast>/."""
        return self.root / self.artifact_name(name)

    def artifact_name(self, name: str) -> str:
        """The artifact's name in statements: from the root, parts joined by '/'."""
        return f"artifacts/{self.forecast}/{name}"

    def declared(self) -> bytes:
        """The canonical JSON of this forecast's specification as params.yaml has it now."""
        return declared_spec(self.root, self.forecast)

    def spec(self) -> Spec:
        """The registered specification."""
        return parse_spec(self.artifact(SPEC).read_bytes())


def load_params(root: Path) -> Mapping[str, Any]:
    """params.yaml. Raises Unavailable when it cannot be read, Malformed when it is not a YAML mapping."""
    path = root / "params.yaml"
    try:
        params = yaml.safe_load(path.read_text("utf-8"))
    except OSError as error:
        raise Unavailable(f"cannot read params.yaml: {error.strerror}", path) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise Malformed("not YAML", path, "a mapping", str(error)) from error
    if not isinstance(params, dict) or not isinstance(params.get("specs"), dict):
        raise Malformed("no specifications", path, "a mapping with `specs`", type(params).__name__)
    return params


def declared_spec(root: Path, forecast: str) -> bytes:
    """The canonical JSON of one specification of params.yaml, valid as a Spec."""
    specs = load_params(root)["specs"]
    if forecast not in specs:
        raise Unavailable(f"params.yaml: expected a specification named {forecast}, found {', '.join(specs)}")
    raw = canonical.encode(specs[forecast])
    spec = parse_spec(raw)
    if spec.name != forecast:
        raise Malformed("specification's name", f"params.yaml: specs.{forecast}.name", forecast, spec.name)
    # from the model, so that 1 and 1.0 where a number is declared are one specification
    return canonical_json(spec)


def run(stage: Stage, context: Context) -> None:
    """The stage's folder and its statement are on disk, whole; what was read did not change meanwhile.

    A stage that fails leaves neither.
    """
    started = context.clock()
    before = _inputs(stage, context)
    for name in (stage.name, f"statements/{stage.name}.json", f"run/{stage.name}.json"):
        _remove(context.artifact(name))
    partial = context.artifact(f".{stage.name}.partial")
    _remove(partial)
    partial.mkdir(parents=True)
    try:
        stage.run(context, partial)
        for was, now in zip(before, _inputs(stage, context), strict=True):
            if was != now:
                raise Tampered("input changed while it was in use", was[0], was[1].sha256, now[1].sha256)
    except BaseException:
        _remove(partial)
        raise
    partial.rename(context.artifact(stage.name))
    if stage.stated:
        statement = _statement(stage, context, before)
        _write(context.artifact(f"statements/{stage.name}.json"), core_bytes(statement))
        facts = context.metadata(started, context.clock())
        _write(context.artifact(f"run/{stage.name}.json"), model.to_bytes(facts))


def _inputs(stage: Stage, context: Context) -> list[tuple[str, Digest]]:
    names = [*stage.inputs(context), *(context.artifact_name(name) for name in stage.reads)]
    return [(name, digest_path(context.root / name)) for name in sorted(names)]


def _statement(stage: Stage, context: Context, inputs: Sequence[tuple[str, Digest]]) -> Statement:
    folder = context.artifact(stage.name)
    # a receipt is made after the statement it is the receipt of: the statements that depend on it state its digest
    made = sorted(path.name for path in folder.iterdir() if f"{stage.name}/{path.name}" != RECEIPT)
    return Statement(
        subject=tuple(_subject(context, f"{stage.name}/{name}") for name in made),
        predicate=Provenance(
            build_definition=BuildDefinition(
                external_parameters=ExternalParameters(
                    forecast=context.forecast,
                    stage=stage.name,
                    specification_sha256=sha256(_specification(stage, context)),
                    parameters=stage.parameters(context),
                ),
                internal_parameters=internal(context),
                resolved_dependencies=tuple(ResourceDescriptor.of(name, digest) for name, digest in inputs),
            ),
            run_details=RunDetails(builder=BUILDER),
        ),
    )


def internal(context: Context) -> InternalParameters:
    """What the house fixed about a run: its profile, and this machine's fingerprint under it."""
    return InternalParameters(
        profile=precision.PROFILE.name,
        profile_sha256=precision.PROFILE.sha256,
        fingerprint_sha256=context.fingerprint_sha256,
    )


def _specification(stage: Stage, context: Context) -> bytes:
    """The registered one from `register` on, the declared one before."""
    return context.artifact(SPEC).read_bytes() if SPEC in stage.reads else context.declared()


def _subject(context: Context, name: str) -> Subject:
    path = context.artifact(name)
    logical = None
    if path.suffix == ".parquet":
        table = importlib.import_module("engine.table")
        logical = sha256(table.ipc_bytes(table.read_parquet(path)))
    return Subject.of(context.artifact_name(name), digest_path(path), logical)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _write(path: Path, raw: bytes) -> None:
    """`path` holds `raw`, or what it held before."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    partial.write_bytes(raw)
    partial.rename(path)


def load(name: str) -> Stage:
    """The stage named `name`; imports its module, so the process must be in the profile."""
    stage: Stage = importlib.import_module(f"stages.{name}").STAGE
    return stage


def here(started: datetime, finished: datetime) -> Metadata:
    """The volatile facts of a run on this machine."""
    return metadata(stamp(started), stamp(finished))


def stamp(moment: datetime) -> str:
    """RFC 3339, UTC, whole seconds."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def now() -> datetime:
    """The clock, read nowhere else."""
    return datetime.now(UTC)


def installed(root: Path) -> Places:
    """Where this installation keeps its ledger, keys, store and caches."""
    return places(root, os.environ)


class LanguageModel(NamedTuple):
    """Where a language model answers, and the file with the key to it."""

    base_url: str
    key_file: Path | None


def endpoint() -> LanguageModel:
    """What NOPTIK_LM_BASE_URL and NOPTIK_LM_API_KEY_FILE name. Raises Unavailable where there is no endpoint."""
    base_url = os.environ.get("NOPTIK_LM_BASE_URL")
    if not base_url:
        raise Unavailable("NOPTIK_LM_BASE_URL: expected the URL of an OpenAI-compatible endpoint, found none")
    file = os.environ.get("NOPTIK_LM_API_KEY_FILE")
    return LanguageModel(base_url, Path(file) if file else None)


def wait(seconds: float) -> None:
    """Returns after so many seconds, for what must be patient with a service."""
    time.sleep(seconds)


def worker_count() -> int:
    """NOPTIK_WORKERS (0: everything in this process), or one a core this process may use."""
    text = os.environ.get("NOPTIK_WORKERS", "")
    if text and not (text.isascii() and text.isdigit() and len(text) <= 3):
        raise Unavailable(f"NOPTIK_WORKERS: expected a number of processes, found {text!r}")
    return int(text) if text else len(os.sched_getaffinity(0))


def into_profile(arguments: Sequence[str]) -> None:
    """Returns with this process in the determinism profile; a process outside it is replaced by one inside.

    arguments: what follows the interpreter, to start again with. Raises ProfileError when it cannot be.
    """
    if precision.in_profile(os.environ):
        sys.stdout.flush()
        sys.stderr.flush()
        os.execve(sys.executable, [sys.executable, *arguments], precision.environment(os.environ))
    precision.enter(os.environ, sys.modules)


def context(root: Path, forecast: str, progress: Progress | None = None) -> Context:
    """The context of an ordinary run. Precondition: this process is in the profile."""
    from stages.facts import fingerprint_sha256

    place = installed(root)
    cache = place.home / "jax-cache"
    precision.compilation_cache(cache)
    return Context(
        root=root,
        home=place.home,
        forecast=forecast,
        workers=Workers(worker_count(), cache, progress or Progress()),
        fingerprint_sha256=fingerprint_sha256(place.home),
        source=None,
        key=None,
        clock=now,
        metadata=here,
        database=place.database,
        passphrase=place.passphrase,
    )


REFUSALS = (AuditError, EngineError, RegistryError)


def failure(error: AuditError | EngineError | RegistryError) -> int:
    """Says what went wrong; the exit code for it."""
    print(f"error: {error}", file=sys.stderr)
    if isinstance(error, AuditError):
        return error.exit_code
    return 2 if isinstance(error, ProfileError | RegistryUnavailableError | EmbeddingUnavailableError) else 1


def main(argv: Sequence[str] | None = None) -> int:
    """`python -m stages STAGE FORECAST`: what dvc.yaml calls."""
    parser = argparse.ArgumentParser(prog="python -m stages", description="Run one stage of one forecast.")
    parser.add_argument("stage", choices=STAGES)
    parser.add_argument("forecast")
    arguments = parser.parse_args(argv)
    try:
        declared_spec(Path.cwd(), arguments.forecast)  # a typo is told before anything slow is begun
        into_profile(["-m", "stages", arguments.stage, arguments.forecast])
        run(load(arguments.stage), context(Path.cwd(), arguments.forecast))
    except REFUSALS as error:
        return failure(error)
    return 0
