"""Small systems written out element by element, against NumPy's own."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine import small_linear
from engine.small_linear import Entry

SHAPE = (3, 2)  # of every entry: a system at each of three periods and two locations


def matrices(seed: int, size: int) -> np.ndarray:
    """(3, 2, size, size), near the identity."""
    return np.eye(size) + np.random.default_rng(seed).uniform(-0.3, 0.3, (*SHAPE, size, size))


def entries(values: np.ndarray) -> list[list[Entry]]:
    size = values.shape[-1]
    return [[jnp.asarray(values[..., i, j]) for j in range(size)] for i in range(size)]


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000), size=st.integers(1, 4))
def test_a_solution_solves_and_the_determinant_is_the_textbooks(seed: int, size: int) -> None:
    a = matrices(seed, size)
    b = np.random.default_rng(seed + 1).normal(size=(*SHAPE, size))
    found = small_linear.solve(entries(a), [jnp.asarray(b[..., i]) for i in range(size)])
    np.testing.assert_allclose(np.stack(found.x, axis=-1), np.linalg.solve(a, b[..., None])[..., 0], rtol=1e-10)
    np.testing.assert_allclose(found.log_det, np.linalg.slogdet(a)[1], atol=1e-12)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000), size=st.integers(1, 4))
def test_a_factor_times_itself_is_the_matrix(seed: int, size: int) -> None:
    root = matrices(seed, size)
    whole = root @ root.swapaxes(-1, -2)
    lower = small_linear.cholesky(entries(whole))
    expected = np.linalg.cholesky(whole)
    for i in range(size):
        for j in range(i + 1):
            np.testing.assert_allclose(lower[i][j], expected[..., i, j], rtol=1e-10, atol=1e-12)
    right = np.random.default_rng(seed).normal(size=(*SHAPE, size))
    found = small_linear.forward(lower, [jnp.asarray(right[..., i]) for i in range(size)])
    np.testing.assert_allclose(
        np.stack(found.x, axis=-1), np.linalg.solve(expected, right[..., None])[..., 0], rtol=1e-9, atol=1e-11
    )
    np.testing.assert_allclose(2.0 * found.log_det, np.linalg.slogdet(whole)[1], atol=1e-11)


def test_a_structural_zero_is_a_zero() -> None:
    a = matrices(4, 3)
    a[..., 0, 2] = a[..., 2, 1] = 0.0
    sparse = entries(a)
    sparse[0][2] = sparse[2][1] = None
    right = [jnp.ones(SHAPE)] * 3
    np.testing.assert_allclose(small_linear.solve(sparse, right).x, small_linear.solve(entries(a), right).x, rtol=1e-12)


def test_a_pivot_that_cannot_be_is_told() -> None:
    with pytest.raises(ValueError, match="pivot 0: expected an entry"):
        small_linear.solve([[None, jnp.ones(())], [jnp.ones(()), None]], [jnp.ones(()), jnp.ones(())])


def test_gradients_are_finite() -> None:
    def loss(x: jax.Array) -> jax.Array:
        a: list[list[Entry]] = [[jnp.ones(()), -x], [-x, jnp.ones(())]]
        solved = small_linear.solve(a, [jnp.ones(()), x])
        return solved.x[0] + solved.log_det + small_linear.cholesky([[2.0 + x, None], [x, 2.0 + x]])[1][1]

    assert np.isfinite(jax.grad(loss)(jnp.asarray(0.3)))
