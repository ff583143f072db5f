"""Laws of canonical JSON: public RFC 8785 vectors, one text a value, and texts on which readers disagree."""

from __future__ import annotations

import base64
import json
import math
import struct
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audit import canonical
from audit.errors import Malformed, Usage
from tests.shared import shared_files

JCS = "vectors/jcs"
SAFE = 2**53 - 1


@pytest.mark.parametrize("file", shared_files(JCS, "**/input/*.json"))
def test_public_vectors_encode_to_their_stated_bytes(file: Path) -> None:
    value = canonical.decode(file.read_bytes(), floats=True)
    expected = (file.parents[1] / "output" / file.name).read_bytes()
    assert canonical.encode(value) == expected
    assert canonical.decode_canonical(expected, floats=True) == value
    in_hex = (file.parents[1] / "outhex" / file.name).with_suffix(".txt")
    assert bytes.fromhex(in_hex.read_text()) == expected


@pytest.mark.parametrize("file", shared_files(JCS, "**/es6*.txt"))
def test_public_numbers_are_written_as_ecmascript_writes_them(file: Path) -> None:
    for line in file.read_text().split():
        bits, expected = line.split(",")
        (number,) = struct.unpack(">d", bytes.fromhex(bits.zfill(16)))
        assert canonical.encode(number).decode() == expected, bits
        assert canonical.decode(expected.encode(), floats=True) == number, bits


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
RECORDS = st.recursive(
    st.none() | st.booleans() | st.integers(-SAFE, SAFE) | TEXT,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(TEXT, inner, max_size=5),
    max_leaves=20,
)
VALUES = st.recursive(
    RECORDS | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(TEXT, inner, max_size=5),
    max_leaves=20,
)


@settings(deadline=None, max_examples=200, derandomize=True)
@given(VALUES)
def test_decode_inverts_encode(value: Any) -> None:
    raw = canonical.encode(value)
    assert canonical.decode_canonical(raw, floats=True) == value
    assert canonical.encode(canonical.decode(raw, floats=True)) == raw


@settings(deadline=None, max_examples=200, derandomize=True)
@given(RECORDS)
def test_every_other_spelling_of_a_record_reads_alike_but_is_not_canonical(value: Any) -> None:
    raw = canonical.record(value)
    for spelling in (json.dumps(value, indent=1), json.dumps(value) + " "):
        assert canonical.decode(spelling.encode()) == value
        if spelling.encode() != raw:
            with pytest.raises(Malformed):
                canonical.decode_canonical(spelling.encode())


@settings(deadline=None, max_examples=300, derandomize=True)
@given(st.binary(max_size=40) | st.text('{}[]":,\\u0d89eE+-.ntf ', max_size=30).map(str.encode))
def test_any_bytes_are_a_value_or_malformed(raw: bytes) -> None:
    try:
        value = canonical.decode(raw, floats=True)
    except Malformed:
        return
    assert canonical.decode(canonical.encode(value), floats=True) == value


def test_key_order_of_a_dict_does_not_matter() -> None:
    assert canonical.encode({"b": 1, "a": 2}) == canonical.encode({"a": 2, "b": 1}) == b'{"a":2,"b":1}'


def test_keys_sort_by_utf16_code_units() -> None:
    # RFC 8785 3.2.3: U+1F600 is the pair D83D DE00, before U+FB33, though its code point is larger
    assert canonical.encode({"\ufb33": 0, "\U0001f600": 0}) == '{"\U0001f600":0,"\ufb33":0}'.encode()


@settings(deadline=None, max_examples=500, derandomize=True)
@given(RECORDS)
def test_a_record_is_written_as_the_package_of_the_rfc_writes_it(value: Any) -> None:
    assert canonical.record(value) == canonical.encode(value)


def test_a_record_with_keys_beyond_ascii_sorts_them_by_utf16_code_units_too() -> None:
    assert canonical.record({"\ufb33": 0, "\U0001f600": 0}) == '{"\U0001f600":0,"\ufb33":0}'.encode()


def test_a_record_nests_as_deeply_as_any_value_and_no_deeper() -> None:
    deep: Any = 1
    for _ in range(canonical.MAX_DEPTH):
        deep = [deep]
    assert canonical.record(deep) == canonical.encode(deep)
    with pytest.raises(Usage):
        canonical.record([deep])


