"""The report's charts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import date
from typing import Literal, NamedTuple

from markupsafe import Markup

from stages import drawing
from stages.drawing import Frame, Key, Magnitude, Scale, Tick, level, magnitude
from stages.report_input import (
    METHODS,
    METRICS,
    Calibrated,
    Coverage,
    CoverageLevel,
    LocationForecast,
    Media,
    Method,
    Metric,
    ReportInput,
    Scorecard,
    Span,
)
from stages.wording import (
    SHOWN_LOCATIONS,
    SHOWN_PERIODS,
    error_scale,
    levels_of,
    periods,
    ranges,
    wilson,
)


class Size(NamedTuple):
    """A drawing's name, size and how many dates fit under it."""

    name: str
    width: float
    height: float
    dates: int


SIZES = {
    "full": Size("full", 1060, 290, 12),
    "wide": Size("wide", 660, 300, 10),
    "narrow": Size("narrow", 380, 290, 6),
    "close": Size("close", 380, 300, 6),
    "small": Size("small", 380, 250, 6),
}


def fan(report: ReportInput, place: int, form: str) -> Markup:
    """History and forecast of one location; the form `close` shows as many past periods as are forecast."""
    location, size = report.locations[place], SIZES[form]
    keep = report.subject.horizon if form == "close" else SHOWN_PERIODS
    low, high = _reach(location, keep, 0.2 if form == "close" else 0.6)
    scale = magnitude((low, high), 3)
    dates = [*location.dates[-keep:], *(p.target_end_date for p in location.forecast)]
    rows, unit = drawing.ticks(low, high, 5, scale.divisor), scale.unit(report.subject.unit)
    frame, parts = _timeline(size, _window(dates, report), rows, unit)
    drawn = [_holdout(frame, report.holdout), parts, _bands(frame, location)]
    drawn.append(_breaks(frame, report, location.name))
    drawn.extend(_lines(frame, location, keep))
    if form == "close":
        drawn.extend(_hints(frame, location, keep, report, scale))
    title = f"{report.subject.target}, {location.name}"
    return drawing.svg(f"fan-{place + 1}-{form}", (size.width, size.height), title, _described(location, keep), drawn)


def _described(location: LocationForecast, keep: int) -> str:
    shown = location.dates[-keep:]
    text = f"Line of the actual outcomes from {shown[0]} to {shown[-1]}."
    if not location.forecast:
        return text + " No forecast is released."
    levels = ", ".join(levels_of(location))
    last = location.forecast[-1].target_end_date
    return f"{text} Then the median forecast to {last} inside its intervals ({levels}), and the seasonal naive."


def _window(dates: Sequence[date], report: ReportInput) -> tuple[date, date]:
    """First and last date drawn: never equal, so that a single period still has a width."""
    pad = 0 if len(dates) > 1 else report.subject.frequency_days
    return dates[0], date.fromordinal(dates[-1].toordinal() + pad)


def _timeline(size: Size, window: tuple[date, date], rows: Sequence[Tick], unit: str) -> tuple[Frame, Markup]:
    ends = float(window[0].toordinal()), float(window[1].toordinal())
    frame = drawing.framed(size.width, size.height, ends, rows)
    return frame, drawing.axes(frame, drawing.date_ticks(*window, size.dates), rows, unit)


def _reach(location: LocationForecast, keep: int, near_zero: float) -> tuple[float, float]:
    """The values a chart shows: its lines, interval ends up to twice their span beyond, zero when near."""
    core = [*location.actuals[-keep:], *(p.median for p in location.forecast)]
    core.extend(p.seasonal_naive for p in location.forecast if p.seasonal_naive is not None)
    low, high = min(core), max(core)
    span = high - low or abs(high) or 1.0
    ends = [e for p in location.forecast for i in p.intervals for e in (i.low, i.high)]
    near = [e for e in ends if low - 2 * span <= e <= high + 2 * span]
    low, high = min([low, *near]), max([high, *near])
    return (0.0 if 0 <= low < near_zero * high else low), high


def _holdout(frame: Frame, span: Span | None) -> Markup:
    if span is None or span.last.toordinal() < frame.x.low or span.first.toordinal() > frame.x.high:
        return Markup("")
    x0, x1 = frame.x.at(span.first.toordinal()), frame.x.at(span.last.toordinal())
    note = drawing.words((x0 + x1) / 2, frame.y.stop - 3, "holdout", "middle", "note")
    return drawing.box(x0, frame.y.start, x1, frame.y.stop, "held") + note


