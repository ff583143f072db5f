"""Features of creatives: who is asked what, what was answered, and the covariates that come of it.

Shared by the stage `features`, by `noptik record` and by the fast twin. Every value goes through an engine
(`stages.answering`) as a request with a canonical digest, so that each rests on a recording.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from audit.recording import Recording, Request, Settings
from engine import covariates
from engine.covariates import FieldKind, Flight
from engine.creative import Creative
from engine.creative_field import Value
from engine.errors import SpecError
from engine.spec_creatives import Extractor, Local, Prompted
from engine.spec_data import DataSpec
from registry.errors import AnswerError
from stages import answer_local
from stages.answer_local import Embedded
from stages.answer_replay import Replay
from stages.answering import Engine
from stages.creative_sources import Sources

LOCAL_TOKENS = 1  # of an extractor that counts none


class Ask(NamedTuple):
    """One question about one creative."""

    creative: Creative
    request: Request


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
        rows.append(Row(each, Recording.of(request, response), values(sources, extractor, response.content, who)))
    return Answered(extractor, _fields(sources, extractor), tuple(rows))


def _fields(sources: Sources, extractor: Extractor) -> dict[str, FieldKind]:
    """What the extractor gives, by name."""
    if isinstance(extractor, Local):
        return {each.name: FieldKind(each.kind, each.values) for each in answer_local.fields(extractor.model)}
    outputs = sources.prompts[extractor.name].signature.outputs
    return {each.name: FieldKind(each.kind, tuple(each.values)) for each in outputs}


def values(sources: Sources, extractor: Extractor, content: str, who: str) -> Mapping[str, Value]:
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
    for name, _, feature in data.features:
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
