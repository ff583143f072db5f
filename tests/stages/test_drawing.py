"""Numbers as text and marks as SVG: what holds for every input, and what no text from outside can break."""

from __future__ import annotations

import math
import unicodedata
from datetime import date, timedelta
from itertools import pairwise
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markupsafe import Markup

from stages import drawing
from stages.drawing import Key, Scale, magnitude, number, ticks

values = st.floats(-1e150, 1e150)
laws = settings(deadline=None, derandomize=True, max_examples=300)


def parsed(text: str) -> float:
    """What a reader takes a written number for."""
    mantissa, _, exponent = text.replace("\u202f", "").replace("\u2212", "-").partition("×10^")
    return float(f"{mantissa}e{exponent or 0}")


# Numbers ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "decimals", "text"),
    [
        (1234567.891, 1, "1\u202f234\u202f567.9"),
        (-0.04, 1, "0.0"),
        (-0.05, 1, "\u22120.1"),
        (0.0, 0, "0"),
        (-1234.0, 0, "\u22121\u202f234"),
        (2.5e18, 2, "2.50×10^18"),
        (-2.5e18, 2, "\u22122.50×10^18"),
    ],
)
def test_numbers_are_written_so(value: float, decimals: int, text: str) -> None:
    assert number(value, decimals) == text


@given(values, st.integers(0, 6))
@laws
def test_a_written_number_reads_back_to_half_its_last_digit(value: float, decimals: int) -> None:
    text = number(value, decimals)
    assert parsed(text) == pytest.approx(value, rel=0.0051, abs=0.5000001 * 10**-decimals)
    assert not any(c in text for c in ",-")


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_is_not_written_as_one(value: float) -> None:
    with pytest.raises(ValueError, match="finite"):
        number(value, 1)
    with pytest.raises(ValueError, match="finite"):
        drawing.px(value)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (72.1e6, "72.1\u00a0M\u00a0USD"),
        (999_960.0, "1.00\u00a0M\u00a0USD"),
        (9994.0, "9\u202f994\u00a0USD"),
        (12_345.0, "12.3\u00a0k\u00a0USD"),
        (0.01234, "0.0123\u00a0USD"),
        (3.21e9, "3.21\u00a0bn\u00a0USD"),
        (4.56e13, "45.6\u00a0tn\u00a0USD"),
        (1.5e-9, "1.50\u00a0×10^-9\u00a0USD"),
        (0.0, "0\u00a0USD"),
        (math.inf, "unbounded"),
    ],
)
def test_amounts_are_written_so(value: float, text: str) -> None:
    assert magnitude([value], 3).full(value, "USD") == text


@given(st.lists(st.one_of(values, st.sampled_from([math.inf, -math.inf])), max_size=6))
@laws
def test_one_magnitude_serves_a_whole_column(column: list[float]) -> None:
    """Every entry reads back to within half a last digit of the largest: a column compares by eye."""
    shared = magnitude(column, 4)
    largest = max((abs(v) for v in column if math.isfinite(v)), default=0.0)
    for value in column:
        text = shared.show(value)
        if math.isinf(value):
            assert text == "unbounded"
        else:
            assert parsed(text) * shared.divisor == pytest.approx(value, abs=max(largest * 6e-4, 1e-99))


# Scales and ticks ---------------------------------------------------------------------------------------


@given(values, values, st.integers(2, 12))
@laws
def test_ticks_enclose_the_values_in_even_round_steps(a: float, b: float, about: int) -> None:
    low, high = min(a, b), max(a, b)
    found = ticks(low, high, about, magnitude([low, high], 3).divisor)
    rounding = 1e-12 * max(abs(low), abs(high))
    assert found[0].value <= low + rounding
    assert found[-1].value >= high - rounding
    assert 2 <= len(found) <= about + 3
    steps = [y.value - x.value for x, y in pairwise(found)]
    assert min(steps) > 0
    assert max(steps) == pytest.approx(min(steps), rel=1e-5)
    assert all(len(tick.label) <= 24 for tick in found)


@given(st.integers(-999, 999), st.integers(1, 999), st.integers(-6, 9))
@laws
def test_tick_labels_differ_and_say_their_value(start: int, width: int, power: int) -> None:
    low, high = float(f"{start}e{power}"), float(f"{start + width}e{power}")
    divisor = magnitude([low, high], 3).divisor
    found = ticks(low, high, 5, divisor)
    assert len({tick.label for tick in found}) == len(found)
    for tick in found:
        assert parsed(tick.label) * divisor == pytest.approx(tick.value, rel=1e-9, abs=1e-12 * (high - low))


