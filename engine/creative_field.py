"""What a local extractor gives: fields with a declared kind and unit, numbers to six decimals.

A local extractor is a pure function of a text or of an image's bytes. It asks no language model and no network, and
reads no locale, clock or random number: the same input gives the same features in every process.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

from engine.creative_errors import CreativeError

DECIMALS = 6
MAX_CHARACTERS = 20_000  # of a text that is looked at

Value = float | bool | str
Features = Mapping[str, Value]


class Field(NamedTuple):
    """One feature; `values` are those a choice may take, and empty for other kinds."""

    name: str
    kind: Literal["number", "flag", "choice"]
    unit: str
    values: tuple[str, ...] = ()


def rounded(value: float) -> float:
    """`value` to DECIMALS decimals; zero has no sign."""
    return round(float(value), DECIMALS) + 0.0


def require_text(text: str) -> None:
    """CreativeError unless `text` is short enough to be looked at."""
    if len(text) > MAX_CHARACTERS:
        raise CreativeError(f"text: expected at most {MAX_CHARACTERS} characters, found {len(text)}")
