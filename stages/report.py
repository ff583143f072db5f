"""report: one page a person can read without help: history and fan, backtest, coverage, change-points, evidence.

Writes report/report.html: self-contained, no network, the same bytes for the same inputs.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Any, Literal

from audit.digest import sha256
from audit.kinds import Registration
from audit.receipt import Receipt, parse_receipt
from engine import precision
from engine.effect_table import ALL
from engine.evaluation import EVERYWHERE
from engine.gates import Diagnostics
from engine.hazard import Calibration
from engine.levels import bounds, probability_name
from engine.origins import holdout_origins, origins
from engine.spec import Spec
from engine.table import Panel, ipc_bytes, read_parquet, schema_of
from engine.verdict import Finding, Verdict
from stages import page
from stages import report_input as inputs
from stages.inputs import CHOICES, INGESTED, TABLE, VERDICT, model_spec, panel, verdict
from stages.record import Record
from stages.stage import RECEIPT, SPEC, Context, Stage

REJECTIONS = "ingest/rejections.parquet"
PIT_BINS = 10
PLANS = {
    "last_year": "go on as in the same weeks a year before",
    "recent_mean": "go on at the mean of the last {recent} periods",
}
CONSEQUENCES = {
    "re_anchor": "Re-anchored: earlier data weigh {power:g} in the fit, level and slope are fresh from here on, and "
    "intervals are wider, by the factor {widen:g} at first, falling to 1 over {periods} periods.",
    "rescale": "Rescaled: the metric counts in other units from here on; demand keeps all its data.",
    "mask": "Masked: each of these periods has an effect of its own, so that they say nothing about the rest.",
    "model": "Modelled: these periods share one effect of their own.",
    "keep": "None.",
}
REGIMES = {
    "none": "",
    "media": " and from the spending regime before its origin",
    "outcome": " and from the regime of the outcome before its origin",
}
FOLLOWED = {
    "split": "",
    "aci": " The level then follows the misses of past forecasts (adaptive conformal inference).",
    "pid": " The quantile then follows the misses of past forecasts (conformal PID control).",
}
MEANINGS = {
    "rhat": "Do the chains agree? Spread between chains over spread within; 1 is full agreement.",
    "ess_bulk": "How many independent draws the chains are worth in the middle of the distribution.",
    "ess_tail": "How many independent draws the chains are worth in its tails.",
    "divergences": "Draws where the sampler met curvature it could not follow.",
    "tree_depth": "The longest path the sampler took, as doublings; at the maximum it was cut short.",
    "ebfmi": "How well the sampler moves between energy levels; low means slow exploration.",
}


class _Artifacts:
    """This forecast's tables, read as Python values."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def rows(self, name: str) -> list[dict[str, Any]]:
        return list(read_parquet(self._context.artifact(name)).to_pylist())

    def raw(self, name: str) -> bytes:
        return self._context.artifact(name).read_bytes()


def _run(context: Context, out: Path) -> None:
    spec = model_spec(context)
    data, files, found = panel(context), _Artifacts(context), verdict(context)
    record = Record.model_validate_json(files.raw("forecast/record.json"))
    receipt = parse_receipt(files.raw(RECEIPT))
    diagnostics = Diagnostics.model_validate_json(files.raw("fit/gates.json"))
    holdout = _span(data.periods[len(data.periods) - spec.holdout.periods], data.periods[-1], spec)
    report = inputs.ReportInput(
        subject=_subject(spec, data),
        specification=_specification(receipt),
        evidence=_evidence(context, spec, receipt),
        headline=_headline(spec, data, files) if record.released else None,
        locations=_locations(spec, data, files if record.released else None),
        holdout=holdout,
        backtest=_backtest(spec, data, files, holdout),
        coverage=_coverage(spec, files),
        detection=_detection(spec, found, files),
        media=_media(spec, files) if record.released else None,
        sampling=_sampling(spec, diagnostics),
        data=_data(spec, data, files),
        limits=_limits(spec, record, files),
    )
    (out / "report.html").write_bytes(page.render(report))


