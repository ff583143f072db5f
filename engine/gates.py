"""The gates of a fit, as they are recorded: what was required, what was measured, whether it passed."""

from __future__ import annotations

from engine.declared import Frozen


class Gate(Frozen):
    """One requirement: `value` must lie on the right side of `threshold`. `where` names the worst parameter."""

    name: str
    value: float
    rule: str  # "below", "above" or "at_most"
    threshold: float
    passed: bool
    where: str


class Diagnostics(Frozen):
    """What the gates say of a fit, and what is recorded beside them."""

    chains: int
    draws: int  # per chain
    gates: tuple[Gate, ...]
    khat: tuple[float | None, ...]  # Pathfinder's, by chain, () without it; None where it was not finite; no gate
    passed: bool