def _bands(frame: Frame, location: LocationForecast) -> Markup:
    """Bands from widest to narrowest, opening at the last actual; an end out of the chart gets a mark."""
    if not location.forecast:
        return Markup("")
    last = frame.y.at(location.actuals[-1])
    origin = (frame.x.at(location.dates[-1].toordinal()), last, last)
    drawn, marks = [], []
    for rank in reversed(range(len(location.forecast[0].intervals))):
        points = [origin]
        for p in location.forecast:
            x, i = frame.x.at(p.target_end_date.toordinal()), p.intervals[rank]
            points.append((x, frame.y.at(i.low), frame.y.at(i.high)))
            if i.high > frame.y.high:
                marks.append(drawing.mark(x, frame.y.stop + 3, "triangle", "clip", 3))
            if i.low < frame.y.low:
                marks.append(drawing.mark(x, frame.y.start - 3, "down", "clip", 3))
        drawn.append(drawing.band(points, "band"))
    return Markup("").join([*drawn, *marks])


def _breaks(frame: Frame, report: ReportInput, location: str) -> Markup:
    drawn = []
    for alarm in report.detection.alarms:
        day = alarm.start.toordinal()
        if alarm.breaks and alarm.location in (None, location) and frame.x.low <= day <= frame.x.high:
            x = frame.x.at(day)
            drawn.append(drawing.line([(x, frame.y.start), (x, frame.y.stop)], "break"))
            drawn.append(drawing.mark(x, frame.y.stop, "down", "break", 4))
    return Markup("").join(drawn)


def _lines(frame: Frame, location: LocationForecast, keep: int) -> list[Markup]:
    past = list(zip(location.dates, location.actuals, strict=True))[-keep:]
    origin = past[-1]
    naive = [(p.target_end_date, p.seasonal_naive) for p in location.forecast if p.seasonal_naive is not None]
    median = [origin, *((p.target_end_date, p.median) for p in location.forecast)]
    series = ((naive, "naive"), (past, "actual"), (median if location.forecast else [], "ours"))
    return [
        drawing.line([(frame.x.at(d.toordinal()), frame.y.at(v)) for d, v in points], style)
        for points, style in series
        if points
    ]


def _hints(frame: Frame, location: LocationForecast, keep: int, report: ReportInput, scale: Magnitude) -> list[Markup]:
    """What the pointer reads over each period."""
    unit = report.subject.unit
    past = list(zip(location.dates, location.actuals, strict=True))[-keep:]
    texts = [(day, f"{day}: {scale.full(value, unit)}") for day, value in past]
    for p in location.forecast:
        spans = [f"{level(i.level)}: {scale.show(i.low)} to {scale.show(i.high)}" for i in p.intervals]
        parts = [f"{p.target_end_date}: {scale.full(p.median, unit)}", *spans]
        texts.append((p.target_end_date, "; ".join(parts)))
    half, y = report.subject.frequency_days / 2, frame.y
    sides = [(frame.x.at(d.toordinal() - half), frame.x.at(d.toordinal() + half), text) for d, text in texts]
    return [drawing.box(x0, y.start, x1, y.stop, "hint", text) for x0, x1, text in sides]


def caveats(report: ReportInput, location: LocationForecast) -> tuple[str, ...]:
    """Sentences on interval ends that a chart cannot show: at infinity, or far beyond the outcomes."""
    found = []
    for rank, interval in enumerate(location.forecast[0].intervals if location.forecast else ()):
        for side, infinite in (("lower", -math.inf), ("upper", math.inf)):
            ends = [(p.horizon, p.intervals[rank]) for p in location.forecast]
            open_at = [h for h, i in ends if (i.low if side == "lower" else i.high) == infinite]
            if open_at:
                found.append(
                    f"The {level(interval.level)} interval has no {side} bound at horizon {ranges(open_at)}: "
                    "there are too few calibration scores to bound it at this level. It is drawn to the edge "
                    "of the chart and marked."
                )
    reaches = [_reach(location, keep, 0.0) for keep in (SHOWN_PERIODS, report.subject.horizon)]
    low, high = max(low for low, _ in reaches), min(high for _, high in reaches)
    drawn = [end for p in location.forecast for i in p.intervals for end in (i.low, i.high)]
    if any(math.isfinite(end) and not low <= end <= high for end in drawn):
        found.append("Some interval ends lie far beyond the chart: they are marked at its edge, the table has them.")
    return tuple(found)


