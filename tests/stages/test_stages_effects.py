"""effects: every table that the model's parts have, its columns documented, the same bytes again."""

from __future__ import annotations

import importlib
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from engine import posterior
from engine.fit import Chain
from engine.table import read_parquet
from engine.verdict import Verdict
from stages import effects as stage
from stages.progress import Progress
from stages.stage import Context, here
from stages.workers import Workers
from tests import small_effects
from tests.small_effects import Case

ALWAYS = {
    "contributions", "contributions_by_period", "decomposition", "decomposition_by_period", "returns", "curves",
    "half_saturation", "controls", "findings",
}  # fmt: skip
SOMETIMES = {"mediation", "cross_effects", "correlations", "reallocations", "reallocation_gains"}
PLAN: dict[str, Any] = {
    "name": "plan", "utility": {"kind": "expected"}, "total": 1.0, "low": 0.5, "high": 2.0, "bounds": [], "draws": 4,
}  # fmt: skip
QUIET = Verdict(findings=(), hazard=0.01, threshold=0.5, registry_sha256="0" * 64, registered_events=0)


def _context(root: Path) -> Context:
    return Context(
        root=root, home=root, forecast="small", workers=Workers(0, None, Progress()), fingerprint_sha256="0" * 64,
        source=None, key=None, clock=lambda: datetime(2026, 1, 1, tzinfo=UTC), metadata=here,
    )  # fmt: skip


def _ran(of: Case, root: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """What the stage leaves, by name; the posterior on disk is the case's draws, as two chains."""
    context = _context(root)
    half = small_effects.DRAWS // 2
    said = {"diverging": np.zeros(half, bool), "energy": np.zeros(half), "steps": np.ones(half, np.int64), "khat": 0.1}
    chains = [Chain(jax.tree.map(lambda x, at=at: x[at : at + half], of.draws), **said) for at in (0, half)]
    context.artifact("fit").mkdir(parents=True)
    posterior.write(context.artifact("fit") / "posterior.zarr", chains, {})
    monkeypatch.setattr(stage, "model_spec", lambda _: of.spec)
    monkeypatch.setattr(stage, "panel", lambda _: of.panel)
    monkeypatch.setattr(stage, "verdict", lambda _: QUIET)
    out = root / "out"
    out.mkdir()
    stage.STAGE.run(context, out)
    return {path.stem: path.read_bytes() for path in out.iterdir()}


def test_every_part_of_the_model_has_its_tables_and_they_are_the_same_bytes_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = small_effects.spec("portfolio", effects__reallocations=[PLAN])
    of = small_effects.case("portfolio")._replace(spec=spec)
    first = _ran(of, tmp_path / "first", monkeypatch)
    assert set(first) == ALWAYS | SOMETIMES
    assert _ran(of, tmp_path / "again", monkeypatch) == first
    rows = read_parquet(tmp_path / "first" / "out" / "contributions.parquet").to_pylist()
    whole = of.found.contributions.window[..., -1].reshape(small_effects.DRAWS, 2, 2)[:, :, 0].sum(axis=1)
    found = next(r for r in rows if (r["location"], r["outcome"], r["channel"]) == ("", "sales", ""))
    np.testing.assert_allclose(found["mean"], whole.mean(), rtol=1e-12)


def test_what_the_model_does_not_have_has_no_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert set(_ran(small_effects.case("everything"), tmp_path, monkeypatch)) == ALWAYS


def test_every_table_and_column_is_documented_where_the_stage_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = small_effects.spec("portfolio", effects__reallocations=[PLAN])
    _ran(small_effects.case("portfolio")._replace(spec=spec), tmp_path, monkeypatch)
    places = re.findall(r"^    ([a-z_, ]+?)  +(engine\.[a-z_]+)", str(stage.__doc__), re.MULTILINE)
    documented = {name: place for names, place in places for name in names.split(", ")}
    assert set(documented) == ALWAYS | SOMETIMES | {"selection"}
    for name in ALWAYS | SOMETIMES:
        told = str(importlib.import_module(documented[name]).__doc__)
        described = re.search(rf"^{name}: (.*?)(?=^[a-z_]+: |\Z)", told, re.MULTILINE | re.DOTALL)
        assert described is not None, name
        missing = [c for c in read_parquet(tmp_path / "out" / f"{name}.parquet").column_names
                   if not re.search(rf"\b{c}\b", described.group(1))]  # fmt: skip
        assert not missing, (name, missing)
