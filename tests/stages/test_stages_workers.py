"""How many processes there are, and which does what, changes no byte; a failure is raised as it was."""

from __future__ import annotations

import os
import sys
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import pytest

from engine import precision
from engine.design import Design, build
from engine.errors import FitError
from engine.fit import Sampler
from engine.model import named
from engine.prng import stream
from engine.spec import Spec
from stages.progress import Progress
from stages.workers import Workers
from tests import small
from tests.fresh import REPOSITORY

CACHE = REPOSITORY / ".noptik" / "test-cache"
QUIET = Progress(quiet=True)


class Task(NamedTuple):
    spec: Spec
    chain: int


@lru_cache
def prepared(spec: Spec) -> tuple[Sampler, Design]:
    """The sampler of this process, and the data."""
    design, _ = build(small.panel(spec), spec, 30)
    return Sampler(spec, spec.inference.warmup, spec.inference.draws, design), design


def chain(task: Task) -> tuple[bytes, ...]:
    """One chain's draws as bytes."""
    sampler, design = prepared(task.spec)
    found = sampler.chain(design, stream(task.spec.seed, "fit", task.chain))
    return (
        *(value.tobytes() for value in named(found.parameters).values()),
        found.energy.tobytes(),
        repr(found.khat).encode(),
    )


def about(number: int) -> tuple[int, int, tuple[int, ...], int, bool]:
    """The number, and what process this is: id, cores, variables out of profile, float64."""
    differences = len(precision.in_profile(os.environ))
    cores = tuple(sorted(os.sched_getaffinity(0)))
    return number, os.getpid(), cores, differences, np.zeros(1).dtype == np.float64 and "jax" in sys.modules


def fails(number: int) -> int:
    if number == 1:
        raise FitError(f"number {number}")
    return number


@pytest.mark.slow
def test_chains_in_two_processes_are_the_chains_of_one_byte_for_byte() -> None:
    spec = small.spec()
    tasks = [Task(spec, c) for c in range(3)]
    inline = Workers(0, CACHE, QUIET).map("chains", chain, tasks)
    assert Workers(2, CACHE, QUIET).map("chains", chain, tasks) == inline
    assert len(set(inline)) == 3


def test_results_come_in_the_order_of_the_tasks_from_processes_in_the_profile() -> None:
    found = Workers(2, None, QUIET).map("numbers", about, range(6))
    assert [f[0] for f in found] == list(range(6))
    assert os.getpid() not in {f[1] for f in found}
    assert all(len(f[2]) == 1 for f in found), "each worker is pinned to one core"
    assert all(f[3] == 0 and f[4] for f in found)


def test_without_workers_or_for_one_task_nothing_is_started() -> None:
    mine = os.getpid()
    assert [f[1] for f in Workers(0, None, QUIET).map("numbers", about, [1, 2])] == [mine, mine]
    assert [f[1] for f in Workers(4, None, QUIET).map("numbers", about, [1])] == [mine]
    assert Workers(2, None, QUIET).map("numbers", about, []) == []


@pytest.mark.parametrize("count", [0, 2])
def test_the_first_failure_is_raised_as_it_was(count: int) -> None:
    with pytest.raises(FitError, match="number 1"):
        Workers(count, None, QUIET).map("numbers", fails, [0, 1, 2])
