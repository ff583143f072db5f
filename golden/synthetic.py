"""The cases' data, made by integer arithmetic alone: `python -m golden.synthetic CASE` prints the file.

The numbers are invented. Each series holds a planted break, so that detection has something to find. What is printed
is committed beside the case; a test holds the two together.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from datetime import date, timedelta

QUARTER = (0, 23, 41, 48, 43, 27, 6, -17, -36, -47, -46, -31, -11)  # thousandths, of 13 weeks


class Noise:
    """Integers from Knuth's MMIX linear congruential generator (TAOCP vol. 2, 3.3.4)."""

    def __init__(self, seed: int) -> None:
        self._state = seed

    def below(self, bound: int) -> int:
        """One of 0 .. bound-1, from the upper half of the state."""
        self._state = (6364136223846793005 * self._state + 1442695040888963407) % 2**64
        return (self._state >> 32) % bound

    def bell(self, sd: int) -> int:
        """A sum of four uniform integers, mean 0, of about this standard deviation."""
        width = sd * 1732 // 1000
        return sum(self.below(width + 1) for _ in range(4)) - 2 * width


def _weeks(start: date, count: int) -> list[date]:
    return [start + timedelta(days=7 * t) for t in range(count)]


def national() -> Iterator[str]:
    """72 weeks in which sales fall by three tenths from week 52 on."""
    noise = Noise(72)
    yield "week,sales,tv,search,price,note"
    for t, week in enumerate(_weeks(date(2021, 9, 6), 72)):
        tv = (400 + noise.below(300)) * (t % 3 != 0)
        search = 200 + 4 * (t % 13) + noise.below(80)
        price = 980 + noise.below(40)
        level = 1000 + t + QUARTER[t % 13] + tv // 8 + search // 5 + (1000 - price) // 2 + noise.bell(20)
        sales = level * (7 if t >= 52 else 10)
        yield f"{week},{sales},{tv},{search},{price // 1000}.{price % 1000:03d},-"


def broken() -> Iterator[str]:
    """56 weeks in which sales rise by four tenths from week 44 on."""
    noise = Noise(56)
    yield "week,sales,tv"
    for t, week in enumerate(_weeks(date(2022, 1, 3), 56)):
        tv = 300 + noise.below(300)
        level = 1000 + QUARTER[t % 13] + tv // 8 + noise.bell(20)
        yield f"{week},{level * (14 if t >= 44 else 10)},{tv}"


def geo() -> Iterator[str]:
    """60 weeks at three locations in the Master Flat File, which lose a quarter together from week 46 on."""
    noise = Noise(60)
    yield "Period,Geography,Product,Campaign,Outlet,Creative,VariableName,VariableValue"
    for t, week in enumerate(_weeks(date(2022, 1, 3), 60)):
        for g, place in enumerate(("North", "South", "West")):
            tv, search = 100 * g + 50 * ((t + g) % 4) + noise.below(60), 40 + 10 * g + noise.below(50)
            price = 90 + noise.below(20)
            level = 500 + 100 * g + 2 * QUARTER[t % 13] // 3 + tv // (4 - g) + search // 2 - price + noise.bell(12)
            values = (("Sales", level * (3 if t >= 46 else 4)), ("TV", tv), ("Search", search), ("Price", price))
            yield from (f"{week},{place},,,,,{name},{value}" for name, value in values)


def detection() -> Iterator[str]:
    """304 weeks of standardised residuals in thousandths, whose mean moves at five dates, two of them for a week."""
    noise = Noise(304)
    moves = {"2018-11-26": (4500, 1), "2019-07-01": (2600, 26), "2020-03-16": (-3200, 30), "2021-10-04": (-6000, 1)}
    shifts = {date.fromisoformat(day): move for day, move in (*moves.items(), ("2022-06-06", (2800, 400)))}
    yield "week,residual"
    for week in _weeks(date(2018, 1, 1), 304):
        active = [size for day, (size, weeks) in shifts.items() if day <= week < day + timedelta(days=7 * weeks)]
        yield f"{week},{sum(active) + noise.bell(1000)}"


SERIES: tuple[tuple[str, str, Callable[[], Iterator[str]]], ...] = (
    ("national", "national/project/data/national.csv", national),
    ("break", "break/project/data/break.csv", broken),
    ("geo", "geo/project/data/geo.csv", geo),
    ("detection", "detection/project/residuals.csv", detection),
)


def text(case: str) -> str:
    """The whole file of `case`. Precondition: one of SERIES."""
    (make,) = (make for name, _, make in SERIES if name == case)
    return "".join(f"{line}\n" for line in make())


if __name__ == "__main__":
    sys.stdout.write(text(sys.argv[1]))
