"""Simulation-based calibration: a slice of `python -m tests.sbc.run`, and that it can fail."""

from __future__ import annotations

import math
from functools import lru_cache
from itertools import product

import numpy as np
import pytest

from engine.design import Design
from tests.sbc.ranks import LENGTH, Done, Ranked, by_quantity, ranker
from tests.sbc.uniform import chi_square, envelope, holm
from tests.sbc.verdict import Key, Verdict, least, markdown, verdicts, verdicts_of
from tests.worlds import Maker, World

WORLDS, BINS = 40, 8
LEVEL = 0.01


@lru_cache(maxsize=1)
def maker() -> Maker:
    return Maker(ranker("national").spec)


def of_larger_effects(design: Design, seed: int) -> World:
    """A world whose media do three times as much as the specification believes."""
    usual = maker().world(design, seed).truth
    larger = usual.media._replace(beta=3.0 * usual.media.beta)
    return maker().world(design, seed, usual._replace(media=larger))


def judged(worlds: list[Ranked]) -> dict[Key, Verdict]:
    return verdicts({"national": worlds}, LENGTH.draws, BINS)


def test_the_national_model_is_calibrated() -> None:
    found = judged([ranker("national").rank(seed, maker().world) for seed in range(WORLDS)])
    assert {"level[0]", "sigma[0]", "rho", "log likelihood", "media"} < {key.quantity for key in found}
    assert least(found) > LEVEL


def test_a_prior_that_is_not_the_one_of_the_truths_is_caught() -> None:
    found = judged([ranker("national").rank(seed, of_larger_effects) for seed in range(WORLDS)])
    assert least(found) < LEVEL
    assert found[Key("national", "media")].middle > 0.6


def test_a_quantity_that_a_world_lacks_is_told() -> None:
    there, other = (Ranked({name: 1}, {name: 60.0}, 0, 7) for name in ("level[0]", "rho"))
    with pytest.raises(ValueError, match=r"ranks: expected \['level\[0\]'\] of every world, found \['rho'\]"):
        by_quantity([there, other])


