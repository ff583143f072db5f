"""hazard and detect as stages: what they write, what they state to have read, and what was known at each origin."""

from __future__ import annotations

import json
import random
import shutil
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest
import yaml

from audit.errors import Malformed
from engine.hazard import Calibration
from engine.spec import period_dates
from engine.table import read_parquet, write_parquet
from engine.verdict import Verdict
from registry import regimes
from stages import progress, stage
from stages.stage import Context
from stages.workers import Workers
from tests import small
from tests.fresh import REPOSITORY

CLOCK = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
FIRST, WEEKS, BREAK = 20, 60, 40  # periods before the first residual; residuals; the index at which they move
EVENT = "agency_change_2022"


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> Context:
    """A project up to its backtest, whose residuals move by four sd at BREAK, and both stages run on it."""
    root = tmp_path_factory.mktemp("project")
    raw = small.raw()
    raw["detect"].update(window=8, registered={**raw["detect"]["registered"], "channels": ["all"], "match_days": 28})
    (root / "params.yaml").write_text(yaml.safe_dump({"forecasts": ["small"], "specs": {"small": raw}}), "utf-8")
    shutil.copytree(REPOSITORY / "golden" / "national" / "project" / "registry", root / "registry")
    (root / "data" / "labelled").mkdir(parents=True)
    shutil.copy(REPOSITORY / "data" / "labelled" / "nile.json", root / "data" / "labelled")
    made = Context(
        root=root,
        home=root / ".noptik",
        forecast="small",
        workers=Workers(0, None, progress.Progress(quiet=True)),
        fingerprint_sha256="f" * 64,
        source=None,
        key=None,
        clock=lambda: CLOCK,
        metadata=stage.here,
    )
    for name, text in (("spec.json", made.declared()), ("receipt.json", b"{}"), ("private.json", b"[]")):
        made.artifact("register").mkdir(parents=True, exist_ok=True)
        made.artifact(f"register/{name}").write_bytes(text)
    made.artifact("backtest").mkdir()
    write_parquet(residuals(root), made.artifact("backtest/one_step.parquet"))
    for name in ("hazard", "detect"):
        stage.run(stage.load(name), made)
    return made


def residuals(root: Path) -> pa.Table:
    """Two locations; the event of the registry lies in the week of the break."""
    known = regimes.load(root / "registry" / "regimes").events
    (event,) = (each for each in known if each.id == EVENT)
    start = event.first.toordinal() - 7 * BREAK
    draw = random.Random(3)
    rows = [
        {"origin": 20, "period": period, "location": name, "residual": draw.gauss(0, 1) + 4.0 * (t >= BREAK)}
        for t, period in enumerate(period_dates(event.first.fromordinal(start), 7, WEEKS))
        for name in ("a", "b")
    ]
    return pa.Table.from_pylist(rows)


def read(context: Context, stage_name: str) -> list[str]:
    found = json.loads(context.artifact(f"statements/{stage_name}.json").read_bytes())
    return [each["name"] for each in found["predicate"]["buildDefinition"]["resolvedDependencies"]]


def test_hazard_writes_its_calibration_and_tables(context: Context) -> None:
    found = Calibration.model_validate_json(context.artifact("hazard/calibration.json").read_bytes())
    assert found.real_series == ("nile",)
    assert (found.simulated_series, found.groups) == (2, 3)
    assert found.registry_sha256 == regimes.load(context.root / "registry" / "regimes").digest
    scores = read_parquet(context.artifact("hazard/scores.parquet")).to_pylist()
    assert [row["group"] for row in scores] == [EVENT, "fee_announcement_2022", "nile"]
    assert sum(row["periods"] for row in scores) == found.periods
    bins = read_parquet(context.artifact("hazard/reliability.parquet")).to_pylist()
    assert sum(row["cases"] for row in bins) == 2 * found.periods  # calibrated, and the detector's own


def test_both_state_the_registry_and_hazard_its_labelled_series_too(context: Context) -> None:
    files = regimes.files(context.root, "registry/regimes")
    assert set(files) <= set(read(context, "hazard"))
    assert set(files) <= set(read(context, "detect"))
    assert "data/labelled/nile.json" in read(context, "hazard")
    assert "artifacts/small/register/receipt.json" in read(context, "hazard")
    assert {"artifacts/small/hazard/calibration.json", "artifacts/small/register/private.json"} <= set(
        read(context, "detect")
    )


def test_the_break_is_found_and_matched(context: Context) -> None:
    found = Verdict.model_validate_json(context.artifact("detect/verdict.json").read_bytes())
    calibration = Calibration.model_validate_json(context.artifact("hazard/calibration.json").read_bytes())
    assert (found.hazard, found.threshold) == (calibration.hazard, calibration.threshold)
    lasting = [each for each in found.findings if each.lasting]
    assert [(each.event, each.cause, each.consequence) for each in lasting] == [
        (EVENT, "registered_change", "re_anchor")
    ]
    changes = read_parquet(context.artifact("detect/changes.parquet")).to_pylist()
    assert len(changes) == WEEKS
    assert lasting[0].probability in {row["calibrated_probability"] for row in changes}


def test_origins_hold_what_was_known_and_only_where_something_followed(context: Context) -> None:
    rows = json.loads(context.artifact("detect/origins.json").read_bytes())
    final = Verdict.model_validate_json(context.artifact("detect/verdict.json").read_bytes())
    assert rows
    for row in rows:
        found = Verdict.model_validate_json(json.dumps(row["verdict"]))
        assert any(each.consequence != "keep" for each in found.findings)
        noticed = {each.alarm for each in final.findings}
        assert {each.alarm for each in found.findings} <= noticed
    lasting = [row["origin"] for row in rows if any(each["event"] == EVENT for each in row["verdict"]["findings"])]
    assert min(lasting) > FIRST + BREAK  # not before it happened
    assert lasting[0] <= FIRST + BREAK + 8  # and soon after
    assert lasting == sorted(lasting)


def test_a_labelled_series_that_is_none_is_refused(context: Context) -> None:
    path = context.root / "data" / "labelled" / "other.json"
    path.write_bytes(b'{"name": "other"}')
    try:
        with pytest.raises(Malformed, match=r"other\.json"):
            stage.run(stage.load("hazard"), context)
    finally:
        path.unlink()
