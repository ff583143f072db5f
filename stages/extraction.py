"""Features of creatives: who is asked what, what was answered, and the covariates that come of it.

Shared by the stage `features`, by `noptik record` and by the fast twin. Every value goes through an engine
(`stages.answering`) as a request with a canonical digest, so that each rests on a recording.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from audit.digest import sha256
from audit.errors import DigestMismatch, Malformed, Unavailable
from audit.recording import MAX_FILE_BYTES, Recording, Recordings, Request, Settings
from engine import covariates, creative, creative_image
from engine.covariates import FieldKind, Flight
from engine.creative import Creative
from engine.creative_errors import CreativeError
from engine.creative_field import Value
from engine.errors import SpecError
from engine.spec_creatives import Creatives, Extractor, Local, Prompted
from engine.spec_data import DataSpec
from registry import prompts
from registry.errors import AnswerError
from registry.prompts import Prompt
from stages import answer_local
from stages.answer_local import Embedded
from stages.answer_replay import Replay
from stages.answering import Engine

CREATIVES = "data/creatives"  # where the project keeps them
PROMPTS = "registry/prompts"
LOCK = "requirements-prompts.lock"  # which DSPy the prompts were frozen with
FILE, RECORDINGS = "creatives.jsonl", "recordings.jsonl"
LOCAL_TOKENS = 1  # of an extractor that counts none


class Ask(NamedTuple):
    """One question about one creative."""

    creative: Creative
    request: Request


class Sources(NamedTuple):
    """What extraction rests on, read and checked."""

    declared: Creatives
    creatives: tuple[Creative, ...]
    images: Mapping[str, bytes]  # by `sha256:` and digest, as requests name them
    prompts: Mapping[str, Prompt]  # by extractor
    recordings: Recordings  # what was recorded before


class Row(NamedTuple):
    """What one extractor gave of one creative; None: it was not asked."""

    creative: Creative
    recording: Recording | None
    values: Mapping[str, Value] | None


class Answered(NamedTuple):
    """What one extractor gave."""

    extractor: Extractor
    fields: Mapping[str, FieldKind]
    rows: tuple[Row, ...]


def read(root: Path, data: DataSpec) -> Sources:
    """Everything `data.creatives` names, below `root`. Precondition: it names something.

    Raises Unavailable for what cannot be read, Tampered for what is not what its digest says, RegistryError for a
    prompt that is not sound, SpecError for one that is not the one declared.
    """
    declared = data.creatives
    assert declared is not None
    folder = root / declared.folder
    raw = _bytes(folder / FILE, declared.max_bytes)
    try:
        found = creative.parse(raw, [column.name for column in data.media], data.locations)
    except CreativeError as error:
        raise CreativeError(f"{declared.folder}/{FILE}: {error}") from error
    prompted = {each.name: _prompt(root, each) for each in declared.extractors if isinstance(each, Prompted)}
    return Sources(declared, found, dict(_images(folder, found)), prompted, _recordings(folder / RECORDINGS, declared))


def asks(sources: Sources, extractor: Extractor) -> Iterator[Ask]:
    """Every question of one extractor, in the order of the creatives; one that looks at images alone has none of a
    creative without."""
    for each in sources.creatives:
        request = _local(extractor.model, each) if isinstance(extractor, Local) else _prompted(sources, extractor, each)
        if request is not None:
            yield Ask(each, request)


def answered(sources: Sources, extractor: Extractor, engine: Engine) -> Answered:
    """What the extractor gives of every creative.

    Raises what the engine raises, and AnswerError for an answer that is not what the prompt's signature says.
    """
    asked = {ask.creative.id: ask.request for ask in asks(sources, extractor)}
    rows: list[Row] = []
    for each in sources.creatives:
        request = asked.get(each.id)
        if request is None:
            rows.append(Row(each, None, None))
            continue
        who = f"{extractor.name} of {each.id}"
        response = engine.answer(request, sources.images, who)
        rows.append(Row(each, Recording.of(request, response), _read(sources, extractor, response.content, who)))
    return Answered(extractor, _fields(sources, extractor), tuple(rows))


def _fields(sources: Sources, extractor: Extractor) -> dict[str, FieldKind]:
    """What the extractor gives, by name."""
    if isinstance(extractor, Local):
        return {each.name: FieldKind(each.kind, each.values) for each in answer_local.fields(extractor.model)}
    outputs = sources.prompts[extractor.name].signature.outputs
    return {each.name: FieldKind(each.kind, tuple(each.values)) for each in outputs}


def _read(sources: Sources, extractor: Extractor, content: str, who: str) -> Mapping[str, Value]:
    """The typed values of an answer. Raises AnswerError, naming who asked."""
    if isinstance(extractor, Local):
        return answer_local.read(content)
    try:
        return sources.prompts[extractor.name].read(content)
    except AnswerError as error:
        raise type(error)(f"{who}: {error}") from error


def _prompted(sources: Sources, extractor: Prompted, one: Creative) -> Request:
    prompt = sources.prompts[extractor.name]
    given = {
        "headline": one.headline,
        "body": one.body,
        "channel": one.channel,
        "image": None if one.image_sha256 is None else f"sha256:{one.image_sha256}",
    }
    inputs: dict[str, str] = {}
    for field in prompt.signature.inputs:
        if field.name not in given:
            expected = f"inputs among {', '.join(given)}"
            raise SpecError(f"data.creatives.{extractor.name}: {prompt.name}: expected {expected}, found {field.name}")
        value = given[field.name]
        if value is not None:
            inputs[field.name] = value
    return Request.of(
        model=extractor.model,
        revision=extractor.revision,
        messages=prompt.messages(inputs),
        settings=Settings(temperature=0, max_tokens=extractor.max_tokens),
    )


def _local(model: str, one: Creative) -> Request | None:
    if answer_local.takes_image(model):
        if one.image_sha256 is None:
            return None
        content: Any = [{"type": "image_url", "image_url": {"url": f"sha256:{one.image_sha256}"}}]
    else:
        content = one.text
    return Request.of(
        model=model,
        revision=answer_local.REVISION,
        messages=[{"role": "user", "content": content}],
        settings=Settings(temperature=0, max_tokens=LOCAL_TOKENS),
    )


def _prompt(root: Path, declared: Prompted) -> Prompt:
    pinned = prompts.pinned_dspy(_bytes(root / LOCK, 16 * 2**20))
    found = prompts.load(root / PROMPTS / declared.prompt, pinned)
    if found.sha256 != declared.sha256:
        where = f"data.creatives.{declared.name}.sha256"
        raise SpecError(f"{where}: expected {found.sha256}, of {PROMPTS}/{declared.prompt}, found {declared.sha256}")
    return found


def _images(folder: Path, found: Sequence[Creative]) -> Iterator[tuple[str, bytes]]:
    for one in found:
        if one.image is not None and one.image_sha256 is not None:
            path = folder / one.image
            if path.resolve() != folder.resolve() / one.image:
                raise Unavailable(f"image of creative {one.id}", path, "a file in the folder", "a symbolic link")
            raw = _bytes(path, creative_image.MAX_BYTES)
            if sha256(raw) != one.image_sha256:
                raise DigestMismatch(f"image of creative {one.id}", path, one.image_sha256, sha256(raw))
            yield f"sha256:{one.image_sha256}", raw


def _bytes(path: Path, most: int) -> bytes:
    try:
        with path.open("rb") as file:
            raw = file.read(most + 1)
    except OSError as error:
        raise Unavailable(f"cannot be read: {error.strerror}", path) from error
    if len(raw) > most:
        raise Malformed("too long", path, f"at most {most} bytes", "more")
    return raw


def _recordings(path: Path, declared: Creatives) -> Recordings:
    """What was recorded; nothing where no extractor replays, or nothing was recorded yet."""
    if not any(isinstance(each, Prompted) and each.engine == "replay" for each in declared.extractors):
        return Recordings()
    return Recordings.parse(_bytes(path, MAX_FILE_BYTES), path.name) if path.exists() else Recordings()


def extracted(sources: Sources) -> tuple[Answered, ...]:
    """What every declared extractor gives, without a socket: from recordings, or from what is part of this project."""
    replay, local = Replay(sources.recordings), Embedded()
    return tuple(
        answered(sources, each, replay if isinstance(each, Prompted) and each.engine == "replay" else local)
        for each in sources.declared.extractors
    )


def featured(table: pa.Table, data: DataSpec, found: Sequence[Answered]) -> pa.Table:
    """The client's normalised `table` with the covariates that come of `found`."""
    periods = sorted(set(table.column("period").to_pylist()))
    locations = sorted(set(table.column("location").to_pylist()))
    return covariates.with_covariates(table, data, _columns(data, found, periods, locations))


