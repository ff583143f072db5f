"""Numbers as text and marks as SVG: equal inputs give equal characters, on plain Python floats only.

Coordinates are pixels of a viewBox, x to the right and y downwards, written with one decimal. Every mark is a
`Markup`: safe to place in HTML and in XML. Text from outside passes `plain`, then is escaped; classes come
from the page's own style sheet, so one drawing serves light, dark and print.

Glossary
--------
domain     the values an axis shows
range      the pixels it shows them on
magnitude  the power of ten a set of numbers is written in, so that a column or an axis can be read
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Iterable, Sequence
from datetime import date
from typing import Literal, NamedTuple

from markupsafe import Markup

MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
THIN = "\u202f"  # narrow no-break space: a thousands separator no locale reads as a decimal sign
MINUS = "\u2212"
JOINERS = "\u200c\u200d"  # needed to spell Persian, Hindi and others; they cannot reorder or hide text


def plain(text: str) -> str:
    """`text` with everything that could reorder, hide or break it made visible as its code point.

    Line breaks and tabs become spaces. What is left is valid in XML 1.0 and encodes to UTF-8.
    """
    return "".join(" " if c in "\t\n\r" else c if _visible(c) else f"[U+{ord(c):04X}]" for c in text)


def _visible(char: str) -> bool:
    return char in JOINERS or unicodedata.category(char) not in {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}


def short(text: str, length: int) -> str:
    """`text`, cut with an ellipsis where it is longer than `length`."""
    return text if len(text) <= length else text[: length - 1] + "…"


def number(value: float, decimals: int) -> str:
    """`value` with a point, thin spaces between thousands, a true minus sign and no negative zero.

    From 10^15 on it is written as a power of ten. Precondition: value is finite. Ties are decided on the
    exact binary value, as Python's `format` does.
    """
    if not math.isfinite(value):
        raise ValueError(f"number: expected a finite value, found {value}")
    if abs(value) >= 1e15:
        mantissa, exponent = f"{value:.2e}".split("e+")
        return f"{mantissa.replace('-', MINUS)}×10^{exponent}"
    text = f"{value:,.{decimals}f}".replace(",", THIN)
    negative = text.startswith("-") and any(c in "123456789" for c in text)
    return (MINUS if negative else "") + text.lstrip("-")


def percent(share: float, decimals: int = 1) -> str:
    """A share as a percentage: 0.241 is "24.1 %". Precondition: finite."""
    return number(100 * share, decimals) + THIN + "%"


def level(share: float) -> str:
    """A nominal level without needless digits: 0.9 is "90 %", 0.975 is "97.5 %"."""
    return f"{100 * share:.4g}" + THIN + "%"


class Magnitude(NamedTuple):
    """How numbers are written: divided by `divisor`, with `decimals`, and with `prefix` before the unit."""

    divisor: float
    decimals: int
    prefix: str

    def show(self, value: float) -> str:
        """The number alone; an infinite one is the word "unbounded"."""
        return number(value / self.divisor, self.decimals) if math.isfinite(value) else "unbounded"

    def unit(self, unit: str) -> str:
        """The unit the shown numbers have, such as "M USD"."""
        return f"{self.prefix}\u00a0{unit}" if self.prefix else unit

    def full(self, value: float, unit: str) -> str:
        """Number and unit, such as "72.1 M USD"."""
        return f"{self.show(value)}\u00a0{self.unit(unit)}" if math.isfinite(value) else "unbounded"


def magnitude(values: Iterable[float], digits: int) -> Magnitude:
    """A magnitude giving the largest finite |value| `digits` significant digits, or all before the point."""
    largest = max((abs(v) for v in values if math.isfinite(v)), default=0.0)
    if largest == 0.0:
        return Magnitude(1.0, 0, "")
    exponent = max(_exponent(largest, digits), -100)
    if exponent >= 15 or exponent < -4:
        return Magnitude(float(f"1e{exponent}"), digits - 1, f"×10^{exponent}")
    base, prefix = next((b, p) for b, p in ((12, "tn"), (9, "bn"), (6, "M"), (4, "k"), (-4, "")) if exponent >= b)
    base = {4: 3, -4: 0}.get(base, base)
    return Magnitude(float(f"1e{base}"), max(0, digits - 1 - (exponent - base)), prefix)


def _exponent(value: float, digits: int) -> int:
    """The decimal exponent of `value` once rounded to `digits`, read off its text: no logarithm involved."""
    return int(f"{value:.{digits - 1}e}".split("e")[1])


class Scale(NamedTuple):
    """A linear map of the domain low..high to the range start..stop. Precondition: low < high."""

    low: float
    high: float
    start: float
    stop: float

    def at(self, value: float) -> float:
        """The pixel of `value`, which may be infinite: beyond the domain is drawn at its end."""
        held = min(max(value, self.low), self.high)
        return self.start + (held - self.low) / (self.high - self.low) * (self.stop - self.start)


class Frame(NamedTuple):
    """A chart's paper: its size and its two scales."""

    width: float
    height: float
    x: Scale
    y: Scale