def _span(first: date, last: date, spec: Spec) -> inputs.Span:
    return inputs.Span(first=first, last=last + timedelta(days=spec.data.frequency_days - 1))


def _subject(spec: Spec, data: Panel) -> inputs.Subject:
    media, controls = (PLANS[rule].format(recent=spec.plan.recent) for rule in (spec.plan.media, spec.plan.controls))
    return inputs.Subject(
        name=spec.name,
        title=f"{spec.target.capitalize()}: {spec.name}",
        target=spec.target,
        unit=spec.data.kpi.unit,
        reference_date=data.periods[-1] + timedelta(days=spec.data.frequency_days - 1),
        horizon=spec.backtest.horizon,
        frequency_days=spec.data.frequency_days,
        plan=f"Media are assumed to {media}; controls are assumed to {controls}.",
    )


def _registered(receipt: Receipt) -> Registration:
    assert receipt.registration is not None  # a register receipt has one
    return receipt.registration


def _specification(receipt: Receipt) -> inputs.Specification:
    number = _registered(receipt).number
    return inputs.Specification(number=number, count=number)


def _evidence(context: Context, spec: Spec, receipt: Receipt) -> inputs.Evidence:
    table = read_parquet(context.artifact(INGESTED), schema_of(context.spec().data.of_table))
    kept = table.slice(table.num_rows - spec.holdout.periods * len(spec.data.locations))
    return inputs.Evidence(
        spec_digest=_registered(receipt).specification_sha256,
        data_digest=_registered(receipt).data_sha256,
        holdout_digest=sha256(ipc_bytes(kept)),
        profile=precision.PROFILE.name,
        profile_digest=precision.PROFILE.sha256,
        fingerprint_digest=context.fingerprint_sha256,
        log_origin=receipt.origin,
        leaf_index=receipt.seq,
        tree_size=receipt.tree_size,
        root_hash=receipt.root,
    )


def _intervals(row: dict[str, Any], levels: Sequence[float]) -> tuple[inputs.Interval, ...]:
    names = [(level, [probability_name(p) for p in bounds(level)]) for level in levels]
    return tuple(inputs.Interval(level=level, low=row[low], high=row[high]) for level, (low, high) in names)


def _headline(spec: Spec, data: Panel, files: _Artifacts) -> inputs.Headline:
    row = {probability_name(each["probability"]): each["value"] for each in files.rows("forecast/total.parquet")}
    horizon, year, time = spec.backtest.horizon, spec.plan.year, len(data.periods)
    before = data.kpi[time - year : time - year + horizon] if time >= year >= horizon else None
    return inputs.Headline(
        median=row["0.5"],
        interval=_intervals(row, spec.calibrate.levels)[-1],
        last_year=None if before is None else math.fsum(before.ravel().tolist()),
        method="The interval of the sum is the model's own (posterior predictive), not conformally calibrated: "
        "calibration acts on single periods.",
    )


def _locations(spec: Spec, data: Panel, files: _Artifacts | None) -> tuple[inputs.LocationForecast, ...]:
    values: dict[tuple[str, int], dict[str, Any]] = {}
    naive: dict[str, dict[tuple[str, int], Any]] = {"seasonal_naive": {}, "last_value": {}}
    if files is not None:
        for row in files.rows("forecast/forecast.parquet"):
            at = values.setdefault((row["location"], row["horizon"]), {"end": row["target_end_date"]})
            at[row["output_type_id"]] = row["value"]
        for rule, found in naive.items():
            found.update({(r["location"], r["horizon"]): r["value"] for r in files.rows(f"forecast/{rule}.parquet")})
    return tuple(
        inputs.LocationForecast(
            name=location,
            dates=tuple(period + timedelta(days=spec.data.frequency_days - 1) for period in data.periods),
            actuals=tuple(data.kpi[:, g].tolist()),
            forecast=tuple(
                inputs.ForecastPoint(
                    horizon=horizon,
                    target_end_date=row["end"],
                    median=row["0.5"],
                    intervals=_intervals(row, spec.calibrate.levels),
                    seasonal_naive=naive["seasonal_naive"][place, horizon],
                    last_value=naive["last_value"][place, horizon],
                )
                for (place, horizon), row in values.items()
                if place == location
            ),
        )
        for g, location in enumerate(data.series)
    )


