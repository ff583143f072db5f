"""How far two artifacts are apart is counted in doubles, and what is no number must be equal."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.table import write_parquet
from stages import compare as compare_module
from stages.compare import Deviation, IncomparableError, compare, main
from tests.fresh import REPOSITORY, defaults

FINITE = st.floats(allow_nan=False, allow_infinity=False)


def as_json(folder: Path, name: str, value: object) -> Path:
    path = folder / f"{name}.json"
    path.write_text(json.dumps(value), "utf-8")
    return path


def as_table(folder: Path, file: str, values: list[float], **more: list[str]) -> Path:
    path = folder / f"{file}.parquet"
    write_parquet(pa.table({"x": pa.array(values, pa.float64()), **{k: pa.array(v) for k, v in more.items()}}), path)
    return path


def as_zarr(folder: Path, name: str, values: np.ndarray) -> Path:
    path = folder / f"{name}.zarr"
    group = zarr.create_group(store=zarr.storage.LocalStore(path), zarr_format=3)
    group.create_array("x", shape=values.shape, dtype=values.dtype, chunks=values.shape)[...] = values
    return path


@settings(max_examples=60, deadline=None, derandomize=True)
@given(FINITE)
def test_a_number_is_no_distance_from_itself_and_one_ulp_from_its_neighbour(value: float) -> None:
    order = compare_module._order
    above = math.nextafter(value, math.inf)
    assert order(-value) == -order(value)
    if math.isfinite(above):
        assert order(above) - order(value) == 1


def test_both_zeros_are_one_number(tmp_path: Path) -> None:
    assert compare(as_json(tmp_path, "a", [0.0]), as_json(tmp_path, "b", [-0.0])) == Deviation(0.0, 0)
    tiny = 5e-324
    assert compare(as_json(tmp_path, "a", [tiny]), as_json(tmp_path, "b", [-tiny])) == Deviation(2.0, 2)


def test_the_largest_deviation_of_a_table_is_found(tmp_path: Path) -> None:
    values = [1.0, 2.0, 3.0]
    moved = [math.nextafter(1.0, 2.0), 2.0, math.nextafter(math.nextafter(3.0, 9.0), 9.0)]
    found = compare(as_table(tmp_path, "a", values), as_table(tmp_path, "b", moved))
    assert found.max_ulp == 2
    assert found.max_rel == pytest.approx(2.0**-51 * 2 / 3)


def test_one_ulp_in_a_posterior_is_seen(tmp_path: Path) -> None:
    values = np.arange(24, dtype=np.float64).reshape(2, 4, 3) + 1.0
    moved = values.copy()
    moved[1, 2, 0] = np.nextafter(moved[1, 2, 0], 0.0)
    assert compare(as_zarr(tmp_path, "a", values), as_zarr(tmp_path, "b", moved)).max_ulp == 1
    assert compare(as_zarr(tmp_path, "c", values), as_zarr(tmp_path, "d", values)) == Deviation(0.0, 0)


def test_nan_is_comparable_to_nothing_but_equal_infinities_are_equal(tmp_path: Path) -> None:
    infinite = [as_table(tmp_path, name, [math.inf, 1.0]) for name in "ab"]
    assert compare(*infinite) == Deviation(0.0, 0)
    with pytest.raises(IncomparableError):
        compare(infinite[0], as_table(tmp_path, "c", [1.0, 1.0]))
    with pytest.raises(IncomparableError):
        compare(infinite[0], as_table(tmp_path, "c", [math.nan, 1.0]))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"a": 1.0}, {"b": 1.0}),
        ({"a": "x"}, {"a": "y"}),
        ({"a": [1.0]}, {"a": [1.0, 2.0]}),
        ({"a": 1.0}, {"a": None}),
        ({"a": True}, {"a": False}),
        ({"a": [[1.0], [2.0, 3.0]]}, {"a": [[1.0, 2.0], [3.0]]}),
    ],
)
def test_what_differs_in_more_than_numbers_is_not_comparable(tmp_path: Path, one: object, other: object) -> None:
    with pytest.raises(IncomparableError):
        compare(as_json(tmp_path, "a", one), as_json(tmp_path, "b", other))


def test_other_columns_rows_text_or_kind_are_not_comparable(tmp_path: Path) -> None:
    base = as_table(tmp_path, "a", [1.0, 2.0], name=["p", "q"])
    for other in (
        as_table(tmp_path, "b", [1.0], name=["p"]),
        as_table(tmp_path, "c", [1.0, 2.0], name=["p", "z"]),
        as_table(tmp_path, "d", [1.0, 2.0], other=["p", "q"]),
        as_zarr(tmp_path, "e", np.ones(2)),
    ):
        with pytest.raises(IncomparableError):
            compare(base, other)
    page = tmp_path / "page.html"
    page.write_text("<p>", "utf-8")
    with pytest.raises(IncomparableError, match="no numbers in"):
        compare(page, page)


def test_arrays_of_another_shape_are_not_comparable(tmp_path: Path) -> None:
    with pytest.raises(IncomparableError):
        compare(as_zarr(tmp_path, "a", np.ones((2, 3))), as_zarr(tmp_path, "b", np.ones((3, 2))))


def test_the_command_prints_canonical_json_or_says_why_not(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one, other = as_json(tmp_path, "a", [1.0]), as_json(tmp_path, "b", [1.5])
    assert main([str(one), str(other)]) == 0
    assert json.loads(capsys.readouterr().out) == {"max_rel": 0.3333333333333333, "max_ulp": 2**51}
    assert main([str(one), str(as_json(tmp_path, "c", ["x"]))]) == 1
    assert "not comparable" in capsys.readouterr().err
    assert main([str(one), str(tmp_path / "absent.json")]) == 1


def test_it_runs_as_a_program_of_its_own(tmp_path: Path) -> None:
    line = [sys.executable, "-m", "stages.compare", str(as_json(tmp_path, "a", [1])), str(as_json(tmp_path, "b", [1]))]
    done = subprocess.run(line, cwd=REPOSITORY, env=defaults(), capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (0, '{"max_rel":0,"max_ulp":0}\n')
