"""Every matrix product is compiled by XLA itself, whatever its form: none reaches a library.

What needs JAX runs in a fresh process inside the profile, so this module imports it only inside functions.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator
from typing import Any

from engine.precision import environment
from tests.fresh import inside, python

FORMS = (
    "ij,jk->ik",
    "ij,kj->ik",
    "ji,jk->ik",
    "ji,kj->ik",
    "ij,jk->ki",
    "ji,kj->ki",
    "bij,bjk->bik",
    "bij,bkj->bik",
    "ibj,bkj->bik",
    "bij,jk->bik",
    "ij,bkj->bik",
    "bij,bik->jk",
    "bij,bij->b",
    "ij,j->i",
    "ji,j->i",
    "j,jk->k",
    "j,j->",
    "i,k->ik",
    "tgm,gm->tg",
    "bcij,bckj->bcik",
)
SIZES = (20, 400)


def operands(form: str, size: int) -> tuple[Any, Any]:
    """Two NumPy arrays for `form`; j, the axis summed over in most forms, has length `size`."""
    import numpy as np

    lengths = {"i": size // 3 + 2, "j": size, "k": size // 7 + 2, "b": 3, "c": 2, "t": size, "g": 4, "m": 5}
    shapes = [[lengths[axis] for axis in term] for term in form.split("->")[0].split(",")]
    left, right = (np.cos(np.arange(float(np.prod(shape)))).reshape(shape) for shape in shapes)
    return left, right


def cases() -> Iterator[tuple[str, Callable[..., Any], tuple[Any, Any]]]:
    """Name, function and operands of each form at each size, and of products that autodiff and vmap make."""
    import jax
    import jax.numpy as jnp

    for size in SIZES:
        for form in FORMS:
            yield f"{form} {size}", lambda a, b, form=form: jnp.einsum(form, a, b), operands(form, size)
        a, b = operands("ij,kj->ik", size)
        yield f"vmap {size}", jax.vmap(lambda a, b: ((a @ b) ** 2).sum(), (None, 0)), (a, b)
        yield f"gradient {size}", jax.grad(lambda a, b: (jnp.tanh(a @ b.T) ** 2).sum()), (a, b)


def in_library(text: str, executable: bytes) -> list[str]:
    """Products of a compiled program that XLA handed to a library: those without a kernel of their own.

    text: optimised HLO. Products inside a fusion are always XLA's.
    """
    fused = set(re.findall(r" fusion\(.*calls=%([\w.-]+)", text))
    found = []
    for block in re.split(r"\n\n+", text):
        head = re.match(r"(?:ENTRY )?%([\w.-]+) \(", block)
        if head and head[1] not in fused:
            products = re.findall(r"%([\w.-]+) = \S+ dot\(", block)
            found += [name for name in products if f"{name}_elemental_kernel".encode() not in executable]
    return found


def report_libraries() -> None:
    """Prints the cases whose product reached a library."""
    import jax

    found = {}
    for name, function, given in cases():
        compiled = jax.jit(function).lower(*given).compile()
        if leaked := in_library(compiled.as_text(), compiled.runtime_executable().serialize()):
            found[name] = leaked
    print(json.dumps(found))


def report_errors() -> None:
    """Prints the largest error of each kind of product against NumPy's einsum."""
    import jax
    import jax.numpy as jnp
    import numpy as np

    errors = {}
    for form in FORMS:
        a, b = operands(form, 20)
        kinds = {
            "float64": lambda x: x,
            "float32": lambda x: x.astype(np.float32),
            "complex128": lambda x: x * (1 + 2j),
            "int32": lambda x: (9 * x).astype(np.int32),
            "empty": lambda x: x[:0],
        }
        for kind in kinds if form.startswith("bij,b") else list(kinds)[:-1]:  # one axis leads both: make it empty
            left, right = kinds[kind](a), kinds[kind](b)
            result = jax.jit(lambda a, b, form=form: jnp.einsum(form, a, b))(left, right)
            expected = np.einsum(form, left, right)
            assert result.dtype == expected.dtype, (form, kind)
            assert result.shape == expected.shape, (form, kind)
            errors[f"{form} {kind}"] = float(np.max(np.abs(np.asarray(result) - expected), initial=0.0))
    print(json.dumps(errors))


CALL = "from tests.engine import test_engine_contraction as t\n"


def test_no_product_reaches_a_library() -> None:
    assert json.loads(inside(CALL + "t.report_libraries()")) == {}


def test_without_the_rule_products_do_reach_a_library() -> None:
    code = CALL + 't.SIZES, t.FORMS = (400,), ("ij,kj->ik",)\nt.report_libraries()'
    done = python(code, environment(os.environ))  # in profile, but not entered
    assert done.returncode == 0, done.stderr
    assert "ij,kj->ik 400" in json.loads(done.stdout)


def test_products_are_right_in_every_form_and_type() -> None:
    errors = json.loads(inside(CALL + "t.report_errors()"))
    assert len(errors) == 4 * len(FORMS) + sum(form.startswith("bij,b") for form in FORMS)
    for name, error in errors.items():
        assert error <= (0 if "int" in name or "empty" in name else 1e-4 if "32" in name else 1e-12), name


def test_gradients_flow_through_the_rule() -> None:
    code = """
import jax, jax.numpy as jnp, numpy as np
from tests.engine.test_engine_contraction import operands
a, b = operands("ij,kj->ik", 20)
loss = lambda a: (jnp.tanh(a @ b.T) ** 2).sum()
step = 1e-6
direction = np.sin(np.arange(a.size)).reshape(a.shape)
finite = (loss(a + step * direction) - loss(a - step * direction)) / (2 * step)
exact = (jax.jit(jax.grad(loss))(a) * direction).sum()
forward = jax.jvp(loss, (a,), (direction,))[1]
print(abs(finite - exact) / abs(exact) < 1e-6, abs(forward - exact) / abs(exact) < 1e-12)
"""
    assert inside(code) == "True True\n"
