"""The page: what it says, what it must never say, and that it is one closed file whatever is put into it."""

from __future__ import annotations

import math
import random
import subprocess
import sys
from datetime import date, timedelta
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from stages import figures, page, report_input, wording
from stages.page import render
from stages.report_input import (
    Alarm,
    Backtest,
    Calibrated,
    ChangeSeries,
    Comparison,
    Contribution,
    Coverage,
    CoverageLevel,
    Data,
    Detection,
    Event,
    Evidence,
    ForecastPoint,
    Gate,
    Headline,
    HorizonComparison,
    Interval,
    LocationCoverage,
    LocationForecast,
    Media,
    Refusal,
    ReportInput,
    Sampling,
    Scorecard,
    Scores,
    Span,
    Specification,
    Subject,
    Told,
    Variable,
)

LEVELS = (0.5, 0.8, 0.9)
WEEK = timedelta(days=7)
START = date(2014, 8, 3)
NORMAL = {0.5: 0.674, 0.8: 1.282, 0.9: 1.645}


def location(name: str, weeks: int, horizon: int, size: float, seed: int) -> LocationForecast:
    """Made-up weekly sales: a level, a yearly wave, a peak before Christmas, noise; and a fan that widens."""
    draw = random.Random(seed)
    dates = tuple(START + WEEK * i for i in range(weeks))

    def expected(i: int) -> float:
        day = (START + WEEK * i).timetuple().tm_yday
        peak = 0.45 * math.exp(-(((day - 345) / 14) ** 2))
        return size * (1 + 0.0008 * i + 0.12 * math.sin(2 * math.pi * day / 365) + peak)

    actuals = tuple(expected(i) * (1 + draw.gauss(0, 0.06)) for i in range(weeks))
    points = []
    for h in range(1, horizon + 1):
        median = expected(weeks - 1 + h) * (1 + draw.gauss(0, 0.015))
        spread = 0.07 * size * math.sqrt(1 + h / 6)
        intervals = tuple(
            Interval(level=k, low=median - NORMAL[k] * spread, high=median + NORMAL[k] * spread * 1.15) for k in LEVELS
        )
        points.append(
            ForecastPoint(
                horizon=h,
                target_end_date=dates[-1] + WEEK * h,
                median=median,
                intervals=intervals,
                seasonal_naive=actuals[weeks - 53 + h] if weeks > 52 else None,
                last_value=actuals[-1],
            )
        )
    return LocationForecast(name=name, dates=dates, actuals=actuals, forecast=tuple(points))


def comparison(size: float, ours: float, naive: float, last: float) -> Comparison:
    def scores(share: float, bands: float) -> Scores:
        return Scores(mape=share, mae=share * size, wis=share * size * bands)

    return Comparison(ours=scores(ours, 0.66), seasonal_naive=scores(naive, 0.8), last_value=scores(last, 0.9))


def scorecard(size: float, windows: int, span: Span, base: float, horizon: int) -> Scorecard:
    rows = tuple(
        HorizonComparison(
            horizon=h,
            scores=comparison(size, base * (0.72 + 0.03 * h), 0.235 + 0.01 * math.sin(h), 0.1 + 0.018 * h),
        )
        for h in range(1, horizon + 1)
    )
    return Scorecard(windows=windows, span=span, overall=comparison(size, base, 0.240, 0.214), by_horizon=rows)


def coverage_levels(n: int, slack: float) -> tuple[CoverageLevel, ...]:
    return tuple(
        CoverageLevel(
            level=k,
            targets=n,
            inside_before=int(n * (k - 0.09)),
            inside_after=min(n, int(n * (k + slack))),
            width_before=0.21 * NORMAL[k],
            width_after=0.26 * NORMAL[k],
            inside_naive=int(n * (k + 0.01)),
            width_naive=0.31 * NORMAL[k],
        )
        for k in LEVELS
    )


def changes(names: tuple[str, ...], dates: tuple[date, ...], seed: int) -> tuple[ChangeSeries, ...]:
    draw = random.Random(seed)
    found = []
    for name in names:
        values = [min(0.3, abs(draw.gauss(0.02, 0.03))) for _ in dates]
        for start, height in ((60, 0.93), (98, 0.71)):
            for k in range(6):
                if start + k < len(values):
                    values[start + k] = max(values[start + k], height * (1 - k / 6))
        found.append(ChangeSeries(location=name, dates=dates, probability=tuple(values)))
    return tuple(found)


