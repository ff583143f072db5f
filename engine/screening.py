"""Which of very many precision controls a model is to have: LASSO, once, on periods before an index.

Outcomes and candidates are freed of what the model has anyway (each location's level, media, the time basis and every
confounder): a control that looks useful because media or season move with it would else be kept for their sake, and one
that they hide would be dropped. What is left of each is scaled to variance 1, and

    b(penalty) = argmin_b  sum_o |y_o - X b_o|^2 / (2 n) + penalty sum_j |b_j|_2     (b_j: over outcomes o)

is followed down a path of penalties (Tibshirani 1996; over several outcomes the group form, Yuan & Lin 2006,
doi:10.1111/j.1467-9868.2005.00532.x). Of its active sets A of at most `keep`, refitted by least squares, the one with
the least extended BIC stays (Chen & Chen 2008, doi:10.1093/biomet/asn034):

    n sum_o log(RSS_o / n) + O |A| log n + 2 gamma log (P choose |A|)

n counts rows less what was partialled out. Cross-validation is not used: its folds are random or few, and it keeps too
many. Confounders are never screened, whatever the data say of them: they are there for the sake of media's effects.
The same outcomes choose controls and then weigh them, so a kept control's own interval is too narrow; that is why only
precision controls, whose effects nobody asks for, may be screened.

scikit-learn follows the path; everything else is sums by `math.fsum`. What is published is rounded to 6 digits.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import MultiTaskLasso

from engine.errors import SpecError, TableError
from engine.rounding import rounded
from engine.spec_checks import Screening
from engine.spec_data import ControlColumn

Reason = Literal["confounder", "mediator", "on_the_path", "off_the_path", "explained"]
EXPLAINED = 1e-10  # share of a column's variance left, below which the rest says all that it says
TOLERANCE = 1e-7  # of the path's duality gap, and of a coefficient's size beside the greatest
ITERATIONS = 20_000

Column = list[float]  # (rows,)


class ScreeningData(NamedTuple):
    """T periods, L locations, O outcomes, C controls, K columns that the model has whatever is screened."""

    y: np.ndarray  # (T, L, O) on the model's scale
    controls: np.ndarray  # (T, L, C), every control of the table
    others: np.ndarray  # (T, L, K) media as the model sees it at prior medians, trend, season, events


class Verdict(NamedTuple):
    """One control: whether the model has it, and why."""

    control: str
    kept: bool
    reason: Reason


class Step(NamedTuple):
    """One active set of the path."""

    penalty: float
    active: tuple[int, ...]  # among candidates
    criterion: float


class Screened(NamedTuple):
    """What screening found."""

    verdicts: tuple[Verdict, ...]  # one a control, in the table's order
    path: tuple[Step, ...]  # from the greatest penalty down
    chosen: Step

    @property
    def kept(self) -> tuple[str, ...]:
        """Names of the controls that the model has, in the table's order."""
        return tuple(verdict.control for verdict in self.verdicts if verdict.kept)


def screen(data: ScreeningData, controls: Sequence[ControlColumn], rule: Screening) -> Screened:
    """Confounders, and the precision controls that `rule` keeps. Mediators are not a matter of screening: they stay.

    explained: a candidate that the columns which stay anyway explain wholly. Raises SpecError for a `before` that the
    data do not reach, TableError where nothing is left to explain, or the path does not converge.
    """
    if not 2 <= rule.before <= data.y.shape[0]:
        raise SpecError(f"checks.screening.before: expected 2 to {data.y.shape[0]} periods, found {rule.before}")
    basis = _basis(data, controls, rule.before)
    rows = (rule.before - 1) * data.y.shape[1] - len(basis)
    outcomes = list(_outcomes(data.y, basis, rule.before))
    columns = list(_columns(data.controls, rule.before))
    left = {c: _left(columns[c], basis) for c, control in enumerate(controls) if control.role == "precision"}
    useful = [c for c, column in left.items() if _squares(column) > EXPLAINED * _squares(columns[c])]
    if rows <= 0:
        raise TableError(
            f"screening: expected more rows than the {len(basis)} columns the model has, found {rows} more"
        )
    path = tuple(_path([left[c] for c in useful], outcomes, rows, rule))
    chosen = min(path, key=lambda step: step.criterion)  # the first of equals: the greatest penalty
    kept = {useful[place] for place in chosen.active}
    verdicts = (_verdict(c, control, kept, useful) for c, control in enumerate(controls))
    return Screened(tuple(verdicts), path, chosen)


def _outcomes(y: np.ndarray, basis: Sequence[Column], before: int) -> Iterator[Column]:
    """What is left of every outcome, of variance 1."""
    for o, column in enumerate(_columns(y, before)):
        left = _left(column, basis)
        if _squares(left) <= EXPLAINED * _squares(column):
            raise TableError(
                f"screening: expected outcome {o} to vary beside what the model has, found that it does not"
            )
        yield _standard(left)


