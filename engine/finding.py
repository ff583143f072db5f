"""What data or fit cannot tell, said aloud: a finding changes no model and stops no forecast; it is there to be read.

(What detection makes of an alarm is another thing: `engine.verdict`.)

Glossary
--------
warning   a limit on the data is passed, or a test that a right model fails rarely has failed: of all tests after one
          fit together, in at most the declared share of right models (`engine.after`)
note      true of these data, or of this posterior, and no fault: which numbers are the prior's, which are tangled
subject   the channel, control, series, pair or part of the model that it is about
No finding means that nothing was found, never that nothing is there: a confounder left out cannot be proved absent.

findings: severity, subject, what (`What`), expected, found; text, none of it null.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import pyarrow as pa

Severity = Literal["note", "warning"]

# before the fit: engine.identifiability, engine.before
Before = Literal[
    "half_saturation_outside", "slope_one", "few_levels", "narrow",  # of Hill's curve
    "no_spend", "constant", "collinear", "inflated", "few_spends", "outlier", "saturation_outside", "follows_demand",
    "precision_moves_with_media", "no_confounder", "no_experiment", "short_history", "few_cycles",
]  # fmt: skip
# after it: engine.after
After = Literal[
    "autocorrelation", "season_left", "break_left", "spend_ahead", "effect_moved",
    "prior_speaks", "curve_is_prior", "tangled", "saturation_unbounded", "effect_beyond_prior",
    "shared_memory",
]  # fmt: skip
What = Before | After

NOTES: frozenset[What] = frozenset(
    {
        "no_confounder",
        "no_experiment",
        "prior_speaks",
        "curve_is_prior",
        "tangled",
        "saturation_unbounded",
        "effect_beyond_prior",
        "shared_memory",
    }
)

SCHEMA = pa.schema(
    [pa.field(name, pa.string(), nullable=False) for name in ("severity", "subject", "what", "expected", "found")]
)


class Finding(NamedTuple):
    """One thing that is not as it should be, or not what it looks like."""

    subject: str
    what: What
    expected: str
    found: str

    @property
    def severity(self) -> Severity:
        """Of its kind, whatever its size."""
        return "note" if self.what in NOTES else "warning"

    def __str__(self) -> str:
        return f"{self.subject}: {self.what}: expected {self.expected}, found {self.found}"


def findings_table(findings: Sequence[Finding]) -> pa.Table:
    """A row for every finding, in the order given."""
    rows = [(each.severity, each.subject, each.what, each.expected, each.found) for each in findings]
    columns = list(zip(*rows, strict=True)) if rows else [()] * len(SCHEMA)
    return pa.Table.from_arrays([pa.array(list(column), pa.string()) for column in columns], schema=SCHEMA)
