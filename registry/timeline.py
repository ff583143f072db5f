"""The registry drawn along time, as text or as one SVG; the same events give the same bytes everywhere.

In both a class has its letter, so that nothing is told by colour alone: R regime change, M measurement change,
A artefact, T transient promotion, N null announcement.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from html import escape
from itertools import groupby
from types import MappingProxyType
from typing import Final

from registry.event import Event

LETTERS: Final = MappingProxyType(
    {
        "regime_change": "R",
        "measurement_change": "M",
        "artefact": "A",
        "transient_promotion": "T",
        "null_announcement": "N",
    }
)
# Dark enough for text on white (contrast of 4.5 or more, WCAG 2.1 1.4.3), and told apart by the colour-blind.
_COLOURS: Final = MappingProxyType(
    {
        "regime_change": "#9a3412",
        "measurement_change": "#1d4ed8",
        "artefact": "#57534e",
        "transient_promotion": "#047857",
        "null_announcement": "#7e22ce",
    }
)
_LASTS = ">"
_WEEKS = 53
_MONTHS = "JFMAMJJASOND"


def text(events: Sequence[Event]) -> str:
    """One line an event below the year in which it took effect, one column a week; `>` is what lasts or did not end.

    What goes on into another year is drawn to the end of its own.
    """
    lines = [_legend(events)]
    for year, found in groupby(_in_time(events), key=lambda event: event.effective.year):
        lines += ["", _months(year), *(_line(event) for event in found)]
    return "\n".join(lines) + "\n"


def _in_time(events: Sequence[Event]) -> list[Event]:
    return sorted(events, key=lambda event: (event.effective, event.id))


def _legend(events: Sequence[Event]) -> str:
    kinds = ", ".join(f"{letter} {kind}" for kind, letter in LETTERS.items())
    return f"{len(events)} events: {kinds}; > goes on"


def _months(year: int) -> str:
    columns = [" "] * _WEEKS
    for month, letter in enumerate(_MONTHS, 1):
        columns[_week(date(year, month, 1))] = letter
    return f"{year}  {'':33}  {''.join(columns)}".rstrip()


def _line(event: Event) -> str:
    first = _week(event.effective)
    here = event.end is not None and event.end.year == event.effective.year
    last = _week(event.end) if event.end is not None and here else _WEEKS - 1
    goes_on = event.persistence != "none" and (event.end is None or not here)
    letter = LETTERS[event.kind]
    if event.persistence == "none":
        bar = letter
    elif goes_on:
        bar = letter + _LASTS * (last - first)
    else:
        bar = letter * (last - first + 1)
    return f"{event.effective:%m-%d} {event.id:33}  {'.' * first}{bar:.<{_WEEKS - first}}"


def _week(day: date) -> int:
    """The column of a day: seven days each from 1 January, the last one shorter."""
    return (day - date(day.year, 1, 1)).days // 7


# ---- the drawing

_WIDTH, _LEFT, _TOP, _ROW, _GAP, _LETTER = 1600, 20, 70, 20, 34, 7  # pixels; the last is a letter's width, generously


_SHAPES: Final = "bar: it ended; arrow: it lasts, or faded; circle: nothing moved"


@dataclass(frozen=True, slots=True)
class _Scale:
    """Days to pixels, in whole numbers."""

    start: date
    days: int

    def x(self, day: date) -> int:
        """Where a day begins."""
        return _LEFT + (day - self.start).days * (_WIDTH - 2 * _LEFT) // self.days


@dataclass(frozen=True, slots=True)
class _Mark:
    """One event placed: its row in the lane of its class, its bar and the side on which its name stands."""

    event: Event
    row: int
    x: int
    width: int
    name_x: int
    anchor: str


def svg(events: Sequence[Event]) -> str:
    """A self-contained SVG: a lane a class, a bar an event, and beside it its id. Precondition: at least one event.

    Every event is a list item with its dates and title in words, for those who do not see the drawing.
    """
    scale = _scale(events)
    body: list[str] = []
    y = _TOP
    for kind, letter in LETTERS.items():
        lane = [event for event in _in_time(events) if event.kind == kind]
        marks = _place(lane, scale)
        height = (max((mark.row for mark in marks), default=0) + 1) * _ROW
        body += _lane(f"{letter}  {kind.replace('_', ' ')} ({len(lane)})", kind, marks, y)
        y += height + _GAP
    return "\n".join([*_head(events, y), *_years(scale, y), *body, "</svg>", ""])


def _scale(events: Sequence[Event]) -> _Scale:
    first = min(event.effective for event in events).year
    last = max(event.last for event in events).year
    start = date(first, 1, 1)
    return _Scale(start, (date(last + 1, 1, 1) - start).days)


def _place(lane: Sequence[Event], scale: _Scale) -> list[_Mark]:
    """Each event in the first row where neither its bar nor its name meets what is there already."""
    taken: list[int] = []  # by row: where it is free from
    marks = []
    for event in lane:
        x = scale.x(event.effective)
        width = max(4, scale.x(event.last + timedelta(days=1)) - x)
        wide = len(event.id) * _LETTER
        left = x + width + 6 + wide > _WIDTH - _LEFT  # no room for the name on the right
        start, end = (x - 6 - wide, x + width) if left else (x, x + width + 6 + wide)
        row = next((row for row, free in enumerate(taken) if free < start), len(taken))
        taken[row : row + 1] = [end + 8]
        marks.append(_Mark(event, row, x, width, x - 6 if left else x + width + 6, "end" if left else "start"))
    return marks


def _head(events: Sequence[Event], height: int) -> Iterator[str]:
    first, last = min(event.effective for event in events), max(event.last for event in events)
    yield (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" height="{height}"'
        ' role="img" aria-labelledby="title about" font-family="system-ui, sans-serif" font-size="12">'
    )
    yield '<title id="title">Regime events along time</title>'
    yield f'<desc id="about">{len(events)} events between {first} and {last}, in a lane for each class.</desc>'
    yield f'<rect width="{_WIDTH}" height="{height}" fill="#ffffff"/>'
    yield f'<text x="{_LEFT}" y="24" font-size="18" fill="#1c1917">{len(events)} regime events</text>'
    yield f'<text x="{_LEFT + 200}" y="24" fill="#44403c">{_SHAPES}</text>'


def _years(scale: _Scale, height: int) -> Iterator[str]:
    for year in range(scale.start.year, (scale.start + timedelta(days=scale.days - 1)).year + 1):
        x = scale.x(date(year, 1, 1))
        yield f'<line x1="{x}" y1="34" x2="{x}" y2="{height - 10}" stroke="#d6d3d1"/>'
        yield f'<text x="{x + 4}" y="46" fill="#44403c">{year}</text>'


def _lane(title: str, kind: str, marks: Sequence[_Mark], y: int) -> Iterator[str]:
    colour = _COLOURS[kind]
    yield f'<g role="list" aria-label="{escape(title)}" fill="{colour}">'
    yield f'<text x="{_LEFT}" y="{y}" font-weight="bold">{escape(title)}</text>'
    for mark in marks:
        top = y + 8 + mark.row * _ROW
        said = escape(f"{_dates(mark.event)}: {mark.event.title}")
        yield f'<g role="listitem" aria-label="{said}"><title>{said}</title>'
        yield _shape(mark, top, colour)
        yield f'<text x="{mark.name_x}" y="{top + 11}" text-anchor="{mark.anchor}">{mark.event.id}</text></g>'
    yield "</g>"


def _shape(mark: _Mark, top: int, colour: str) -> str:
    """A bar for what ended, an arrow's head for what lasts or faded, a hollow circle for what moved nothing."""
    if mark.event.persistence == "none":
        return f'<circle cx="{mark.x + 2}" cy="{top + 7}" r="4" fill="#ffffff" stroke="{colour}" stroke-width="2"/>'
    if mark.event.end is None:
        return f'<path d="M{mark.x} {top + 1}l8 6l-8 6z"/>'
    return f'<rect x="{mark.x}" y="{top + 2}" width="{mark.width}" height="10" rx="1"/>'


def _dates(event: Event) -> str:
    if event.end is not None and event.end != event.effective:
        return f"{event.effective} to {event.end}"
    return f"{event.effective} on" if event.end is None and event.persistence != "none" else str(event.effective)
