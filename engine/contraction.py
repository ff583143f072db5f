"""How a product of two matrices is lowered to XLA: row-major (m, k) by (k, n), with nothing folded in.

XLA compiles a product itself, in one order of summation on every CPU, when it meets that form. Any other
layout it hands to Eigen, which blocks by the size of the CPU's first-level cache: `a @ b.T` over 400 columns
had other bits on another CPU. So operands are first transposed into that form, behind an optimisation barrier
that keeps XLA from folding the transposition back.

Products with a vector are left alone (XLA always compiles those), and so are outer products, integers and
empty arrays, whose results depend on no order. Autodiff and vmap see `dot_general` as ever.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax._src.lax.lax import _dot_general_lower as _stock_rule  # private: held by the pin and by `installed`
from jax.extend.core import Primitive
from jax.extend.core.primitives import dot_general_p
from jax.interpreters import mlir

Axes = Sequence[int]
DimensionNumbers = tuple[tuple[Axes, Axes], tuple[Axes, Axes]]

_MATRIX: DimensionNumbers = (((1,), (0,)), ((), ()))
_BATCH: DimensionNumbers = (((2,), (1,)), ((0,), (0,)))

_product_p = Primitive("matrix_product")  # dot_general as XLA has it: what the rule below lowers to
_product_p.def_abstract_eval(lambda *operands, **params: dot_general_p.abstract_eval(*operands, **params)[0])
mlir.register_lowering(_product_p, _stock_rule)


def install() -> None:
    """Every floating-point matrix product traced after the call is lowered in canonical form on the CPU.

    Precondition: nothing has been traced in this process (JAX caches lowered programs). Idempotent.
    """
    mlir.register_lowering(dot_general_p, mlir.lower_fun(_lowered, multiple_results=False), platform="cpu")


def installed() -> bool:
    """Whether a product with a transposed operand is lowered behind barriers."""
    a, b = (jax.ShapeDtypeStruct(shape, jnp.float64) for shape in ((3, 4), (5, 4)))
    text = jax.jit(lambda a, b: jnp.einsum("ij,kj->ik", a, b)).lower(a, b).as_text()
    return text.count("stablehlo.optimization_barrier") == 2


def _lowered(
    lhs: jax.Array,
    rhs: jax.Array,
    *,
    dimension_numbers: DimensionNumbers,
    precision: Any,
    preferred_element_type: Any,
    out_sharding: Any,
) -> jax.Array:
    (lhs_sum, rhs_sum), (lhs_batch, rhs_batch) = dimension_numbers
    lhs_free = [axis for axis in range(lhs.ndim) if axis not in (*lhs_sum, *lhs_batch)]
    rhs_free = [axis for axis in range(rhs.ndim) if axis not in (*rhs_sum, *rhs_batch)]
    batch, rows, inner = ([lhs.shape[axis] for axis in axes] for axes in (lhs_batch, lhs_free, lhs_sum))
    columns = [rhs.shape[axis] for axis in rhs_free]
    b, m, k, n = (prod(sizes) for sizes in (batch, rows, inner, columns))
    rest = {
        "precision": precision,
        "preferred_element_type": preferred_element_type,
        "out_sharding": out_sharding,
    }
    exact = not jnp.issubdtype(lhs.dtype, jnp.inexact)
    if exact or b == 0 or min(m, k, n) < 2:
        return _product_p.bind(lhs, rhs, dimension_numbers=dimension_numbers, **rest)
    lead = (b,) if b > 1 else ()
    left = jnp.transpose(lhs, (*lhs_batch, *lhs_free, *lhs_sum)).reshape(*lead, m, k)
    right = jnp.transpose(rhs, (*rhs_batch, *rhs_sum, *rhs_free)).reshape(*lead, k, n)
    left, right = lax.optimization_barrier((left, right))
    product = _product_p.bind(left, right, dimension_numbers=_BATCH if lead else _MATRIX, **rest)
    return lax.optimization_barrier(product).reshape(*batch, *rows, *columns)
