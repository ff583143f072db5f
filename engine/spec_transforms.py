"""What a specification may say about the path from spend to effect: carry-over, diminishing returns, their limits.

Glossary
--------
max_lag     L: periods over which a spend acts, its own included; lags are 0..L-1
shared      true: one value of each parameter for all channels; false: one a channel, independent a priori
median, sd  of a LogNormal: log v ~ Normal(log median, sd^2); with sd .5 two thirds of v lie within a factor of 1.65
Spend is in units of its channel's mean over the known periods: 1 is a typical period. Gamma(shape, rate) has the mean
shape / rate. Kinds are registered in `engine.adstock.ADSTOCKS` and `engine.saturation.SATURATIONS`.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from engine.declared import Frozen, Positive, Unit

Lags = Annotated[int, Field(ge=1, le=52)]


class Geometric(Frozen):
    """w[l] = alpha^l; alpha ~ Beta(alpha_a, alpha_b).  Jin et al. (2017), eq. 2."""

    kind: Literal["geometric"]
    max_lag: Lags
    shared: bool
    alpha_a: Positive
    alpha_b: Positive


class Delayed(Frozen):
    """w[l] = alpha^((l - theta)^2), its peak theta periods after the spend.  Jin et al. (2017), eq. 3.

    alpha ~ Beta(alpha_a, alpha_b); theta / (max_lag - 1) ~ Beta(theta_a, theta_b), uniform with 1 and 1.
    """

    kind: Literal["delayed"]
    max_lag: Lags
    shared: bool
    alpha_a: Positive
    alpha_b: Positive
    theta_a: Positive
    theta_b: Positive


class WeibullPdf(Frozen):
    """w[l] is the Weibull density at l + 1, shape k, scale lam in periods: a peak after the spend where k > 1.

    k ~ Gamma(k_shape, k_rate), lam ~ Gamma(lam_shape, lam_rate).
    """

    kind: Literal["weibull_pdf"]
    max_lag: Lags
    shared: bool
    k_shape: Positive
    k_rate: Positive
    lam_shape: Positive
    lam_rate: Positive


class WeibullCdf(Frozen):
    """w[l] = prod over i = 1..l of (1 - F(i)), F the Weibull distribution: a decay whose rate itself changes.

    k ~ Gamma(k_shape, k_rate), lam ~ Gamma(lam_shape, lam_rate).
    """

    kind: Literal["weibull_cdf"]
    max_lag: Lags
    shared: bool
    k_shape: Positive
    k_rate: Positive
    lam_shape: Positive
    lam_rate: Positive


class Binomial(Frozen):
    """w[l] = (1 - l / max_lag)^(1 / alpha - 1), nothing left at max_lag; alpha ~ Beta(alpha_a, alpha_b)."""

    kind: Literal["binomial"]
    max_lag: Lags
    shared: bool
    alpha_a: Positive
    alpha_b: Positive


Adstock = Annotated[Geometric | Delayed | WeibullPdf | WeibullCdf | Binomial, Field(discriminator="kind")]


class Logistic(Frozen):
    """1 - exp(-lam x), half of it at ln 2 / lam; lam ~ Gamma(shape, rate)."""

    kind: Literal["logistic"]
    shared: bool
    shape: Positive
    rate: Positive


class LogisticSymmetric(Frozen):
    """(1 - exp(-lam x)) / (1 + exp(-lam x)), half of it at ln 3 / lam; lam ~ Gamma(shape, rate)."""

    kind: Literal["logistic_symmetric"]
    shared: bool
    shape: Positive
    rate: Positive


class Hill(Frozen):
    """x^s / (x^s + k^s), S-shaped where s > 1; k and s ~ LogNormal, of which NUTS samples the logarithms.

    Jin et al. (2017), eq. 4. What the data cannot tell of it: `engine.identifiability`.
    """

    kind: Literal["hill"]
    shared: bool
    k_median: Positive
    k_sd: Positive
    s_median: Positive
    s_sd: Positive


class Tanh(Frozen):
    """tanh(x / c); c ~ LogNormal."""

    kind: Literal["tanh"]
    shared: bool
    c_median: Positive
    c_sd: Positive


class MichaelisMenten(Frozen):
    """x / (x + k): Hill's curve with s = 1; k ~ LogNormal.  Jin et al. (2017), eq. 6, the reach transformation."""

    kind: Literal["michaelis_menten"]
    shared: bool
    k_median: Positive
    k_sd: Positive


class Root(Frozen):
    """x^p, which has no upper limit; p ~ Beta(p_a, p_b)."""

    kind: Literal["root"]
    shared: bool
    p_a: Positive
    p_b: Positive


Saturation = Annotated[Logistic | LogisticSymmetric | Hill | Tanh | MichaelisMenten | Root, Field(discriminator="kind")]


class Identifiability(Frozen):
    """When a channel's data are said to be unable to tell its parameters apart (`engine.identifiability`)."""

    levels: Annotated[int, Field(ge=3, le=1000)]  # fewest different positive spends: k, s and the effect need three
    spread: Annotated[float, Field(gt=1, allow_inf_nan=False)]  # least ratio of the largest spend to the smallest
    near_one: Unit  # s within a factor of 1 + near_one of 1 makes a curve like that of s = 1
    mass_near_one: Unit  # most of s's prior that may lie there
    correlation: Unit  # largest |correlation| of two channels
