"""What is ranked: every scalar parameter, and functions of parameters and data that a parameter's rank does not see.

The log likelihood of the data that the world showed sees a posterior that is too close to, or too far from, its data
(Modrak, Moon, Kim, Buerkner, Huurre, Faltejskova, Gelman & Vehtari 2023, doi:10.1214/23-BA1404, sections 3.3 and 4.3).
What all media added sees a posterior whose parameters are right one by one, and wrong together.
"""

from __future__ import annotations

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from engine import media, mediation, model
from engine.design import Design
from engine.layout import layout
from engine.model import Parameters, named
from engine.spec import Spec


def scalars(parameters: Parameters) -> dict[str, np.ndarray]:
    """Every scalar of draws (draw, ...), by name: (draw,)."""
    found = {}
    for name, values in named(parameters).items():
        array = np.asarray(values)
        for index in np.ndindex(*array.shape[1:]):
            found[f"{name}{list(index) if index else ''}"] = array[(slice(None), *index)]
    return found


def derived(spec: Spec, parameters: Parameters, design: Design) -> Mapping[str, Array]:
    """Of one draw: scalars that depend on more than one parameter."""
    places, known = layout(spec), design.known
    weight = design.weight[:, : places.series : places.outcomes]
    transformed = media.response(spec.model.media, parameters.media, design.media)
    direct = media.total(spec.model.media, parameters.media, design.media, transformed, places.pairs)
    through = jnp.sum(transformed[..., None] * mediation.indirect(parameters.mediation), axis=2)
    log_beta = jnp.log(parameters.media.beta)
    found = {
        "log likelihood": jnp.sum(weight * model.log_likelihood(spec, parameters, design)),
        "media": jnp.sum(known * (direct + through.reshape(direct.shape))),
    }
    if places.locations > 1:
        centre = jnp.sum(log_beta, axis=0) / places.series
        spread = jnp.sum((log_beta - centre) ** 2, axis=0)
        found |= {f"pooled mean[{m}]": centre[m] for m in range(places.channels)}
        found |= {f"pooled spread[{m}]": spread[m] for m in range(places.channels)}
    return found


def mapped(spec: Spec, parameters: Parameters, design: Design) -> Mapping[str, Array]:
    """`derived` of draws (draw, ...): each (draw,)."""
    return jax.lax.map(lambda one: derived(spec, one, design), parameters)
