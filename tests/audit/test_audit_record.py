"""Laws of log entries: one byte form each, under the tiles' limit, hashed as RFC 6962 leaves."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from audit import canonical, record
from audit.errors import Malformed
from audit.record import Entry

DIGEST = hashlib.sha256(b"envelope").hexdigest()
ENTRY = Entry(
    kind="statement",
    seq=3,
    envelope_sha256=DIGEST,
    payload_type="application/vnd.in-toto+json",
    previous_run="r1",
)
RAW = record.entry_bytes(ENTRY)

ENTRIES = st.fixed_dictionaries(
    {
        "kind": st.from_regex(r"[a-z][a-z0-9_-]{0,79}", fullmatch=True),
        "seq": st.integers(0, 2**53 - 1),
        "envelope_sha256": st.binary(min_size=32, max_size=32).map(bytes.hex),
        "payload_type": st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=200),
        "previous_run": st.none() | st.from_regex(r"[a-z0-9][a-z0-9._-]{0,127}", fullmatch=True),
    }
).map(lambda fields: Entry.model_validate(fields))


def test_an_entry_is_these_bytes_for_ever() -> None:
    assert (
        b'{"envelopeSha256":"%b","kind":"statement","payloadType":"application/vnd.in-toto+json",'
        b'"previousRun":"r1","seq":3}' % DIGEST.encode()
    ) == RAW
    assert record.leaf(ENTRY) == hashlib.sha256(b"\x00" + RAW).digest()


def test_the_first_entry_follows_no_run() -> None:
    first = ENTRY.model_copy(update={"previous_run": None})
    assert b"previousRun" not in record.entry_bytes(first)
    assert record.parse_entry(record.entry_bytes(first)) == first


@settings(deadline=None, max_examples=200, derandomize=True)
@given(ENTRIES, ENTRIES)
def test_entries_and_bytes_are_one_to_one_and_short(one: Entry, two: Entry) -> None:
    raw = record.entry_bytes(one)
    assert len(raw) < 65_535
    assert record.parse_entry(raw) == one
    assert (raw == record.entry_bytes(two)) == (one == two)


@pytest.mark.parametrize(
    "fields",
    [
        {"seq": -1},
        {"seq": "3"},
        {"seq": True},
        {"seq": None},
        {"kind": "Statement"},
        {"kind": ""},
        {"envelopeSha256": DIGEST.upper()},
        {"envelopeSha256": DIGEST[:-1]},
        {"envelopeSha256": DIGEST + "\n"},
        {"envelopeSha256": "zz" * 32},
        {"previousRun": None},
        {"previousRun": ""},
        {"previousRun": "../x"},
        {"payloadType": ""},
        {"payloadType": "x" * 201},
        {"previous_run": "r1"},
        {"extra": 1},
    ],
    ids=str,
)
def test_every_other_shape_is_malformed(fields: dict[str, Any]) -> None:
    with pytest.raises(Malformed):
        record.parse_entry(canonical.encode(json.loads(RAW) | fields))


@pytest.mark.parametrize("field", sorted(json.loads(RAW).keys() - {"previousRun"}))
def test_every_field_is_needed(field: str) -> None:
    value = json.loads(RAW)
    del value[field]
    with pytest.raises(Malformed, match=field):
        record.parse_entry(canonical.encode(value))


def test_other_spellings_floats_and_long_entries_are_malformed() -> None:
    for raw in (
        RAW + b"\n",
        RAW.replace(b":3}", b":3.0}"),
        RAW.replace(b'"seq"', b'"seq":2,"seq"'),
        b" " * 65_535,
        b"[]",
        b"null",
    ):
        with pytest.raises(Malformed):
            record.parse_entry(raw)


def test_an_entry_cannot_be_changed() -> None:
    with pytest.raises(ValidationError):
        ENTRY.seq = 4