def fan_legend(report: ReportInput) -> Markup:
    """The key to all history charts: only what they draw."""
    keys = [Key("line", "actual", "actual")]
    points = [p for location in report.locations for p in location.forecast]
    if points:
        levels = " / ".join(level(i.level) for i in points[0].intervals)
        keys += [
            Key("line", "ours", "median forecast"),
            Key("area", "band", f"intervals {levels}, the narrower the stronger"),
        ]
    if any(p.seasonal_naive is not None for p in points):
        keys.append(Key("line", "naive", "seasonal naive: the same period last year"))
    if report.holdout:
        keys.append(Key("area", "held", "holdout"))
    if any(alarm.breaks for alarm in report.detection.alarms):
        keys.append(Key("down", "break", "break that the forecast was re-anchored or rescaled at"))
    if any(caveats(report, location) for location in report.locations[:SHOWN_LOCATIONS]):
        keys.append(Key("triangle", "clip", "interval goes on beyond the chart"))
    return drawing.legend(keys)


MARKS: tuple[tuple[Method, Literal["circle", "square", "triangle"], str], ...] = (
    ("seasonal_naive", "square", "naive"),
    ("last_value", "triangle", "last"),
    ("ours", "circle", "ours"),
)


def errors(card: Scorecard, metric: Metric, name: str, unit: str) -> Markup:
    """One metric by horizon for the three methods."""
    lines = {
        method: [(h.horizon, v) for h in card.by_horizon if (v := h.scores.by(method).of(metric)) is not None]
        for method, _ in METHODS
    }
    values = [v for points in lines.values() for _, v in points if math.isfinite(v)]
    scale = error_scale([h.scores for h in card.by_horizon], metric)
    rows = drawing.ticks(0.0, max(values, default=1.0), 4, scale.divisor)
    horizons = [h.horizon for h in card.by_horizon]
    ends = (min(horizons, default=1) - 0.5, max(horizons, default=1) + 0.5)
    step = -(-len(horizons) // 8) or 1
    frame = drawing.framed(380, 230, ends, rows)
    columns = [Tick(float(h), f"{h}") for h in horizons[::step]]
    label = "% MAPE" if metric == "mape" else f"{dict(METRICS)[metric]}, {scale.unit(unit)}"
    drawn = [drawing.axes(frame, columns, rows, label)]
    for method, shape, style in MARKS:
        points = [(frame.x.at(h), frame.y.at(v)) for h, v in lines[method] if math.isfinite(v)]
        endless = [frame.x.at(h) for h, v in lines[method] if math.isinf(v)]
        drawn.extend([drawing.line(points, style)] if len(points) > 1 else [])
        drawn.extend(drawing.mark(x, y, shape, style, 3) for x, y in points)
        drawn.extend(drawing.words(x, frame.y.stop - 2, "∞", "middle", "strong") for x in endless)
    title = f"{dict(METRICS)[metric]} by horizon"
    desc = "A line each for this forecast, seasonal naive and last value; lower is better. The table has them."
    return drawing.svg(name, (380, 230), title, desc, drawn)


def errors_legend() -> Markup:
    """The key to the error charts."""
    names = dict(METHODS)
    return drawing.legend(Key(shape, style, names[method]) for method, shape, style in reversed(MARKS))


def covered(levels: Sequence[CoverageLevel], name: str, where: str) -> Markup:
    """Measured against nominal coverage, ours before and after calibration and seasonal naive's, with Wilson bars."""
    marks: list[tuple[int, int, int, float, Literal["square", "circle", "triangle"], str]] = []
    for place, each in enumerate(levels):
        marks.append((place, each.inside_before, each.targets, -12.0, "square", "before"))
        marks.append((place, each.inside_after, each.targets, 0.0, "circle", "ours"))
        marks.append((place, each.inside_naive, each.targets, 12.0, "triangle", "naive"))
    floor = min([*(each.level for each in levels), *(wilson(inside, n)[0] for _, inside, n, *_ in marks)])
    rows = drawing.ticks(min(floor, 0.9), 1.0, 5, 0.01)
    frame = drawing.framed(380, 300, (-0.5, len(levels) - 0.5), rows)
    columns = [Tick(float(place), level(each.level)) for place, each in enumerate(levels)]
    drawn = [drawing.axes(frame, columns, rows, "% measured, by nominal level")]
    for place, each in enumerate(levels):
        y = frame.y.at(each.level)
        drawn.append(drawing.line([(frame.x.at(place - 0.45), y), (frame.x.at(place + 0.45), y)], "ideal"))
    for place, inside, n, shift, shape, style in marks:
        x = frame.x.at(place) + shift
        drawn.append(drawing.whisker(frame, x, *wilson(inside, n), style))
        drawn.append(drawing.mark(x, frame.y.at(inside / n), shape, style, 4))
    desc = "The closer to the dotted level the better; bars are 95 % Wilson intervals. The table has the values."
    return drawing.svg(name, (380, 300), f"Measured against nominal coverage {where}", desc, drawn)


def covered_legend() -> Markup:
    """The key to the coverage charts."""
    return drawing.legend(
        [
            Key("square", "before", "before calibration"),
            Key("circle", "ours", "after calibration"),
            Key("triangle", "naive", "seasonal naive, calibrated the same way"),
            Key("line", "ideal", "measured equals nominal"),
        ]
    )


def pit(coverage: Coverage) -> Markup:
    """Histogram of the probability integral transform with the 95 % band of a flat one."""
    counts, n = coverage.pit, sum(coverage.pit)
    share = 1 / len(counts)
    spread = 1.959963984540054 * math.sqrt(n * share * (1 - share))
    rows = drawing.ticks(0.0, max([*counts, n * share + spread, 1.0]), 4)
    frame = drawing.framed(380, 300, (0.0, 1.0), rows)
    columns = [Tick(v / 10, f"{v / 10:.1f}") for v in range(0, 11, 2)]
    low, high = frame.y.at(max(0.0, n * share - spread)), frame.y.at(n * share + spread)
    drawn = [drawing.box(frame.x.start, low, frame.x.stop, high, "flat")]
    drawn.append(drawing.axes(frame, columns, rows, "outcomes, over PIT value"))
    for i, count in enumerate(counts):
        x0, x1 = frame.x.at(i * share) + 1, frame.x.at((i + 1) * share) - 1
        drawn.append(drawing.box(x0, frame.y.start, x1, frame.y.at(count), "bar", f"{count} of {n}"))
    drawn.append(drawing.line([(frame.x.start, frame.y.at(n * share)), (frame.x.stop, frame.y.at(n * share))], "ideal"))
    desc = f"Counts of {n} outcomes in {len(counts)} bins: {', '.join(map(str, counts))}. Flat is best."
    return drawing.svg("pit", (380, 300), "Probability integral transform", desc, drawn)


def changes(report: ReportInput, place: int, form: str) -> Markup:
    """P(change within the window) over time at one location, its threshold and its alarms."""
    series, size = report.detection.series[place], SIZES[form]
    threshold = report.detection.threshold
    rows = tuple(Tick(v / 4, f"{25 * v}") for v in range(5))
    frame, parts = _timeline(size, _window(series.dates, report), rows, "% P(change)")
    points = [(frame.x.at(d.toordinal()), frame.y.at(p)) for d, p in zip(series.dates, series.probability, strict=True)]
    limit = [(frame.x.start, frame.y.at(threshold)), (frame.x.stop, frame.y.at(threshold))]
    drawn = [
        _holdout(frame, report.holdout),
        parts,
        drawing.line(points, "ours"),
        drawing.line(limit, "naive"),
    ]
    for i, alarm in enumerate(report.detection.alarms, 1):
        day = alarm.noticed.toordinal()
        if alarm.location in (None, series.location) and frame.x.low <= day <= frame.x.high:
            x, y = frame.x.at(day), frame.y.at(alarm.reported)
            drawn.append(drawing.mark(x, y, "down", "break" if alarm.breaks else "kept", 5))
            drawn.append(drawing.words(x, y - 9, f"{i}", "middle", "strong"))
    for start in report.detection.segments:
        if frame.x.low <= start.toordinal() <= frame.x.high:
            drawn.append(drawing.mark(frame.x.at(start.toordinal()), frame.y.start - 4, "triangle", "last", 4))
    title = f"Probability of a change, {series.location}"
    desc = f"P(change) by period, alarm threshold {level(threshold)}; alarms carry their number in the table."
    return drawing.svg(f"change-{place + 1}-{form}", (size.width, size.height), title, desc, drawn)


def changes_legend(report: ReportInput) -> Markup:
    """The key to the change-point charts."""
    keys = [
        Key(
            "line",
            "ours",
            f"P(change within {periods(report.subject.frequency_days, report.detection.window)})",
        ),
        Key("line", "naive", f"alarm above {level(report.detection.threshold)}"),
    ]
    if any(a.breaks for a in report.detection.alarms):
        keys.append(Key("down", "break", "alarm of a break: re-anchored or rescaled"))
    if any(not a.breaks for a in report.detection.alarms):
        keys.append(Key("down", "kept", "alarm of something else: a pulse, or nothing"))
    if report.detection.segments:
        keys.append(Key("triangle", "last", "break in hindsight"))
    if report.holdout:
        keys.append(Key("area", "held", "holdout"))
    return drawing.legend(keys)


def reliability(found: Calibrated) -> Markup:
    """How often a change was there against how probable it was called, with 95 % binomial error bars."""
    told = [each for each in found.reliability if each.periods]
    top = max([0.1, *(wilson(each.changed, each.periods)[1] for each in told), *(each.probability for each in told)])
    ends = drawing.ticks(0.0, top, 5, 0.01)
    frame = drawing.framed(380, 300, (0.0, ends[-1].value), ends)
    corner = (frame.x.start, frame.y.start), (frame.x.stop, frame.y.stop)
    drawn = [drawing.axes(frame, ends, ends, "% with a change, over % told"), drawing.line(corner, "ideal")]
    for each in told:
        x = frame.x.at(each.probability)
        drawn.append(drawing.whisker(frame, x, *wilson(each.changed, each.periods), "ours"))
        drawn.append(drawing.mark(x, frame.y.at(each.changed / each.periods), "circle", "ours", 4))
    desc = "The closer to the diagonal the better; bars are 95 % binomial intervals. The table has the values."
    return drawing.svg("reliability", (380, 300), "Reliability of the change probability", desc, drawn)


def contributions(report: ReportInput, media: Media, form: str) -> Markup:
    """A bar from zero to the mean for each channel, with its interval."""
    size, rows = SIZES[form], media.contributions
    means = [c.mean for c in rows]
    ends = [e for c in rows for e in (c.interval.low, c.interval.high) if math.isfinite(e)]
    scale = magnitude((*means, *ends), 3)
    columns = drawing.ticks(min([0.0, *means, *ends]), max([0.0, *means, *ends]), 5, scale.divisor)
    height = 46.0 * len(rows) + 40
    x = Scale(columns[0].value, columns[-1].value, 14, size.width - 24)
    drawn = []
    for column in columns:
        at, style = x.at(column.value), "zero" if column.value == 0 else "grid"
        drawn.append(drawing.line([(at, 4), (at, height - 36)], style))
        drawn.append(drawing.words(at, height - 20, column.label, "middle"))
    for i, each in enumerate(rows):
        top = 46.0 * i + 24
        low, high = x.at(each.interval.low), x.at(each.interval.high)
        drawn.append(drawing.words(16, top - 5, drawing.short(each.channel, 40), "start", "strong"))
        drawn.append(drawing.box(x.at(0), top, x.at(each.mean), top + 14, "bar"))
        drawn.append(drawing.line([(low, top + 7), (high, top + 7)], "error"))
        for end, at in ((each.interval.low, low), (each.interval.high, high)):
            cap = drawing.line([(at, top + 2), (at, top + 12)], "error")
            drawn.append(cap if math.isfinite(end) else drawing.words(at, top + 12, "∞", "middle", "strong"))
    drawn.append(drawing.words(size.width - 24, height - 4, scale.unit(report.subject.unit), "end", "unit"))
    desc = "A bar for each channel's mean contribution with its interval. The table has the values."
    return drawing.svg(f"media-{form}", (size.width, height), "Contribution by channel", desc, drawn)