@given(values, values, st.lists(st.floats(allow_nan=False), min_size=2, max_size=8))
@laws
def test_a_scale_keeps_order_and_never_leaves_its_range(a: float, b: float, points: list[float]) -> None:
    if a == b:
        return
    scale = Scale(min(a, b), max(a, b), 10.0, 250.0)
    placed = [scale.at(v) for v in sorted(points)]
    assert placed == sorted(placed)
    assert all(10.0 <= p <= 250.0 for p in placed)
    assert scale.at(scale.low) == 10.0
    assert scale.at(scale.high) == 250.0


@given(st.dates(date(1900, 1, 1), date(2100, 1, 1)), st.integers(0, 20_000), st.integers(3, 12))
@laws
def test_date_ticks_are_few_ascending_and_inside(first: date, days: int, at_most: int) -> None:
    last = first + timedelta(days=days)
    found = drawing.date_ticks(first, last, at_most)
    assert 1 <= len(found) <= at_most
    days_found = [tick.value for tick in found]
    assert days_found == sorted(set(days_found))
    assert first.toordinal() <= days_found[0]
    assert days_found[-1] <= last.toordinal()


def test_date_ticks_name_the_year_where_it_begins() -> None:
    found = drawing.date_ticks(date(2023, 11, 6), date(2024, 4, 30), 8)
    assert [tick.label for tick in found] == ["Dec", "2024", "Feb", "Mar", "Apr"]
    assert [tick.label for tick in drawing.date_ticks(date(2024, 2, 26), date(2024, 3, 11), 4)] == [
        "26\u202fFeb",
        "4\u202fMar",
        "11\u202fMar",
    ]


# Text from outside --------------------------------------------------------------------------------------


@given(st.text(st.characters(), max_size=40))
@laws
def test_any_text_ends_as_visible_well_formed_xml(text: str) -> None:
    mark = drawing.words(1, 2, text, "start", "strong") + drawing.box(0, 0, 1, 1, "bar", text)
    whole = drawing.svg("name", (10, 10), text, text, [mark]) + drawing.legend([Key("line", "x", text)])
    tree = ElementTree.fromstring(Markup("<page>") + whole + Markup("</page>"))
    assert {each.tag for each in tree.iter()} <= {
        "page",
        "svg",
        "title",
        "desc",
        "text",
        "rect",
        "ul",
        "li",
        "path",
    }
    whole.encode("utf-8")
    said = drawing.plain(text)
    assert all(unicodedata.category(c) not in {"Cc", "Cf", "Cs"} or c in drawing.JOINERS for c in said)


def test_text_cannot_be_reordered_or_hidden() -> None:
    assert drawing.plain("invoice\u202egnp.exe") == "invoice[U+202E]gnp.exe"
    assert drawing.plain("a\u200bb\x00\ud800") == "a[U+200B]b[U+0000][U+D800]"
    assert drawing.plain("one\ntwo\t") == "one two "
    assert drawing.plain("می\u200cخواهم, crème brûlée, 東京") == "می\u200cخواهم, crème brûlée, 東京"


def test_long_text_is_cut_with_an_ellipsis() -> None:
    assert drawing.short("channel", 7) == "channel"
    assert drawing.short("channels", 7) == "channe…"


# Marks --------------------------------------------------------------------------------------------------


def test_coordinates_are_fixed_and_never_negative_zero() -> None:
    assert drawing.px(-0.04) == "0.0"
    assert drawing.px(1 / 3) == "0.3"
    assert drawing.px(-12.26) == "-12.3"


def test_marks_are_drawn_so() -> None:
    assert drawing.line([(0, 1), (2.26, 3)], "ours") == '<path class="line ours" d="M0.0 1.0 L2.3 3.0"/>'
    assert drawing.band([(0, 1, 5), (2, 3, 4)], "band") == (
        '<path class="band" d="M0.0 1.0 L2.0 3.0 L2.0 4.0 L0.0 5.0Z"/>'
    )
    assert drawing.box(4, 9, 1, 2, "bar") == '<rect class="bar" x="1.0" y="2.0" width="3.0" height="7.0"></rect>'
    assert drawing.mark(1, 2, "circle", "ours", 3) == '<circle class="mark ours" cx="1.0" cy="2.0" r="3.0"/>'
    assert drawing.mark(5, 5, "down", "clip", 2) == '<path class="mark clip" d="M5.0 7.0 L7.0 3.0 L3.0 3.0Z"/>'


def test_a_whisker_is_a_stem_with_two_caps() -> None:
    frame = drawing.framed(100, 100, (0.0, 1.0), ticks(0.0, 1.0, 5))
    assert drawing.whisker(frame, 50, 0.2, 0.8, "ours").count("<path") == 3
    assert frame.y.at(0.8) < frame.y.at(0.2)