def _backtest(spec: Spec, data: Panel, files: _Artifacts, holdout: inputs.Span) -> inputs.Backtest:
    kept = holdout_origins(spec, len(data.periods))
    rolling = [o for o in origins(spec, len(data.periods)) if o not in kept]
    measured = files.rows("calibrate/rolling_origins.parquet")
    used = [row["origin"] for row in measured] or rolling
    last = min(max(used) + spec.backtest.horizon, len(data.periods)) - 1
    span = _span(data.periods[min(used)], data.periods[last], spec)
    return inputs.Backtest(
        rolling=_scorecard(files.rows("calibrate/scorecard_rolling.parquet"), len(used), span),
        holdout=_scorecard(files.rows("calibrate/scorecard_holdout.parquet"), len(kept), holdout),
    )


def _scorecard(rows: list[dict[str, Any]], windows: int, span: inputs.Span) -> inputs.Scorecard:
    def scores(forecaster: str, horizon: int) -> inputs.Scores:
        (row,) = (r for r in rows if r["forecaster"] == forecaster and r["horizon"] == horizon)
        return inputs.Scores(mape=row["mape"] / 100.0, mae=row["mae"], wis=row["wis"])

    def comparison(horizon: int) -> inputs.Comparison:
        names = ("noptik", "seasonal_naive", "last_value")
        return inputs.Comparison(
            **dict(zip(("ours", *names[1:]), (scores(name, horizon) for name in names), strict=True))
        )

    horizons = sorted({row["horizon"] for row in rows} - {0})
    return inputs.Scorecard(
        windows=windows,
        span=span,
        overall=comparison(0),
        by_horizon=tuple(inputs.HorizonComparison(horizon=h, scores=comparison(h)) for h in horizons),
    )


def _coverage(spec: Spec, files: _Artifacts) -> inputs.Coverage:
    counts = Counter(min(int(row["pit"] * PIT_BINS), PIT_BINS - 1) for row in files.rows("adapt/forecasts.parquet"))
    rolling = files.rows("calibrate/coverage_rolling.parquet")
    return inputs.Coverage(
        claim=_claim(spec),
        protocol=_protocol(spec),
        rolling=_levels(rolling, EVERYWHERE),
        holdout=_levels(files.rows("calibrate/coverage_holdout.parquet"), EVERYWHERE),
        locations=tuple(
            inputs.LocationCoverage(location=name, levels=_levels(rolling, name))
            for name in (spec.data.series if len(spec.data.series) > 1 else ())
        ),
        pit=tuple(counts[b] for b in range(PIT_BINS)),
        pit_of="before",
    )


def _claim(spec: Spec) -> inputs.Claim:
    declared = spec.calibrate
    if declared.method.kind != "split":
        return "long_run"
    # pooled locations share their weeks: their scores are not exchangeable with one another
    if declared.moments == "outcome" or (declared.groups == "pooled" and len(spec.data.series) > 1):
        return "empirical"
    return "exchangeable" if declared.moments == "none" and declared.decay == 1.0 else "disjoint_moments"


def _protocol(spec: Spec) -> str:
    declared = spec.calibrate
    whose = "its own location's scores" if declared.groups == "location" else "the scores, over all locations,"
    if len(spec.data.locations) == 1:
        whose = "the scores"
    return (
        f"Each past forecast was calibrated by {whose} of outcomes already known when it was made, and by nothing "
        f"later; weights come from the age of a score{REGIMES[declared.moments]}.{FOLLOWED[declared.method.kind]}"
    )


def _levels(rows: list[dict[str, Any]], location: str) -> tuple[inputs.CoverageLevel, ...]:
    fields = ("level", "inside_before", "inside_after", "width_before", "width_after")
    here = [row for row in rows if row["location"] == location]
    naive = {row["level"]: row for row in here if row["forecaster"] == "seasonal_naive"}
    return tuple(
        inputs.CoverageLevel(
            targets=row["cases"],
            inside_naive=naive[row["level"]]["inside_after"],
            width_naive=naive[row["level"]]["width_after"],
            **{f: row[f] for f in fields},
        )
        for row in here
        if row["forecaster"] == "noptik"
    )


