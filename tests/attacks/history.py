"""Attacks by those who hold the log's key: a thief of it, or the log itself that wants another past."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from audit.logsource import Logged
from tests.attacks.attack import Attack, Good
from tests.attacks.good import ROOT
from tests.attacks.insider import consistent, moved, older, replaced, rewritten, spoken
from tests.taken import Taken


def _other_second(log: list[Logged]) -> Iterable[Logged]:
    return spoken(0, replaced(b"2024-01-01T00:00:00Z", b"2023-01-01T00:00:00Z"))(log)


def _registered_late(log: list[Logged]) -> Iterable[Logged]:
    return [moved(log[1], 0), moved(log[2], 1), moved(log[0], 2)]


def _without(log: list[Logged]) -> Iterable[Logged]:
    return [moved(row, number) for number, row in enumerate([log[0], *log[2:]])]


def _gap(log: list[Logged]) -> Iterable[Logged]:
    return [replace(row, seq=number) for number, row in enumerate([*log[:3], *log[4:]])]


def _twice(log: list[Logged]) -> Iterable[Logged]:
    return [*log, moved(log[5], 6)]


def _forked(good: Good) -> Taken:
    return consistent(rewritten(_other_second)(good), ROOT.public)


def _back_dated(good: Good) -> Mapping[str, bytes]:
    bundle = consistent(older(_other_second)(good), ROOT.public)
    return {"bundle.tar": bundle.tar(), "checkpoint": good.older.files["data/log/heads/3"]}


READER = "verify bundle.tar --root ../good/root.pem"
KEPT, WITNESSED = f"{READER} --kept ../good/checkpoint", f"{READER} --policy ../good/policy"
PAST = "another past than the one the reader was shown"
WITHOUT = "a history without what it regrets"
HISTORY = (
    Attack(
        "rollback",
        lambda good: good.older,
        ("older than a head already signed", "size 3"),
        "showed an older bundle, valid in every way, to a reader who has seen a later head.",
        "silence about all that came since",
        KEPT,
    ),
    Attack(
        "fork",
        _forked,
        ("another tree of size 6 was signed before",),
        "signed a second tree of a size that it had signed before; all of the bundle agrees with it.",
        PAST,
        KEPT,
    ),
    Attack(
        "fork_without_witness",
        _forked,
        ("policy of witnesses not met", "data/log/checkpoint", "client"),
        "showed a second tree of one size to a reader who has kept no head, but asks for a witness.",
        PAST,
        WITNESSED,
    ),
    Attack(
        "frozen_head",
        lambda good: good.older,
        ("policy of witnesses not met", "client (too old)"),
        "keeps showing the same old head, with its genuine cosignature.",
        "a reader that never learns what came since",
        f"{WITNESSED} --not-before 2024-06-01T00:00:00Z",
    ),
    Attack(
        "back_dated_registration",
        _back_dated,
        ("another tree of size 3 was signed before",),
        "gave the registration an earlier time and signed all that follows anew, when the reader had seen the log.",
        "a specification that seems older than the data it was fitted to",
        f"{READER} --kept checkpoint",
    ),
    Attack(
        "registered_after_the_run",
        older(_registered_late),
        ("statement of stage register not logged before the seal",),
        "moved the registration behind the run that it has to precede.",
        "a specification written when the result was known",
    ),
    Attack(
        "deleted_entry",
        rewritten(_without),
        ("statement of stage fit not logged before the seal",),
        "deleted an entry, numbered the others anew and signed the new tree.",
        WITHOUT,
    ),
    Attack(
        "gap_in_the_log",
        rewritten(_gap),
        ("leaf of another entry", "leaf of entry 3"),
        "deleted an entry, left the numbers in the others as they were and signed the new tree.",
        WITHOUT,
    ),
    Attack(
        "repeated_entry",
        rewritten(_twice),
        ("entry 6", "previous run differs"),
        "logged a seal a second time.",
        "a run that seems to have been repeated",
    ),
)
