"""What a sealed run can be checked and replayed with, taken out of a log while it is open."""

from __future__ import annotations

from dataclasses import dataclass

from audit.receipt import Receipt, receipt_of
from audit.resource import Subject
from audit.run import Run
from audit.trust import TrustedLog
from audit.truststory import RunRef


@dataclass(frozen=True, slots=True)
class Evidence:
    """A run; every artifact of it, `registered` among them; the receipts of its registration and its seal.

    `registered` is empty and `registration` None where that envelope is withheld.
    """

    run: Run
    artifacts: tuple[Subject, ...]
    registered: tuple[Subject, ...]
    registration: Receipt | None
    seal: Receipt


def evidence(log: TrustedLog, ref: RunRef) -> Evidence:
    """The evidence of one run of the log."""
    run = log.run(ref)
    registered = log.entry(run.registration)
    return Evidence(
        run=run,
        artifacts=log.artifacts(run),
        registered=registered.require().statement.subject if registered else (),
        registration=receipt(log, registered.seq) if registered else None,
        seal=receipt(log, run.seq),
    )


def receipt(log: TrustedLog, seq: int) -> Receipt:
    """The receipt of entry `seq`: under the first head that covers it. Unavailable if it is withheld."""
    return receipt_of(log.log, log.keys, log.at(seq))