def gates(rhat: float | None = 1.0021) -> tuple[Gate, ...]:
    def gate(name: str, meaning: str, value: float | None, rule: str, threshold: float, stops: bool = True) -> Gate:
        holds = (
            value is not None
            and {
                "below": value < threshold,
                "at_most": value <= threshold,
                "above": value > threshold,
            }[rule]
        )
        return Gate.model_validate(
            {
                "name": name,
                "meaning": meaning,
                "value": value,
                "rule": rule,
                "threshold": threshold,
                "passed": holds,
                "stops": stops,
            }
        )

    return (
        gate("R-hat, largest", "Chains that started apart agree.", rhat, "below", 1.01),
        gate("Bulk ESS, least", "Enough independent draws for the middle.", 1312.4, "above", 400.0),
        gate("Tail ESS, least", "Enough independent draws for the interval ends.", 873.0, "above", 400.0),
        gate("Divergences", "The sampler followed the curvature everywhere.", 0.0, "at_most", 0.0),
        gate("Tree depth, deepest", "No trajectory was cut short.", 7.0, "below", 10.0),
        gate("E-BFMI, least", "Energy mixes between chains' levels.", 0.83, "above", 0.2),
        gate("Pathfinder k-hat", "Quality of the warm start.", 0.91, "below", 0.7, stops=False),
    )


def calibrated() -> Calibrated:
    return Calibrated(
        hazard=0.0048,
        events=62,
        series=498,
        real=("nile", "retail"),
        log=0.0772,
        log_base_rate=0.0969,
        log_uncalibrated=0.1208,
        brier=0.0173,
        brier_base_rate=0.0192,
        brier_uncalibrated=0.0253,
        false_alarms_per_year=0.198,
        changes=280,
        noticed=173,
        delay=2.0,
        reliability=(
            Told(probability=0.004, periods=7000, changed=30),
            Told(probability=0.12, periods=300, changed=39),
            Told(probability=0.35, periods=120, changed=40),
        ),
    )


