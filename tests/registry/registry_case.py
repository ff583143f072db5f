"""Event files and folders of them, to be read, broken and recorded."""

from __future__ import annotations

import json
from contextlib import suppress
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from registry import regimes
from registry.errors import RegimeError
from registry.event import Event
from registry.record import record
from registry.regimes import Registry
from registry.strict_yaml import parse

ROOT = Path(__file__).resolve().parents[2]
DAY = date(2026, 1, 2)

GOOD = """\
schema_version: 1
id: outage_2020
version: 1
class: artefact
title: An outage
announced: 2020-01-06
effective: 2020-01-06
end: 2020-01-07
persistence: temporary
regions: [US, GB]
channels: [meta_ads]
mechanism: >-
  Nothing is delivered
  for a day.
reason: It reverted.
confidence: high
sources:
  - title: It was down
    publisher: The Paper
    date: 2020-01-07
    url: https://example.org/down
"""


def event(**changes: Any) -> Event:
    """The event of GOOD, changed; a change to None takes the field away."""
    tree = parse(GOOD.encode())
    assert isinstance(tree, dict)
    merged = {key: value for key, value in {**tree, **changes}.items() if value is not None}
    return Event.model_validate_json(json.dumps(merged))


def named(name: str, **changes: str) -> str:
    """The text of GOOD under another id, with lines `key: value` replaced."""
    lines = [
        f"{key}: {changes[key]}" if (key := line.partition(":")[0]) in changes else line for line in GOOD.splitlines()
    ]
    return "\n".join(lines).replace("id: outage_2020", f"id: {name}") + "\n"


def folder(where: Path, **files: str) -> Path:
    """`where`, holding these files; recorded, if they are sound."""
    where.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (where / f"{name}.yaml").write_text(text)
    with suppress(RegimeError):  # a folder may be broken on purpose
        record(where, (), DAY, "as made")
    return where


def refusal(where: Path) -> RegimeError:
    """Why the folder is no registry."""
    with pytest.raises(RegimeError) as caught:
        regimes.load(where)
    return caught.value


@cache
def shipped() -> Registry:
    """The registry that ships."""
    return regimes.load(regimes.SHIPPED)
