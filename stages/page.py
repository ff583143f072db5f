"""The report of one forecast: what it is made of (`ReportInput`) and the page it becomes (`render`).

`render` is a pure function: equal inputs give equal bytes. The page is one HTML file without scripts, links
out, fonts or pictures; its charts are SVG inside it. Nothing here measures: every number arrives in the
input, and what is computed is only what a reader would otherwise do by hand: differences, shares, error bars.

Glossary
--------
reference_date  the last period whose outcome was known; horizon 1 is the period after it
level           nominal share of outcomes an interval should hold, 0.9 for a 90 % interval
unbounded       an interval end at infinity: the calibration set is too small to bound it at that level
released        every stopping gate passed; only then is there a forecast to show
"""

from __future__ import annotations

import math
from datetime import date
from pathlib import Path

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from stages import drawing
from stages.drawing import level, magnitude, percent
from stages.figures import (
    caveats,
    changes,
    changes_legend,
    contributions,
    covered,
    covered_legend,
    errors,
    errors_legend,
    fan,
    fan_legend,
    pit,
    reliability,
)
from stages.report_input import (
    METHODS,
    METRICS,
    ReportInput,
)
from stages.wording import (
    CLAIMS,
    SHOWN_LOCATIONS,
    SHOWN_PERIODS,
    beside,
    compared,
    diagnostic,
    error,
    error_scale,
    levels_of,
    measured_levels,
    odds,
    periods,
    score,
    verdicts,
    wilson,
)


def render(report: ReportInput) -> bytes:
    """The page as UTF-8: equal reports give equal bytes. Only the template beside this file is read."""
    environment = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_written,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    numbers = (math.isfinite, drawing.number, percent, level, magnitude, diagnostic, wilson, periods, odds, score)
    sentences = (beside, verdicts, levels_of, measured_levels, caveats, compared, error, error_scale)
    figures = (fan, errors, covered, pit, changes, reliability, contributions)
    legends = (fan_legend, errors_legend, covered_legend, changes_legend)
    environment.globals.update({f.__name__: f for f in (*numbers, *sentences, *figures, *legends)})
    environment.globals.update(METHODS=METHODS, METRICS=METRICS, CLAIMS=CLAIMS)
    environment.globals.update(SHOWN_PERIODS=SHOWN_PERIODS, SHOWN_LOCATIONS=SHOWN_LOCATIONS)
    source = Path(__file__).with_name("page.html.j2").read_text(encoding="utf-8")
    return environment.from_string(source).render(r=report).encode("utf-8")


def _written(value: object) -> str:
    """What the template may write: text made plain, whole numbers, dates; a float must come formatted."""
    match value:
        case Markup():
            return value
        case str():
            return drawing.plain(value)
        case StrictUndefined():
            return str(value)  # raises UndefinedError with the name
        case bool() | None | float():
            raise TypeError(f"template: expected text, a whole number or a date, found {value!r}")
        case int() | date():
            return str(value)
        case _:
            kind = type(value).__name__
            raise TypeError(f"template: expected text, a whole number or a date, found {kind}")