def example(
    names: tuple[str, ...] = ("national",), weeks: int = 209, horizon: int = 13, size: float = 5.4e6
) -> ReportInput:
    """A plausible report on made-up data."""
    places = tuple(location(name, weeks, horizon, size * (1 + 0.4 * i), i) for i, name in enumerate(names))
    dates = places[0].dates
    held = Span(first=dates[-26], last=dates[-1])
    alarms = (
        Alarm(
            noticed=dates[112],
            start=dates[110],
            last=dates[113],
            location=None if len(names) == 1 else names[0],
            reported=0.93,
            probability=0.41,
            cause="artefact",
            odds=34.2,
            action="mask",
            reason="Matches a registered artefact: the outcome was measured differently, demand was not.",
            event=Event(name="Tracking consent banner", kind="artefact", first=dates[112] - timedelta(days=3)),
            consequence="Masked: these weeks say nothing about the rest.",
        ),
        Alarm(
            noticed=dates[150],
            start=dates[148],
            last=None,
            location=None,
            reported=0.71,
            probability=0.38,
            cause="unexplained",
            odds=2.5e7,
            action="re_anchor",
            reason="No registered event within 21 days.",
            event=None,
            consequence="Older weeks weigh 0.3, a fresh level begins here, intervals are 1.25 times as wide.",
        ),
    )
    total = sum(p.median for place in places for p in place.forecast)
    before = sum(p.seasonal_naive or 0.0 for place in places for p in place.forecast)
    channels = (
        ("TV", 0.082),
        ("Search", 0.061),
        ("Direct mail", 0.049),
        ("Social", 0.018),
        ("Display", 0.006),
    )
    return ReportInput(
        subject=Subject(
            name="retail",
            title="Weekly sales, the next quarter",
            target="weekly sales",
            unit="USD",
            reference_date=dates[-1],
            horizon=horizon,
            frequency_days=7,
            plan="media spend and controls go on as in the same weeks of last year.",
        ),
        specification=Specification(number=2, count=2),
        evidence=Evidence(
            spec_digest="sha256:" + "1f3a9c" * 10 + "07be",
            data_digest="sha256:" + "b7e204" * 10 + "99c1",
            holdout_digest="sha256:" + "03ddf1" * 10 + "ab12",
            profile="det-1",
            profile_digest="sha256:" + "5ca1ab" * 10 + "1e00",
            fingerprint_digest="sha256:" + "facade" * 10 + "4411",
            log_origin="noptik.example/log",
            leaf_index=1,
            tree_size=2,
            root_hash="sha256:" + "90c4e7" * 10 + "d3f8",
        ),
        headline=Headline(
            median=total,
            interval=Interval(level=0.9, low=total * 0.87, high=total * 1.15),
            last_year=before,
            method="The interval is that of the sum over posterior draws, widened by the same factor as the "
            "weekly intervals; it is not the sum of weekly ends.",
        ),
        locations=places,
        holdout=held,
        backtest=Backtest(
            rolling=scorecard(size, 24, Span(first=dates[104], last=dates[-27]), 0.142, horizon),
            holdout=scorecard(size, 2, held, 0.168, horizon),
        ),
        coverage=Coverage(
            claim="disjoint_moments",
            protocol="Each target was calibrated with scores of earlier origins only.",
            rolling=coverage_levels(312, 0.005),
            holdout=coverage_levels(26, -0.02),
            locations=tuple(
                LocationCoverage(location=name, levels=coverage_levels(312 // len(names), 0.01 * i))
                for i, name in enumerate(names)
                if len(names) > 1
            ),
            pit=(38, 29, 31, 27, 24, 33, 30, 28, 31, 41),
            pit_of="before",
        ),
        detection=Detection(
            threshold=0.5,
            window=4,
            series=changes(tuple(names), dates[52:], 7),
            alarms=alarms,
            segments=(dates[109], dates[148]),
            registered_events=23,
            calibrated=calibrated(),
        ),
        media=Media(
            span=Span(first=dates[0], last=dates[-1]),
            contributions=tuple(
                Contribution(
                    channel=name,
                    mean=share * size * weeks,
                    interval=Interval(
                        level=0.9,
                        low=max(0.0, share - 0.022) * size * weeks,
                        high=(share + 0.027) * size * weeks,
                    ),
                )
                for name, share in channels
            ),
        ),
        sampling=Sampling(chains=4, warmup=500, draws=500, gates=gates()),
        data=Data(
            rows_used=weeks * len(names),
            span=Span(first=dates[0], last=dates[-1]),
            refusals=(
                Refusal(reason="KPI is not a number", rows=2, example="line 14: 'n/a'"),
                Refusal(reason="after the reference date", rows=1, example=None),
            ),
            variables=(
                Variable(name="sales", role="kpi", unit="USD"),
                Variable(name="tv", role="media", unit="USD"),
                Variable(name="direct_mail", role="media", unit="USD"),
                Variable(name="gas_price", role="control", unit="USD per gallon"),
            ),
            origin="made up for a test",
            licence="Apache-2.0",
        ),
        limits=("The data name no prices, so a price change reads as a change of demand.",),
    )


def changed(report: ReportInput, **parts: object) -> ReportInput:
    """`report` with parts replaced, validated anew."""
    return ReportInput.model_validate({**dict(report), **parts})


def stopped() -> ReportInput:
    """A report whose sampler failed a stopping gate."""
    report = example()
    bare = tuple(each.model_copy(update={"forecast": ()}) for each in report.locations)
    sampling = Sampling(chains=4, warmup=500, draws=500, gates=gates(rhat=None))
    return changed(report, locations=bare, headline=None, coverage=None, media=None, sampling=sampling)


def unbounded() -> ReportInput:
    """A report whose widest interval has no upper bound from horizon 9, and no bound at all at horizon 13."""
    report = example()
    (place,) = report.locations
    points = []
    for p in place.forecast:
        low = -math.inf if p.horizon == 13 else p.intervals[-1].low
        high = math.inf if p.horizon >= 9 else 1e9 if p.horizon == 8 else p.intervals[-1].high
        wide = Interval(level=0.9, low=low, high=high)
        points.append(p.model_copy(update={"intervals": (*p.intervals[:-1], wide)}))
    assert report.coverage is not None
    levels = report.coverage.rolling
    card = report.backtest.rolling
    (first, *later), lost = card.by_horizon, Scores(mape=0.2, mae=1e6, wis=math.inf)
    worst = first.model_copy(update={"scores": first.scores.model_copy(update={"ours": lost})})
    endless_card = card.model_copy(update={"by_horizon": (worst, *later)})
    endless = (*levels[:-1], levels[-1].model_copy(update={"width_after": math.inf}))
    return changed(
        report,
        locations=(place.model_copy(update={"forecast": tuple(points)}),),
        headline=Headline(
            median=7.2e7,
            interval=Interval(level=0.9, low=6.1e7, high=math.inf),
            last_year=6.9e7,
            method="From draws.",
        ),
        coverage=report.coverage.model_copy(update={"rolling": endless}),
        backtest=Backtest(rolling=endless_card, holdout=report.backtest.holdout),
    )


def sparse() -> ReportInput:
    """A report with nothing in every part that may be empty, two weeks of history and one of forecast."""
    report = example(names=("a",), weeks=300)
    place = location("a", 2, 1, 80.0, 3)
    scores = Scores(mape=None, mae=None, wis=None)
    card = Scorecard(
        windows=1,
        span=Span(first=START, last=START),
        overall=Comparison(ours=scores, seasonal_naive=scores, last_value=scores),
        by_horizon=(),
    )
    return changed(
        report,
        subject=report.subject.model_copy(update={"horizon": 1, "reference_date": place.dates[-1]}),
        specification=Specification(number=1, count=1),
        evidence=report.evidence.model_copy(update={"holdout_digest": None}),
        headline=Headline(
            median=80.0,
            interval=Interval(level=0.9, low=60.0, high=99.0),
            last_year=None,
            method="From draws.",
        ),
        locations=(place,),
        holdout=None,
        backtest=Backtest(rolling=card, holdout=None),
        coverage=Coverage(
            claim="empirical",
            protocol="Scores of earlier origins only.",
            rolling=coverage_levels(20, 0.0),
            holdout=(),
            locations=(),
            pit=(),
            pit_of="before",
        ),
        detection=Detection(
            threshold=0.5, window=4, series=(), alarms=(), segments=(), registered_events=0, calibrated=None
        ),
        media=None,
        data=report.data.model_copy(update={"refusals": (), "variables": ()}),
        limits=(),
    )


HOSTILE = "</svg></title><script>alert(1)</script> \"'` & \u202egnp.exe\u2066 \x00\x1b[2J\u2028 {{ 7*7 }} xx"


def hostile() -> ReportInput:
    """A report in which every free text attacks the page."""

    def poison(value: object, key: str = "") -> object:
        if isinstance(value, dict):
            return {k: poison(v, k) for k, v in value.items()}
        if isinstance(value, tuple):
            return tuple(poison(v, key) for v in value)
        spared = key in {"role", "rule", "claim", "pit_of", "location", "action"}
        return f"{HOSTILE} {value}" if isinstance(value, str) and not spared else value

    return ReportInput.model_validate(poison(example(names=("north", "south")).model_dump()), strict=False)


VARIANTS = {
    "one location": example,
    "many locations": lambda: example(names=tuple("abcdefghijklmno"), weeks=170, size=4.2e4),
    "stopped": stopped,
    "unbounded": unbounded,
    "sparse": sparse,
    "hostile": hostile,
}


class Page(HTMLParser):
    """A page taken apart: its tags in order, attributes, ids, headings and visible text."""

    VOID = frozenset({"meta", "link", "br", "img", "input", "hr", "path", "rect", "circle"})

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.text: list[str] = []
        self.open: list[str] = []
        self.feed(html)
        self.close()
        assert self.open == [], f"tags left open: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes.extend((tag, name, value or "") for name, value in attrs)
        if tag not in {"meta"}:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"closes nothing: {tag}"
        assert self.open.pop() == tag, f"closes out of order: {tag}"

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.text.append(data)

    @property
    def words(self) -> str:
        return " ".join(" ".join(self.text).replace("\u202f", " ").replace("\u00a0", " ").split())


@pytest.fixture(scope="module", params=VARIANTS)
def html(request: pytest.FixtureRequest) -> str:
    return render(VARIANTS[request.param]()).decode("utf-8")


@pytest.fixture(scope="module")
def words() -> str:
    return Page(render(example()).decode("utf-8")).words


def read(report: ReportInput) -> str:
    return Page(render(report).decode("utf-8")).words


# One closed, well-formed, accessible file ---------------------------------------------------------------


def test_page_refers_to_nothing_outside_itself(html: str) -> None:
    parsed = Page(html)
    fetching = {"src", "href", "srcset", "data", "action", "poster", "background", "xlink:href", "formaction"}
    references = [value for _, name, value in parsed.attributes if name in fetching]
    assert references
    assert all(value.startswith("#") for value in references)
    style = html[html.index("<style>") : html.index("</style>")]
    assert "@import" not in style
    assert "url(" not in style
    assert "@font-face" not in style
    assert not {"script", "link", "img", "iframe", "object", "embed", "base", "form"} & set(parsed.tags)
    assert not [name for _, name, _ in parsed.attributes if name.startswith("on") or name == "style"]
    assert "default-src 'none'" in html


def test_anchors_lead_somewhere_and_ids_are_unique(html: str) -> None:
    parsed = Page(html)
    ids = [value for _, name, value in parsed.attributes if name == "id"]
    assert len(ids) == len(set(ids))
    anchors = {value[1:] for _, name, value in parsed.attributes if name == "href"}
    labels = {each for _, name, value in parsed.attributes if name == "aria-labelledby" for each in value.split()}
    assert anchors | labels <= set(ids)


def drawings(html: str) -> list[ElementTree.Element]:
    parts = html.split("<svg")[1:]
    return [ElementTree.fromstring("<svg" + part[: part.index("</svg>")] + "</svg>") for part in parts]


def test_every_drawing_is_well_formed_and_named_or_hidden(html: str) -> None:
    for drawing in drawings(html):
        if drawing.get("aria-hidden") == "true":
            continue
        assert drawing.get("role") == "img"
        assert drawing.findtext("title")
        assert drawing.findtext("desc")


def test_no_mark_lies_outside_its_paper(html: str) -> None:
    for drawing in drawings(html):
        width, height = (float(v) for v in drawing.get("viewBox", "").split()[2:])
        for mark in drawing.iter():
            steps = mark.get("d", "").replace("M", " ").replace("L", " ").replace("Z", " ").split()
            xs = [*steps[::2], *(mark.get(k, "0") for k in ("x", "cx"))]
            ys = [*steps[1::2], *(mark.get(k, "0") for k in ("y", "cy"))]
            assert all(-10 <= float(x) <= width + 10 for x in xs)
            assert all(-10 <= float(y) <= height + 10 for y in ys)


def test_coordinates_have_one_decimal(html: str) -> None:
    for drawing in drawings(html):
        for mark in drawing.iter():
            for number in mark.get("d", "").replace("M", " ").replace("L", " ").replace("Z", " ").split():
                whole, point, decimals = number.partition(".")
                assert point
                assert whole.lstrip("-").isdigit()
                assert len(decimals) == 1


def test_headings_form_an_outline(html: str) -> None:
    levels = [int(tag[1]) for tag in Page(html).tags if tag in {"h1", "h2", "h3", "h4"}]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(b <= a + 1 or (a, b) == (2, 3) for a, b in pairwise(levels))


def test_nothing_unformatted_reaches_the_reader(html: str) -> None:
    said = Page(html).words.replace("[U+", "").split()
    assert not {"None", "nan", "inf", "-inf", "NaN", "Undefined", "True", "False"} & set(said)


def luminance(colour: str) -> float:
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_every_palette_has_enough_contrast() -> None:
    """WCAG 2.2: 4.5 for text (1.4.3), 3 for graphics (1.4.11); lines differ by dash, marks by shape."""
    style = render(example()).decode("utf-8")
    palettes = style.split(":root {")[1:]
    assert len(palettes) == 3  # light, dark, print
    for palette in palettes:
        entries = [entry.split(":") for entry in palette[: palette.index("}")].split(";") if ":" in entry]
        colours = {name.strip().lstrip("-"): value.strip() for name, value in entries}
        for ground in ("paper", "panel"):
            for front in set(colours) - {"paper", "panel", "rule", "grid"}:
                pair = sorted((luminance(colours[front]), luminance(colours[ground])))
                need = 3.0 if front in {"held"} else 4.5
                assert (pair[1] + 0.05) / (pair[0] + 0.05) >= need, (front, ground)
    for style_class in (".line.naive", ".line.last", ".line.break", ".line.ideal"):
        rule = style[style.index(style_class) :]
        assert "stroke-dasharray" in rule[: rule.index("}")]


# The same bytes, whatever surrounds them ----------------------------------------------------------------


def test_equal_inputs_give_equal_bytes_in_any_process(tmp_path: Path) -> None:
    report = example(names=("north", "south"), weeks=170)
    source = tmp_path / "report.json"
    source.write_text(report.model_dump_json(), encoding="utf-8")
    code = (
        "import sys; from pathlib import Path; from stages.page import ReportInput, render\n"
        "sys.stdout.buffer.write(render(ReportInput.model_validate_json(Path(sys.argv[1]).read_bytes())))\n"
        "assert not {'numpy', 'jax', 'pyarrow', 'zarr'} & set(sys.modules)\n"
    )
    root = Path(page.__file__).resolve().parents[1]
    for seed, zone, locale in (("1", "Asia/Tokyo", "C"), ("2", "America/Lima", "de_DE.UTF-8")):
        found = subprocess.run(
            [sys.executable, "-c", code, str(source)],
            env={"PYTHONHASHSEED": seed, "TZ": zone, "LC_ALL": locale, "PYTHONPATH": str(root)},
            cwd=tmp_path,
            capture_output=True,
            check=True,
        )
        assert found.stdout == render(report)


# Text from outside stays text ---------------------------------------------------------------------------


def test_hostile_text_changes_no_tag_and_no_attribute_name() -> None:
    benign = Page(render(example(names=("north", "south"))).decode("utf-8"))
    attacked = Page(render(hostile()).decode("utf-8"))
    assert attacked.tags == benign.tags
    assert [(t, n) for t, n, _ in attacked.attributes] == [(t, n) for t, n, _ in benign.attributes]


def test_hostile_text_is_shown_for_what_it_is() -> None:
    html = render(hostile()).decode("utf-8")
    said = Page(html).words
    assert "<script>alert(1)</script>" in said
    assert "{{ 7*7 }}" in said
    for code in ("202E", "2066", "0000", "001B", "2028"):
        assert f"[U+{code}]" in said
    assert not set(html) & set("\u202e\u2066\x00\x1b\u2028")


# What the page says -------------------------------------------------------------------------------------


def test_sections_come_in_order(words: str) -> None:
    order = [
        "Sum over the next 13 weeks",
        "This is specification 2 of 2 registered on these data",
        "Evidence",
        "python -m audit verify retail",
        "python -m audit replay retail",
        "History and forecast The last",
        "Forecast table Each",
        "Backtest against the naive forecasts MAPE",
        "Coverage Which claim holds",
        "Change-points At each",
        "Media What each",
        "Sampling gates The model",
        "Data 209 rows used",
        "Known limits The forecast presumes",
    ]
    places = [words.index(text) for text in order]
    assert places == sorted(places)


def test_evidence_is_complete(words: str) -> None:
    for value in dict(example().evidence).values():
        assert str(value) in words


def test_headline_stands_against_last_year() -> None:
    headline = Headline(
        median=72.1e6, interval=Interval(level=0.9, low=60e6, high=84e6), last_year=70e6, method="From draws."
    )
    said = read(changed(example(), headline=headline))
    assert "72.1 M USD 90 % interval: 60.0 to 84.0 M USD" in said
    assert (
        "3.0 % more than the same 13 weeks last year (70.0 M USD); the interval runs from −14.3 % to +20.0 %." in said
    )


def test_worse_is_called_worse() -> None:
    def scores(value: float) -> Scores:
        return Scores(mape=value, mae=value * 100, wis=math.inf if value == 0.271 else value * 80)

    overall = Comparison(ours=scores(0.271), seasonal_naive=scores(0.240), last_value=scores(0.271))
    report = example()
    assert report.backtest.holdout is not None
    card = report.backtest.holdout.model_copy(update={"overall": overall})
    said = read(changed(report, backtest=Backtest(rolling=report.backtest.rolling, holdout=card)))
    assert "MAPE 27.1 %: worse than seasonal naive (24.0 %) by 3.1 points, as good as last value (27.1 %)." in said
    assert "MAE 27.1 USD: worse than seasonal naive (24.0 USD) by 12.9 %" in said
    assert "✗ No: worse by 3.1 points" in said
    assert "WIS unbounded: worse than seasonal naive (19.2 USD), as good as last value (unbounded)." in said


@given(st.floats(0), st.floats(0), st.sampled_from(["mape", "mae", "wis"]))
@settings(deadline=None, derandomize=True, max_examples=300)
def test_better_and_worse_follow_the_order_of_the_errors(
    ours: float, rival: float, metric: report_input.Metric
) -> None:
    text = wording.versus(ours, rival, metric, "X")
    if text.startswith("better"):
        assert ours < rival
    elif text.startswith("worse"):
        assert ours > rival
    else:
        assert text == "as good as X"
        assert math.isclose(ours, rival, rel_tol=1e-3, abs_tol=1e-3)


@pytest.mark.parametrize("claim", sorted(wording.CLAIMS))
def test_each_claim_is_said_with_its_limit_and_none_promises_coverage(claim: report_input.Claim) -> None:
    report = example()
    assert report.coverage is not None
    said = read(changed(report, coverage=report.coverage.model_copy(update={"claim": claim})))
    assert f"Which claim holds: {wording.CLAIMS[claim][0]}." in said
    assert wording.CLAIMS[claim][1] in said
    assert "guarantee" not in said.lower()
    only = {
        "exchangeable": "exchangeability only",
        "disjoint_moments": "Barber",
        "long_run": "nothing of any single forecast",
        "empirical": "no bound",
    }
    assert only[claim] in said


def test_coverage_of_every_level_stands_beside_seasonal_naive_with_its_error_bar() -> None:
    report = example()
    assert report.coverage is not None
    said = read(report)
    for measured in (report.coverage.rolling, report.coverage.holdout):
        for each in measured:
            low, high = wording.wilson(each.inside_naive, each.targets)
            assert f"{100 * each.inside_naive / each.targets:.1f} % {100 * low:.1f} – {100 * high:.1f}" in said
            assert f"{100 * each.width_naive:.1f} %" in said
    chart = figures.covered(report.coverage.holdout, "covered-holdout", "on the holdout")
    assert chart.count('class="mark naive"') == len(LEVELS)
    assert chart.count('class="line naive"') == 3 * len(LEVELS)


def test_each_of_several_locations_has_its_own_coverage() -> None:
    words = read(VARIANTS["many locations"]())
    assert "Rolling origin, each location alone: measured coverage after calibration Location Outcomes 50 %" in words
    assert "b 20 50.0 % 80.0 % 90.0 %" in words
    assert "each location alone" not in read(example())


def test_unbounded_intervals_are_said_and_not_drawn() -> None:
    said = read(unbounded())
    assert "The 90 % interval has no upper bound at horizon 9–13" in said
    assert "The 90 % interval has no lower bound at horizon 13" in said
    assert "Some interval ends lie far beyond the chart" in said
    assert "∞ stands where intervals had no end." in said
    assert "∞ stands" not in read(example())
    assert "61.0 to unbounded M USD" in said
    assert "to unbounded." in said  # against last year


def test_a_failed_gate_shows_no_forecast() -> None:
    said = read(stopped())
    assert "No forecast is released" in said
    assert "✗ No: 1 of 6 failed" in said
    assert "Failed: R-hat, largest." in said
    assert "not available" in said
    assert "Median" not in said
    assert "median forecast" not in said


def test_a_failed_gate_beside_a_forecast_is_refused() -> None:
    failed = Sampling(chains=4, warmup=500, draws=500, gates=gates(rhat=1.2))
    with pytest.raises(ValidationError, match="present although a gate failed"):
        changed(example(), sampling=failed)
    with pytest.raises(ValidationError, match="media: expected none"):
        changed(stopped(), media=example().media)
    with pytest.raises(ValidationError, match="is incomplete"):
        changed(example(), headline=None)


def test_a_gate_cannot_contradict_its_number() -> None:
    with pytest.raises(ValidationError, match=r"gate R-hat: passed is True, but the value is 1.2"):
        Gate(name="R-hat", meaning="m", value=1.2, rule="below", threshold=1.01, passed=True, stops=True)


def test_empty_parts_are_said_to_be_empty() -> None:
    said = read(sparse())
    for text in (
        "This is specification 1 of 1 registered on these data",
        "The data do not reach back to the same week last year.",
        "No holdout was scored.",
        "Holdout: coverage was not measured.",
        "The detector was not run.",
        "No contributions are shown",
        "No row was refused.",
        "MAPE was not measured.",
        "Empirically validated",
    ):
        assert text in said
    quiet = example().detection.model_copy(update={"alarms": ()})
    assert "No alarm was raised." in read(changed(example(), detection=quiet))
    even = example().detection.model_copy(update={"segments": ()})
    assert "the most probable division of the past has no break." in read(changed(example(), detection=even))


def test_locations_beyond_twelve_are_in_a_table_and_said_so() -> None:
    report = VARIANTS["many locations"]()
    html = render(report).decode("utf-8")
    assert 'id="fan-12-close-title"' in html
    assert "fan-13" not in html
    assert "Charts show the first 12 of 15 locations. The others:" in Page(html).words
    assert html.count("<caption>Locations without a chart") == 1


def test_refusals_are_counted_with_their_reason(words: str) -> None:
    assert "KPI is not a number 2 line 14: 'n/a'" in words


def test_each_alarm_has_its_cause_its_odds_and_what_followed(words: str) -> None:
    for text in (
        "artefact 34 : 1 Matches a registered artefact",
        "Masked: these weeks say nothing about the rest.",
        "unexplained over a million : 1 No registered event within 21 days. none matched",
        "Yes: 1 break, 2 alarms",
        "1 passing pulse kept out of the fit.",
    ):
        assert text in words


def test_the_detectors_calibration_stands_beside_the_base_rate(words: str) -> None:
    for text in (
        "calibrated against 498 labelled series around 62 events, among them the real series nile, retail",
        "the logarithmic score is 0.0772 against 0.0969 of the base rate and 0.121 of the detector's own probability",
        "0.198 false alarms a year; 173 of 280 changes were noticed within a quarter, half of them within 2 weeks.",
        "12.0 % 300 39 13.0 %",
    ):
        assert text in words.replace("\u2009", " ").replace("\u00a0", " ")
    assert 'id="reliability-title"' in render(example()).decode("utf-8")


def test_a_pulse_alone_is_no_break() -> None:
    alarms = tuple(alarm.model_copy(update={"action": "model"}) for alarm in example().detection.alarms)
    pulses = changed(example(), detection=example().detection.model_copy(update={"alarms": alarms}))
    assert "No: 2 alarms, no break 2 passing pulses kept out of the fit." in read(pulses)
    kept = tuple(alarm.model_copy(update={"action": "keep"}) for alarm in alarms)
    nothing = changed(example(), detection=example().detection.model_copy(update={"alarms": kept}))
    assert "Nothing followed from any." in read(nothing)


@pytest.mark.parametrize(
    ("value", "text"),
    [(12.4, "12 : 1"), (1.0, "1 : 1"), (3.46, "3.5 : 1"), (0.25, "1 : 4.0"), (1e9, "over a million : 1")],
)
def test_odds_are_written_as_people_say_them(value: float, text: str) -> None:
    assert wording.odds(value) == text


@pytest.mark.parametrize(
    ("value", "text"), [(0.07718, "0.0772"), (1.5, "1.50"), (0.0, "0.00"), (123.4, "123"), (math.inf, "infinite")]
)
def test_scores_have_three_digits(value: float, text: str) -> None:
    assert wording.score(value) == text


def test_more_changes_than_periods_are_refused() -> None:
    with pytest.raises(ValidationError, match="4 changes in 3 periods"):
        Told(probability=0.5, periods=3, changed=4)


def test_media_numbers_carry_their_warning(words: str) -> None:
    assert "conditional on the model and are not experimental" in words


# The input refuses what cannot be said truly ------------------------------------------------------------


@pytest.mark.parametrize(("low", "high"), [(2.0, 1.0), (math.nan, 1.0), (0.0, math.nan), (math.inf, math.inf)])
def test_impossible_intervals_are_refused(low: float, high: float) -> None:
    with pytest.raises(ValidationError, match="expected low <= high"):
        Interval(level=0.9, low=low, high=high)


def test_unsorted_and_uncountable_inputs_are_refused() -> None:
    report = example()
    (place,) = report.locations
    with pytest.raises(ValidationError, match="must ascend"):
        LocationForecast(name="a", dates=place.dates[::-1], actuals=place.actuals, forecast=())
    with pytest.raises(ValidationError, match="name is used twice"):
        changed(report, locations=(place, place))
    with pytest.raises(ValidationError, match="expected number <= count"):
        Specification(number=3, count=2)
    with pytest.raises(ValidationError, match="order of their dates"):
        Detection(
            threshold=0.5,
            window=4,
            series=(),
            alarms=report.detection.alarms[::-1],
            segments=(),
            registered_events=0,
            calibrated=None,
        )
    assert report.coverage is not None
    with pytest.raises(ValidationError, match=r"(?s)rolling.*at least 1"):  # no claim without a measurement
        Coverage.model_validate({**dict(report.coverage), "rolling": ()})
    for name in ("inside_before", "inside_after", "inside_naive"):
        counts = {"targets": 4, "inside_before": 4, "inside_after": 4, "inside_naive": 4, name: 5}
        with pytest.raises(ValidationError, match="more outcomes inside"):
            CoverageLevel.model_validate({**dict(report.coverage.rolling[0]), **counts})
    with pytest.raises(ValidationError, match="unicode"):
        Subject.model_validate({**dict(report.subject), "title": "\ud800"})
    with pytest.raises(ValidationError, match="Extra inputs"):
        Subject.model_validate({**dict(report.subject), "colour": "red"})


# Numbers ------------------------------------------------------------------------------------------------


@given(st.integers(1, 10_000), st.data())
@settings(deadline=None, derandomize=True, max_examples=200)
def test_wilson_interval_holds_its_share(n: int, data: st.DataObject) -> None:
    inside = data.draw(st.integers(0, n))
    low, high = wording.wilson(inside, n)
    assert 0 <= low <= inside / n + 1e-12
    assert inside / n - 1e-12 <= high <= 1
    mirrored = wording.wilson(n - inside, n)
    assert mirrored == pytest.approx((1 - high, 1 - low), abs=1e-12)


def test_wilson_interval_of_eight_in_ten() -> None:
    """Newcombe 1998, doi 10.1002/(SICI)1097-0258(19980430)17:8<857::AID-SIM777>3.0.CO;2-E: 81 of 263."""
    assert wording.wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)


def test_a_diagnostic_never_looks_equal_to_a_threshold_it_is_not() -> None:
    assert wording.diagnostic(1.0099999, 1.01) == "1.0099999"
    assert wording.diagnostic(1.01, 1.01) == "1.01"
    assert wording.diagnostic(1312.4, 400.0) == "1\u202f312"
    assert wording.diagnostic(0.0, 0.0) == "0"
    assert wording.diagnostic(math.nan, 1.01) == "not available"
    assert wording.diagnostic(math.inf, 1.01) == "infinite"


def test_runs_of_horizons_are_drawn_together() -> None:
    assert wording.ranges([1, 2, 3, 5, 9, 10]) == "1–3, 5, 9–10"
    assert wording.ranges([]) == ""


values = st.floats(-1e150, 1e150)


@given(
    st.lists(values, min_size=1, max_size=4),
    values,
    st.tuples(st.floats(allow_nan=False), st.floats(allow_nan=False)).map(sorted),
    st.one_of(st.none(), values),
)
@settings(deadline=None, derandomize=True, max_examples=25, phases=(Phase.explicit, Phase.generate))
def test_any_admissible_numbers_make_a_page(
    actuals: list[float], median: float, ends: list[float], naive: float | None
) -> None:
    try:
        wide = Interval(level=0.9, low=ends[0], high=ends[1])
    except ValidationError:
        return
    dates = tuple(START + WEEK * i for i in range(len(actuals)))
    point = ForecastPoint(
        horizon=1,
        target_end_date=dates[-1] + WEEK,
        median=median,
        intervals=(wide,),
        seasonal_naive=naive,
        last_value=actuals[-1],
    )
    place = LocationForecast(name="a", dates=dates, actuals=tuple(actuals), forecast=(point,))
    headline = Headline(median=median, interval=wide, last_year=naive, method="From draws.")
    html = render(changed(sparse(), locations=(place,), headline=headline)).decode("utf-8")
    Page(html)
    test_no_mark_lies_outside_its_paper(html)
    test_every_drawing_is_well_formed_and_named_or_hidden(html)
