"""What a specification may say about control variables: their priors, and what may be shrunk.

Glossary
--------
confounder  moves both media and the outcome (price, distribution): always in the model, never shrunk, never dropped
precision   moves the outcome alone (weather, a sports event): its place in the model is a matter of noise, so it may
            be shrunk, selected or screened
mediator    is moved by media and moves the outcome (awareness, visits): a control of it would take media's own effect

Worked example of why the first two must not be mixed up: media X = delta C + v, outcome Y = beta X + gamma C + e. With
the coefficient of C held at s gamma, the effect of media is estimated as beta + (1 - s) gamma Cov(X, C) / Var(X). With
gamma = .1 and Cov(X, C) / Var(X) = 2, a prior that shrinks so small a gamma to zero adds .2 to beta.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from engine.declared import Frozen, Name, Positive
from engine.spec_data import DataSpec

Role = Literal["confounder", "precision", "mediator"]
Names = Annotated[tuple[Name, ...], Field(min_length=1)]


class Horseshoe(Frozen):
    """Regularised horseshoe: gamma_j = z_j tau lambda~_j, z_j ~ Normal(0, 1).

    tau ~ tau0 half-t(global_df), tau0 = D0 / (D - D0) sigma / sqrt(n) for D0 = `expected` of D controls;
    lambda_j ~ half-t(local_df), lambda~_j = c lambda_j / sqrt(c^2 + tau^2 lambda_j^2),
    c^2 ~ InverseGamma(slab_df / 2, slab_df slab_scale^2 / 2).
    Source: Piironen & Vehtari (2017), sections 2.3 and 3, doi:10.1214/17-EJS1337SI.
    """

    kind: Literal["horseshoe"]
    controls: Names
    expected: Positive
    slab_scale: Positive
    slab_df: Positive
    local_df: Positive
    global_df: Positive

    @model_validator(mode="after")
    def _sparse(self) -> Self:
        if self.expected >= len(self.controls):
            raise ValueError(
                f"selection.expected: expected fewer than the {len(self.controls)} controls it is said of, "
                f"found {self.expected}"
            )
        return self


class SpikeSlab(Frozen):
    """Spike and slab, relaxed so that it has a gradient: gamma_j = eta_j slab_j + (1 - eta_j) spike_j.

    slab_j ~ Normal(0, slab_scale^2), spike_j ~ Normal(0, spike_scale^2), eta_j = sigmoid(omega_j / temperature),
    omega_j ~ Normal(m, 1) with m such that E eta_j = `inclusion` (`engine.selection.centre`).
    Source: George & McCulloch (1993), doi:10.1080/01621459.1993.10476353, with the concrete relaxation of the
    indicator (Maddison, Mnih & Teh 2017, arXiv:1611.00712).
    """

    kind: Literal["spike_slab"]
    controls: Names
    inclusion: Annotated[float, Field(ge=0.001, le=0.999)]
    temperature: Annotated[float, Field(ge=0.01, le=10, allow_inf_nan=False)]
    slab_scale: Positive
    spike_scale: Positive

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.spike_scale >= self.slab_scale:
            raise ValueError(
                f"selection.spike_scale: expected less than slab_scale {self.slab_scale}, found {self.spike_scale}"
            )
        return self


class Lasso(Frozen):
    """Bayesian LASSO: gamma_j ~ Laplace(0, sigma / penalty); given sigma, so that the posterior has one mode.

    Source: Park & Casella (2008), doi:10.1198/016214508000000337.
    """

    kind: Literal["lasso"]
    controls: Names
    penalty: Positive


Selection = Annotated[Horseshoe | SpikeSlab | Lasso, Field(discriminator="kind")]


class Orthogonal(Frozen):
    """`control` is replaced by the residual of its regression on `on` (`engine.orthogonal`)."""

    control: Name
    on: Name


class ControlsSpec(Frozen):
    """gamma_c ~ Normal(0, scale^2) for a standardised control, but for those that `selection` names.

    orthogonalise: done one after the other. Of two entries, what the first leaves uncorrelated the second leaves so.
    """

    scale: Positive
    selection: Selection | None = None
    orthogonalise: tuple[Orthogonal, ...] = ()

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.selection is not None and len(set(self.selection.controls)) != len(self.selection.controls):
            raise ValueError(f"controls.selection.controls: expected distinct names, found {self.selection.controls}")
        done: list[tuple[str, str]] = []
        for pair in self.orthogonalise:
            _require_kept(pair, done)
            done.append((pair.control, pair.on))
        return self


def _require_kept(pair: Orthogonal, done: Sequence[tuple[str, str]]) -> None:
    """`pair` leaves every pair of `done` uncorrelated, or ValueError."""
    where = f"controls.orthogonalise: {pair.control} on {pair.on}"
    if pair.control == pair.on or (pair.control, pair.on) in done:
        raise ValueError(f"{where}: expected two controls, and the pair once")
    if any(on == pair.control for _, on in done):
        raise ValueError(f"{where}: expected to come before another control is taken as the residual on {pair.control}")
    for control, on in done:
        if control == pair.control and (pair.on, on) not in done:
            raise ValueError(f"{where}: expected {pair.on} on {on} before it, or {pair.control} is correlated again")


def selection_faults(spec: ControlsSpec, data: DataSpec) -> list[str]:
    """What is shrunk or replaced and must not be, each with the reason; empty when selection names precision controls
    only and residuals leave the adjustment for confounders as it was.
    """
    roles = {control.name: control.role for control in data.controls}
    media = [channel.name for channel in data.media]
    named = () if spec.selection is None else spec.selection.controls
    reasons = [_unfit(name, roles.get(name), name in media) for name in named]
    where = "model.controls.selection.controls: expected precision controls, found "
    unfit = [where + reason for reason in reasons if reason]
    return unfit + [fault for pair in spec.orthogonalise for fault in _residual(pair, roles, len(data.locations))]


def _unfit(name: str, role: Role | None, is_media: bool) -> str:
    """What `name` is and why it may not be shrunk; empty for a precision control."""
    if is_media:
        return f"media channel {name}: its effect is what is asked for, and a prior that selects biases it to zero"
    if role == "confounder":
        return (
            f"confounder {name}: shrinking its coefficient gamma to s gamma moves the estimated effect of media X by "
            f"(1 - s) gamma Cov(X, C) / Var(X), and leaves Cov(X, C), which makes the bias, as it was"
        )
    if role == "mediator":
        return f"mediator {name}: it carries a part of media's effect, and belongs to model.mediators"
    return "" if role == "precision" else f"{name}, which is no control of the table"


def _residual(pair: Orthogonal, roles: Mapping[str, Role], locations: int) -> Iterator[str]:
    """Why the residual may not be taken. Of a confounder on another it spans the same space, and so adjusts as before,
    but not where the other is shrunk, nor where one coefficient serves locations whose slopes differ.
    """
    where = f"model.controls.orthogonalise: {pair.control} on {pair.on}: expected "
    unfit = [name for name in (pair.control, pair.on) if roles.get(name) not in ("confounder", "precision")]
    for name in unfit:
        yield f"{where}confounders or precision controls, found {name}: {roles.get(name, 'no control of the table')}"
    if unfit or roles[pair.control] == "precision":
        return
    if roles[pair.on] == "precision":
        yield f"{where}the residual of a confounder to be taken on a confounder, found a precision control"
    if locations > 1:
        yield (
            f"{where}one location, found {locations}: the slope of a confounder on another is each location's own, "
            f"their coefficients are shared, and so a part of the confounding would be left"
        )
