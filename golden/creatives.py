"""The geo case's creatives: those that ship, 143 weeks earlier and at its own places. `python -m golden.creatives`
writes them into the case, with the images, the recordings and the frozen prompts that they rest on.

What a prompt is asked does not change, so that the recordings that ship answer here as well. A test holds the two
together.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

from audit import canonical
from audit.recording import Recordings
from engine.spec import parse_spec
from golden.case import HERE
from stages.stage import declared_spec

PROJECT = HERE / "geo" / "project"
SHIPPED = HERE.parent
FOLDER = "data/creatives/geo"
PROMPTS = ("offer_v1", "scene_v1")
CHANNELS = {"search": "search", "tv": "tv", "display": "search", "social": "tv"}  # the case has two
EARLIER = timedelta(days=143 * 7)
PLACES = {
    "Atlanta": "South", "Chicago": "North", "Dallas": "South", "Houston": "South", "LA": "West", "NYC": "North",
    "Phoenix": "West", "Seattle": "West",
}  # fmt: skip


def files() -> dict[str, bytes]:
    """Every file that the case takes over, by its path in the case."""
    lines = [_moved(json.loads(line)) for line in _shipped(f"{FOLDER}/creatives.jsonl").splitlines()]
    kept = [each for each in lines if each["image"] is not None or str(each["id"]).split("_")[0] in CHANNELS.values()]
    images = sorted({f"{FOLDER}/{each['image']}" for each in kept if each["image"] is not None})
    found = {f"{FOLDER}/creatives.jsonl": b"".join(canonical.encode(each) + b"\n" for each in kept)}
    found |= {name: _shipped(name) for name in (*images, *_prompts())}
    found[f"{FOLDER}/recordings.jsonl"] = _recordings({str(each["id"]) for each in kept})
    pinned = next(line for line in _shipped("requirements-prompts.lock").splitlines() if line.startswith(b"dspy=="))
    return found | {"requirements-prompts.lock": pinned.split()[0] + b"\n"}


def _moved(creative: dict[str, object]) -> dict[str, object]:
    days = {name: (date.fromisoformat(str(creative[name])) - EARLIER).isoformat() for name in ("first", "last")}
    places = creative["locations"]
    assert isinstance(places, list)
    channel = CHANNELS[str(creative["channel"])]
    return {**creative, **days, "channel": channel, "locations": sorted({PLACES[place] for place in places})}


def _recordings(kept: set[str]) -> bytes:
    """Those that ship of what is asked about the creatives that are kept."""
    from stages import creative_sources, extraction

    sources = creative_sources.read(SHIPPED, parse_spec(declared_spec(SHIPPED, "geo")).data)
    asked = (ask for each in sources.declared.extractors for ask in extraction.asks(sources, each))
    used = {ask.request.sha256 for ask in asked if ask.creative.id in kept}
    return Recordings(tuple(one for one in sources.recordings if one.request_sha256 in used)).raw


def _prompts() -> Iterator[str]:
    for name in PROMPTS:
        folder = SHIPPED / "registry" / "prompts" / name
        yield from sorted(str(path.relative_to(SHIPPED)) for path in folder.iterdir())


def _shipped(name: str) -> bytes:
    return (SHIPPED / name).read_bytes()


def main(project: Path) -> None:
    """Writes every file below `project`."""
    for name, raw in files().items():
        path = project / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(raw)


if __name__ == "__main__":
    main(PROJECT)
