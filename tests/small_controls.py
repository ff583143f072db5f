"""Control columns and priors on them, in as few words as a test needs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpyro
from jax import Array

from engine import controls
from engine.controls import ControlParameters
from engine.spec_controls import ControlsSpec, Horseshoe, Lasso, Orthogonal, Selection, SpikeSlab
from engine.spec_data import Column, ControlColumn, DataSpec, MediaColumn

Role = Literal["confounder", "precision", "mediator"]


def columns(prefix: str, count: int, role: Role) -> tuple[ControlColumn, ...]:
    """`prefix`0, `prefix`1, ..."""
    return tuple(
        ControlColumn(name=f"{prefix}{i}", column=f"{prefix}{i}", unit="index", role=role) for i in range(count)
    )


def data(
    controls: Sequence[ControlColumn], outcomes: Sequence[str] = ("sales",), locations: Sequence[str] = ("East",)
) -> DataSpec:
    """Columns tv and search, the controls, and a KPI a name."""
    kpis = [Column(name=name, column=name, unit="USD") for name in outcomes]
    return DataSpec(
        path="a.csv",
        layout="mff",
        max_bytes=1,
        period="Period",
        frequency_days=7,
        locations=tuple(locations),
        kpi=kpis[0],
        further=tuple(kpis[1:]),
        media=tuple(MediaColumn(name=name, column=name, unit="USD") for name in ("tv", "search")),
        controls=tuple(controls),
        ignored=(),
        origin="a test",
        licence="Apache-2.0",
    )


def names(count: int) -> tuple[str, ...]:
    """p0, p1, ..."""
    return tuple(f"p{i}" for i in range(count))


def horseshoe(count: int, **changes: Any) -> Horseshoe:
    """Of `count` controls p0, p1, ...: nearly no slab, half-Cauchy scales."""
    values = {"expected": 2.0, "slab_scale": 1e6, "slab_df": 4.0, "local_df": 1.0, "global_df": 1.0}
    return Horseshoe(kind="horseshoe", controls=names(count), **{**values, **changes})


def spike_slab(count: int, **changes: Any) -> SpikeSlab:
    """Of `count` controls p0, p1, ..."""
    values = {"inclusion": 0.2, "temperature": 0.1, "slab_scale": 0.5, "spike_scale": 0.01}
    return SpikeSlab(kind="spike_slab", controls=names(count), **{**values, **changes})


def lasso(count: int, **changes: Any) -> Lasso:
    """Of `count` controls p0, p1, ..."""
    return Lasso(kind="lasso", controls=names(count), **{"penalty": 5.0, **changes})


PRIORS: tuple[Callable[..., Any], ...] = (horseshoe, spike_slab, lasso)


def declared(
    selection: Selection | None = None, scale: float = 0.5, on: Sequence[tuple[str, str]] = ()
) -> ControlsSpec:
    """A specification of controls; `on`: pairs (control, what it is orthogonalised on)."""
    pairs = tuple(Orthogonal(control=control, on=other) for control, other in on)
    return ControlsSpec(scale=scale, selection=selection, orthogonalise=pairs)


def prior_draws(
    spec: ControlsSpec,
    size: int,
    selected: tuple[int, ...],
    outcomes: int,
    sigma: Array,
    rows: float,
    count: int,
    fixed: Mapping[str, Array] | None = None,
) -> ControlParameters:
    """`count` draws from the prior, the sites of `fixed` held at its values."""
    keys = jax.random.split(jax.random.key(11), count)
    return _sampler(spec, size, selected, outcomes)(keys, sigma, jnp.asarray(rows), dict(fixed or {}))


@lru_cache(maxsize=64)
def _sampler(
    spec: ControlsSpec, size: int, selected: tuple[int, ...], outcomes: int
) -> Callable[[Array, Array, Array, dict[str, Array]], ControlParameters]:
    def draws(keys: Array, sigma: Array, rows: Array, fixed: dict[str, Array]) -> ControlParameters:
        def one(key: Array) -> ControlParameters:
            held = numpyro.handlers.substitute(controls.sample, data=fixed)
            with numpyro.handlers.seed(rng_seed=key):
                drawn: ControlParameters = held(spec, size, selected, outcomes, sigma, rows)
            return drawn

        return jax.vmap(one)(keys)

    compiled: Callable[..., ControlParameters] = jax.jit(draws)
    return compiled
