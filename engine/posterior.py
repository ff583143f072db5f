"""The posterior on disk: Zarr v3, every chunk checksummed, every byte determined by the draws.

Zarr checks nothing by default (a deleted chunk reads as the fill value), hence Zstandard with its content checksum,
explicit chunks, and `write_empty_chunks`. Layout: one array a parameter with dims (chain, draw, ...), the
sampler's statistics beside them, coordinates in the group's attributes.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from zarr.codecs import BytesCodec, ZstdCodec
from zarr.storage import LocalStore

from engine.errors import EngineError
from engine.fit import Chain
from engine.model import DIMS, Parameters, named, unnamed

ZSTD_LEVEL = 5
MAX_BYTES = 2**30  # of all arrays, decoded
STATISTICS = ("diverging", "energy", "steps")


class PosteriorError(EngineError):
    """A posterior on disk that is not what was written."""


def write(path: Path, chains: Sequence[Chain], coordinates: dict[str, Sequence[str]]) -> None:
    """`path` holds the chains as a Zarr group. Preconditions: path does not exist; chains of equal length."""
    group = zarr.create_group(
        store=LocalStore(path),
        zarr_format=3,
        attributes={"coordinates": {name: list(coordinates[name]) for name in sorted(coordinates)}},
    )
    drawn = [named(chain.parameters) for chain in chains]
    for name in sorted(DIMS):
        _array(group, name, np.stack([arrays[name] for arrays in drawn]), DIMS[name])
    for name in STATISTICS:
        _array(group, name, np.stack([getattr(chain, name) for chain in chains]), ())


def _array(group: zarr.Group, name: str, values: np.ndarray, dims: tuple[str, ...]) -> None:
    array = group.create_array(
        name,
        shape=values.shape,
        dtype=values.dtype,
        chunks=tuple(max(size, 1) for size in (1, *values.shape[1:])),  # one chunk a chain
        serializer=BytesCodec(endian="little") if values.dtype.itemsize > 1 else BytesCodec(),
        compressors=ZstdCodec(level=ZSTD_LEVEL, checksum=True),
        fill_value=values.dtype.type(0),
        dimension_names=("chain", "draw", *dims),
        attributes={},
        config={"write_empty_chunks": True},
    )
    array[...] = values


def read(path: Path) -> Parameters:
    """The draws at `path`, chains laid end to end: each (chain * draw, ...).

    Raises PosteriorError when an array, a chunk or a dimension is missing or damaged.
    """
    try:
        group = zarr.open_group(LocalStore(path, read_only=True), mode="r", zarr_format=3)
        _require_small(path, group)
        _require_equal_lengths(path, group)
        return unnamed({name: _read(path, group, name) for name in DIMS})
    except (KeyError, FileNotFoundError, ValueError, RuntimeError, TypeError) as error:
        raise PosteriorError(f"posterior {path}: expected a readable Zarr group, found: {error}") from error


def _require_small(path: Path, group: zarr.Group) -> None:
    """A few bytes of zeros can be described as any size: nothing is read before all of it would fit."""
    arrays: list[Any] = [group[name] for name in (*DIMS, *STATISTICS)]
    size = sum(array.nbytes for array in arrays)
    if size > MAX_BYTES:
        raise PosteriorError(f"posterior {path}: expected at most {MAX_BYTES} bytes, found {size}")


def _require_equal_lengths(path: Path, group: zarr.Group) -> None:
    """Zarr reads as many chains and draws as an array's own description says: all must say the same."""
    arrays: list[Any] = [group[name] for name in (*DIMS, *STATISTICS)]
    lengths = sorted({array.shape[:2] for array in arrays})
    if len(lengths) != 1:
        raise PosteriorError(f"posterior {path}: expected arrays of as many chains and draws, found {lengths}")


def _read(path: Path, group: zarr.Group, name: str) -> np.ndarray:
    array: Any = group[name]
    expected = ("chain", "draw", *DIMS[name])
    if array.metadata.dimension_names != expected:
        raise PosteriorError(
            f"posterior {path}, array {name}: expected dims {expected}, found {array.metadata.dimension_names}"
        )
    chunks = (1, *(max(size, 1) for size in array.shape[1:]))
    if array.dtype != np.float64 or array.chunks != chunks:
        raise PosteriorError(
            f"posterior {path}, array {name}: expected float64 in chunks {chunks}, "
            f"found {array.dtype} in {array.chunks}"
        )
    for chain in range(array.shape[0]):
        chunk = path / name / "c" / "/".join([str(chain), *["0"] * (len(array.shape) - 1)])
        if array.size and not chunk.is_file():  # Zarr would read it as the fill value
            raise PosteriorError(
                f"posterior {path}, array {name}: expected chunk {chunk.relative_to(path)}, found none"
            )
    values = np.asarray(array[...])
    return values.reshape(values.shape[0] * values.shape[1], *values.shape[2:])
