"""A stream is its name: independent of order, of other streams and of the process, for ever."""

from __future__ import annotations

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.prng import stream

NAMES = st.lists(st.one_of(st.integers(0, 10**6), st.text(max_size=8)), max_size=4).map(tuple)


def words(key: jax.Array) -> tuple[int, ...]:
    return tuple(int(w) for w in np.asarray(jax.random.key_data(key)))


# (seed, names) and the two words of the key: published forecasts hang on them
FROZEN: list[tuple[int, tuple[str | int, ...], tuple[int, int]]] = [
    (0, (), (1797259609, 2579123966)),
    (7, ("fit", 0), (819000799, 3818791053)),
    (7, ("fit", 1), (1695792124, 1878918601)),
    (20140803, ("fit", 0), (2834375334, 410861387)),
    (20140803, ("backtest", 105), (2546829370, 2554103328)),
    (20140803, ("forecast",), (2206821309, 646162519)),
    (9007199254740991, ("é", "", 0), (35946171, 908017149)),
]


@pytest.mark.parametrize(("seed", "names", "expected"), FROZEN)
def test_streams_are_what_they_were(seed: int, names: tuple[str | int, ...], expected: tuple[int, int]) -> None:
    assert words(stream(seed, *names)) == expected


def test_a_stream_does_not_know_what_was_drawn_before() -> None:
    first = words(stream(7, "fit", 2))
    for name in ("fit", "backtest", "forecast"):
        jax.random.normal(stream(7, name, 0), (3,))
    assert words(stream(7, "fit", 2)) == first


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("a", 1), ("a", "1")),
        (("fit", 12), ("fit1", 2)),
        (("a", "b"), ("b", "a")),
        (("ab",), ("a", "b")),
        ((), ("",)),
        (("a",), ("a", "")),
    ],
)
def test_names_that_read_alike_are_different_streams(one: tuple[str | int, ...], other: tuple[str | int, ...]) -> None:
    assert words(stream(7, *one)) != words(stream(7, *other))


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.lists(NAMES, min_size=2, max_size=6, unique_by=repr), st.integers(0, 2**53 - 1))
def test_different_names_give_different_keys(names: list[tuple[str | int, ...]], seed: int) -> None:
    keys = [words(stream(seed, *name)) for name in names]
    assert len(set(keys)) == len(names)
    assert [words(stream(seed, *name)) for name in reversed(names)] == keys[::-1]


@pytest.mark.parametrize("other", [0, 8, 7 + 2**32, 7 + 2**52])
def test_every_bit_of_the_seed_counts(other: int) -> None:
    assert words(stream(other, "fit")) != words(stream(7, "fit"))


def test_keys_are_threefry_whatever_the_default() -> None:
    assert str(jax.random.key_impl(stream(1, "x"))) in ("threefry2x32", "fry")
