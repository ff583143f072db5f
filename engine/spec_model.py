"""What a specification may say about the model: the parts it is composed of, and their priors."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import model_validator

from engine.declared import Frozen, Positive, Text
from engine.spec_controls import ControlsSpec
from engine.spec_experiments import LiftTest, RoiPrior
from engine.spec_media import MediaSpec
from engine.spec_outcomes import Autoregressive, Covariance, CrossEffect, Likelihood, Mediator, Normal, Residual
from engine.spec_trend import Event, Seasons, Trend


class ModelSpec(Frozen):
    """y = level + trend + seasons + events + controls + media + mediators + cross-effects + residual (`engine.model`).

    A part that is left out is not in the model; a part that is there declares every number of its own.
    """

    outcome: Literal["linear", "log"]  # effects add, or multiply
    likelihood: Likelihood
    residual: Residual
    noise_scale: Positive  # HalfNormal scale of the innovations
    level_scale: Positive  # prior sd of the level
    trend: Trend
    seasons: Seasons
    country: Text  # calendar of the holidays
    events: tuple[Event, ...]
    event_scale: Positive  # prior sd of an event's effect
    controls: ControlsSpec
    media: MediaSpec
    covariance: Covariance | None = None  # of several outcomes' residuals; None: independent
    cross_effects: tuple[CrossEffect, ...] = ()
    mediators: tuple[Mediator, ...] = ()
    lift_tests: tuple[LiftTest, ...] = ()
    roi_priors: tuple[RoiPrior, ...] = ()

    @property
    def conditional(self) -> bool:
        """Whether mediators are known exactly wherever they are known, so that outcomes are modelled given them."""
        return all(m.survey_scale is None and m.kind != "partial" for m in self.mediators)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        law, residual = self.likelihood.kind, self.residual.kind
        if law == "two_state" and residual != "white":
            raise ValueError(
                f"model.residual: expected white with likelihood two_state, whose states are independent, "
                f"found {residual}"
            )
        if not isinstance(self.likelihood, Normal) and (self.covariance or self.mediators):
            raise ValueError(
                f"model.likelihood: expected normal with a covariance or mediators, whose disturbances are integrated "
                f"out, found {law}"
            )
        if isinstance(self.residual, Autoregressive) and not self.conditional:
            raise ValueError(
                "model.residual: expected white with mediators that are partly observed or surveyed with error, "
                "found ar1"
            )
        for mediator in self.mediators:
            if mediator.kind == "latent" and mediator.survey_scale is not None:
                raise ValueError(
                    f"model.mediators.{mediator.name}.survey_scale: expected none of a latent mediator, which nobody "
                    f"surveys, found {mediator.survey_scale}"
                )
        for each in self.cross_effects:
            if each.source == each.target:
                raise ValueError(f"model.cross_effects: expected two outcomes, found {each.source} twice")
        return self
