"""Worked examples of F1 and covering, their laws, and what is published of doing nothing."""

from __future__ import annotations

import csv
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.changepoint_scores import covering, f1
from tests.shared import shared

starts = st.lists(st.integers(1, 39), max_size=6)
laws = settings(deadline=None, derandomize=True, max_examples=60)


def test_doing_nothing_scores_what_is_published_of_it() -> None:
    annotations = json.loads(shared("tcpd", "annotations.json").read_text("utf-8"))
    lines = list(csv.DictReader(shared("tcpd", "published_scores.csv").read_text("utf-8").splitlines()))
    assert lines
    for line in lines:
        marked = list(annotations[line["series"]].values())
        length = json.loads(shared("tcpd", "series", f"{line['series']}.json").read_text("utf-8"))["n_obs"]
        assert f1(marked, [], 5) == pytest.approx(float(line["zero_f1"]), abs=1e-12)
        assert covering(marked, [], length) == pytest.approx(float(line["zero_cover"]), abs=1e-12)


def test_a_start_within_the_margin_is_one_hit_and_each_is_taken_once() -> None:
    assert f1([[20]], [25], 5) == 1.0
    assert f1([[20]], [26], 5) == 0.5  # 0 of both sets is the hit: precision 1/2, recall 1/2
    assert f1([[20, 22]], [21], 5) == pytest.approx(2 * 1 * (2 / 3) / (1 + 2 / 3))
    assert f1([[20]], [19, 21], 5) == pytest.approx(2 * (2 / 3) * 1 / (2 / 3 + 1))


def test_precision_is_of_the_union_and_recall_a_mean_over_annotators() -> None:
    # found 10 and 30; the union {0, 10, 30} has both, each annotator's set is found whole
    assert f1([[10], [30]], [10, 30], 5) == 1.0
    # 30 is nobody's: precision 2/3; recalls 1 and 1
    assert f1([[10], []], [10, 30], 5) == pytest.approx(2 * (2 / 3) / (2 / 3 + 1))


def test_covering_is_the_best_overlap_of_each_piece_by_length() -> None:
    # pieces of 4 and 6 against 5 and 5: overlaps 4/5 and 5/6
    assert covering([[4]], [5], 10) == pytest.approx((4 * 4 / 5 + 6 * 5 / 6) / 10)
    assert covering([[]], [5], 10) == 0.5
    assert covering([[4], []], [], 10) == pytest.approx(((4 * 0.4 + 6 * 0.6) / 10 + 1) / 2)


@laws
@given(st.lists(starts, min_size=1, max_size=4), starts, st.integers(0, 6))
def test_scores_are_shares_whatever_the_order_and_a_wider_margin_costs_nothing(
    marked: list[list[int]], found: list[int], margin: int
) -> None:
    score = f1(marked, found, margin)
    assert 0 < score <= 1
    assert f1(marked[::-1], found[::-1], margin) == pytest.approx(score, rel=1e-12)
    assert 0 < covering(marked, found, 40) <= 1
    if len(marked) == 1:
        assert f1([found], marked[0], 0) == pytest.approx(f1(marked, found, 0), rel=1e-12)  # symmetric


@laws
@given(starts)
def test_an_annotation_agrees_with_itself_alone(marked: list[int]) -> None:
    assert f1([marked], marked, 0) == 1.0
    assert covering([marked], marked, 40) == 1.0
    other = sorted({*marked, 20} if 20 not in marked else {*marked} - {20})
    assert f1([marked], other, 0) < 1.0
    assert covering([marked], other, 40) < 1.0