def _verdict(c: int, control: ControlColumn, kept: set[int], useful: Sequence[int]) -> Verdict:
    if control.role != "precision":
        return Verdict(control.name, True, control.role)
    if c in kept:
        return Verdict(control.name, True, "on_the_path")
    return Verdict(control.name, False, "off_the_path" if c in useful else "explained")


def _columns(values: np.ndarray, before: int) -> Iterator[Column]:
    """Each of (T, L, K) as the deviations from every location's mean over the first periods, laid end to end."""
    for k in range(values.shape[2]):
        column: Column = []
        for place in range(values.shape[1]):
            each = values[:before, place, k].tolist()
            mean = each[0] if max(each) == min(each) else math.fsum(each) / before
            column += [value - mean for value in each]
        yield column


def _basis(data: ScreeningData, controls: Sequence[ControlColumn], before: int) -> list[Column]:
    """Orthonormal columns that span what the model has anyway."""
    confounders = [c for c, control in enumerate(controls) if control.role == "confounder"]
    anyway = [*_columns(data.others, before), *_columns(data.controls[:, :, confounders], before)]
    basis: list[Column] = []
    for column in anyway:
        left, size = _left(column, basis), _squares(column)
        if _squares(left) > EXPLAINED * size:
            norm = math.sqrt(_squares(left))
            basis.append([value / norm for value in left])
    return basis


def _left(column: Column, basis: Sequence[Column]) -> Column:
    """What orthonormal `basis` leaves of a column: modified Gram-Schmidt, twice (Giraud et al. 2005)."""
    values = np.asarray(column)
    for direction in (*basis, *basis):
        along = np.asarray(direction)
        values = values - math.fsum((values * along).tolist()) * along
    return values.tolist()


def _squares(column: Column) -> float:
    return math.fsum(value * value for value in column)


def _path(candidates: Sequence[Column], outcomes: Sequence[Column], rows: int, rule: Screening) -> Iterator[Step]:
    """Active sets from the greatest penalty down, until one is of more than `rule.keep`. The first is empty."""
    yield Step(math.inf, (), _criterion((), candidates, outcomes, rows, rule.gamma))
    if not candidates or rule.keep == 0:
        return
    length = len(outcomes[0])
    scaled = [_standard(column) for column in candidates]
    X, Y = np.asfortranarray(np.asarray(scaled).T), np.asfortranarray(np.asarray(outcomes).T)
    greatest = max(math.hypot(*(_product(x, y) for y in outcomes)) for x in scaled) / length
    lasso = MultiTaskLasso(fit_intercept=False, warm_start=True, tol=TOLERANCE, max_iter=ITERATIONS)
    for k in range(1, rule.path):
        penalty = greatest * math.exp(k / (rule.path - 1) * math.log(rule.shortest))
        active = _active(lasso.set_params(alpha=penalty), X, Y)
        if len(active) > rule.keep:
            return
        yield Step(rounded(penalty), active, _criterion(active, candidates, outcomes, rows, rule.gamma))


def _standard(column: Column) -> Column:
    scale = math.sqrt(_squares(column) / len(column))
    return [value / scale for value in column]


def _product(x: Column, y: Column) -> float:
    return math.fsum(a * b for a, b in zip(x, y, strict=True))


def _active(lasso: MultiTaskLasso, X: np.ndarray, Y: np.ndarray) -> tuple[int, ...]:
    """Candidates with a coefficient at the penalty that `lasso` is set to. Raises TableError without convergence."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        try:
            lasso.fit(X, Y)
        except ConvergenceWarning as warning:
            raise TableError(
                f"screening: expected a path that converges in {ITERATIONS} steps, found: {warning}; "
                f"declare a greater checks.screening.shortest"
            ) from warning
    sizes = [math.hypot(*column) for column in lasso.coef_.T.tolist()]
    return tuple(j for j, size in enumerate(sizes) if size > TOLERANCE * max(sizes))


def _criterion(
    active: Sequence[int], candidates: Sequence[Column], outcomes: Sequence[Column], rows: int, gamma: float
) -> float:
    """Extended BIC of the least-squares fit on the active set, rounded; infinite where that leaves no residual."""
    basis: list[Column] = []
    for j in active:
        left = _left(candidates[j], basis)
        norm = math.sqrt(_squares(left))
        if norm * norm > EXPLAINED * _squares(candidates[j]):
            basis.append([value / norm for value in left])
    residuals = [_squares(_left(y, basis)) for y in outcomes]
    if len(basis) >= rows or min(residuals) <= 0.0:
        return math.inf
    P, size = len(candidates), len(active)
    models = math.lgamma(P + 1) - math.lgamma(size + 1) - math.lgamma(P - size + 1)
    fit = rows * math.fsum(math.log(rss / rows) for rss in residuals)
    return rounded(fit + len(outcomes) * size * math.log(rows) + 2.0 * gamma * models)
