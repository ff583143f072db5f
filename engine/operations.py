"""About a hundred elementary operations whose bits show whether two machines compute alike.

Inputs are made by integer arithmetic and correctly rounded divisions: the same bits everywhere. Import after
`precision.enter`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from arviz_stats.base import array_stats
from jax import lax
from jax import random as jr
from jax.scipy import linalg as jsl
from jax.scipy import special as jss

Role = Literal["sentinel", "canary"]


class Inputs(NamedTuple):
    """What the operations are computed on; every array float64 but the key."""

    unit: Any  # (2053,) in (0, 1)
    real: Any  # (2053,) in (-20, 20)
    long: Any  # (100003,) in (0, 1)
    weeks: Any  # (209, 5) in (0, 1): a table of weekly spend
    tall: Any  # (400, 150) in (0, 1)
    wide: Any  # (60, 400) in (0, 1)
    stack: Any  # (8, 60, 20) in (0, 1)
    spd20: Any  # (20, 20) symmetric, diagonally dominant
    spd200: Any  # (200, 200)
    spd400: Any  # (400, 400)
    points: Any  # (16385, 3) whole numbers
    key: Any  # threefry


class Operation(NamedTuple):
    """One elementary operation; `compute` takes Inputs of JAX arrays (of NumPy's in the family `numpy`)."""

    family: str  # operations of one family are compiled as one program
    name: str
    role: Role
    compute: Callable[[Inputs], Any]


def make_inputs() -> Inputs:
    """The operations' inputs as NumPy arrays (the key a JAX key array); the same bits in every process."""
    unit = _fractions(2053, 1)
    return Inputs(
        unit=unit,
        real=(_integers(2053, 2) - 506.0) * 40 / 1013,
        long=_fractions(100_003, 3),
        weeks=_fractions(209 * 5, 4).reshape(209, 5),
        tall=_fractions(400 * 150, 5).reshape(400, 150),
        wide=_fractions(60 * 400, 6).reshape(60, 400),
        stack=_fractions(8 * 60 * 20, 7).reshape(8, 60, 20),
        spd20=_positive_definite(20),
        spd200=_positive_definite(200),
        spd400=_positive_definite(400),
        points=np.stack([np.arange(16_385.0), np.zeros(16_385), np.zeros(16_385)], axis=1),
        key=jr.key(20_240_229),
    )


def _integers(count: int, seed: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    """`count` scattered whole numbers in 1..1012 (SplitMix64's mixing of a counter), as float64."""
    mask = np.uint64(0xFFFFFFFFFFFFFFFF)
    z = (np.arange(1, count + 1, dtype=np.uint64) + np.uint64(seed << 32)) * np.uint64(0x9E3779B97F4A7C15) & mask
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9) & mask
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB) & mask
    return ((z ^ (z >> np.uint64(31))) % np.uint64(1012) + np.uint64(1)).astype(np.float64)