class Tick(NamedTuple):
    """A value on an axis and what is written there."""

    value: float
    label: str


def ticks(low: float, high: float, about: int, divisor: float = 1.0) -> tuple[Tick, ...]:
    """About `about` ticks from at or below `low` to at or above `high`, in steps of 1, 2 or 5 times 10^k.

    Labels are in units of `divisor`, a power of ten. Preconditions: low <= high, both finite, about >= 2.
    """
    largest = max(abs(low), abs(high), 1e-90)
    if high - low < 1e-9 * largest:  # a flat line, as far as labels could tell
        pad = largest / 2 if largest > 1e-90 else 1.0
        low, high = low - pad, high + pad
    power = _exponent((high - low) / about, 1)
    multiple = next((m for m in (1, 2, 5) if float(f"{m}e{power}") * about >= high - low), 10)
    step = float(f"{multiple}e{power}")
    first, last = math.floor(low / step), math.ceil(high / step)
    decimals = max(0, -_exponent(step / divisor, 1))
    values = [float(f"{i * multiple}e{power}") for i in range(first, last + 1)]
    return tuple(Tick(value, number(value / divisor, decimals)) for value in values)


def date_ticks(first: date, last: date, at_most: int) -> tuple[Tick, ...]:
    """At most `at_most` starts of months in first..last, or days where that is short; values are ordinals.

    A step is at most three times the one before, so at least one start is found. Precondition: at_most >= 3.
    """
    days = last.toordinal() - first.toordinal()
    if days < 62:
        step = next(s for s in (1, 2, 7, 14, 28, 62) if days // s < at_most)
        each = (date.fromordinal(first.toordinal() + i) for i in range(0, days + 1, step))
        return tuple(Tick(float(d.toordinal()), f"{d.day}{THIN}{MONTHS[d.month - 1]}") for d in each)
    months = range(12 * first.year + first.month - (first.day == 1), 12 * last.year + last.month)
    step = next(
        s for s in (1, 2, 3, 6, 12, 24, 60, 120, 240, 600, 1200, 2400, 6000, 12000) if len(months) // s < at_most
    )
    starts = [date(m // 12, m % 12 + 1, 1) for m in months if m % step == 0]
    return tuple(Tick(float(d.toordinal()), f"{d.year}" if d.month == 1 else MONTHS[d.month - 1]) for d in starts)


def px(value: float) -> str:
    """A coordinate with one decimal. Precondition: finite."""
    text = f"{value:.1f}"
    if not math.isfinite(value):
        raise ValueError(f"coordinate: expected a finite value, found {value}")
    return "0.0" if text == "-0.0" else text


def line(points: Iterable[tuple[float, float]], style: str) -> Markup:
    """A line through `points`, in pixels."""
    steps = " L".join(f"{px(x)} {px(y)}" for x, y in points)
    return Markup('<path class="line {}" d="M{}"/>').format(style, steps)


def band(points: Sequence[tuple[float, float, float]], style: str) -> Markup:
    """The area between two lines: `points` are (x, y of the one, y of the other), in pixels."""
    there = [f"{px(x)} {px(y)}" for x, y, _ in points]
    back = [f"{px(x)} {px(y)}" for x, _, y in reversed(points)]
    return Markup('<path class="{}" d="M{}Z"/>').format(style, " L".join(there + back))


def box(x0: float, y0: float, x1: float, y1: float, style: str, hint: str | None = None) -> Markup:
    """A rectangle between two corners; `hint` shows while the pointer rests on it."""
    left, top = min(x0, x1), min(y0, y1)
    title = Markup("<title>{}</title>").format(plain(hint)) if hint else Markup("")
    return Markup('<rect class="{}" x="{}" y="{}" width="{}" height="{}">{}</rect>').format(
        style, px(left), px(top), px(abs(x1 - x0)), px(abs(y1 - y0)), title
    )


Shape = Literal["circle", "square", "triangle", "down"]


def mark(x: float, y: float, shape: Shape, style: str, size: float = 4.0) -> Markup:
    """A symbol centred at a point; shapes differ so that colour is never the only difference."""
    s = size
    corners: dict[Shape, tuple[tuple[float, float], ...]] = {
        "square": ((-s, -s), (s, -s), (s, s), (-s, s)),
        "triangle": ((0, -s), (s, s), (-s, s)),
        "down": ((0, s), (s, -s), (-s, -s)),
    }
    if shape == "circle":
        return Markup('<circle class="mark {}" cx="{}" cy="{}" r="{}"/>').format(style, px(x), px(y), px(s))
    path = " L".join(f"{px(x + dx)} {px(y + dy)}" for dx, dy in corners[shape])
    return Markup('<path class="mark {}" d="M{}Z"/>').format(style, path)


def words(x: float, y: float, text: str, anchor: Literal["start", "middle", "end"], style: str = "") -> Markup:
    """Text whose baseline begins, is centred or ends at a point."""
    return Markup('<text class="{}" x="{}" y="{}" text-anchor="{}">{}</text>').format(
        style, px(x), px(y), anchor, plain(text)
    )


def framed(width: float, height: float, xs: tuple[float, float], rows: Sequence[Tick]) -> Frame:
    """A frame whose y domain is that of its ticks `rows`, with room for their labels and a title line."""
    left = 12 + 7.0 * max(len(row.label) for row in rows)
    return Frame(
        width,
        height,
        Scale(xs[0], xs[1], left, width - 12),
        Scale(rows[0].value, rows[-1].value, height - 26, 26),
    )


def axes(frame: Frame, columns: Sequence[Tick], rows: Sequence[Tick], unit: str) -> Markup:
    """Grid lines and labels of both axes; `unit` is written above the vertical one."""
    x, y = frame.x, frame.y
    parts = [words(0, 11, short(unit, 40), "start", "unit")]
    for row in rows:
        at = y.at(row.value)
        parts.append(line([(x.start, at), (x.stop, at)], "zero" if row.value == 0 else "grid"))
        parts.append(words(x.start - 6, at + 4, row.label, "end"))
    for column in columns:
        at = x.at(column.value)
        parts.append(line([(at, y.start), (at, y.start + 5)], "tick"))
        parts.append(words(at, y.start + 18, column.label, "middle"))
    return Markup("").join(parts)


def whisker(frame: Frame, x: float, low: float, high: float, style: str) -> Markup:
    """A vertical error bar at pixel `x` between two values."""
    top, bottom = frame.y.at(high), frame.y.at(low)
    stems = [[(x, bottom), (x, top)], [(x - 3, bottom), (x + 3, bottom)], [(x - 3, top), (x + 3, top)]]
    return Markup("").join(line(stem, style) for stem in stems)


def svg(name: str, size: tuple[float, float], title: str, desc: str, body: Iterable[Markup]) -> Markup:
    """A drawing of size (width, height) with its accessible title and description; `name` is its id."""
    return Markup(
        '<svg viewBox="0 0 {} {}" role="img" aria-labelledby="{}-title {}-desc">'
        '<title id="{}-title">{}</title><desc id="{}-desc">{}</desc>{}</svg>'
    ).format(px(size[0]), px(size[1]), name, name, name, plain(title), name, plain(desc), Markup("").join(body))


class Key(NamedTuple):
    """One entry of a legend: how it is drawn and what it is."""

    kind: Literal["line", "area", "circle", "square", "triangle", "down"]
    style: str
    label: str


def legend(keys: Iterable[Key]) -> Markup:
    """A list of swatches with their words; it wraps like text."""
    items = [
        Markup('<li><svg class="swatch" viewBox="0 0 26 12" aria-hidden="true">{}</svg>{}</li>').format(
            _swatch(key), plain(key.label)
        )
        for key in keys
    ]
    return Markup('<ul class="legend">{}</ul>').format(Markup("").join(items))


def _swatch(key: Key) -> Markup:
    if key.kind == "line":
        return line([(0, 6), (26, 6)], key.style)
    if key.kind == "area":
        return box(0, 0, 26, 12, key.style)
    return mark(13, 6, key.kind, key.style)
