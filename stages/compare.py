"""How far apart the numbers of two artifacts are: `python -m stages.compare EXPECTED FOUND` prints it as JSON.

max_ulp counts the doubles between two numbers, max_rel is |a - b| / max(|a|, |b|). Artifacts that are not comparable
number by number (another shape, other text, another kind) give exit code 1.
"""

from __future__ import annotations

import json
import math
import struct
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import zarr
from zarr.storage import LocalStore

from audit import canonical
from engine.posterior import MAX_BYTES
from engine.table import read_parquet


class IncomparableError(Exception):
    """The artifacts differ in more than their numbers."""


class Deviation(NamedTuple):
    """The largest over all pairs of numbers."""

    max_rel: float
    max_ulp: int


def compare(expected: Path, found: Path) -> Deviation:
    """The deviation of two tables, Zarr groups or JSON files. Raises IncomparableError."""
    rel, ulp = 0.0, 0
    for a, b in _pairs(list(_leaves(expected)), list(_leaves(found))):
        distance = abs(_order(a) - _order(b))
        largest = max(abs(a), abs(b))
        if distance and not (math.isfinite(a) and math.isfinite(b)):
            raise IncomparableError(f"{a} and {b}")
        rel = max(rel, abs(a - b) / largest if largest else 0.0)
        ulp = max(ulp, distance)
    return Deviation(rel, ulp)


def _pairs(expected: list[object], found: list[object]) -> Iterator[tuple[float, float]]:
    if len(expected) != len(found):
        raise IncomparableError(f"{len(expected)} values and {len(found)}")
    for a, b in zip(expected, found, strict=True):
        if isinstance(a, float) and isinstance(b, float):
            yield a, b
        elif a != b:
            raise IncomparableError(f"{a!r} and {b!r}")


def _leaves(path: Path) -> Iterable[object]:
    """Every value of an artifact in a fixed order; numbers as floats where they are measured."""
    if path.is_dir():
        return _zarr(path)
    if path.suffix == ".parquet":
        table = read_parquet(path)
        return [*table.schema.names, *(v for column in table.columns for v in column.to_pylist())]
    if path.suffix == ".json":
        return _json(json.loads(path.read_bytes()))
    raise IncomparableError(f"no numbers in {path.name}")


def _json(value: object) -> Iterator[object]:
    if isinstance(value, dict):
        for key in sorted(value):
            yield key
            yield from _json(value[key])
    elif isinstance(value, list):
        yield len(value)
        for item in value:
            yield from _json(item)
    else:
        yield float(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


def _zarr(path: Path) -> Iterator[object]:
    group = zarr.open_group(LocalStore(path, read_only=True), mode="r")
    if (size := sum(array.nbytes for _, array in group.arrays())) > MAX_BYTES:
        raise IncomparableError(f"{path.name}: expected at most {MAX_BYTES} bytes, found {size}")
    for name, array in sorted(group.arrays()):
        values = np.asarray(array[...])
        yield f"{name} {values.shape}"
        yield from (values.astype(np.float64) if values.dtype.kind != "f" else values).ravel().tolist()


def _order(value: float) -> int:
    """An integer that counts doubles: neighbours differ by one, and both zeros are one."""
    (bits,) = struct.unpack(">q", struct.pack(">d", value))
    return bits if bits >= 0 else -(bits & 0x7FFFFFFFFFFFFFFF)


def main(argv: list[str]) -> int:
    """Prints {"max_rel", "max_ulp"} in canonical JSON, or says why there is none."""
    try:
        found = compare(Path(argv[0]), Path(argv[1]))
    except (IncomparableError, OSError, ValueError) as error:
        print(f"not comparable: {error}", file=sys.stderr)
        return 1
    print(canonical.encode({"max_rel": found.max_rel, "max_ulp": found.max_ulp}).decode())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
