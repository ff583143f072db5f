"""The recursions over run length, compiled: sum (Adams & MacKay 2007, Algorithm 1) and maximum (Viterbi)."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from engine.changepoint_exact import EXACT
from engine.changepoint_law import Family, Law
from engine.changepoint_robust import ROBUST


@partial(jax.jit, static_argnums=(3, 4, 5))
def forward(panel: Any, law: Law, window: Any, kept: int, whole: bool, robust: bool) -> Any:
    """Per period of `panel` (time, location) the run-length summaries, or the whole posterior.

    Summaries, (time,) each: P(r < window), most probable r, E(r), most probable r < window, log evidence.
    """
    family = _family(robust)
    tables, run = family.tables(law, kept), jnp.arange(kept)
    stay, leave = jnp.log1p(-law.hazard), jnp.log(law.hazard)

    def step(carry: Any, x: Any) -> Any:
        segments, ahead = carry  # ahead: log P(r[t], given x[:t]), (kept + 1,)
        segments, density = family.observe(segments, x, law, tables)
        joint = ahead + density  # A&M steps 3-5: log p(r[t], x[t] | x[:t])
        top = jnp.max(joint)
        mass = jnp.exp(joint - top)
        total = jnp.sum(mass)
        evidence = top + jnp.log(total)  # A&M step 6
        share = _fold(mass, jnp.add) / total  # A&M step 7, (kept,)
        log_share = _fold(joint, jnp.logaddexp) - evidence
        ahead = jnp.concatenate([leave[None], stay + log_share])
        return (_lengthen(segments, family), ahead), (share if whole else summary(share, evidence))

    def summary(share: Any, evidence: Any) -> Any:
        recent = jnp.where(run < window, share, 0.0)
        expected = jnp.sum(share * run)
        return (
            jnp.sum(recent),
            jnp.argmax(share).astype(jnp.int32),
            expected,
            jnp.argmax(recent).astype(jnp.int32),
            evidence,
        )

    return jax.lax.scan(step, (family.fresh(panel.shape[1], kept + 1), _certain(kept)), panel)[1]


@partial(jax.jit, static_argnums=(3, 4))
def forward_batch(panels: Any, law: Law, window: Any, kept: int, robust: bool) -> Any:
    """P(r < window) and the most probable r < window of panels (block, series, time, location).

    The series of a block are computed side by side, the blocks in turn.
    """

    def block(rows: Any) -> Any:
        found = jax.vmap(lambda panel: forward(panel, law, window, kept, False, robust))(rows)
        return found[0], found[3]

    return jax.lax.map(block, panels)


@partial(jax.jit, static_argnums=(2, 3))
def viterbi(panel: Any, law: Law, kept: int, robust: bool) -> Any:
    """Per period the start of the best segment that ends there, (time,); and the best log joint of all."""
    family = _family(robust)
    tables = family.tables(law, kept)
    stay, leave = jnp.log1p(-law.hazard), jnp.log(law.hazard)

    def step(carry: Any, x: Any) -> Any:
        segments, ahead, start, t = carry
        segments, density = family.observe(segments, x, law, tables)
        joint = ahead + density  # best log p(starts, x[:t + 1]) with run length r, (kept + 1,)
        best = jnp.argmax(joint)
        older = joint[-1] > joint[-2]
        start_kept = start[:-1].at[-1].set(jnp.where(older, start[-1], start[-2]))
        ahead = jnp.concatenate([(leave + joint[best])[None], stay + _fold(joint, jnp.maximum)])
        t = t + 1
        return (_lengthen(segments, family), ahead, jnp.concatenate([t[None], start_kept]), t), (
            start[best],
            joint[best],
        )

    zero = jnp.zeros((), jnp.int32)
    first = (family.fresh(panel.shape[1], kept + 1), _certain(kept), jnp.zeros(kept + 1, jnp.int32), zero)
    starts, best = jax.lax.scan(step, first, panel)[1]
    return starts, best[-1]


def _family(robust: bool) -> Family:
    return ROBUST if robust else EXACT


def _lengthen(segments: Any, family: Family) -> Any:
    """Every segment one period older: run length 0 is a fresh one; the oldest, folded away, is forgotten."""
    fresh = family.fresh(segments[0].shape[0], 1)
    return jax.tree.map(lambda new, old: jnp.concatenate([new, old[:, :-1]], axis=1), fresh, segments)


def _certain(kept: int) -> Any:
    """Log prior of the first period's run length: it starts the first segment."""
    return jnp.where(jnp.arange(kept + 1) == 0, 0.0, -jnp.inf)


def _fold(values: Any, join: Any) -> Any:
    """(kept + 1,) -> (kept,): the longest run length joined into the one before it."""
    return values[:-1].at[-1].set(join(values[-2], values[-1]))
