"""Selection priors: each says of coefficients what it is declared to say. Tolerances are 4 Monte Carlo errors."""

from __future__ import annotations

import math

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from engine.selection import centre
from tests import reference_selection as twin
from tests.small_controls import declared, horseshoe, lasso, prior_draws, spike_slab

DRAWS = 2000
D, SIGMA, ROWS = 12, 0.2, 150.0
EVERY = tuple(range(D))


def close(values: np.ndarray, expected: float) -> bool:
    """Their mean is `expected`, within 4 standard errors."""
    return bool(abs(float(np.mean(values)) - expected) < 4.0 * float(np.std(values)) / math.sqrt(values.size))


@pytest.mark.parametrize("expected", [1.0, 3.0])
def test_the_effective_number_is_the_declared_one_where_the_global_scale_is_tau0(expected: float) -> None:
    """Piironen & Vehtari's calibration is of E[m_eff | tau = tau0], with half-Cauchy local scales and no slab."""
    prior = horseshoe(D, expected=expected)
    held = {"control_global": jnp.ones(1)}
    drawn = prior_draws(declared(prior), D, EVERY, 1, jnp.asarray(SIGMA), ROWS, DRAWS, held)
    number = np.sum(1.0 - np.asarray(drawn.shrinkage)[:, :, 0], axis=1)
    assert close(number, expected)


def test_the_effective_number_over_the_whole_prior_is_the_closed_form() -> None:
    """A half-Cauchy tau puts E[m_eff] above or below D0; which, a closed form says."""
    prior = horseshoe(D, expected=3.0)
    drawn = prior_draws(declared(prior), D, EVERY, 1, jnp.asarray(SIGMA), ROWS, DRAWS)
    number = np.sum(1.0 - np.asarray(drawn.shrinkage)[:, :, 0], axis=1)
    assert close(number, twin.half_cauchy_number(3.0, D))


def test_shrinkage_does_not_depend_on_noise_or_rows() -> None:
    """tau0 is in units of sigma / sqrt(n), so kappa is a statement on shares alone (no slab: nothing has a unit)."""
    few, many = (
        prior_draws(declared(horseshoe(3, slab_scale=1e9)), 3, (0, 1, 2), 2, jnp.full(2, sigma), rows, DRAWS)
        for sigma, rows in ((0.01, 1e4), (3.0, 20.0))
    )
    assert np.allclose(few.shrinkage, many.shrinkage, rtol=1e-6, atol=1e-9)


@settings(max_examples=12, deadline=None)
@given(
    z=st.floats(-4, 4),
    lam=st.floats(1e-3, 1e3),
    free=st.floats(1e-3, 1e3),
    c2=st.floats(1e-3, 1e3),
    sigma=st.floats(0.01, 2.0),
    rows=st.floats(10, 1e4),
)
def test_the_horseshoe_is_the_papers(z: float, lam: float, free: float, c2: float, sigma: float, rows: float) -> None:
    held = {
        "control_z": jnp.full((3, 1), z),
        "control_local": jnp.full((3, 1), lam),
        "control_global": jnp.full(1, free),
        "control_slab": jnp.full(1, c2),
    }
    drawn = prior_draws(declared(horseshoe(3, expected=1.0)), 3, (0, 1, 2), 1, jnp.asarray(sigma), rows, 1, held)
    tau = free * 1.0 / (3.0 - 1.0) * sigma / math.sqrt(rows)
    assert np.allclose(drawn.control, twin.horseshoe(z, lam, tau, c2), rtol=1e-12, atol=1e-300)  # less is flushed to 0
    assert np.allclose(drawn.shrinkage, twin.kappa(lam, tau, c2, sigma, rows), rtol=1e-12, atol=0.0)


def test_the_slab_bounds_a_coefficient_however_large_its_local_scale() -> None:
    """At lambda = 1e9 a coefficient is Normal(0, c^2), and kappa is b = 1 / (1 + n sigma^-2 c^2), its least."""
    held = {"control_local": jnp.full((3, 1), 1e9), "control_slab": jnp.asarray([0.25])}
    drawn = prior_draws(declared(horseshoe(3)), 3, (0, 1, 2), 1, jnp.asarray(SIGMA), ROWS, DRAWS, held)
    values = np.asarray(drawn.control).ravel()
    assert close(values**2, 0.25)
    assert np.allclose(drawn.shrinkage, 1.0 / (1.0 + ROWS / SIGMA**2 * 0.25), rtol=1e-6)


def test_over_the_slab_a_large_coefficient_is_students_t() -> None:
    """Of slab_df degrees of freedom and scale slab_scale: KS distance below the 0.1 % point."""
    held = {"control_local": jnp.full((3, 1), 1e9)}
    prior = horseshoe(3, slab_scale=0.5, slab_df=3.0)
    drawn = prior_draws(declared(prior), 3, (0, 1, 2), 1, jnp.asarray(SIGMA), ROWS, DRAWS, held)
    values = np.asarray(drawn.control)[:, 0, 0]  # those of one draw share its slab
    assert stats.kstest(values, stats.t(df=3.0, scale=0.5).cdf).statistic < 1.95 / math.sqrt(DRAWS)


