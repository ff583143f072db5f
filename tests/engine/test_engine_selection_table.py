"""Tables of controls: what the draws say, summarised as declared."""

from __future__ import annotations

import numpy as np
import pytest

from engine.controls import ControlParameters
from engine.selection_table import CONTROLS, NUMBERS, controls_table, numbers_table
from tests.small_controls import columns, data, declared, horseshoe, lasso, spike_slab

LEVEL = 0.9
TABLE = data((*columns("q", 1, "confounder"), *columns("p", 3, "precision")), outcomes=("sales", "visits"))


def draws(shrinkage: int = 0, inclusion: int = 0, count: int = 40) -> ControlParameters:
    draw = np.random.default_rng(1)
    shares = draw.uniform(size=(count, 3, 2))
    return ControlParameters(draw.normal(size=(count, 4, 2)), shares[:, :shrinkage], shares[:, :inclusion])


def test_every_control_and_outcome_has_a_row_in_the_tables_order() -> None:
    table = controls_table(declared(lasso(3)), TABLE, draws(), LEVEL)
    assert table.schema.equals(CONTROLS)
    assert table.column("control").to_pylist() == [n for n in ("q0", "p0", "p1", "p2") for _ in range(2)]
    assert table.column("outcome").to_pylist() == ["sales", "visits"] * 4
    assert table.column("selected").to_pylist() == [False] * 2 + [True] * 6
    assert table.column("inclusion").null_count == 8


def test_inclusion_is_what_the_horseshoe_does_not_shrink() -> None:
    p = draws(shrinkage=3)
    prior = horseshoe(3).model_copy(update={"controls": ("p2", "p0", "p1")})
    table = controls_table(declared(prior), TABLE, p, LEVEL)
    rows = {(r["control"], r["outcome"]): r["inclusion"] for r in table.to_pylist()}
    assert rows["q0", "sales"] is None
    assert rows["p2", "visits"] == pytest.approx(1.0 - np.mean(p.shrinkage[:, 0, 1]), rel=1e-12)
    assert rows["p0", "sales"] == pytest.approx(1.0 - np.mean(p.shrinkage[:, 1, 0]), rel=1e-12)


def test_inclusion_is_the_share_in_the_slab() -> None:
    p = draws(inclusion=3)
    rows = controls_table(declared(spike_slab(3)), TABLE, p, LEVEL).to_pylist()
    assert rows[2]["inclusion"] == pytest.approx(np.mean(p.inclusion[:, 0, 0]), rel=1e-12)


def test_the_effective_number_is_the_sum_over_controls_draw_by_draw() -> None:
    p = draws(shrinkage=3)
    table = numbers_table(declared(horseshoe(3)), TABLE, p, LEVEL)
    assert table.schema.equals(NUMBERS)
    number = np.sum(1.0 - p.shrinkage, axis=1)
    assert table.column("mean").to_pylist() == pytest.approx(np.mean(number, axis=0).tolist(), rel=1e-12)
    assert table.column("sd").to_pylist() == pytest.approx(np.std(number, axis=0, ddof=1).tolist(), rel=1e-12)
    assert table.column("expected").to_pylist() == [2.0, 2.0]
    shares = numbers_table(declared(spike_slab(3)), TABLE, draws(inclusion=3), LEVEL)
    assert shares.column("expected").to_pylist() == [pytest.approx(0.6)] * 2


def test_a_prior_that_does_not_select_has_no_number() -> None:
    assert numbers_table(declared(lasso(3)), TABLE, draws(), LEVEL).num_rows == 0
    assert numbers_table(declared(), TABLE, draws(), LEVEL).schema.equals(NUMBERS)


def test_coefficients_are_told_by_their_mean_sd_and_narrowest_interval() -> None:
    p = draws()
    row = controls_table(declared(), TABLE, p, LEVEL).to_pylist()[3]  # p0, visits
    values = p.control[:, 1, 1]
    assert row["mean"] == pytest.approx(np.mean(values), rel=1e-12)
    assert row["sd"] == pytest.approx(np.std(values, ddof=1), rel=1e-12)
    assert row["level"] == LEVEL
    assert np.mean((values >= row["lower"]) & (values <= row["upper"])) >= LEVEL
    assert row["upper"] - row["lower"] < np.quantile(values, 0.99) - np.quantile(values, 0.01)
