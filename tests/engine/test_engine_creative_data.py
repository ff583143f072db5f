"""The creatives that ship: what their README promises, and that their features are the same bytes in every process."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
from collections import Counter
from datetime import date
from io import BytesIO
from typing import Any

import pytest
from PIL import Image

from audit import canonical
from engine import creative, creative_image, creative_layout, creative_lexicon
from engine.creative import Creative
from engine.spec import parse_spec
from stages.stage import declared_spec
from tests.creatives.images import drawn
from tests.fresh import REPOSITORY

FOLDER = REPOSITORY / "data" / "creatives"
LABELS = ("train.jsonl", "held_out.jsonl")
OFFERS, SCENES = ("none", "discount", "trial", "bundle", "launch"), ("product", "people", "text", "none")


def shipped() -> tuple[Creative, ...]:
    data = parse_spec(declared_spec(REPOSITORY, "geo")).data
    channels = tuple(column.name for column in data.media)
    return creative.parse((FOLDER / "geo" / "creatives.jsonl").read_bytes(), channels, data.locations)


def labelled(name: str) -> list[dict[str, Any]]:
    lines = (FOLDER / "labels" / name).read_bytes().splitlines()
    return [canonical.decode_canonical(line) for line in lines]


def test_creatives_are_those_of_the_readme() -> None:
    found = shipped()
    said = (FOLDER / "README.md").read_text("utf-8")
    assert f"| {len(found)} creatives" in said
    assert f"everywhere ({sum(not each.locations for each in found)} of {len(found)})" in said
    counts = Counter(each.channel for each in found)
    assert set(counts) == {"tv", "search", "social", "display"}
    assert min(counts.values()) >= 12
    assert all(each.first >= date(2024, 9, 30) and each.last <= date(2026, 6, 28) for each in found)
    assert {(each.last - each.first).days + 1 for each in found} == {7 * n for n in range(1, 9) if n != 7}
    assert {each.image for each in found} - {None} == {f"images/{name}" for name in drawn()}
    assert "https://collector.example/" in next(each.body for each in found if each.id == "social_injection")


def test_every_image_is_the_one_its_digest_names_and_the_one_drawn() -> None:
    digests = {each.image: each.image_sha256 for each in shipped()}
    for name, image in drawn().items():
        raw = (FOLDER / "geo" / "images" / name).read_bytes()
        assert len(raw) <= 20_000
        assert digests[f"images/{name}"] == hashlib.sha256(raw).hexdigest()
        with Image.open(BytesIO(raw)) as committed:
            assert (committed.mode, committed.size) == (image.mode, image.size)
            assert committed.tobytes() == image.tobytes()


@pytest.mark.parametrize("name", LABELS)
def test_labels_are_typed_and_of_every_kind(name: str) -> None:
    rows = labelled(name)
    assert f"| {len(rows)} " in (FOLDER / "README.md").read_text("utf-8")
    assert [row["id"] for row in rows] == sorted({row["id"] for row in rows})
    for row in rows:
        assert set(row) == {"id", "headline", "body", "offer", "urgency", "scene"}
        assert row["headline"]
        assert type(row["urgency"]) is bool
    assert {row["offer"] for row in rows} == set(OFFERS)
    assert {row["scene"] for row in rows} == set(SCENES)
    assert {row["urgency"] for row in rows} == {True, False}
    assert min(Counter(row["offer"] for row in rows).values()) >= 6


def test_no_text_is_in_two_files() -> None:
    texts = [*((row["headline"], row["body"]) for name in LABELS for row in labelled(name))]
    texts += [(each.headline, each.body) for each in shipped()]
    assert len(texts) == len(set(texts))
    heads = Counter(head for head, _ in texts)
    assert [head for head, times in heads.items() if times > 1] == []


PROBE = """
import json, pathlib, sys
sys.path.insert(0, sys.argv[1])
from engine import creative, creative_image, creative_layout, creative_lexicon
folder = pathlib.Path(sys.argv[1], "data", "creatives", "geo")
found = creative.parse((folder / "creatives.jsonl").read_bytes(), sys.argv[2].split(), sys.argv[3].split())
for each in found:
    for extractor in (creative_lexicon, creative_layout):
        print(json.dumps(extractor.extract(each.text)))
for path in sorted((folder / "images").iterdir()):
    print(path.name, json.dumps(creative_image.extract(path.read_bytes())))
"""


def test_hash_seed_locale_timezone_and_threads_change_no_byte() -> None:
    data = parse_spec(declared_spec(REPOSITORY, "geo")).data
    names = [" ".join(column.name for column in data.media), " ".join(data.locations)]
    said = []
    for changes in (
        {"PYTHONHASHSEED": "0", "LC_ALL": "C", "TZ": "UTC", "OMP_NUM_THREADS": "1"},
        {"PYTHONHASHSEED": "4242", "LC_ALL": "tr_TR.UTF-8", "TZ": "Pacific/Kiritimati", "OMP_NUM_THREADS": "2"},
        {"PYTHONHASHSEED": "random", "LC_ALL": "de_DE.UTF-8", "PYTHONUTF8": "0"},
    ):
        command = [sys.executable, "-W", "error", "-c", PROBE, str(REPOSITORY), *names]
        run = subprocess.run(command, env={**os.environ, **changes}, capture_output=True, check=True)
        said.append(run.stdout)
    assert said[0] == said[1] == said[2]
    assert len(said[0].splitlines()) == 2 * len(shipped()) + len(drawn())


def test_features_of_those_that_ship_are_what_a_reader_expects() -> None:
    lexicon = {each.id: creative_lexicon.extract(each.text) for each in shipped()}
    layout = {each.id: creative_layout.extract(each.text) for each in shipped()}
    assert lexicon["tv_winter_sale"]["discount_percent"] == 40.0
    assert lexicon["search_code"]["discount"] is True
    assert lexicon["search_espanol"]["question"] is True
    assert max(layout, key=lambda name: layout[name]["exclamation_marks"]) == "social_countdown"
    assert layout["social_class"]["emoji"] == 1.0  # one person, of four code points
    for fields in (creative_lexicon.FIELDS, creative_layout.FIELDS, creative_image.FIELDS):
        assert all(re.fullmatch("[a-z][a-z_0-9]*", field.name) for field in fields)


def test_features_are_canonical_json_for_the_recordings() -> None:
    for each in shipped():
        for extractor in (creative_lexicon, creative_layout):
            found = dict(extractor.extract(each.text))
            assert json.loads(canonical.encode(found)) == found
