"""adapt: windows after a break in the place of the first ones, and nothing else changed."""

from __future__ import annotations

import pyarrow as pa
import pytest

from engine import backtest
from stages.adapt import _replaced
from tests import past, small

SPEC = small.spec()
PANEL = small.panel(SPEC)
WINDOWS = past.windows(SPEC, PANEL)
FIRST = backtest.forecasts_table(SPEC, PANEL, WINDOWS)


@pytest.mark.parametrize("places", [(), (0,), (2, 4), tuple(range(len(WINDOWS)))])
def test_replaced_windows_take_the_place_of_their_own_origins(places: tuple[int, ...]) -> None:
    again = [WINDOWS[k]._replace(quantiles=WINDOWS[k].quantiles + 1.0) for k in places]
    found = _replaced(FIRST, backtest.forecasts_table(SPEC, PANEL, again))
    expected = [again[places.index(k)] if k in places else window for k, window in enumerate(WINDOWS)]
    assert found.equals(backtest.forecasts_table(SPEC, PANEL, expected))


def test_without_a_break_the_table_is_the_backtests_own() -> None:
    none = backtest.forecasts_table(SPEC, PANEL, [])
    assert isinstance(none, pa.Table)
    assert none.schema == FIRST.schema
    assert _replaced(FIRST, none).equals(FIRST)
