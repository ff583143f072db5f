"""What a specification may say about media: how spend becomes effect, and who shares what of it.

Glossary
--------
effect      beta, what a channel adds to one series on the model's scale when it is saturated
population  the effects that share a mean mu and spreads tau: one a group of media columns (a channel, its campaigns)
            and, unless products are pooled, one an outcome
deviation   how far one location, product or campaign lies from its population, on the log scale; the deviations of
            several dimensions are crossed: they add up, and none is nested in another
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from engine.declared import Count, Frozen, Name, Positive
from engine.spec_transforms import Adstock, Saturation
from engine.spec_trend import Hsgp, Knot

Dimension = Literal["location", "product", "campaign"]


class NonCentred(Frozen):
    """Deviations are sampled as tau times a standard Normal: right where data are thin."""

    kind: Literal["non_centred"]


class Centred(Frozen):
    """Effects are sampled around their mean as they are: right where data are rich."""

    kind: Literal["centred"]


class ByData(Frozen):
    """Centred where a series has at least `active` known periods with spend of the channel, else non-centred."""

    kind: Literal["by_data"]
    active: Count


Centring = Annotated[NonCentred | Centred | ByData, Field(discriminator="kind")]


class Complete(Frozen):
    """All locations share one effect a channel and outcome: beta ~ HalfNormal(scale)."""

    kind: Literal["complete"]


class Separate(Frozen):
    """Every series has an effect of its own a channel: beta ~ HalfNormal(scale), independently."""

    kind: Literal["none"]


class Partial(Frozen):
    """log beta = mu + sum over `over` of tau_d z_d, mu ~ Normal(log scale, 1), tau_d ~ HalfNormal(tau_scale).

    Each z ~ Normal(0, 1). location: z by location and group; product: by outcome and group; campaign: by media column,
    and then columns that share a `group` share mu and every tau. The dimension named first carries mu where it is
    centred.
    """

    kind: Literal["partial"]
    over: Annotated[tuple[Dimension, ...], Field(min_length=1)]
    tau_scale: Positive
    centring: Centring

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if len(set(self.over)) != len(self.over):
            raise ValueError(f"pooling.over: expected each dimension once, found {', '.join(self.over)}")
        return self


Pooling = Annotated[Complete | Separate | Partial, Field(discriminator="kind")]


class RandomWalk(Frozen):
    """beta[t] = beta exp(w[t]), w a walk with a knot every `knot` periods, its sd after a year ~ HalfNormal(scale)."""

    kind: Literal["random_walk"]
    scale: Positive
    knot: Knot


# A Gaussian process of w: one lengthscale for all channels, a sd for each.
Variation = Annotated[RandomWalk | Hsgp, Field(discriminator="kind")]


class Interaction(Frozen):
    """Two channels at once: delta f_first f_second is added, delta ~ Normal(0, sd^2) an outcome, f saturated media."""

    first: Name
    second: Name
    sd: Positive

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.first == self.second:
            raise ValueError(f"interactions: expected two channels, found {self.first} twice")
        return self


class MediaSpec(Frozen):
    """sum_m beta[s,m] sat(adstock(x)), or adstock(sat(x)) for the order saturation_first.

    scale: the sd of the HalfNormal of an effect; the median of its population under partial pooling.
    """

    scale: Positive
    order: Literal["adstock_first", "saturation_first"]
    adstock: Adstock
    saturation: Saturation
    pooling: Pooling
    interactions: tuple[Interaction, ...] = ()
    variation: Variation | None = None  # None: effects are the same at all times

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        pairs = [" and ".join(sorted((each.first, each.second))) for each in self.interactions]
        for pair in pairs:
            if pairs.count(pair) > 1:
                raise ValueError(f"media.interactions: expected each pair once, found {pair} {pairs.count(pair)} times")
        return self