def _detection(spec: Spec, found: Verdict, files: _Artifacts) -> inputs.Detection:
    rows = files.rows("detect/changes.parquet")
    reported = {row["period"]: min(max(row["change_probability"], 0.0), 1.0) for row in rows}
    calibration = Calibration.model_validate_json(files.raw("hazard/calibration.json"))
    return inputs.Detection(
        threshold=found.threshold,
        window=spec.detect.window,
        series=(
            inputs.ChangeSeries(location="all", dates=tuple(reported), probability=tuple(reported.values())),
        ),
        alarms=tuple(_alarm(spec, finding, reported[finding.alarm]) for finding in found.findings),
        segments=tuple(row["period"] for row in rows[1:] if row["segment_start"]),
        registered_events=found.registered_events,
        calibrated=_calibrated(calibration, files.rows("hazard/reliability.parquet")),
    )  # fmt: skip


def _alarm(spec: Spec, finding: Finding, reported: float) -> inputs.Alarm:
    event = None
    if finding.event is not None and finding.event_first is not None:
        event = inputs.Event(name=finding.event, kind=finding.cause.replace("_", " "), first=finding.event_first)
    asked = spec.detect.consequences
    return inputs.Alarm(
        noticed=finding.alarm,
        start=finding.start,
        last=finding.last,
        location=None,
        reported=reported,
        probability=finding.probability,
        cause=finding.cause.replace("_", " "),
        odds=finding.odds,
        action=finding.consequence,
        reason=finding.reason,
        event=event,
        consequence=CONSEQUENCES[finding.consequence].format(
            power=asked.power, widen=asked.widen, periods=asked.widen_periods
        ),
    )


def _calibrated(found: Calibration, bins: Sequence[dict[str, Any]]) -> inputs.Calibrated:
    return inputs.Calibrated(
        hazard=found.hazard,
        events=found.groups,
        series=found.simulated_series + len(found.real_series),
        real=found.real_series,
        log=found.out.log,
        log_base_rate=found.base_rate.log,
        log_uncalibrated=found.uncalibrated.log,
        brier=found.out.brier,
        brier_base_rate=found.base_rate.brier,
        brier_uncalibrated=found.uncalibrated.brier,
        false_alarms_per_year=found.alarms_out.false_alarms_per_year,
        changes=found.alarms_out.changes,
        noticed=found.alarms_out.noticed,
        delay=found.alarms_out.delay,
        reliability=tuple(
            inputs.Told(probability=row["mean"], periods=row["cases"], changed=row["happened"])
            for row in bins
            if row["probability"] == "calibrated" and row["cases"]
        ),
    )


def _media(spec: Spec, files: _Artifacts) -> inputs.Media:
    """Of the first outcome, all locations together."""
    every, kpi = files.rows("effects/contributions.parquet"), spec.data.kpi.name
    rows = [row for row in every if row["outcome"] == kpi and row["location"] == ALL and row["channel"] != ALL]
    last = rows[0]["last_period"] + timedelta(days=spec.data.frequency_days - 1)
    return inputs.Media(
        span=inputs.Span(first=rows[0]["first_period"], last=last),
        contributions=tuple(
            inputs.Contribution(
                channel=row["channel"],
                mean=row["mean"],
                interval=inputs.Interval(level=row["level"], low=row["lower"], high=row["upper"]),
            )
            for row in rows
        ),
    )


def _sampling(spec: Spec, found: Diagnostics) -> inputs.Sampling:
    gates = [
        inputs.Gate(
            name=f"{gate.name} ({gate.where})" if gate.where else gate.name,
            meaning=MEANINGS[gate.name],
            value=None if math.isnan(gate.value) else gate.value,
            rule=_rule(gate.rule),
            threshold=gate.threshold,
            passed=gate.passed,
            stops=True,
        )
        for gate in found.gates
    ]
    if found.khat:
        gates.append(_khat(found.khat))
    inference = spec.inference
    return inputs.Sampling(chains=inference.chains, warmup=inference.warmup, draws=inference.draws, gates=tuple(gates))