def _columns(
    data: DataSpec, found: Sequence[Answered], periods: Sequence[date], locations: Sequence[str]
) -> dict[str, npt.NDArray[np.float64]]:
    """The controls that are features, (T, L) by name. Creatives that an extractor was not asked of do not count."""
    by_name = {each.extractor.name: each for each in found}
    columns = {}
    for name, feature in data.features:
        each = by_name[feature.extractor]
        field = each.fields.get(feature.field)
        asked = [(row.creative, row.values) for row in each.rows if row.values is not None]
        given = [values[feature.field] for _, values in asked] if field is not None else []
        numbers = covariates.numbers(name, feature, field, given)
        flights = [Flight(one.channel, one.locations, one.first, one.last) for one, _ in asked]
        columns[name] = covariates.covariate(feature, flights, numbers, periods, data.frequency_days, locations)
    return columns


_KINDS: Mapping[str, pa.DataType] = {"number": pa.float64(), "flag": pa.bool_(), "choice": pa.string()}


def rows_table(found: Answered) -> pa.Table:
    """One row a creative: creative, channel, locations (joined by a line feed; empty: everywhere), first, last,
    recording (SHA-256 of the recording it rests on; null: not asked), and a column for each field of the extractor."""
    ran = [row.creative for row in found.rows]
    rests = [None if row.recording is None else row.recording.sha256 for row in found.rows]
    columns: dict[str, pa.Array] = {
        "creative": pa.array([one.id for one in ran], pa.string()),
        "channel": pa.array([one.channel for one in ran], pa.string()),
        "locations": pa.array(["\n".join(one.locations) for one in ran], pa.string()),
        "first": pa.array([one.first for one in ran], pa.date32()),
        "last": pa.array([one.last for one in ran], pa.date32()),
        "recording": pa.array(rests, pa.string()),
    }
    for name, field in found.fields.items():
        values = [None if row.values is None else row.values[name] for row in found.rows]
        columns[f"feature.{name}"] = pa.array(values, _KINDS[field.kind])
    return pa.table(columns)
