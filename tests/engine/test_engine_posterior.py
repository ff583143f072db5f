"""A posterior on disk is what was written, or it is refused: never other numbers."""

from __future__ import annotations

import json
import math
import random
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from engine.fit import Chain
from engine.model import DIMS, Parameters, named, unnamed
from engine.posterior import STATISTICS, PosteriorError, read, write
from tests.drawn import absent

CHAINS, DRAWS = 2, 50
SHAPES: dict[str, tuple[int, ...]] = {"level": (2,), "trend": (3, 2), "season": (2, 1), "event": (1, 1)}
SHAPES |= {"control": (0, 1), "beta": (2, 3), "adstock": (1, 3), "saturation": (1, 3), "rho": (), "sigma": (2,)}
SHAPES |= {"nu": (), "gap": (2,), "share": (), "factor": (1, 1), **absent(2, 3), "shift": (1, 2)}
COORDINATES: dict[str, Sequence[str]] = {
    "series": ["East", "West"],
    "channel": ["tv", "search", "radio"],
    "control": [],
    "event": ["xmas"],
}


def chain(seed: int) -> Chain:
    rng = np.random.Generator(np.random.PCG64(seed))
    draws = {name: rng.normal(size=(DRAWS, *shape)) for name, shape in SHAPES.items()}
    draws["nu"] = np.full(DRAWS, math.inf)
    draws["rho"] = np.zeros(DRAWS)  # equal to the fill value: written all the same
    energy, steps = rng.normal(size=DRAWS), np.arange(DRAWS, dtype=np.int64)
    return Chain(unnamed(draws), np.zeros(DRAWS, dtype=bool), energy, steps, 0.5)


CHAIN_LIST = [chain(c) for c in range(CHAINS)]


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    path = tmp_path / "posterior.zarr"
    write(path, CHAIN_LIST, COORDINATES)
    return path


def files(path: Path) -> dict[str, bytes]:
    return {str(p.relative_to(path)): p.read_bytes() for p in sorted(path.rglob("*")) if p.is_file()}


def same(found: Parameters) -> bool:
    """Whether `found` is what was written, to the last bit and shape."""
    written, again = [named(c.parameters) for c in CHAIN_LIST], named(found)
    expected = {name: np.concatenate([arrays[name] for arrays in written]) for name in DIMS}
    return set(again) == set(DIMS) and all(
        again[name].shape == array.shape and again[name].tobytes() == array.tobytes()
        for name, array in expected.items()
    )


def test_every_array_of_a_draw_has_a_name_of_its_own() -> None:
    arrays = named(CHAIN_LIST[0].parameters)
    assert set(arrays) == set(DIMS) == set(SHAPES)
    assert all(array.ndim == 1 + len(DIMS[name]) for name, array in arrays.items())
    again = named(unnamed(dict(reversed(arrays.items()))))
    assert all(again[name] is array for name, array in arrays.items())


def test_what_is_read_is_what_was_written(stored: Path) -> None:
    assert same(read(stored))


def test_the_same_draws_give_the_same_bytes(stored: Path, tmp_path: Path) -> None:
    write(tmp_path / "again.zarr", CHAIN_LIST, dict(reversed(COORDINATES.items())))
    assert files(tmp_path / "again.zarr") == files(stored)


def test_one_bit_of_one_draw_changes_the_bytes(stored: Path, tmp_path: Path) -> None:
    level = CHAIN_LIST[1].parameters.level.copy()
    level[7, 1] = np.nextafter(level[7, 1], 9.0)
    other = CHAIN_LIST[1]._replace(parameters=CHAIN_LIST[1].parameters._replace(level=level))
    write(tmp_path / "other.zarr", [CHAIN_LIST[0], other], COORDINATES)
    changed = {name for name, raw in files(stored).items() if files(tmp_path / "other.zarr")[name] != raw}
    assert changed == {"level/c/1/0/0"}


def test_chunks_that_hold_the_fill_value_are_written(stored: Path) -> None:
    assert {f"rho/c/{c}/0" for c in range(CHAINS)} <= set(files(stored))


