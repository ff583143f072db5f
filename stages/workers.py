"""Parallel work: processes, each single-threaded, in the profile, pinned to one core.

What a task returns depends on its arguments alone, and results come back in the order of the tasks: how many workers
there are, which of them ran what, and in which order, changes nothing. With no workers the tasks run one after the
other in this process (an emulated CPU cannot spawn emulated processes; golden checks use it).
"""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from multiprocessing.synchronize import Lock
from pathlib import Path
from typing import TypeVar

from engine import precision
from stages.progress import Progress

T = TypeVar("T")
R = TypeVar("R")


class Workers:
    """Runs tasks in `count` processes, or in this one when `count` is 0."""

    def __init__(self, count: int, cache: Path | None, progress: Progress) -> None:
        self._count = count
        self._cache = cache
        self._progress = progress

    def map(self, what: str, function: Callable[[T], R], tasks: Sequence[T]) -> list[R]:
        """function(task) for each task, in the order of the tasks; `what` names them to whoever watches.

        `function` must be importable by name, tasks and results picklable. The first failure stops the rest and is
        raised. Where there is a cache, the first task is done before the others begin: they find what it compiled.
        """
        with self._progress.task(what, len(tasks)) as advance:
            if self._count == 0 or len(tasks) < 2:
                results = []
                for task in tasks:
                    results.append(function(task))
                    advance()
                return results
            return self._spawned(function, tasks, advance)

    def _spawned(self, function: Callable[[T], R], tasks: Sequence[T], advance: Callable[[], None]) -> list[R]:
        _forget_what_libraries_set()
        context = multiprocessing.get_context("spawn")  # a fork after JAX has started hangs
        cores = sorted(os.sched_getaffinity(0))
        counter, lock = context.Value("i", 0, lock=False), context.Lock()
        pool = ProcessPoolExecutor(
            max_workers=min(self._count, len(tasks)),
            mp_context=context,
            initializer=_start,
            initargs=(counter, lock, cores, self._cache),
        )
        with pool:
            futures = [pool.submit(function, tasks[0])]
            if self._cache is not None:
                wait(futures)
            futures += [pool.submit(function, task) for task in tasks[1:]]
            try:
                for done in _as_completed(futures):
                    done.result()
                    advance()
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise
            return [future.result() for future in futures]


def _forget_what_libraries_set() -> None:
    """The environment that workers inherit holds nothing that this process was not started with.

    scikit-learn sets two variables of its OpenMP runtime when it is imported; workers refuse what may change numbers.
    """
    for name in set(os.environ) - set(precision.environment(os.environ)):
        del os.environ[name]


def _as_completed(futures: Sequence[Future[R]]) -> Iterator[Future[R]]:
    waiting = set(futures)
    while waiting:
        done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
        yield from done


def _start(counter: object, lock: Lock, cores: Sequence[int], cache: Path | None) -> None:
    """Pins this worker to a core of its own while there are some, and puts it into the profile."""
    with lock:
        mine = counter.value  # type: ignore[attr-defined]  # a ctypes int shared by all workers
        counter.value = mine + 1  # type: ignore[attr-defined]
    os.sched_setaffinity(0, {cores[mine % len(cores)]})
    enter(cache)


def enter(cache: Path | None) -> None:
    """This process computes in the profile, with compiled programs kept under `cache` if given."""
    precision.enter(os.environ, sys.modules)
    if cache is not None:
        precision.compilation_cache(cache)
