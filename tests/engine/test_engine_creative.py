"""Laws and attacks: what a file of creatives must be, and what is said when it is not."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit import canonical
from engine import creative
from engine.creative import Creative
from engine.creative_errors import CreativeError
from engine.errors import EngineError

CHANNELS = ("tv", "search")
LOCATIONS = ("Atlanta", "LA", "São Paulo")
DIGEST = "ab" * 32

Fields = dict[str, Any]


def fields(**changes: Any) -> Fields:
    given: Fields = {
        "id": "a_1",
        "channel": "tv",
        "locations": [],
        "first": "2025-01-06",
        "last": "2025-01-12",
        "headline": "Hello",
        "body": "Two\nlines",
        "image": None,
        "image_sha256": None,
    }
    return given | changes


def lines(*each: Fields) -> bytes:
    return b"".join(canonical.encode(one) + b"\n" for one in each)


def parse(raw: bytes) -> tuple[Creative, ...]:
    return creative.parse(raw, CHANNELS, LOCATIONS)


def refusal(raw: bytes) -> str:
    with pytest.raises(CreativeError) as caught:
        parse(raw)
    return str(caught.value)


def test_a_file_is_read_as_it_says() -> None:
    first, second = parse(
        lines(fields(), fields(id="b", locations=["Atlanta", "LA"], image="images/x.png", image_sha256=DIGEST, body=""))
    )
    assert (first.first, first.last) == (date(2025, 1, 6), date(2025, 1, 12))
    assert first.text == "Hello\nTwo\nlines"
    assert second.text == "Hello"
    assert (second.locations, second.image, second.image_sha256) == (("Atlanta", "LA"), "images/x.png", DIGEST)


TEXTS = st.text(st.characters(exclude_categories=("Cs", "Cc", "Zl", "Zp")), min_size=1, max_size=40)
CREATIVES = st.builds(
    lambda id, place, first, days, head, body, image: Creative(
        id=id,
        channel="tv",
        locations=tuple(sorted(place)),
        first=first,
        last=first + timedelta(days=days),
        headline=head,
        body=body,
        image=image,
        image_sha256=None if image is None else DIGEST,
    ),
    st.from_regex(r"[a-z0-9][a-z0-9_-]{0,79}", fullmatch=True),
    st.sets(st.sampled_from(LOCATIONS)),
    st.dates(max_value=date(9000, 1, 1)),
    st.integers(0, 60),
    TEXTS,
    st.one_of(st.just(""), TEXTS, st.just("a\nb")),
    st.sampled_from([None, "x.png", "images/x-1.png"]),
)


@given(st.lists(CREATIVES, min_size=1, max_size=5, unique_by=lambda each: each.id))
def test_what_is_encoded_is_read_again_and_is_canonical_json(creatives: list[Creative]) -> None:
    raw = creative.encode(creatives)
    assert parse(raw) == tuple(sorted(creatives, key=lambda each: each.id))
    for line in raw[:-1].split(b"\n"):
        canonical.decode_canonical(line)  # the ledger's own idea of canonical, in code that shares nothing with ours
    assert creative.encode(list(reversed(creatives))) == raw


@given(st.one_of(st.binary(max_size=200), st.binary(max_size=60).map(lambda tail: lines(fields()) + tail + b"\n")))
def test_any_bytes_are_read_or_refused_with_a_typed_error(raw: bytes) -> None:
    try:
        found = parse(raw)
    except EngineError as error:
        told = str(error)
    else:
        assert creative.encode(found) == raw
        return
    assert told.startswith("creatives: ")
    assert "expected" in told
    assert "found" in told


@given(st.data())
def test_a_changed_byte_is_refused_or_another_creative(data: st.DataObject) -> None:
    raw = lines(fields(), fields(id="b", image="x.png", image_sha256=DIGEST))
    at = data.draw(st.integers(0, len(raw) - 1))
    changed = raw[:at] + bytes([data.draw(st.integers(0, 255).filter(lambda byte: byte != raw[at]))]) + raw[at + 1 :]
    try:
        found = parse(changed)
    except CreativeError:
        return
    assert found != parse(raw)


@pytest.mark.parametrize(
    ("changes", "field", "expected", "found"),
    [
        ({"id": "A"}, "id", "a-z", "A"),
        ({"id": "a" * 81}, "id", "1 to 80", "81 characters"),
        ({"id": "ä"}, "id", "a-z", "ä"),
        ({"channel": "radio"}, "channel", "one of tv, search", "radio"),
        ({"channel": 3}, "channel", "a channel's name", "3"),
        ({"locations": ["Paris"]}, "locations", "Atlanta, LA", "Paris"),
        ({"locations": ["LA", "Atlanta"]}, "locations", "ascending", "'Atlanta' after 'LA'"),
        ({"locations": ["LA", "LA"]}, "locations", "each once", "'LA' after 'LA'"),
        ({"locations": "LA"}, "locations", "a list", "LA"),
        ({"locations": [None]}, "locations", "a list", "None"),
        ({"first": "2025-02-30"}, "first", "a date", "2025-02-30"),
        ({"first": "06.01.2025"}, "first", "a date", "06.01.2025"),
        ({"first": 20250106}, "first", "a date", "20250106"),
        ({"last": "2025-01-05"}, "last", "2025-01-06 or later", "2025-01-05"),
        ({"headline": ""}, "headline", "1 to 500", "0 characters"),
        ({"headline": "x" * 501}, "headline", "1 to 500", "501 characters"),
        ({"headline": ["x"]}, "headline", "1 to 500", "a list of 1"),
        ({"headline": "a\nb"}, "headline", "no control character", "U+000A"),
        ({"body": "a\u0000b"}, "body", "no control character", "U+0000"),
        ({"body": "a\u2028b"}, "body", "no control character", "U+2028"),
        ({"body": None}, "body", "at most 10000", "null"),
        ({"image": "../x.png", "image_sha256": DIGEST}, "image", "inside the folder", "../x.png"),
        ({"image": "images/../../x.png", "image_sha256": DIGEST}, "image", "inside the folder", ".."),
        ({"image": "/etc/x.png", "image_sha256": DIGEST}, "image", "inside the folder", "/etc"),
        ({"image": "images//x.png", "image_sha256": DIGEST}, "image", "inside the folder", "//"),
        ({"image": "c:x.png", "image_sha256": DIGEST}, "image", "inside the folder", "c:"),
        ({"image": "a\\x.png", "image_sha256": DIGEST}, "image", "inside the folder", "x.png"),
        ({"image": ".x.png", "image_sha256": DIGEST}, "image", "inside the folder", ".x"),
        ({"image": "x.png\n", "image_sha256": DIGEST}, "image", "inside the folder", "x.png"),
        ({"image": "x.png"}, "image_sha256", "as there is an image", "null"),
        ({"image_sha256": DIGEST}, "image", "as there is an image_sha256", "null"),
        ({"image": "x.png", "image_sha256": DIGEST.upper()}, "image_sha256", "lower-case", "64 characters"),
        ({"colour": "red"}, "colour", "only id, channel", "it"),
    ],
)
def test_a_field_that_is_not_as_it_must_be_is_named(changes: Fields, field: str, expected: str, found: str) -> None:
    told = refusal(lines(fields(id="a"), fields(**{"id": "b", **changes})))
    place, _, rest = told.partition(": expected ")
    assert place.startswith("creatives: line 2, field ")
    assert field in place
    first, _, second = rest.partition(", found ")
    assert expected in first
    assert found in second


def test_a_field_left_out_is_named() -> None:
    bare = fields()
    del bare["first"]
    assert refusal(lines(bare)) == "creatives: line 1, field first: expected a date, YYYY-MM-DD, found none"


@pytest.mark.parametrize("ids", [("b", "a"), ("a", "a")])
def test_ids_out_of_order_or_twice_are_refused(ids: tuple[str, str]) -> None:
    assert f"line 2, id: expected one after {ids[0]}, found {ids[1]}" in refusal(lines(*(fields(id=i) for i in ids)))


def test_one_image_under_two_digests_is_refused() -> None:
    one = fields(id="a", image="x.png", image_sha256=DIGEST)
    assert "line 2, image_sha256: expected abab" in refusal(lines(one, one | {"id": "b", "image_sha256": "cd" * 32}))


RAW = lines(fields())


@pytest.mark.parametrize(
    ("raw", "told"),
    [
        (b"", "found an empty file"),
        (RAW[:-1], "expected lines that end in a line feed"),
        (RAW + b"\n", "line 2, not a creative: expected one JSON object"),
        (RAW.replace(b"\n", b"\r\n"), "line 1, byte"),
        (b"\xef\xbb\xbf" + RAW, "line 1, not a creative"),
        (b"[]\n", "line 1, not a creative"),
        (b"[" * 10_000 + b"\n", "line 1, not a creative"),
        (RAW.replace(b"Hello", b"H\xff"), "line 1, not a creative"),
        (RAW.replace(b"Hello", b"\\ud800"), "line 1, not a creative"),
        (RAW.replace(b"Hello", b"H\\u0065llo"), "not canonical JSON"),
        (RAW.replace(b'"id"', b' "id"'), "not canonical JSON"),
        (RAW.replace(b'{"body"', b'{"body":"","body"'), "not canonical JSON"),
        (RAW.replace(b"2025-01-06", b"2025-01-06T00:00:00"), "line 1"),
        (RAW.replace(b"2025-01-06", b"1736121600"), "line 1"),
        (RAW.replace(b"Hello", b"x" * creative.MAX_LINE), f"expected at most {creative.MAX_LINE} bytes"),
        (b"{}\n" * (creative.MAX_CREATIVES + 1), f"expected at most {creative.MAX_CREATIVES} lines"),
    ],
    ids=range(16),
)
def test_a_file_of_another_form_is_refused(raw: bytes, told: str) -> None:
    assert told in refusal(raw)


def test_a_message_stays_on_one_line_and_short_whatever_the_bytes() -> None:
    told = refusal(lines(fields(channel="\x1b[31m\n" + "x" * 5000)))
    assert told.isprintable()
    assert len(told) < 300


SECRET = "Half price on 4 May: Zürich"
PARTS = [SECRET[at : at + 8] for at in range(len(SECRET) - 7)]


def everything(error: BaseException | None) -> str:
    """The error and all that it came from, suppressed or not."""
    if error is None:
        return ""
    return f"{error!r} {error.args} {everything(error.__cause__)} {everything(error.__context__)}"


@pytest.mark.parametrize(
    "raw",
    [
        *(lines(fields(**{name: SECRET})) for name in ("id", "channel", "first", "last", "image", "image_sha256")),
        *(lines(fields(**{name: [SECRET]})) for name in fields()),
        *(lines(fields(**{name: {"a": SECRET}})) for name in fields()),
        *(lines(fields(**{name: SECRET + "\u0000" + "x" * 10_000})) for name in ("headline", "body")),
        lines(fields(**{SECRET: 1})),
        lines(fields(headline=SECRET, body="\u0001")),
        lines(fields(locations=[SECRET, "A"])),
        lines(fields(headline=SECRET) | {"colour": SECRET}),
        lines(fields(headline=SECRET))[:-1],
        lines(fields(headline=SECRET)).replace(b'"id"', b' "id"'),
        lines(fields(headline=SECRET)).replace(b"Half", b"\\u0048alf"),
        lines(fields(headline=SECRET)).replace(b"Half", b"\xffHalf"),
        lines(fields(headline=SECRET)).replace(b'","', b'"" "'),
        f'"{SECRET}"\n'.encode(),
        f"{SECRET}\n".encode(),
        SECRET.encode(),
        lines(fields(headline=SECRET), fields(headline=SECRET)),
    ],
)
def test_a_clients_text_is_in_no_error(raw: bytes) -> None:
    with pytest.raises(CreativeError) as caught:
        parse(raw)
    told = everything(caught.value)
    assert [part for part in PARTS if part in told or ascii(part)[1:-1] in told] == []
