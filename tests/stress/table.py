"""What was measured, as Markdown: worlds beside their stated verdicts, and the same findings in clean worlds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from tests.stress.alarmed import Alarmed
from tests.stress.coverage import Rate
from tests.stress.measure import Stressed, raised
from tests.stress.scenes import Scene

ALLOWED = 0.03  # of a coverage, from nominal


class Row(NamedTuple):
    """One scene's worlds."""

    scene: str
    verdict: str
    findings: str
    hits: int
    worlds: int
    falsely: int  # clean worlds with the same finding
    clean: int
    held: float  # share of 90 % intervals of what a channel added that hold the truth
    failed: bool


def row(name: str, scene: Scene, found: Sequence[Stressed], clean: Sequence[Stressed]) -> Row:
    """Of the scene `name`; clean: worlds in which nothing is wrong."""
    hits = sum(raised(scene, each.findings) for each in found)
    falsely = sum(raised(scene, each.findings) for each in clean)
    held = sum(float(each.held[-1].mean()) for each in found) / len(found)
    return Row(
        name, scene.verdict, " or ".join(scene.raised), hits, len(found), falsely, len(clean), held,
        hits < scene.least * len(found),
    )  # fmt: skip


def clean_row(found: Sequence[Stressed], level: float) -> Row:
    """Of worlds in which nothing is wrong: how many raise any warning, against the declared share and its scatter."""
    hits = sum(any(finding.severity == "warning" for finding in each.findings) for each in found)
    held = sum(float(each.held[-1].mean()) for each in found) / len(found)
    most = level + 3.0 * (level * (1.0 - level) / len(found)) ** 0.5
    return Row("clean", "no warning", "any warning", hits, len(found), hits, len(found), held, hits > most * len(found))


def scenes(rows: Sequence[Row]) -> str:
    """One line a scene."""
    head = "| world | stated verdict | finding | raised in | and in clean worlds | 90 % intervals of effects hold | |"
    lines = [head, "|---|---|---|---|---|---|---|"]
    for each in rows:
        lines.append(
            f"| {each.scene} | {each.verdict} | `{each.findings}` | {each.hits} of {each.worlds} | {each.falsely} of "
            f"{each.clean} | {each.held:.0%} | {'FAILED' if each.failed else 'as stated'} |"
        )
    return "\n".join(lines)


def alarms(found: Mapping[str, Sequence[Alarmed]]) -> str:
    """One line a scene."""
    lines = ["| world | alarms of detection | periods from the break to the alarm, median |", "|---|---|---|"]
    for name, each in found.items():
        delays = sorted(one.delay for one in each if one.delay is not None)
        middle = str(delays[len(delays) // 2]) if delays and name != "clean" else ""
        lines.append(f"| {name} | {sum(one.alarm for one in each)} of {len(each)} | {middle} |")
    return "\n".join(lines)


def coverages(found: Mapping[str, Mapping[str, Rate]]) -> str:
    """One line a model and interval."""
    lines = ["| residual of the model | interval | holds in (standard error) |", "|---|---|---|"]
    for residual, rates in found.items():
        lines += [f"| {residual} | {name} | {rate.share:.1%} ({rate.error:.1%}) |" for name, rate in rates.items()]
    return "\n".join(lines)


def outside(rates: Mapping[str, Rate]) -> list[str]:
    """Intervals of the right model whose coverage is off by more than ALLOWED, and by more than chance."""
    return [
        name
        for name, rate in rates.items()
        if abs(rate.share - float(name.split()[-1].rstrip("%")) / 100.0) > ALLOWED + 2.0 * rate.error
    ]
