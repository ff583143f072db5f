"""Names to places: what the axes of a specification's arrays hold, fixed before anything is traced.

Axes: T periods, L locations, O outcomes, S = L * O series (location-major: s = l * O + o), M media columns, C
controls, N mediators, X cross-effects.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from engine.spec import Spec


class Cross(NamedTuple):
    """A cross-effect by place."""

    source: int  # outcome
    target: int  # outcome
    lagged: bool


class Layout(NamedTuple):
    """The sizes and places of one specification."""

    locations: int
    outcomes: int
    channels: int
    controls: int
    groups: tuple[int, ...]  # (M,) of each media column: columns of one group share a population of effects
    pairs: tuple[tuple[int, int], ...]  # media columns that interact
    selected: tuple[int, ...]  # controls under a selection prior
    cross: tuple[Cross, ...]
    paths: tuple[tuple[int, int], ...]  # (mediator, media column) with an effect
    mediated: tuple[tuple[int, int], ...]  # (mediator, outcome) with an effect

    @property
    def series(self) -> int:
        """S."""
        return self.locations * self.outcomes


@lru_cache(maxsize=64)
def layout(spec: Spec) -> Layout:
    """The places of what `spec` names. Precondition: `spec` is valid, so every name is known."""
    data, model = spec.data, spec.model
    channels = [column.name for column in data.media]
    controls = [column.name for column in data.controls]
    outcomes = [column.name for column in data.outcomes]
    groups = [column.group or column.name for column in data.media]
    selection = model.controls.selection
    return Layout(
        locations=len(data.locations),
        outcomes=len(outcomes),
        channels=len(channels),
        controls=len(controls),
        groups=tuple(list(dict.fromkeys(groups)).index(group) for group in groups),
        pairs=tuple((channels.index(i.first), channels.index(i.second)) for i in model.media.interactions),
        selected=() if selection is None else tuple(controls.index(name) for name in selection.controls),
        cross=tuple(Cross(outcomes.index(c.source), outcomes.index(c.target), c.lagged) for c in model.cross_effects),
        paths=tuple((n, channels.index(name)) for n, m in enumerate(model.mediators) for name in m.channels),
        mediated=tuple((n, outcomes.index(name)) for n, m in enumerate(model.mediators) for name in m.outcomes),
    )