def _khat(chains: Sequence[float | None]) -> inputs.Gate:
    worst = None if None in chains else max(k for k in chains if k is not None)
    return inputs.Gate(
        name="khat",
        meaning="How well Pathfinder's warm start approximates the posterior; it is only a starting point here.",
        value=worst,
        rule="below",
        threshold=0.7,
        passed=worst is not None and worst < 0.7,
        stops=False,
    )


def _rule(text: str) -> Literal["below", "at_most", "above"]:
    rules: dict[str, Literal["below", "at_most", "above"]] = {"below": "below", "at_most": "at_most", "above": "above"}
    return rules[text]


def _data(spec: Spec, data: Panel, files: _Artifacts) -> inputs.Data:
    refused = files.rows(REJECTIONS)
    reasons = Counter(row["reason"] for row in refused)
    examples = {row["reason"]: row for row in reversed(refused)}
    roles: tuple[tuple[Literal["kpi", "media", "control"], Sequence[Any]], ...] = (
        ("kpi", spec.data.outcomes),
        ("media", spec.data.media),
        ("control", spec.data.controls),
    )
    return inputs.Data(
        rows_used=len(data.periods) * len(data.locations),
        span=_span(data.periods[0], data.periods[-1], spec),
        refusals=tuple(
            inputs.Refusal(
                reason=reason, rows=reasons[reason],
                example=f"line {examples[reason]['line']}, {examples[reason]['column']}",
            )
            for reason in sorted(reasons)
        ),
        variables=tuple(
            inputs.Variable(name=column.name, role=role, unit=column.unit)
            for role, columns in roles
            for column in columns
        ),
        origin=spec.data.origin,
        licence=spec.data.licence,
    )  # fmt: skip


def _limits(spec: Spec, record: Record, files: _Artifacts) -> tuple[str, ...]:
    limits = ["Calibration scores are pooled over locations, so coverage is marginal over them and not per location."]
    if spec.point == "relative_median":
        limits.append(
            "MAPE is of the declared point forecast (forecast/point.parquet), the (-1)-median, which is made for that "
            "error and lies below the median; what is drawn and summed is the median."
        )
    widest = max(record.interval_widening)
    if widest > 1.0:
        limits.append(
            f"Intervals are up to {widest:.2f} times as wide because of the change of {record.re_anchored_at}; windows "
            "of the backtest after that change are widened by the same rule."
        )
    if record.total is not None and record.total_without is not None:
        shown, without, unit = record.total, record.total_without, spec.data.kpi.unit
        limits.append(
            f"Had nothing followed from the breaks found, the total would be {without.median:,.0f} {unit} "
            f"({without.low:,.0f} to {without.high:,.0f}) and not {shown.median:,.0f} ({shown.low:,.0f} to "
            f"{shown.high:,.0f}), both before calibration; forecast/without.parquet has the whole table."
        )
    if len(spec.data.locations) == 1:
        limits.append("One national series: media effects rest on variation over time alone.")
    for when in ("prepare", "effects"):
        warnings = [row for row in files.rows(f"{when}/findings.parquet") if row["severity"] == "warning"]
        limits += [
            f"{row['subject']}: {row['what']}: expected {row['expected']}, found {row['found']}." for row in warnings
        ]
    return tuple(limits)


STAGE = Stage(
    "report",
    reads=(
        INGESTED, TABLE, CHOICES, REJECTIONS, VERDICT, SPEC, RECEIPT, "adapt/forecasts.parquet",
        "calibrate/rolling_origins.parquet", "calibrate/scorecard_rolling.parquet",
        "calibrate/scorecard_holdout.parquet", "calibrate/coverage_rolling.parquet",
        "calibrate/coverage_holdout.parquet", "detect/changes.parquet",
        "hazard/calibration.json", "hazard/reliability.parquet",
        "fit/gates.json", "effects/contributions.parquet", "effects/findings.parquet", "prepare/findings.parquet",
        "forecast",
    ),
    run=_run,
)  # fmt: skip
