"""The table that `tests.recovery.run` prints, in Markdown."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tests.recovery.rows import CONFIDENCE, NOMINAL, UNMIXED, Row, bounds, coverage, nominal, of_total

HEAD = (
    "class", "worlds", "pairs", f"covered, nominal {NOMINAL:.0%}", f"bounds {CONFIDENCE:.0%}", "verdict",
    "error of total", "error of each, median", "mean", f"R-hat >= {UNMIXED}", "divergent draws", "CPU s",
)  # fmt: skip


def failed(rows: Sequence[Row]) -> bool:
    """Whether a row whose coverage must be nominal is not, or all of them together are not."""
    judged = [row for row in rows if row.bounded]
    together = tuple(each for row in judged for each in row.found)
    return any(not nominal(row.found) for row in judged) or (bool(together) and not nominal(together))


def markdown(rows: Sequence[Row]) -> str:
    """One row a class, then all classes together."""
    judged = [row for row in rows if row.bounded]
    lines = [_line(HEAD), _line(["---"] * len(HEAD)), *(_line(_cells(row)) for row in rows)]
    if len(judged) > 1:
        together = tuple(each for row in judged for each in row.found)
        lines.append(_line(_cells(Row("all classes", together, sum(row.seconds for row in judged), True))))
    return "\n".join(lines)


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _cells(row: Row) -> list[str]:
    found = row.found
    low, high = bounds(coverage(found), len(found))
    each = np.concatenate([one.of_each for one in found])
    return [
        row.name,
        str(len(found)),
        str(sum(len(one.truth) for one in found)),
        f"{coverage(found):.1%}",
        f"{low:.0%} to {high:.0%}" if row.bounded else "",
        ("nominal" if nominal(found) else "NOT NOMINAL") if row.bounded else "",
        f"{of_total(found):.1%}",
        f"{np.median(each):.1%}",
        f"{np.mean(each):.1%}",
        str(sum(not one.rhat < UNMIXED for one in found)),
        f"{np.mean([one.diverging for one in found]):.2%}",
        f"{row.seconds:.0f}",
    ]
