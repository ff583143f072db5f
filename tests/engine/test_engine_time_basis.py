"""Laws of the functions of time: lines, walks, hinges, splines and the basis of a Gaussian process."""

from __future__ import annotations

import math
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.errors import SpecError
from engine.spec_trend import Hsgp, Kernel
from engine.time_basis import (
    bspline,
    centred,
    gaussian_process,
    hinges,
    hsgp,
    line,
    random_walk,
    require_resolved,
    spectral_sd,
    spline_walk,
)
from tests import reference_trend as twin

YEAR = 52.0
LAW = settings(max_examples=15, deadline=None, derandomize=True)
KERNELS: tuple[Kernel, ...] = ("matern_5_2", "squared_exponential")
SPAN, ORIGIN, AHEAD, KNOT = st.integers(2, 80), st.integers(1, 60), st.integers(1, 20), st.integers(1, 13)


@LAW
@given(ORIGIN, AHEAD, st.floats(0.05, 0.99))
def test_a_damped_line_is_the_line_up_to_the_origin_and_flattens_after_it(o: int, ahead: int, damping: float) -> None:
    plain = np.asarray(line(o + ahead, o, YEAR, 1.0))[:, 0]
    damped = np.asarray(line(o + ahead, o, YEAR, damping))[:, 0]
    assert damped[:o].tobytes() == plain[:o].tobytes()
    np.testing.assert_allclose(np.diff(plain), 1.0 / YEAR, rtol=1e-9)
    climbed = [sum(damping**j for j in range(1, h + 1)) / YEAR for h in range(1, ahead + 1)]
    np.testing.assert_allclose(damped[o:] - damped[o - 1], climbed, rtol=1e-9)
    assert damped[-1] - damped[o - 1] <= damping / (1.0 - damping) / YEAR * (1.0 + 1e-9)
    np.testing.assert_allclose(damped, twin.line(1.0, o + ahead, o, YEAR, damping), atol=1e-12)


def test_the_line_is_zero_in_the_middle_of_what_is_known() -> None:
    assert float(line(40, 31, YEAR, 1.0)[15, 0]) == 0.0


def test_the_worked_example_of_the_docstring() -> None:
    shape = np.asarray(random_walk(9, 9, 4, YEAR)) / np.sqrt(4 / YEAR)
    level = shape @ np.asarray([0.1, -0.2])
    expected = np.asarray([0.0, 0.025, 0.05, 0.075, 0.1, 0.05, 0.0, -0.05, -0.1])
    np.testing.assert_allclose(level, expected - expected.mean(), atol=1e-14)


@LAW
@given(ORIGIN, AHEAD, KNOT, st.integers(1, 4))
def test_columns_have_mean_zero_over_what_is_known(origin: int, ahead: int, knot: int, degree: int) -> None:
    span = origin + ahead
    knots = range(0, span - 1, knot)
    for basis, columns in (
        (line(span, origin, YEAR, 0.5), 1),
        (random_walk(span, origin, knot, YEAR), len(knots)),
        (hinges(span, origin, knots, YEAR), len(knots)),
        (spline_walk(span, origin, degree, knot, YEAR), len(knots) + degree - 1),
        (centred(hsgp(span, 5, 1.5, YEAR).functions, origin), 5),
    ):
        assert basis.shape == (span, columns)
        assert basis.dtype == jnp.float64
        np.testing.assert_allclose(np.asarray(basis)[:origin].sum(axis=0), 0.0, atol=1e-10)


@pytest.mark.parametrize("knot", [1, 2, 4, 13])
def test_steps_of_sd_1_move_the_level_by_sd_1_a_year(knot: int) -> None:
    found = np.asarray(random_walk(157, 100, knot, YEAR))
    for first in (0, 52, 104):
        assert ((found[first + 52] - found[first]) ** 2).sum() == pytest.approx(1.0, rel=1e-12)


def test_a_hinge_is_flat_and_then_climbs_a_slope_of_one_a_year() -> None:
    found = np.asarray(hinges(60, 40, (10, 45), YEAR))
    assert np.ptp(found[:11, 0]) == 0.0
    np.testing.assert_allclose(np.diff(found[10:, 0]), 1.0 / YEAR, rtol=1e-9)
    assert found[:46, 1].tolist() == [0.0] * 46  # nothing of it is known, so its mean there is 0
    assert found[59, 1] == pytest.approx(14.0 / YEAR)


def test_no_knots_are_no_columns() -> None:
    assert hinges(10, 5, (), YEAR).shape == (10, 0)
    assert centred(jnp.zeros((10, 0)), 5).shape == (10, 0)


@LAW
@given(SPAN, st.integers(1, 5), KNOT)
def test_bsplines_are_a_partition_of_unity(span: int, degree: int, knot: int) -> None:
    found = np.asarray(bspline(span, degree, knot))
    assert found.shape == (span, math.ceil((span - 1) / knot) + degree)
    assert found.min() >= 0.0
    np.testing.assert_allclose(found.sum(axis=1), 1.0, rtol=1e-14)
    assert (np.count_nonzero(found, axis=1) <= degree + 1).all()


@LAW
@given(st.integers(2, 30), st.integers(1, 5), KNOT)
def test_bsplines_agree_with_truncated_powers(span: int, degree: int, knot: int) -> None:
    found = np.asarray(bspline(span, degree, knot))
    for t, i in np.ndindex(*found.shape):
        exact = twin.bspline(Fraction(t, knot) + degree - i, degree)
        assert float(found[t, i]) == pytest.approx(float(exact), rel=1e-11, abs=1e-15)


