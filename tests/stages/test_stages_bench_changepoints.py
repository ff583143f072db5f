"""The bench of change-points on a dataset of two series, and its alarms against the engine's."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path

import numpy as np
import pytest

from engine.changepoint import Alarming, online
from stages import bench_changepoints
from stages.bench_changepoints import ChangePoints, alarms, dataset
from stages.stage import load_params

REPOSITORY = Path(__file__).resolve().parents[2]
DECLARED = ChangePoints.model_validate(load_params(REPOSITORY)["change_points"])

COLUMNS = "series," + ",".join(f"{name}_{score}" for name in bench_changepoints.PUBLISHED for score in ("f1", "cover"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A step at 30 in two dimensions with a value missing, a series nothing is published of, one nobody annotated."""
    rng = np.random.default_rng(0)
    (tmp_path / "series").mkdir()
    step = rng.normal(size=60) + 8.0 * (np.arange(60) >= 30)
    for name, dimensions in (("step", [step, -step]), ("flat", [rng.normal(size=60)]), ("alone", [step])):
        raw = [[None if t == 5 else float(x) for t, x in enumerate(column)] for column in dimensions]
        series = {"name": name, "n_obs": 60, "series": [{"raw": column} for column in raw]}
        (tmp_path / "series" / f"{name}.json").write_text(json.dumps(series), "utf-8")
    marked = {"step": {"6": [30], "7": []}, "flat": {"6": []}}
    (tmp_path / "annotations.json").write_text(json.dumps(marked), "utf-8")
    scores = f"{COLUMNS}\nstep,0.5,0.25,0.75,0.5,0.6,0.7,1.0,1.0\n"
    (tmp_path / "published_scores.csv").write_text(scores, "utf-8")
    return tmp_path


def test_every_series_found_is_scored_beside_what_is_published(folder: Path) -> None:
    rows = {row.what: row for row in dataset(folder, DECLARED)}
    assert rows["tcpd alone"].value == "skipped"
    assert rows["tcpd flat: F1 / covering"] == (
        "tcpd flat: F1 / covering",
        "1.000 / 1.000",
        "nothing published; starts none",
    )
    # precision 1, recalls 1 and 1; covering 1 and 1/2
    assert rows["tcpd step: F1 / covering"].value == "1.000 / 0.750"
    note = "bocpd default 0.500 / 0.250, binseg default 0.750 / 0.500, zero 0.600 / 0.700, bocpd oracle 1.000 / 1.000"
    assert rows["tcpd step: F1 / covering"].note == f"{note}; starts 30"
    assert rows["tcpd mean of 2: F1 / covering"].value == "1.000 / 0.875"
    mean = rows["tcpd mean of the 1 published: F1 / covering"]
    assert (mean.value, mean.note) == ("1.000 / 0.750", note)


def test_an_absent_dataset_is_said(tmp_path: Path) -> None:
    (row,) = dataset(tmp_path / "tcpd", DECLARED)
    assert row.value == "absent"
    assert str(tmp_path / "tcpd") in row.note
    assert "NOPTIK_SHARED_DATA" in row.note


def test_the_dataset_is_looked_for_where_the_tests_look(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("NOPTIK_SHARED_DATA", raising=False)
    assert bench_changepoints._shared(tmp_path / "main") == tmp_path / "shared" / "data"
    monkeypatch.setenv("NOPTIK_SHARED_DATA", str(tmp_path / "other"))
    assert bench_changepoints._shared(tmp_path / "main") == tmp_path / "other"


def test_alarms_counted_are_the_engines() -> None:
    watching = DECLARED.online
    alarming = Alarming(watching.hazard, watching.window, watching.threshold)
    panel = np.random.default_rng(1).normal(size=(6, 104))
    panel[:, 60:] += 2.5 * np.arange(6)[:, None]
    raised = bench_changepoints._begins(bench_changepoints._above(panel, watching.segments, alarming))
    for row, found in zip(panel, raised, strict=True):
        assert np.flatnonzero(found).tolist() == [a.period for a in online(row, watching.segments, alarming).alarms]
    assert raised.sum() >= 4


def test_rates_and_delays_are_of_the_declared_detector() -> None:
    watching = DECLARED.online
    rows = list(alarms("x", watching.segments, watching, series=24, years=2))
    rate, implied = float(rows[0].value), watching.hazard * bench_changepoints.WEEKS
    assert rate <= implied + 3 * math.sqrt(implied / 48)
    assert f"the hazard implies {implied:.3f}" in rows[0].note
    assert [row.what for row in rows[1:]] == [f"x: delay after {size} sd, weeks" for size in (1, 2, 4)]
    medians = [int(row.value.split(", ")[1]) for row in rows[1:]]
    assert medians == sorted(medians, reverse=True)
    assert medians[-1] <= 1
    assert re.search(r"; 0 of 2\d not within a year$", rows[-1].note)