def test_the_table_has_the_worst_quantity_of_each_model_or_every_one() -> None:
    worlds = [
        Ranked({"level[0]": good, "rho": good // 2}, {"level[0]": 60.0, "rho": 50.0}, 0, 7)
        for good in uniform(4, WORLDS, LENGTH.draws)
    ]
    found = verdicts({"national": worlds}, LENGTH.draws, BINS)
    short, long = (markdown({"national": Done(worlds, 3.2)}, found, every).splitlines() for every in (False, True))
    assert [len(short), len(long)] == [3, 4]
    assert short[2].startswith("| national | rho | 0.0000 |")
    assert short[2].endswith("| 40 | 50 | 0 | 40 x 7 | 3 |")


# The tests of uniformity themselves.


def uniform(seed: int, worlds: int, draws: int) -> list[int]:
    return np.random.default_rng(seed).integers(0, draws + 1, worlds).tolist()


def conjugate(seed: int, prior_sd: float, width: float, shift: float) -> list[int]:
    """Ranks of 200 truths ~ Normal(0, 1), each seen once with error 1, among draws of an analyst's posterior.

    The analyst believes in Normal(0, prior_sd^2), and what is drawn has `width` times the right sd, and a bias of
    `shift` sds.
    """
    draw = np.random.default_rng(seed)
    truth = draw.normal(size=200)
    seen = truth + draw.normal(size=200)
    variance = 1.0 / (1.0 + 1.0 / prior_sd**2)
    unit = width * draw.normal(size=(200, 63)) + shift
    drawn = (seen * variance)[:, None] + math.sqrt(variance) * unit
    return np.sum(drawn < truth[:, None], axis=1).tolist()


@pytest.mark.parametrize("seed", range(3))
def test_an_exact_posterior_passes(seed: int) -> None:
    ranks = conjugate(seed, 1.0, 1.0, 0.0)
    assert envelope(ranks, 63) > LEVEL
    assert chi_square(ranks, 63, 16) > LEVEL


@pytest.mark.parametrize(
    ("prior_sd", "width", "shift"),
    [(0.3, 1.0, 0.0), (1.0, 0.6, 0.0), (1.0, 1.6, 0.0), (1.0, 1.0, 0.5), (1.0, 1.0, -0.5)],
    ids=["narrow prior", "too sure", "too unsure", "biased up", "biased down"],
)
def test_a_posterior_that_is_wrong_fails(prior_sd: float, width: float, shift: float) -> None:
    assert envelope(conjugate(1, prior_sd, width, shift), 63) < 1e-4


def test_ranks_that_count_one_draw_too_many_fail() -> None:
    ranks = [max(rank - 6, 0) for rank in uniform(2, 200, 63)]
    assert envelope(ranks, 63) < 1e-4


def test_two_humps_that_the_envelope_forgives_fail_by_chi_square() -> None:
    ranks = [rank // 8 * 8 + rank % 4 for rank in uniform(3, 120, 63)]  # every second bin of four is empty
    assert chi_square(ranks, 63, 16) < 1e-4
    assert envelope(ranks, 63) > 1e-4


def test_the_envelope_is_the_share_of_all_rank_samples_that_look_as_bad() -> None:
    draws, worlds = 2, 4
    every = list(product(range(draws + 1), repeat=worlds))
    badness = np.asarray([_least_tail(ranks, draws) for ranks in every])
    for place, ranks in enumerate(every):
        expected = np.mean(badness <= badness[place] * (1.0 + 1e-9))
        assert math.isclose(envelope(ranks, draws), expected, abs_tol=1e-12), ranks


def _least_tail(ranks: tuple[int, ...], draws: int) -> float:
    """By the definition: binomial tails, added up term by term."""
    count, tails = len(ranks), []
    for cell in range(1, draws + 1):
        share, below = cell / (draws + 1), sum(rank < cell for rank in ranks)
        mass = [math.comb(count, k) * share**k * (1.0 - share) ** (count - k) for k in range(count + 1)]
        tails += [math.fsum(mass[: below + 1]), math.fsum(mass[below:])]
    return min(tails)


@pytest.mark.parametrize("test", [envelope, lambda ranks, draws: chi_square(ranks, draws, 16)], ids=["envelope", "chi"])
def test_uniform_ranks_are_refused_as_often_as_said(test: object) -> None:
    assert callable(test)
    p = np.asarray([test(uniform(seed, 200, 63), 63) for seed in range(300)])
    for level in (0.05, 0.2, 0.5):
        error = math.sqrt(level * (1.0 - level) / p.size)
        assert abs(float(np.mean(p < level)) - level) < 4.0 * error


def test_holm_is_the_textbooks() -> None:
    # Holm (1979), with p of 1, 4, 3, 0.5 hundredths: 4 x .005, 3 x .01, 2 x .03, and .04 raised to the one before it
    np.testing.assert_allclose(holm([0.01, 0.04, 0.03, 0.005]), [0.03, 0.06, 0.06, 0.02])


def test_the_bound_counts_both_tests_of_every_quantity() -> None:
    ranks = {Key("m", str(k)): uniform(k, 200, 63) for k in range(5)}
    ranks[Key("m", "bad")] = [rank // 2 for rank in uniform(9, 200, 63)]
    found = verdicts_of(ranks, 63, 16)
    bad = found[Key("m", "bad")]
    assert least(found) == bad.bound < 1e-6
    assert bad.middle < 0.3
    assert all(each.bound > LEVEL for key, each in found.items() if key.quantity != "bad")


def test_bins_that_do_not_divide_the_ranks_are_refused() -> None:
    with pytest.raises(ValueError, match="bins: expected a divisor of 64, found 10"):
        chi_square([1, 2], 63, 10)
