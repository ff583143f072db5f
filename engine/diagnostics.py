"""Did the chains converge: split R-hat, bulk and tail ESS, divergences, tree depth, E-BFMI, against declared gates.

Sources: Vehtari, Gelman, Simpson, Carpenter & Buerkner (2021), doi:10.1214/20-BA1221 (rank-normalised R-hat, ESS);
Betancourt (2016), arXiv:1604.00695 (E-BFMI). The formulas are arviz-stats'; what they return is rounded to
six significant digits before it is published.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from arviz_stats.base import array_stats

from engine.fit import Chain
from engine.gates import Diagnostics, Gate
from engine.model import named
from engine.rounding import rounded
from engine.spec import Inference


class Worst(NamedTuple):
    """The extreme of a diagnostic over all scalar parameters."""

    value: float
    where: str


def diagnose(chains: Sequence[Chain], inference: Inference) -> Diagnostics:
    """The gates of `inference`, evaluated over every scalar parameter that varies. Precondition: chains not empty."""
    gates = inference.gates
    rhat, bulk, tail = _extremes(chains)
    deepest = max(int(chain.steps.max()) for chain in chains).bit_length()
    ebfmi = min(float(v) for v in array_stats.bfmi(np.stack([chain.energy for chain in chains])).ravel())
    diverging = sum(int(chain.diverging.sum()) for chain in chains)
    verdicts = (
        _gate("rhat", rhat, "below", gates.rhat_below),
        _gate("ess_bulk", bulk, "above", gates.ess_bulk_above),
        _gate("ess_tail", tail, "above", gates.ess_tail_above),
        _gate("divergences", Worst(float(diverging), ""), "at_most", float(gates.divergences_at_most)),
        _gate("tree_depth", Worst(float(deepest), ""), "below", float(inference.max_tree_depth)),
        _gate("ebfmi", Worst(ebfmi, ""), "above", gates.ebfmi_above),
    )
    return Diagnostics(
        chains=len(chains),
        draws=chains[0].energy.shape[0],
        gates=verdicts,
        khat=tuple(chain.khat if math.isfinite(chain.khat) else None for chain in chains if chain.khat is not None),
        passed=all(gate.passed for gate in verdicts),
    )


def _gate(name: str, worst: Worst, rule: str, threshold: float) -> Gate:
    """NaN passes no gate."""
    value = rounded(worst.value)
    passed = {"below": value < threshold, "above": value > threshold, "at_most": value <= threshold}[rule]
    return Gate(name=name, value=value, rule=rule, threshold=threshold, passed=passed, where=worst.where)


def _extremes(chains: Sequence[Chain]) -> tuple[Worst, Worst, Worst]:
    """Largest R-hat, smallest bulk and tail ESS. A NaN is the worst of all."""
    rhat, bulk, tail = Worst(-math.inf, ""), Worst(math.inf, ""), Worst(math.inf, "")
    for name, draws in scalars(chains):
        values = (
            float(array_stats.rhat(_at_least_two(draws))),
            float(array_stats.ess(draws, method="bulk")),
            float(array_stats.ess(draws, method="tail", prob=0.9)),
        )
        rhat = _worse(rhat, Worst(values[0], name), 1.0)
        bulk = _worse(bulk, Worst(values[1], name), -1.0)
        tail = _worse(tail, Worst(values[2], name), -1.0)
    return rhat, bulk, tail


def _worse(so_far: Worst, new: Worst, sign: float) -> Worst:
    """The one of the greater sign * value; the first NaN, if there is one, whatever comes after it."""
    if math.isnan(so_far.value) or sign * new.value <= sign * so_far.value:
        return so_far
    return new


def _at_least_two(draws: np.ndarray) -> np.ndarray:
    """R-hat compares chains; of a single one, its halves."""
    count = draws.shape[1] // 2
    return draws if draws.shape[0] > 1 else draws[0, : 2 * count].reshape(2, count)


def scalars(chains: Sequence[Chain]) -> Iterator[tuple[str, np.ndarray]]:
    """Every scalar parameter that the model estimates, named, as (chain, draw); declared constants are left out.

    Entries that are equal by construction (a pooled effect shown at every location) come once.
    """
    drawn = [named(chain.parameters) for chain in chains]
    for name in drawn[0]:
        stacked = np.stack([arrays[name] for arrays in drawn])
        flat = stacked.reshape(*stacked.shape[:2], -1)
        seen: set[bytes] = set()
        for i in range(flat.shape[2]):
            draws = np.ascontiguousarray(flat[:, :, i])
            raw = draws.tobytes()
            if raw in seen or bool(np.all(draws == draws[0, 0])):
                continue
            seen.add(raw)
            yield f"{name}[{i}]", draws