@LAW
@given(SPAN, KNOT)
def test_a_spline_walk_of_degree_1_is_the_random_walk(span: int, knot: int) -> None:
    origin = max(span // 2, 1)
    np.testing.assert_allclose(
        spline_walk(span, origin, 1, knot, YEAR), random_walk(span, origin, knot, YEAR), rtol=0.0, atol=1e-13
    )


@pytest.mark.parametrize("degree", [1, 2, 3, 5])
def test_a_step_of_a_spline_walk_only_rises(degree: int) -> None:
    found = np.asarray(spline_walk(60, 40, degree, 7, YEAR))
    assert np.diff(found, axis=0).min() >= -1e-15


def process(kernel: Kernel, lengthscale: float, half: float) -> Hsgp:
    """The smallest basis that `require_resolved` lets pass for this one lengthscale."""
    edge, waves = {"matern_5_2": (1.8, 2.65), "squared_exponential": (1.55, 1.75)}[kernel]
    boundary = (1.0 + edge * lengthscale / half) * (1.0 + 1e-12)
    return Hsgp(
        kind="hsgp",
        kernel=kernel,
        scale=1.0,
        lengthscale=lengthscale,
        lengthscale_log_sd=0.1,
        functions=math.ceil(waves * boundary * half / lengthscale),
        boundary=boundary,
    )


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("relative", [0.03, 0.1, 0.3, 0.6, 1.0, 2.0, 4.0])
def test_an_accepted_basis_has_the_covariance_of_the_exact_kernel(kernel: Kernel, relative: float) -> None:
    span = 157
    half = (span - 1) / 2 / YEAR
    declared = process(kernel, relative * half, half)
    require_resolved(declared, (relative * half, relative * half), half, "trend")
    functions, frequencies = hsgp(span, declared.functions, declared.boundary, YEAR)
    amplitude = 0.7
    sd = spectral_sd(kernel, jnp.asarray([amplitude]), jnp.asarray([relative * half]), frequencies)
    weighted = np.asarray(functions * sd[:, 0])
    rows = range(0, span, 12)  # both ends among them
    for s in rows:
        for t in rows:
            exact = twin.kernel(kernel, amplitude, relative * half, (s - t) / YEAR)
            assert abs(math.fsum(weighted[s] * weighted[t]) - exact) < 0.02 * amplitude**2, (s, t)


@pytest.mark.parametrize("kernel", KERNELS)
def test_the_boundary_that_is_called_the_least_loses_the_edge_where_the_forecast_is(kernel: Kernel) -> None:
    functions, frequencies = hsgp(157, 60, 1.2, YEAR)
    sd = spectral_sd(kernel, jnp.ones(1), jnp.asarray([0.29 * 1.5]), frequencies)
    variance = np.sum(np.asarray(functions * sd[:, 0]) ** 2, axis=1)
    assert variance[78] == pytest.approx(1.0, abs=0.02)
    assert variance[-1] < 0.8


@pytest.mark.parametrize("kernel", KERNELS)
def test_the_spectral_density_is_scaled_as_a_density(kernel: Kernel) -> None:
    """Integrated over all frequencies and over 2 pi it is the variance (Bochner)."""
    omega = jnp.arange(-4000, 4001) * 0.05
    sd = spectral_sd(kernel, jnp.asarray([0.3, 2.0]), jnp.asarray([0.4, 3.0]), omega)
    np.testing.assert_allclose(jnp.sum(sd * sd, axis=0) * 0.05 / (2.0 * math.pi), [0.09, 4.0], rtol=1e-6)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("lengthscale", [1e-8, 1.0, 1e8])
def test_the_spectral_density_has_finite_gradients(kernel: Kernel, lengthscale: float) -> None:
    def total(amplitude: jax.Array, length: jax.Array) -> jax.Array:
        return jnp.sum(spectral_sd(kernel, amplitude[None], length[None], jnp.asarray([0.1, 1.0, 100.0])))

    slopes = jax.grad(total, argnums=(0, 1))(jnp.asarray(0.5), jnp.asarray(lengthscale))
    assert all(bool(jnp.isfinite(slope)) for slope in slopes)


@pytest.mark.parametrize("kernel", KERNELS)
def test_a_process_that_does_not_fit_its_basis_is_refused_with_what_would(kernel: Kernel) -> None:
    declared = process(kernel, 0.5, 1.5).model_copy(update={"lengthscale_log_sd": 1e-15})
    fits = gaussian_process(declared, 157, 100, YEAR, "model.trend")
    assert fits.functions.shape == (157, declared.functions)
    few = declared.model_copy(update={"functions": declared.functions - 1})
    with pytest.raises(SpecError, match=rf"model.trend.functions: expected at least {declared.functions} "):
        gaussian_process(few, 157, 100, YEAR, "model.trend")
    narrow = declared.model_copy(update={"boundary": declared.boundary - 0.01})
    with pytest.raises(SpecError, match=r"model.trend.boundary: expected at least"):
        gaussian_process(narrow, 157, 100, YEAR, "model.trend")
    vague = declared.model_copy(update={"lengthscale_log_sd": 0.5})
    with pytest.raises(SpecError, match=r"model.trend.boundary"):
        gaussian_process(vague, 157, 100, YEAR, "model.trend")


def test_a_basis_has_the_same_bytes_each_time() -> None:
    def everything() -> list[bytes]:
        made = (
            line(60, 40, YEAR, 0.9),
            random_walk(60, 40, 4, YEAR),
            hinges(60, 40, (5, 50), YEAR),
            spline_walk(60, 40, 3, 4, YEAR),
            *hsgp(60, 9, 1.7, YEAR),
        )
        return [np.asarray(each).tobytes() for each in made]

    assert everything() == everything()