def _fractions(count: int, seed: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    return _integers(count, seed) / 1013


def _positive_definite(n: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    a = _fractions(n * n, n).reshape(n, n)
    return a + a.T + 2 * n * np.eye(n)


def _family(family: str, role: Role, operations: Mapping[str, Callable[[Inputs], Any]]) -> tuple[Operation, ...]:
    return tuple(Operation(family, name, role, compute) for name, compute in operations.items())


def _adstock(x: Any, alpha: float, lags: int) -> Any:
    """Normalised geometric carry-over along the first axis."""
    weights = alpha ** jnp.arange(lags)
    padded = jnp.concatenate([jnp.zeros((lags - 1, x.shape[1])), x])
    shifted = jnp.stack([padded[lags - 1 - lag : padded.shape[0] - lag] for lag in range(lags)])  # (lag, time, m)
    return jnp.einsum("l,ltm->tm", weights / weights.sum(), shifted)


def _ar1(carry: Any, x: Any) -> tuple[Any, Any]:
    state = 0.6 * carry + x
    return state, state


_ELEMENTWISE = {
    "exp": lambda i: jnp.exp(i.real),
    "expm1": lambda i: jnp.expm1(i.real),
    "log": lambda i: jnp.log(i.unit),
    "log1p": lambda i: jnp.log1p(i.unit),
    "sin": lambda i: jnp.sin(i.real),
    "cos": lambda i: jnp.cos(i.real),
    "tan": lambda i: jnp.tan(i.real),
    "tanh": lambda i: jnp.tanh(i.real),
    "sinh": lambda i: jnp.sinh(i.real),
    "arctan": lambda i: jnp.arctan(i.real),
    "arctan2": lambda i: jnp.arctan2(i.real, i.unit),
    "arcsin": lambda i: jnp.arcsin(i.unit),
    "pow": lambda i: i.unit**1.37,
    "pow_arrays": lambda i: i.unit**i.real,
    "sqrt": lambda i: jnp.sqrt(i.unit),
    "rsqrt": lambda i: lax.rsqrt(i.unit),
    "cbrt": lambda i: jnp.cbrt(i.real),
    "divide": lambda i: i.real / i.unit,
    "sigmoid": lambda i: jax.nn.sigmoid(i.real),
    "softplus": lambda i: jax.nn.softplus(i.real),
    "hill": lambda i: i.unit**1.7 / (i.unit**1.7 + 0.3**1.7),
}
_SPECIAL = {
    "erf": lambda i: jss.erf(i.real),
    "erfc": lambda i: jss.erfc(i.real),
    "erfinv": lambda i: jss.erfinv(i.unit),
    "lgamma": lambda i: jss.gammaln(i.unit * 9),
    "digamma": lambda i: jss.digamma(i.unit * 9),
    "ndtri": lambda i: jss.ndtri(i.unit),
    "log_ndtr": lambda i: jss.log_ndtr(i.real),
    "betainc": lambda i: jss.betainc(2.5, 0.5, i.unit[:101]),
}
_REDUCTIONS = {
    "sum_777": lambda i: i.unit[:777].sum(),
    "sum_5000": lambda i: i.long[:5000].sum(),
    "sum_100003": lambda i: i.long.sum(),
    "sum_rows": lambda i: i.tall.sum(1),
    "sum_columns": lambda i: i.tall.sum(0),
    "sum_stack": lambda i: i.stack.sum((0, 2)),
    "sum_of_squares": lambda i: (i.real**2).sum(),
    "mean": lambda i: i.weeks.mean(0),
    "var": lambda i: i.weeks.var(0),
    "prod": lambda i: i.unit[:97].prod(),
    "max": lambda i: i.real.max(),
    "argmax": lambda i: i.weeks.argmax(0),
    "logsumexp": lambda i: jss.logsumexp(i.real),
    "logsumexp_rows": lambda i: jss.logsumexp(i.tall, axis=1),
    "softmax": lambda i: jax.nn.softmax(i.real),
    "normal_logpdf": lambda i: (-0.5 * ((i.real - 0.3) / 1.7) ** 2 - jnp.log(1.7)).sum(),
}
_SCANS = {
    "cumsum": lambda i: jnp.cumsum(i.long[:5000]),
    "cumsum_rows": lambda i: jnp.cumsum(i.weeks, axis=0),
    "cumprod": lambda i: jnp.cumprod(1 + i.unit[:500] / 500),
    "cumlogsumexp": lambda i: lax.cumlogsumexp(i.real[:500]),
    "scan_ar1": lambda i: lax.scan(_ar1, jnp.zeros(5), i.weeks)[1],
    "associative_scan": lambda i: lax.associative_scan(jnp.add, i.real[:300]),
    "adstock": lambda i: _adstock(i.weeks, 0.55, 13),
}
_PRODUCTS = {
    "dot": lambda i: i.unit @ i.real,
    "outer": lambda i: jnp.outer(i.unit[:60], i.real[:70]),
    "matvec": lambda i: i.tall @ i.unit[:150],
    "vecmat": lambda i: i.unit[:400] @ i.tall,
    "matvec_transposed": lambda i: i.wide.T @ i.unit[:60],
    "matvec_weeks": lambda i: i.weeks @ i.unit[:5],
    "matmul_20": lambda i: i.spd20 @ i.spd20,
    "matmul_200": lambda i: i.spd200 @ i.spd200,
    "matmul_400": lambda i: i.wide @ i.tall,
    "matmul_nt": lambda i: i.wide @ i.spd400.T,
    "matmul_tn": lambda i: i.tall.T @ i.spd400,
    "matmul_tt": lambda i: i.tall.T @ i.wide.T,
    "gram_weeks": lambda i: i.weeks.T @ i.weeks,
    "gram_400": lambda i: i.tall.T @ i.tall,
    "einsum_batched": lambda i: jnp.einsum("bij,bkj->bik", i.stack, i.stack),
    "einsum_shared": lambda i: jnp.einsum("bij,jk->bik", i.stack, i.spd20),
    "einsum_transposed": lambda i: jnp.einsum("bij,ki->bkj", i.stack, i.wide[:, :60]),
    "einsum_two_axes": lambda i: jnp.einsum("bij,bik->jk", i.stack, i.stack),
    "einsum_effects": lambda i: jnp.einsum("gtm,gm->tg", i.stack, i.stack[:, 0]),
    "vmap_matvec": lambda i: jax.vmap(lambda row: ((i.wide @ row) ** 2).sum())(i.spd400),
    "vmap_matvec_16385": lambda i: jax.vmap(lambda row: ((jnp.eye(3) @ row) ** 2).sum())(i.points),
    "grad_least_squares": lambda i: jax.grad(lambda b: ((i.tall @ b - i.unit[:400]) ** 2).sum())(i.unit[:150]),
    "grad_tanh": lambda i: jax.grad(lambda a: (jnp.tanh(a @ i.tall / 99) ** 2).sum())(i.wide),
}
_LINEAR_ALGEBRA = {
    "cholesky_20": lambda i: jnp.linalg.cholesky(i.spd20),
    "cholesky_200": lambda i: jnp.linalg.cholesky(i.spd200),
    "cholesky_400": lambda i: jnp.linalg.cholesky(i.spd400),
    "cholesky_grad": lambda i: jax.grad(lambda a: jnp.log(jnp.diag(jnp.linalg.cholesky(a))).sum())(i.spd20),
    "triangular_solve_20": lambda i: jsl.solve_triangular(i.spd20, i.unit[:20], lower=True),
    "triangular_solve_200": lambda i: jsl.solve_triangular(i.spd200, i.unit[:200], lower=True),
    "triangular_solve_many": lambda i: jsl.solve_triangular(i.spd400, i.tall, lower=True, trans=1),
    "cho_solve": lambda i: jsl.cho_solve((jnp.tril(i.spd200), True), i.unit[:200]),
    "solve": lambda i: jnp.linalg.solve(i.spd200, i.unit[:200]),
    "inverse": lambda i: jnp.linalg.inv(i.spd20),
    "slogdet_20": lambda i: jnp.linalg.slogdet(i.spd20)[1],
    "slogdet_200": lambda i: jnp.linalg.slogdet(i.spd200)[1],
    "eigh_values": lambda i: jnp.linalg.eigh(i.spd200)[0],
    "eigh_vectors": lambda i: jnp.linalg.eigh(i.spd20)[1],
    "qr": lambda i: jnp.linalg.qr(i.weeks)[1],
    "svd_values": lambda i: jnp.linalg.svd(i.weeks, compute_uv=False),
}
_SIGNALS = {
    "convolve": lambda i: jnp.convolve(i.unit, i.unit[:13]),
    "convolve_columns": lambda i: jax.vmap(lambda c: jnp.convolve(c, i.unit[:13], "full"), 1, 1)(i.weeks),
    "rfft": lambda i: jnp.fft.rfft(i.unit),
    "irfft": lambda i: jnp.fft.irfft(i.unit[:1025]),
    "fft_power": lambda i: jnp.abs(jnp.fft.fft(i.long[:4096])) ** 2,
}
_ORDER = {
    "sort": lambda i: jnp.sort(i.real),
    "argsort": lambda i: jnp.argsort(i.real, stable=True),
    "searchsorted": lambda i: jnp.searchsorted(jnp.sort(i.unit[:99]), i.unit),
    "quantile": lambda i: jnp.quantile(i.real, jnp.array([0.05, 0.37, 0.5, 0.95])),
    "top_k": lambda i: lax.top_k(i.real, 7)[0],
}
_RANDOM = {
    "split": lambda i: jr.key_data(jr.split(i.key, 5)),
    "fold_in": lambda i: jr.key_data(jr.fold_in(i.key, 7)),
    "bits": lambda i: jr.bits(i.key, (999,)),
    "uniform": lambda i: jr.uniform(i.key, (999,)),
    "normal": lambda i: jr.normal(i.key, (999,)),
    "exponential": lambda i: jr.exponential(i.key, (999,)),
    "gamma": lambda i: jr.gamma(i.key, 2.5, (99,)),
    "beta": lambda i: jr.beta(i.key, 2.0, 3.0, (99,)),
    "student_t": lambda i: jr.t(i.key, 4.0, (99,)),
    "randint": lambda i: jr.randint(i.key, (999,), 0, 52),
    "permutation": lambda i: jr.permutation(i.key, 97),
}
_SINGLE = {
    "f32_exp": lambda i: jnp.exp(i.real.astype(jnp.float32)),
    "f32_log": lambda i: jnp.log(i.unit.astype(jnp.float32)),
    "f32_sin": lambda i: jnp.sin(i.real.astype(jnp.float32)),
    "f32_rsqrt": lambda i: lax.rsqrt(i.unit.astype(jnp.float32)),
    "f32_sum": lambda i: i.long.astype(jnp.float32).sum(),
    "f32_matmul": lambda i: i.wide.astype(jnp.float32) @ i.tall.astype(jnp.float32),
}
_NUMPY = {
    "np_exp": lambda i: np.exp(i.real),
    "np_log": lambda i: np.log(i.unit),
    "np_tanh": lambda i: np.tanh(i.real),
    "np_sin": lambda i: np.sin(i.real),
    "np_cbrt": lambda i: np.cbrt(i.real),
    "np_pow": lambda i: i.unit**1.37,
    "np_sum": lambda i: i.long.sum(),
    "np_std": lambda i: i.long.std(),
    "np_quantile": lambda i: np.quantile(i.real, [0.05, 0.37, 0.95]),
    "np_sort": lambda i: np.sort(i.real, kind="stable"),
    "np_matmul": lambda i: i.wide @ i.tall,
    "np_cholesky": lambda i: np.linalg.cholesky(i.spd200),
    "np_lstsq": lambda i: np.linalg.lstsq(i.weeks, i.unit[:209], rcond=None)[0],
    "rhat": lambda i: array_stats.rhat(i.stack[:, :, 0]),
    "ess_bulk": lambda i: array_stats.ess(i.stack[:, :, 0], method="bulk"),
    "ess_tail": lambda i: array_stats.ess(i.stack[:, :, 0], method="tail", prob=0.9),
    "psis": lambda i: array_stats.psislw(i.real[:500])[0],
}

OPERATIONS: tuple[Operation, ...] = (
    *_family("elementwise", "sentinel", _ELEMENTWISE),
    *_family("special", "sentinel", _SPECIAL),
    *_family("reductions", "sentinel", _REDUCTIONS),
    *_family("scans", "sentinel", _SCANS),
    *_family("products", "sentinel", _PRODUCTS),
    *_family("linear_algebra", "sentinel", _LINEAR_ALGEBRA),
    *_family("signals", "sentinel", _SIGNALS),
    *_family("order", "sentinel", _ORDER),
    *_family("random", "sentinel", _RANDOM),
    *_family("single", "canary", _SINGLE),
    *_family("numpy", "sentinel", _NUMPY),
)