@pytest.mark.parametrize(("share", "temperature"), [(0.1, 0.1), (0.3, 1.0), (0.5, 0.1)])
def test_the_prior_probability_of_inclusion_is_the_declared_one(share: float, temperature: float) -> None:
    prior = spike_slab(4, inclusion=share, temperature=temperature)
    drawn = prior_draws(declared(prior), 4, (0, 1, 2, 3), 1, jnp.asarray(SIGMA), ROWS, DRAWS)
    assert close(np.asarray(drawn.inclusion).ravel(), share)


@pytest.mark.parametrize("temperature", [0.01, 0.1, 1.0, 10.0])
@pytest.mark.parametrize("share", [0.001, 0.3, 0.5, 0.9])
def test_the_centre_agrees_with_the_mean_over_quantiles(share: float, temperature: float) -> None:
    assert twin.inclusion(centre(share, temperature), temperature) == pytest.approx(share, abs=2.5e-4)


def test_the_centre_is_odd_in_the_odds() -> None:
    assert centre(0.5, 0.3) == 0.0
    assert centre(0.2, 0.3) == pytest.approx(-centre(0.8, 0.3), abs=1e-11)


def test_a_logit_centre_would_not_mean_what_it_says() -> None:
    """Why `centre` exists: with m = logit(.1) at temperature .1 a control is included with probability .015."""
    assert twin.inclusion(math.log(0.1 / 0.9), 0.1) < 0.02


def test_spike_and_slab_are_what_their_scales_say() -> None:
    """omega far up or down leaves the slab or the spike alone."""
    for omega, scale in ((50.0, 0.5), (-50.0, 0.01)):
        held = {"control_logit": jnp.full((3, 1), omega)}
        drawn = prior_draws(declared(spike_slab(3)), 3, (0, 1, 2), 1, jnp.asarray(SIGMA), ROWS, DRAWS, held)
        assert close((np.asarray(drawn.control).ravel() / scale) ** 2, 1.0)


def test_a_coefficient_is_its_share_of_the_slab_and_the_rest_of_the_spike() -> None:
    for omega, slab, spike in ((0.0, 1.0, 0.0), (0.05, 0.0, 1.0), (-0.3, -2.0, 3.0)):
        held = {"control_logit": omega, "control_slab": slab, "control_spike": spike}
        full = {name: jnp.full((3, 1), value) for name, value in held.items()}
        drawn = prior_draws(declared(spike_slab(3)), 3, (0, 1, 2), 1, jnp.asarray(SIGMA), ROWS, 1, full)
        eta = 1.0 / (1.0 + math.exp(-omega / 0.1))
        assert np.allclose(drawn.inclusion, eta, rtol=1e-12)
        assert np.allclose(drawn.control, eta * slab * 0.5 + (1.0 - eta) * spike * 0.01, rtol=1e-12)


@pytest.mark.parametrize(("sigma", "penalty"), [(0.2, 5.0), (1.0, 1.0)])
def test_the_lasso_prior_is_a_laplace_of_scale_sigma_over_penalty(sigma: float, penalty: float) -> None:
    """Kolmogorov-Smirnov distance below the 0.1 % point 1.95 / sqrt(n)."""
    drawn = prior_draws(declared(lasso(3, penalty=penalty)), 3, (0, 1, 2), 1, jnp.asarray(sigma), ROWS, DRAWS)
    values = np.asarray(drawn.control).ravel()
    found = stats.kstest(values, stats.laplace(scale=sigma / penalty).cdf).statistic
    assert found < 1.95 / math.sqrt(values.size)


def test_the_lasso_prior_is_park_and_casellas_mixture() -> None:
    """gamma | t ~ Normal(0, sigma^2 t), t ~ Exponential(penalty^2 / 2): the same law, by the two-sample KS distance."""
    draw = np.random.default_rng(3)
    t = draw.exponential(2.0 / 5.0**2, size=3 * DRAWS)
    mixture = SIGMA * np.sqrt(t) * draw.normal(size=t.size)
    drawn = prior_draws(declared(lasso(3, penalty=5.0)), 3, (0, 1, 2), 1, jnp.asarray(SIGMA), ROWS, DRAWS)
    distance = stats.ks_2samp(np.asarray(drawn.control).ravel(), mixture).statistic
    assert distance < 1.95 * math.sqrt(2.0 / t.size)


def test_each_outcome_has_scales_of_its_own() -> None:
    """Ten times the noise, ten times the coefficients: of the horseshoe and the LASSO, for outcomes of one key."""
    sigma = jnp.asarray([0.1, 1.0])
    for prior in (horseshoe(3, slab_scale=1e9), lasso(3)):
        drawn = prior_draws(declared(prior), 3, (0, 1, 2), 2, sigma, ROWS, DRAWS)
        middle = np.median(np.abs(np.asarray(drawn.control)), axis=(0, 1))
        assert middle[1] / middle[0] == pytest.approx(10.0, rel=0.2)
