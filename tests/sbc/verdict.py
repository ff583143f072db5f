"""What ranks say of every quantity of every model, and of all of them together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from tests.sbc.ranks import Done, Ranked, by_quantity
from tests.sbc.uniform import chi_square, envelope, holm

HEAD = (
    "model", "quantity", "envelope p", "chi-square p", "bound", "mean rank", "spread", "worlds", "effective draws",
    "diverging", "longest", "CPU s",
)  # fmt: skip


class Key(NamedTuple):
    """A quantity of a model."""

    model: str
    quantity: str


class Verdict(NamedTuple):
    """What was found of one quantity."""

    envelope: float  # p-values
    chi_square: float
    bound: float  # Holm's, of the smaller one, over both tests of every quantity of every model
    middle: float  # mean rank over the number of draws: .5 but for bias
    spread: float  # mean square of the ranks' distance from their middle over that of uniform ones: 1 but for width


def verdicts(worlds: Mapping[str, Sequence[Ranked]], draws: int, bins: int) -> dict[Key, Verdict]:
    """Of every quantity of every model, ranked among `draws`; `bins` divides draws + 1."""
    ranks = {Key(model, name): r for model, each in worlds.items() for name, r in by_quantity(each).items()}
    return verdicts_of(ranks, draws, bins)


def verdicts_of(ranks: Mapping[Key, Sequence[int]], draws: int, bins: int) -> dict[Key, Verdict]:
    """Of ranks, each 0..draws."""
    near = {key: envelope(values, draws) for key, values in ranks.items()}
    far = {key: chi_square(values, draws, bins) for key, values in ranks.items()}
    bound = holm([*near.values(), *far.values()])
    uniform = ((draws + 1) ** 2 - 1) / 12.0
    found = {}
    for place, (key, values) in enumerate(ranks.items()):
        x = np.asarray(values)
        found[key] = Verdict(
            envelope=near[key],
            chi_square=far[key],
            bound=min(bound[place], bound[len(near) + place]),
            middle=float(np.mean(x) / draws),
            spread=float(np.mean((x - draws / 2.0) ** 2) / uniform),
        )
    return found


def least(found: Mapping[Key, Verdict]) -> float:
    """The smallest bound: how often calibrated models would have a quantity that looks as bad."""
    return min(each.bound for each in found.values())


def markdown(done: Mapping[str, Done], found: Mapping[Key, Verdict], every: bool) -> str:
    """A row for each model's worst quantity, or for `every` one, and what the model cost."""
    lines = [" | ".join(HEAD), " | ".join("---" for _ in HEAD)]
    for model, each in done.items():
        own = {key: verdict for key, verdict in found.items() if key.model == model}
        order = sorted(own, key=lambda key: min(own[key].envelope, own[key].chi_square))
        for key in order if every else order[:1]:
            lines.append(" | ".join([model, key.quantity, *_numbers(own[key]), *_cost(each)]))
    return "\n".join(f"| {line} |" for line in lines)


def _numbers(verdict: Verdict) -> list[str]:
    small = [f"{p:.4f}" for p in (verdict.envelope, verdict.chi_square, verdict.bound)]
    return [*small, f"{verdict.middle:.3f}", f"{verdict.spread:.3f}"]


def _cost(done: Done) -> list[str]:
    worlds = done.worlds
    effective = min(float(np.mean([world.effective[name] for world in worlds])) for name in worlds[0].effective)
    deepest = max(world.deepest for world in worlds)
    return [
        str(len(worlds)), f"{effective:.0f}", str(sum(world.divergences > 0 for world in worlds)),
        f"{sum(world.deepest == deepest for world in worlds)} x {deepest}", f"{done.seconds:.0f}",
    ]  # fmt: skip
