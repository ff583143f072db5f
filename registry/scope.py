"""Where an event applies: channels and regions, both closed vocabularies, and when two of them meet."""

from __future__ import annotations

import re
from collections.abc import Sequence
from types import MappingProxyType
from typing import Final

CHANNELS: Final = MappingProxyType(
    {
        "all": "everything, the outcome included",
        "stores": "sales in shops",
        "ecommerce": "sales online",
        "marketplace": "sales and advertising on Amazon and its like",
        "tv": "television",
        "audio": "radio and digital audio",
        "video": "online video",
        "print": "newspapers, magazines, inserts",
        "direct_mail": "post",
        "email": "e-mail: delivery and its metrics",
        "sms": "text messages",
        "affiliate": "affiliates",
        "paid_search": "text advertisements on search pages",
        "shopping_ads": "product advertisements on search pages",
        "display": "banners, programmatic included",
        "retargeting": "advertising to people who came before",
        "meta_ads": "advertising on Facebook and Instagram",
        "snap_ads": "advertising on Snapchat",
        "tiktok_ads": "advertising on TikTok",
        "x_ads": "advertising on X, Twitter until 2023",
        "app_install": "advertising for app installations",
        "organic_search": "unpaid visits from search",
        "search_console": "what Google Search Console reports",
        "web_analytics": "what web analytics report: sessions, users, attributed conversions",
    }
)

# Members since 2020-02-01; an event of an earlier date that concerned the United Kingdom lists GB itself.
EU_MEMBERS: Final = frozenset(
    {"AT", "BE", "BG", "CY", "CZ", "DE", "DK", "EE", "ES", "FI", "FR", "GR", "HR", "HU", "IE", "IT", "LT"}
    | {"LU", "LV", "MT", "NL", "PL", "PT", "RO", "SE", "SI", "SK"}
)
REGIONS: Final = "global, EU, a country (US) or a part of one (US-CA)"
_REGION = re.compile(r"global|EU|[A-Z]{2}(-[A-Z0-9]{1,3})?")  # ISO 3166-1 alpha-2, ISO 3166-2


def is_channel(name: str) -> bool:
    """Whether `name` is in the vocabulary."""
    return name in CHANNELS


def is_region(name: str) -> bool:
    """Whether `name` is spelled as a region is: REGIONS. Whether such a country exists is not asked."""
    return _REGION.fullmatch(name) is not None


def channels_meet(mine: Sequence[str], yours: Sequence[str]) -> bool:
    """Whether a channel is in both; `all` meets every channel, and nothing meets an empty side."""
    if not mine or not yours:
        return False
    return "all" in mine or "all" in yours or not set(mine).isdisjoint(yours)


def regions_meet(mine: Sequence[str], yours: Sequence[str]) -> bool:
    """Whether a region of one side contains one of the other: global, EU and its members, US and US-CA."""
    return any(_contains(one, other) or _contains(other, one) for one in mine for other in yours)


def _contains(outer: str, inner: str) -> bool:
    if outer in ("global", inner):
        return True
    return inner[:2] in EU_MEMBERS if outer == "EU" else inner.startswith(f"{outer}-")
