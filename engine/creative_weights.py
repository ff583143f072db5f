"""Arrays of a safetensors file, read with NumPy alone: a length, a JSON header, and the numbers as they lie.

The file's layout: 8 bytes, the header's length n, unsigned and little-endian; n bytes of JSON, an object that gives for
each name `dtype`, `shape` and `data_offsets` [begin, end) into what follows. Only F32 is read; other types are left.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any, TypeGuard

import numpy as np
import numpy.typing as npt

from engine.creative_errors import EmbeddingError

MAX_HEADER = 100_000_000  # bytes: the format's own limit
_SIZE = 8

Weights = Mapping[str, npt.NDArray[np.float32]]


def parse(raw: bytes) -> Weights:
    """Every F32 array by name; views of `raw`, not writable. Raises EmbeddingError for what is not such a file."""
    length = int.from_bytes(raw[:_SIZE], "little")
    if len(raw) < _SIZE or length > min(MAX_HEADER, len(raw) - _SIZE):
        raise EmbeddingError(f"weights: expected a header within {len(raw)} bytes, found one of {length}")
    try:
        header = json.loads(raw[_SIZE : _SIZE + length])
    except (ValueError, RecursionError) as error:
        raise EmbeddingError(f"weights: expected a header in JSON, found {error}") from error
    if not isinstance(header, dict):
        raise EmbeddingError(f"weights: expected an object as header, found {type(header).__name__}")
    data = memoryview(raw)[_SIZE + length :]
    return {
        name: _array(name, entry, data)
        for name, entry in header.items()
        if isinstance(entry, dict) and entry.get("dtype") == "F32"
    }


def _array(name: str, entry: Mapping[str, Any], data: memoryview) -> npt.NDArray[np.float32]:
    shape, offsets = entry.get("shape"), entry.get("data_offsets")
    if not _counts(shape) or not _counts(offsets) or len(offsets) != 2:
        raise EmbeddingError(f"weights: {name!r}: expected a shape and two offsets, found {shape!r} and {offsets!r}")
    begin, end = offsets
    if end - begin != 4 * math.prod(shape) or end > len(data):
        size = f"{4 * math.prod(shape)} bytes within {len(data)}"
        raise EmbeddingError(f"weights: {name!r}: expected {size}, found {begin} to {end}")
    return np.frombuffer(data[begin:end], "<f4").reshape(shape)


def _counts(value: Any) -> TypeGuard[list[int]]:
    return isinstance(value, list) and all(type(each) is int and each >= 0 for each in value)
