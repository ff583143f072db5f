"""What a specification may say about the fast twin: penalties, transformations to choose from, and its bootstrap."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from engine.declared import Count, Frozen, NonNegative, Positive, Unit


class Shape(Frozen):
    """One transformation of media: geometric carry-over `alpha`, then 1 - exp(-lam x)."""

    alpha: Unit
    lam: Positive


class FastSpec(Frozen):
    """The twin of `engine.fast`.

    shapes: of one, every channel has it; of several, each channel has the one that forecasts best, over `folds` rolling
    origins `ahead` periods apart, in at most `passes` rounds over the channels.
    pooling: complete, one effect a channel and outcome for all locations; none, one a location.
    """

    shapes: Annotated[tuple[Shape, ...], Field(min_length=1, max_length=100)]
    folds: Annotated[int, Field(ge=1, le=20)]
    ahead: Annotated[int, Field(ge=1, le=104)]
    passes: Annotated[int, Field(ge=1, le=10)]
    pooling: Literal["complete", "none"]
    media_penalty: NonNegative  # ridge penalties, on sums of squares of the model's scale
    control_penalty: Positive
    basis_penalty: Positive
    bootstraps: Annotated[int, Field(ge=20, le=100_000)]
    block: Count  # periods of a block of the bootstrap
    level: Unit  # of its intervals
