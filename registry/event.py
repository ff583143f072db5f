"""One dated event of the regime registry: what a file of it may say.

Glossary of classes (`class` in the files, `kind` in Python)
------------------------------------------------------------
regime_change        demand, the price of media, or what media do really changed.
                     Example: App Tracking Transparency made targeted social advertising less effective.
measurement_change   the metric changed and the world did not.
                     Example: a shorter attribution window reports fewer conversions of the same sales.
artefact             a fault of a platform, in delivery or in reporting, that ended.
                     Example: social networks unreachable for six hours.
transient_promotion  a real, short and announced surge of demand. Example: Black Friday to Cyber Monday.
null_announcement    widely announced, and on that day nothing moved: a labelled negative.
                     Example: a browser's promise to keep third-party cookies.
"""

from __future__ import annotations

import re
from datetime import date
from types import MappingProxyType
from typing import Annotated, Any, Final, Literal, NoReturn, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from registry import scope

_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


def _refuse(expected: str, found: object, field: str = "") -> NoReturn:
    facts = {"expected": expected, "found": str(found), "field": field}
    raise PydanticCustomError("refused", "expected {expected}, found {found}", facts)


def _iso_date(value: Any) -> date:
    if isinstance(value, str) and _DATE.fullmatch(value):
        try:
            return date.fromisoformat(value)
        except ValueError:  # well formed, no such day
            pass
    _refuse("a calendar date YYYY-MM-DD", repr(value))


def _channel(value: str) -> str:
    return value if scope.is_channel(value) else _refuse(f"one of {', '.join(scope.CHANNELS)}", repr(value))


def _region(value: str) -> str:
    return value if scope.is_region(value) else _refuse(scope.REGIONS, repr(value))


IsoDate = Annotated[date, BeforeValidator(_iso_date)]
Channel = Annotated[str, AfterValidator(_channel)]
Region = Annotated[str, AfterValidator(_region)]
Id = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{2,59}$")]
Line = Annotated[str, Field(pattern=r"^\S([^\r\n]*\S)?$", max_length=600)]
Url = Annotated[str, Field(pattern=r"^https?://[!-~]+$", max_length=400)]
Kind = Literal["regime_change", "measurement_change", "artefact", "transient_promotion", "null_announcement"]

_PERSISTENCE: Final = MappingProxyType(
    {
        "regime_change": ("permanent", "temporary"),
        "measurement_change": ("permanent", "temporary"),
        "artefact": ("temporary",),
        "transient_promotion": ("temporary",),
        "null_announcement": ("none",),
    }
)


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Source(_Frozen):
    """Who said so: the page's title (the words of its address where the title was not seen), and its day."""

    title: Line
    publisher: Line
    date: IsoDate | None = None
    url: Url | None = None


class Event(_Frozen):
    """One dated event. Dates are days, in the place where it happened.

    announced    the day it became public: before its effect, or long after it, as with a fault told late
    effective    the first day on which a series could show it
    end          the last day; absent for what lasts, and for a temporary regime change that faded undated
    persistence  permanent: the new level stays; temporary: it returns; none: nothing moved
    supersedes   the event that this one replaces, which stays in the folder and is matched no more
    """

    schema_version: Literal[1]
    id: Id
    version: Annotated[int, Field(ge=1, le=1000)]
    kind: Annotated[Kind, Field(alias="class")]
    title: Line
    announced: IsoDate | None = None
    effective: IsoDate
    end: IsoDate | None = None
    persistence: Literal["permanent", "temporary", "none"]
    regions: tuple[Region, ...]
    channels: tuple[Channel, ...]
    mechanism: Line
    sources: tuple[Source, ...]
    unsourced: bool = False
    reason: Line
    confidence: Literal["high", "medium", "low"]
    supersedes: Id | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for name, values in (("regions", self.regions), ("channels", self.channels)):
            if not values or len(set(values)) != len(values):
                _refuse("at least one, each once", ", ".join(values) or "none", name)
        if bool(self.sources) == self.unsourced:
            found = "both" if self.unsourced else "neither"
            _refuse("either a source or `unsourced: true`", found, "sources")
        if self.persistence not in _PERSISTENCE[self.kind]:
            allowed = " or ".join(_PERSISTENCE[self.kind])
            _refuse(f"{allowed} for class {self.kind}", self.persistence, "persistence")
        self._check_end()
        return self

    def _check_end(self) -> None:
        if self.end is None:
            if self.persistence == "temporary" and self.kind != "regime_change":
                _refuse(f"a date, for a temporary {self.kind}", "none", "end")
        elif self.persistence != "temporary":
            _refuse(f"none, for persistence {self.persistence}", self.end, "end")
        elif self.end < self.effective:
            _refuse(f"{self.effective} or later", self.end, "end")

    @property
    def first(self) -> date:
        """The first day on which a series could show it."""
        return self.effective

    @property
    def last(self) -> date:
        """The last day of what ended; the first day of what did not."""
        return self.end or self.effective

    def record(self) -> dict[str, Any]:
        """The event as canonical JSON holds it: file spelling, dates as text, absent fields null."""
        return self.model_dump(mode="json", by_alias=True)
