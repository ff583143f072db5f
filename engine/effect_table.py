"""The form that tables of effects share: what it is of, and the mean, sd, level, lower and upper of its draws.

level, lower, upper: of the highest-density interval (`engine.density_interval`). ALL stands for all locations, or all
channels, together; a location has rows of its own where there are several.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa

from engine.density_interval import Summary
from engine.spec_data import DataSpec

ALL = ""

TEXT, NUMBER, DATE, WHOLE, YES = pa.string(), pa.float64(), pa.date32(), pa.int64(), pa.bool_()
SUMMARY = ("mean", "sd", "level", "lower", "upper")

Row = tuple[object, ...]


def schema(*fields: tuple[str, pa.DataType], may_lack: Sequence[str] = ()) -> pa.Schema:
    """Fields in their order, none of them nullable but those that `may_lack` names."""
    return pa.schema([pa.field(name, kind, nullable=name in may_lack) for name, kind in fields])


def numbers() -> Iterator[tuple[str, pa.DataType]]:
    """The fields of a summary."""
    for name in SUMMARY:
        yield name, NUMBER


def summary(found: Summary, level: float, *place: int) -> Row:
    """The values of those fields, of what lies at `place`."""
    return (
        float(found.mean[place]), float(found.sd[place]), level, float(found.lower[place]), float(found.upper[place])
    )  # fmt: skip


def table(of: pa.Schema, rows: Sequence[Row]) -> pa.Table:
    """`rows` as a table of the schema `of`."""
    columns = list(zip(*rows, strict=True)) if rows else [()] * len(of)
    arrays = [pa.array(list(column), field.type) for column, field in zip(columns, of, strict=True)]
    return pa.Table.from_arrays(arrays, schema=of)


def together(data: DataSpec, draws: np.ndarray, which: tuple[int, ...]) -> np.ndarray:
    """Summed over the locations `which`: (draw, S, ...) -> (draw, O, ...)."""
    by_place = draws.reshape(draws.shape[0], len(data.locations), len(data.outcomes), *draws.shape[2:])
    total = by_place[:, which[0]]
    for place in which[1:]:
        total = total + by_place[:, place]
    return total


def places(data: DataSpec) -> tuple[tuple[str, tuple[int, ...]], ...]:
    """ALL and, where there are several, each location: its name, and the places of its locations."""
    everywhere = (ALL, tuple(range(len(data.locations))))
    if len(data.locations) == 1:
        return (everywhere,)
    return (everywhere, *((name, (place,)) for place, name in enumerate(data.locations)))