REFUSED = {
    "nothing": b"",
    "not JSON": b"{",
    "two values": b"1 2",
    "single quotes": b"{'a':1}",
    "trailing comma": b"[1,]",
    "comment": b"1//",
    "byte order mark": b"\xef\xbb\xbf1",
    "UTF-16": '{"a":1}'.encode("utf-16"),
    "overlong UTF-8": b'"\xc0\xaf"',
    "surrogate as UTF-8": b'"\xed\xa0\x80"',
    "cut UTF-8": b'"\xc3"',
    "duplicate key": b'{"a":1,"a":1}',
    "duplicate key by escape": b'{"a":1,"\\u0061":1}',
    "duplicate key, nested": b'[{"x":{"a":1,"b":2,"a":3}}]',
    "NaN": b"NaN",
    "Infinity": b"[Infinity]",
    "-Infinity": b"-Infinity",
    "lone high surrogate": b'"\\ud800"',
    "lone low surrogate": b'"\\udc00"',
    "surrogates in the wrong order": b'"\\udc00\\ud800"',
    "lone surrogate in a key": b'{"\\ud800":1}',
    "control character": b'"\x01"',
    "raw newline": b'"\n"',
    "NUL escape of Python": b'"\\x00"',
    "leading zero": b"01",
    "plus": b"+1",
    "underscore": b"1_0",
    "full-width digits": "３７".encode(),
    "hexadecimal": b"0x10",
    "bare point": b"1.",
    "number too large": b"1e400",
    "integer too large for a double": b"1" + b"0" * 400,
    "huge integer": b"9" * 5000,
    "too deep": b"[" * 65 + b"]" * 65,
    "far too deep": b"[" * 100_000,
    "too deep after a string of brackets": b'["]]]]' + b'",' + b"[" * 64 + b"]" * 65,
}


@pytest.mark.parametrize("raw", REFUSED.values(), ids=REFUSED)
def test_refused_even_where_floats_may_be(raw: bytes) -> None:
    with pytest.raises(Malformed):
        canonical.decode(raw, floats=True)


@pytest.mark.parametrize("raw", [b"1.0", b"1e2", b"-0.0", b"[0.1]", b"9007199254740992", b"-9007199254740992"])
def test_no_float_and_no_large_integer_unless_allowed(raw: bytes) -> None:
    with pytest.raises(Malformed):
        canonical.decode(raw)
    assert canonical.decode(raw, floats=True) is not None


def test_large_integers_read_as_doubles_where_floats_may_be() -> None:
    assert canonical.decode(b"[9007199254740993]", floats=True) == [9007199254740992.0]
    assert canonical.decode(b"[9007199254740991]", floats=True) == [SAFE]
    assert canonical.decode(b"[-9007199254740991]") == [-SAFE]


@pytest.mark.parametrize("raw", [b'{"b":1,"a":1}', b"1 ", b'"\\u0061"', b'"\\/"', b"-0", b'{"a": 1}', b'"\\u000A"'])
def test_one_text_a_value(raw: bytes) -> None:
    canonical.decode(raw)
    with pytest.raises(Malformed):
        canonical.decode_canonical(raw)


@pytest.mark.parametrize("raw", [b"1.0", b"1E2", b"1e2", b"0.10", b"-0.0", b"9007199254740993"])
def test_one_text_a_number(raw: bytes) -> None:
    with pytest.raises(Malformed):
        canonical.decode_canonical(raw, floats=True)


def test_unicode_forms_stay_apart() -> None:
    composed, decomposed = {"\u00e9": 1}, {"e\u0301": 1}
    assert canonical.encode(composed) != canonical.encode(decomposed)
    assert canonical.decode(canonical.encode(composed | decomposed)) == composed | decomposed


def test_size_is_limited_before_anything_is_read() -> None:
    assert canonical.decode(b"[1,2]", max_bytes=5) == [1, 2]
    with pytest.raises(Malformed, match="expected at most 4 bytes; found 5 bytes"):
        canonical.decode(b"[1,2]", max_bytes=4)


def test_depth_is_the_same_going_out_and_coming_in() -> None:
    value: list[Any] = []
    for _ in range(canonical.MAX_DEPTH - 1):
        value = [value]
    assert canonical.decode_canonical(canonical.encode(value)) == value
    with pytest.raises(Usage):
        canonical.encode([value])
    value.append(value)
    with pytest.raises(Usage):
        canonical.encode(value)


@pytest.mark.parametrize(
    "value",
    [
        math.nan,
        math.inf,
        -math.inf,
        2**53,
        -(2**53),
        {1: 2},
        {"a": b""},
        {1, 2},
        object(),
        "\ud800",
        {"\ud800": 1},
    ],
    ids=repr,
)
def test_not_every_value_is_canonical_json(value: object) -> None:
    with pytest.raises(Usage):
        canonical.encode(value)


@pytest.mark.parametrize("value", [0.5, 1.0, [{"a": 0.0}], ({"a": (1, 2.0)},)])
def test_records_hold_no_floats(value: object) -> None:
    canonical.encode(value)
    with pytest.raises(Usage, match="no floats"):
        canonical.record(value)


def test_a_refusal_names_the_place() -> None:
    with pytest.raises(Malformed) as caught:
        canonical.decode_canonical(b'{"b":1,"a":1}', where="statements/fit.json")
    assert caught.value.where == "statements/fit.json"
    assert "byte 2" in str(caught.value)


@settings(deadline=None, max_examples=100, derandomize=True)
@given(st.binary(max_size=50))
def test_base64_has_one_text_for_any_bytes(data: bytes) -> None:
    text = base64.b64encode(data).decode()
    assert canonical.decode_base64(text) == data


@pytest.mark.parametrize("text", ["QQ", "QR==", "QQ=", "QQ==\n", " QQ==", "QQ==QQ==", "Q-_=", "QQQ", "é", "QUJ="])
def test_base64_of_any_other_spelling_is_refused(text: str) -> None:
    with pytest.raises(Malformed):
        canonical.decode_base64(text)