def test_the_sampler_statistics_lie_beside_the_draws(stored: Path) -> None:
    for name in STATISTICS:
        assert {f"{name}/c/{c}/0" for c in range(CHAINS)} <= set(files(stored))


def test_coordinates_name_what_the_dimensions_count(stored: Path) -> None:
    group = json.loads((stored / "zarr.json").read_bytes())
    assert group["attributes"]["coordinates"] == COORDINATES
    beta = json.loads((stored / "beta" / "zarr.json").read_bytes())
    assert beta["dimension_names"] == ["chain", "draw", "series", "channel"]


CHUNKS = [f"{n}/c/{c}/" + "/".join(["0"] * (1 + len(SHAPES[n]))) for n in ("level", "beta", "rho") for c in range(2)]


@pytest.mark.parametrize("name", CHUNKS)
def test_a_deleted_chunk_is_refused(stored: Path, name: str) -> None:
    (stored / name).unlink()
    with pytest.raises(PosteriorError, match="expected"):
        read(stored)


@pytest.mark.parametrize("name", CHUNKS)
@pytest.mark.parametrize("keep", [0, 1, 10, -1])
def test_a_truncated_chunk_is_refused(stored: Path, name: str, keep: int) -> None:
    (stored / name).write_bytes((stored / name).read_bytes()[:keep])
    with pytest.raises(PosteriorError):
        read(stored)


def test_a_chunk_in_another_s_place_is_accepted_by_zarr_and_so_left_to_the_digests(stored: Path) -> None:
    # what no checksum of one chunk can see, and what the statement's dirHash is for
    first, second = stored / "level/c/0/0/0", stored / "level/c/1/0/0"
    swapped = first.read_bytes(), second.read_bytes()
    second.write_bytes(swapped[0])
    first.write_bytes(swapped[1])
    assert not same(read(stored))


@pytest.mark.parametrize("name", sorted(DIMS))
def test_a_deleted_array_is_refused(stored: Path, name: str) -> None:
    shutil.rmtree(stored / name)
    with pytest.raises(PosteriorError):
        read(stored)


@pytest.mark.parametrize("names", [["draw", "chain", "series"], ["chain", "draw", "channel"], None])
def test_renamed_dimensions_are_refused(stored: Path, names: list[str] | None) -> None:
    path = stored / "level" / "zarr.json"
    described = json.loads(path.read_bytes())
    described["dimension_names"] = names
    path.write_text(json.dumps(described), "utf-8")
    with pytest.raises(PosteriorError, match="array level: expected dims"):
        read(stored)


@pytest.mark.parametrize("change", [{"shape": [2, 10, 2]}, {"shape": [1, 50, 2]}, {"data_type": "int64"}])
def test_a_description_of_another_array_is_refused(stored: Path, change: dict[str, object]) -> None:
    path = stored / "level" / "zarr.json"
    path.write_text(json.dumps({**json.loads(path.read_bytes()), **change}), "utf-8")
    with pytest.raises(PosteriorError):
        read(stored)


def test_nothing_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PosteriorError):
        read(tmp_path / "absent.zarr")


def test_no_flipped_bit_gives_other_numbers(stored: Path) -> None:
    """Of 60 flips in chunks and 60 in descriptions, drawn by seed, each is refused or changes no number."""
    whole = files(stored)
    draw = random.Random(20)
    kinds = ([n for n in whole if "/c/" in n], [n for n in whole if n.endswith("zarr.json")])
    wrong, refused = [], 0
    for names in kinds:
        for _ in range(60):
            name = draw.choice(names)
            place, bit = draw.randrange(len(whole[name])), draw.randrange(8)
            raw = bytearray(whole[name])
            raw[place] ^= 1 << bit
            (stored / name).write_bytes(bytes(raw))
            try:
                if not same(read(stored)):
                    wrong.append((name, place, bit))
            except PosteriorError:
                refused += 1
            (stored / name).write_bytes(whole[name])
    assert wrong == []
    assert refused > 60
    assert same(read(stored))
