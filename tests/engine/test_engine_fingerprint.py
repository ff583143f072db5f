"""Laws of the numeric fingerprint: one bit anywhere shows, and is named; nothing else does.

What needs JAX runs inside the profile, in one fresh process for all: the functions named `report_...`.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from typing import Any

import pytest

from engine.errors import EngineError
from engine.profile import PROFILE
from tests.fresh import REPOSITORY, inside

COMMITTED = REPOSITORY / "engine" / "fingerprint.json"


def split_mix(counter: int, seed: int) -> int:
    """SplitMix64 (Steele, Lea & Flood 2014, doi:10.1145/2660193.2660195) of a counter, in whole numbers."""
    mask = 2**64 - 1
    z = (counter + (seed << 32)) * 0x9E3779B97F4A7C15 & mask
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 & mask
    z = (z ^ z >> 27) * 0x94D049BB133111EB & mask
    return z ^ z >> 31


def report_inputs() -> list[str]:
    from engine.operations import make_inputs

    return [value.hex() for value in make_inputs().unit[:300].tolist()]


def report_bits() -> list[str]:
    import numpy as np

    from engine.fingerprint import digest

    x = np.linspace(-3.0, 3.0, 24)
    others = [x, x.reshape(4, 6), x.astype(np.float32), x.view(np.int64), x[:-1]]
    moved = [np.where(np.arange(24) == i, np.nextafter(x, 9), x) for i in range(24)]
    zeros = [np.array([0.0]), np.array([-0.0])]
    return [digest(array) for array in (*others, *moved, *zeros)]


def report_nans() -> list[str]:
    import numpy as np

    from engine.fingerprint import digest

    payloads = [0x7FF8000000000000, 0xFFF8000000000000, 0x7FF8000000000ABC]
    return [digest(np.array([payload], np.uint64).view(np.float64)) for payload in payloads]


def report_layouts() -> list[str]:
    import numpy as np

    from engine.fingerprint import digest

    x = np.arange(12.0).reshape(3, 4)
    return [digest(x), digest(np.asfortranarray(x)), digest(np.repeat(x, 2, axis=1)[:, ::2])]


def report_differing() -> list[Any]:
    from engine.fingerprint import Fingerprint, compare, may_replay

    base = {"exp": "a", "f32_exp": "b", "sort": "c"}
    rows = []
    for change in ({}, {"sort": "d"}, {"f32_exp": "d"}, {"sort": "d", "f32_exp": "d"}, {"new": "e"}):
        expected, found = (Fingerprint(tuple(sorted(each.items()))) for each in (base, {**base, **change}))
        differing = compare(expected, found)
        rows.append([differing, may_replay(differing), expected.sha256 == found.sha256])
    return rows


def report_company() -> list[Any]:
    from engine.fingerprint import compute
    from engine.operations import OPERATIONS

    chosen = [operation for operation in OPERATIONS if operation.family in ("order", "numpy")]
    alone = [pair for operation in chosen for pair in compute([operation]).digests]
    return [sorted(alone), compute(chosen).digests, compute(chosen[::-1]).digests]


def report_operations() -> list[Any]:
    from engine.operations import OPERATIONS

    return [(operation.family, operation.name) for operation in OPERATIONS]


def report_refusals() -> list[str]:
    from engine.fingerprint import from_json, to_json

    text = COMMITTED.read_text(encoding="utf-8")
    assert to_json(PROFILE, from_json(PROFILE, text)) == text
    renamed, repinned = dataclasses.replace(PROFILE, name="det-2"), dataclasses.replace(PROFILE, unset=())
    refusals = []
    for profile, attempt in (
        (renamed, text),
        (repinned, text),
        *((PROFILE, bad) for bad in ("{}", "[]", "not JSON", "")),
    ):
        try:
            from_json(profile, attempt)
        except EngineError as error:
            refusals.append(str(error))
    return refusals


REPORTS: tuple[Callable[[], list[Any]], ...] = (
    report_inputs,
    report_bits,
    report_nans,
    report_layouts,
    report_differing,
    report_company,
    report_operations,
    report_refusals,
)


@pytest.fixture(scope="module")
def reports() -> dict[str, list[Any]]:
    code = """
import json
from tests.engine import test_engine_fingerprint as t
print(json.dumps({report.__name__.removeprefix("report_"): report() for report in t.REPORTS}))
"""
    found: dict[str, list[Any]] = json.loads(inside(code))
    return found


def test_inputs_come_from_whole_numbers_alone(reports: dict[str, list[Any]]) -> None:
    assert reports["inputs"] == [((split_mix(i, 1) % 1012 + 1) / 1013).hex() for i in range(1, 301)]


def test_one_bit_anywhere_changes_the_digest(reports: dict[str, list[Any]]) -> None:
    assert len(set(reports["bits"])) == len(reports["bits"]) == 5 + 24 + 2


def test_every_nan_is_one_nan_and_every_layout_one_array(reports: dict[str, list[Any]]) -> None:
    assert len(set(reports["nans"])) == 1
    assert len(set(reports["layouts"])) == 1


def test_what_differs_is_named_and_only_a_sentinel_forbids_replay(reports: dict[str, list[Any]]) -> None:
    sort, single = ["sort", "sentinel", "c", "d"], ["f32_exp", "canary", "b", "d"]
    assert reports["differing"] == [
        [[], True, True],
        [[sort], False, False],
        [[single], True, True],
        [[sort, single], False, False],
        [[["new", "sentinel", "(absent)", "e"]], False, False],
    ]


def test_an_operation_does_not_depend_on_the_company_it_is_compiled_in(reports: dict[str, list[Any]]) -> None:
    alone, together, reversed_ = reports["company"]
    assert len(alone) >= 20
    assert alone == together == reversed_


def test_names_are_unique_and_the_committed_ones(reports: dict[str, list[Any]]) -> None:
    families, names = ({pair[i] for pair in reports["operations"]} for i in (0, 1))
    assert len(names) == len(reports["operations"]) >= 100
    assert names == json.loads(COMMITTED.read_text(encoding="utf-8"))["operations"].keys()
    assert {"elementwise", "reductions", "products", "linear_algebra", "random", "numpy"} <= families


def test_a_fingerprint_of_another_profile_or_no_fingerprint_is_refused(reports: dict[str, list[Any]]) -> None:
    renamed, repinned, *unreadable = reports["refusals"]
    assert "expected one made in profile det-2" in renamed
    assert f"found det-1 {PROFILE.sha256}" in repinned
    assert [text.split(": ")[1] for text in unreadable] == ["not readable"] * 4


def test_the_committed_fingerprint_belongs_to_the_profile_as_it_is() -> None:
    committed = json.loads(COMMITTED.read_text(encoding="utf-8"))
    assert (committed["profile"], committed["sha256"]) == (PROFILE.name, PROFILE.sha256), (
        "a pin changed: give the profile another name, then `noptik doctor --write`"
    )
