"""How well a segmentation agrees with several annotators: F1 with a margin, and covering.

Source: van den Burg & Williams 2020, arXiv:2003.06222, evaluation metrics ("BW" below). An annotation is the set of
starts that one annotator saw, the first period's, 0, left out; an empty one says that nothing changes.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence


def f1(annotations: Sequence[Sequence[int]], starts: Sequence[int], margin: int) -> float:
    """BW's F-measure with beta 1, in (0, 1]; 0 belongs to every set.

    Precision is of `starts` against the union of all annotations, recall the mean over annotators.
    """
    found = sorted({0, *starts})
    truths = [sorted({0, *annotation}) for annotation in annotations]
    union = sorted({start for truth in truths for start in truth})
    precision = _matched(union, found, margin) / len(found)
    recall = math.fsum(_matched(truth, found, margin) / len(truth) for truth in truths) / len(truths)
    return 2 * precision * recall / (precision + recall)


def covering(annotations: Sequence[Sequence[int]], starts: Sequence[int], length: int) -> float:
    """BW's covering, in (0, 1]: best Jaccard overlap of each annotator's segments, by length; the mean over them."""
    found = _pieces(starts, length)
    return math.fsum(_covered(_pieces(each, length), found) for each in annotations) / len(annotations) / length


def _matched(truth: Sequence[int], found: Sequence[int], margin: int) -> int:
    """How many of `truth` have a start within `margin`, the nearest, that no earlier one has taken."""
    free, hits = list(found), 0
    for start in truth:
        near = [(abs(start - other), other) for other in free if abs(start - other) <= margin]
        if near:
            free.remove(min(near)[1])
            hits += 1
    return hits


def _covered(truth: Sequence[range], found: Sequence[range]) -> float:
    return math.fsum(len(piece) * max(_jaccard(piece, other) for other in found) for piece in truth)


def _pieces(starts: Sequence[int], length: int) -> list[range]:
    edges = [*sorted({0, *starts}), length]
    return [range(a, b) for a, b in itertools.pairwise(edges)]


def _jaccard(a: range, b: range) -> float:
    both = max(0, min(a.stop, b.stop) - max(a.start, b.start))
    return both / (len(a) + len(b) - both)
