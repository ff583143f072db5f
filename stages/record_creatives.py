"""`noptik record FORECAST`: asks what no recording answers yet, of the endpoint that the environment names.

    NOPTIK_LM_BASE_URL       an OpenAI-compatible endpoint, such as https://lm.example/v1
    NOPTIK_LM_API_KEY_FILE   a file, for nobody else to read, with its key                  (default: none)

Fills recordings.jsonl beside the creatives, an answer at a time, for the extractors that the forecast's specification
replays; what is recorded already is never asked again, and the stage `features` never asks at all. An answer that the
prompt's signature does not allow is recorded as it is and named afterwards.
Exit codes: 0 done, 1 an answer is not what the signature allows, or a file is not what it should be, 2 unavailable.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path

from audit.errors import Unavailable
from audit.recording import Request
from engine.spec import parse_spec
from engine.spec_creatives import Creatives, Prompted
from registry.errors import AnswerError
from stages import extraction
from stages.answer_record import Record
from stages.answering import IncompleteError
from stages.creative_sources import RECORDINGS, Sources, read
from stages.record_features import record
from stages.stage import REFUSALS, declared_spec, endpoint, failure, wait


def main(argv: Sequence[str]) -> int:
    """Records, and says how many answers are new."""
    parser = argparse.ArgumentParser(prog="noptik record", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("forecast")
    forecast = parser.parse_args(argv).forecast
    root = Path.cwd()
    try:
        return _record(root, forecast)
    except IncompleteError as error:
        for cause in error.causes:
            failure(cause)
        return failure(error)
    except REFUSALS as error:
        return failure(error)


def _record(root: Path, forecast: str) -> int:
    data = parse_spec(declared_spec(root, forecast)).data
    if data.creatives is None:
        raise Unavailable(f"params.yaml: specs.{forecast}.data.creatives: expected creatives, found none")
    sources = read(root, data)
    place = endpoint()
    engine = Record.at(place.base_url, place.key_file, wait)
    into = root / data.creatives.folder / RECORDINGS
    new = record(_asked(sources), sources.images, into, engine)
    print(f"{forecast}: {new} new recordings in {data.creatives.folder}/{RECORDINGS}")
    return _read(read(root, data), data.creatives)


def _asked(sources: Sources) -> Iterator[tuple[Request, str]]:
    for each in sources.declared.extractors:
        if isinstance(each, Prompted) and each.engine == "replay":
            for ask in extraction.asks(sources, each):
                yield ask.request, f"{each.name} of {ask.creative.id}"


def _read(sources: Sources, declared: Creatives) -> int:
    """1 after naming every recorded answer that its prompt's signature does not allow, else 0."""
    wrong = 0
    for each in declared.extractors:
        if isinstance(each, Prompted) and each.engine == "replay":
            for ask in extraction.asks(sources, each):
                who = f"{each.name} of {ask.creative.id}"
                try:
                    extraction.values(sources, each, sources.recordings.get(ask.request, who).response.content, who)
                except AnswerError as error:
                    wrong = failure(error)
    return wrong
