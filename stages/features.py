"""features: what frozen prompts and local extractors see in the client's creatives, and the covariates that come of it.

Writes features/table.parquet (the normalised table, with a column for every control that is a feature), and where the
specification names creatives: features/<extractor>.parquet (a typed row a creative, `stages.extraction.rows_table`),
features/recordings.jsonl (every request and answer that a row rests on) and features/record.json (what was asked of
whom). Never opens a socket: what was not recorded stops it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

from audit import canonical
from audit.digest import sha256
from audit.recording import Recording, Recordings
from engine.spec import parse_spec
from engine.spec_creatives import Prompted
from engine.table import read_parquet, schema_of, write_parquet
from stages import extraction
from stages.answer_local import REVISION
from stages.creative_sources import LOCK, PROMPTS, read
from stages.extraction import Answered
from stages.inputs import INGESTED
from stages.stage import Context, Stage

RECORD = "features/record.json"


def _run(context: Context, out: Path) -> None:
    data = parse_spec(context.declared()).data
    table = read_parquet(context.artifact(INGESTED), schema_of(data.of_table))
    if data.creatives is None:
        write_parquet(table, out / "table.parquet")
        (out / "record.json").write_bytes(canonical.encode({}))
        return
    found = extraction.extracted(read(context.root, data))
    write_parquet(extraction.featured(table, data, found), out / "table.parquet")
    for each in found:
        write_parquet(extraction.rows_table(each), out / f"{each.extractor.name}.parquet")
    used = Recordings().with_(kept for each in found for kept in _kept(each))
    (out / "recordings.jsonl").write_bytes(used.raw)
    (out / "record.json").write_bytes(canonical.encode({each.extractor.name: _facts(each) for each in found}))


def _kept(found: Answered) -> Iterator[Recording]:
    return (row.recording for row in found.rows if row.recording is not None)


def _facts(found: Answered) -> dict[str, str | int]:
    """Who was asked, under which prompt, how often, and the digest of the recordings that were used."""
    kept = Recordings().with_(_kept(found))
    declared = found.extractor
    facts: dict[str, str | int] = {"model": declared.model, "asked": len(kept), "recordings_sha256": sha256(kept.raw)}
    if isinstance(declared, Prompted):
        prompt = {"prompt": declared.prompt, "prompt_sha256": declared.sha256}
        return {**facts, **prompt, "engine": declared.engine, "revision": declared.revision}
    return {**facts, "engine": "local", "revision": REVISION}


def _parameters(context: Context) -> Mapping[str, str | int]:
    """What the statement says of every extractor: prompt, model, revision, recordings."""
    facts = json.loads(context.artifact(RECORD).read_bytes())
    return {f"{name}.{what}": value for name, about in facts.items() for what, value in about.items()}


def _inputs(context: Context) -> tuple[str, ...]:
    declared = parse_spec(context.declared()).data.creatives
    if declared is None:
        return ()
    frozen = {f"{PROMPTS}/{each.prompt}" for each in declared.extractors if isinstance(each, Prompted)}
    return (declared.folder, *sorted(frozen), *((LOCK,) if frozen else ()))


STAGE = Stage("features", reads=(INGESTED,), run=_run, inputs=_inputs, parameters=_parameters)
