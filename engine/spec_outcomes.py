"""What a specification may say about outcomes: how they scatter, how they move one another, what lies between.

Glossary
--------
outcome     a KPI; a product of a portfolio is one. Those of one location and period may have correlated residuals
cross-effect  the part of one outcome that another outcome causes, beyond shared drivers
mediator    what media build first, and what then moves the outcome: awareness, visits
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from engine.declared import Frozen, Name, Positive, Unit


class Normal(Frozen):
    """Innovations ~ Normal(0, sigma^2)."""

    kind: Literal["normal"]


class StudentT(Frozen):
    """Innovations ~ sigma * t(nu), nu - 1 ~ Gamma(shape, rate) (Juarez & Steel 2010, doi:10.1198/jbes.2009.07145)."""

    kind: Literal["student_t"]
    shape: Positive
    rate: Positive


class TwoState(Frozen):
    """Low and high periods: gap between them ~ HalfNormal(gap_scale), share of high ~ Beta(share_a, share_b)."""

    kind: Literal["two_state"]
    gap_scale: Positive
    share_a: Positive
    share_b: Positive


Likelihood = Annotated[Normal | StudentT | TwoState, Field(discriminator="kind")]


class White(Frozen):
    """Residuals are independent from period to period."""

    kind: Literal["white"]


class Autoregressive(Frozen):
    """A period carries on rho of the last one's residual; atanh(rho) ~ Normal(0, scale^2)."""

    kind: Literal["ar1"]
    scale: Unit


Residual = Annotated[White | Autoregressive, Field(discriminator="kind")]


class Correlation(Frozen):
    """Sigma = D R D with R ~ LKJ(eta), D = diag(sigma) (Lewandowski, Kurowicka & Joe 2009)."""

    kind: Literal["lkj"]
    eta: Positive


class ModifiedCholesky(Frozen):
    """Sigma = L diag(sigma^2) L', L unit lower triangular (Pourahmadi 1999, doi:10.1093/biomet/86.3.677).

    Its entries below the diagonal, each the regression of an outcome's residual on an earlier one's, are shrunk
    together: l ~ Normal(0, tau^2), tau ~ HalfNormal(scale).
    """

    kind: Literal["ldl"]
    scale: Positive


Covariance = Annotated[Correlation | ModifiedCholesky, Field(discriminator="kind")]


class CrossEffect(Frozen):
    """y[target] moves by psi * y[source], both in deviations from their mean on the model's scale.

    cannibalisation: psi = -HalfNormal(scale); halo: HalfNormal(scale); spillover: Normal(0, scale^2). promotion: a
    control, of values between 0 and 1, that psi is multiplied by. lagged: it is last period's y[source] that counts;
    otherwise effects are simultaneous, and the system (I - Psi) y = mean + e is solved.
    """

    source: Name
    target: Name
    kind: Literal["cannibalisation", "halo", "spillover"]
    scale: Positive
    promotion: Name | None
    lagged: bool


class Mediator(Frozen):
    """M = level + sum_c path[c] f_c(x) + e, e ~ Normal(0, noise^2); y gains gamma M.

    M is standardised by what was observed of it before the origin. full: observed every period; partial: in some (a
    survey); latent: never, and then without e, which nothing could tell from the outcome's own noise.
    path ~ HalfNormal(path_scale) for the named channels; gamma ~ Normal(0, effect_scale^2), or HalfNormal where
    `positive`; noise ~ HalfNormal(noise_scale); what is observed has an error ~ HalfNormal(survey_scale), None: none.
    """

    name: Name
    kind: Literal["full", "partial", "latent"]
    channels: Annotated[tuple[Name, ...], Field(min_length=1)]
    outcomes: Annotated[tuple[Name, ...], Field(min_length=1)]
    path_scale: Positive
    effect_scale: Positive
    positive: bool
    noise_scale: Positive
    survey_scale: Positive | None
