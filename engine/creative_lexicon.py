"""Lexicon features: which words of our own short lists an English text has. No language model.

A list's word that means something else in its place counts all the same, and what no list has is not seen: a reader
can say why each number is what it is. Texts in other languages give numbers, prices and questions, hardly words.

The text is compared after NFKC (UAX #15) and case folding, word by word. A term of several words is found where they
follow each other; terms of one list do not overlap, and the longest one that begins at a word is taken.

discount_percent is the largest of: a percentage in (0, 100] at most REACH words before or after a word of REDUCTION
(`20 % off`, `save up to 30%`; not `100% cotton`), and a fraction of FRACTIONS directly before one (`half price`).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence

from engine.creative_field import Features, Field, require_text, rounded

FIELDS = (
    Field("urgency", "number", "terms"),
    Field("price", "flag", "an amount of money is named"),
    Field("discount", "flag", "a lowered price is named"),
    Field("discount_percent", "number", "percent"),  # 0 where none is named
    Field("call_to_action", "number", "terms"),
    Field("question", "flag", "a question mark stands in the text"),
    Field("second_person", "number", "share of words"),
    Field("novelty", "number", "terms"),
)

URGENCY = (
    *("hurry", "tonight", "deadline", "urgent", "expires", "expiring", "limited", "final", "soon", "last chance"),
    *("today only", "only today", "this week only", "this weekend only", "last day", "last days", "hours only"),
    *("ends today", "ends tonight", "ends soon", "ends sunday", "ends monday", "ends friday", "ends saturday"),
    *("while stocks last", "while supplies last", "while they last", "before it is gone", "before they are gone"),
    *(
        "do not wait",
        "don't wait",
        "don't miss",
        "do not miss",
        "act now",
        "only a few",
        "almost gone",
        "until midnight",
    ),
    *("until sunday", "until monday", "until friday", "until saturday", "at midnight", "first come", "selling fast"),
)
ACTION = (
    *("buy", "shop", "order", "subscribe", "register", "reserve", "book", "download", "discover", "explore", "browse"),
    *("call", "visit", "click", "tap", "join", "sign up", "learn more", "find out", "get yours", "see more", "try it"),
    *("come in", "add to basket", "add to cart", "start now", "get started", "watch", "choose yours", "find yours"),
)
SECOND_PERSON = ("you", "your", "yours", "yourself", "yourselves", "you're", "you'll", "you've", "you'd")
NOVELTY = (
    *("new", "newest", "introducing", "launch", "launching", "debut", "now available", "just arrived", "just landed"),
    *("first time", "for the first time", "meet", "brand new", "redesigned", "reinvented", "unveiling", "at last"),
)
REDUCTION = ("off", "less", "save", "saving", "savings", "discount", "discounted", "reduced", "cheaper", "rebate")
DISCOUNT = (
    *("sale", "discount", "discounted", "marked down", "reduced", "half price", "half off", "clearance", "voucher"),
    *("coupon", "promo code", "price cut", "lower price", "rebate", "bargain"),
)
FRACTIONS: Mapping[str, float] = {"half": 50.0, "third": 100 / 3, "quarter": 25.0, "fifth": 20.0, "tenth": 10.0}
AFTER_FRACTION = frozenset({"off", "less", "price", "cheaper"})
REACH = 3  # words between a percentage and the word that makes it a reduction

_NUMBER = r"[0-9]+(?:[.,][0-9]+)*"
_TOKEN = re.compile(rf"{_NUMBER}|%|[$€£¥]|[^\W\d_]+(?:'[^\W\d_]+)*")
_CURRENCY = frozenset({"$", "€", "£", "¥"})
_MONEY = _CURRENCY | {"usd", "eur", "gbp", "dollar", "dollars", "euro", "euros", "pound", "pounds", "cents"}
_PERCENT = frozenset({"%", "percent", "pct"})
_QUESTION = ("?", "¿", "？", "؟", "\u037e")  # the last: the Greek question mark


def extract(text: str) -> Features:
    """FIELDS of `text`. Raises CreativeError for one that is too long."""
    require_text(text)
    tokens = _tokens(text)
    words = [token for token in tokens if token[0].isalpha()]
    percent = _percent(tokens)
    second = sum(word in SECOND_PERSON for word in words)
    return {
        "urgency": rounded(count(URGENCY, tokens)),
        "price": any(_is_price(tokens, n) for n in range(len(tokens))),
        "discount": percent > 0.0 or count(DISCOUNT, tokens) > 0 or _amount_off(tokens),
        "discount_percent": rounded(percent),
        "call_to_action": rounded(count(ACTION, tokens)),
        "question": any(mark in text for mark in _QUESTION),
        "second_person": rounded(second / len(words) if words else 0.0),
        "novelty": rounded(count(NOVELTY, tokens)),
    }


def count(terms: Sequence[str], tokens: Sequence[str]) -> int:
    """How many of `terms` stand in `tokens`, without overlap, the longest first."""
    known = {tuple(term.split()) for term in terms}
    lengths = sorted({len(term) for term in known}, reverse=True)
    found = at = 0
    while at < len(tokens):
        step = next((n for n in lengths if tuple(tokens[at : at + n]) in known), 0)
        found += step > 0
        at += max(step, 1)
    return found


def _tokens(text: str) -> list[str]:
    folded = unicodedata.normalize("NFKC", text).casefold().replace("’", "'").replace("per cent", "percent")
    return _TOKEN.findall(folded)


def _amount(token: str) -> float:
    """A percentage as a number; a comma before one or two digits is a decimal comma. 0 for what is none."""
    if re.fullmatch(r"[0-9]{1,3}(?:[.,][0-9]{1,2})?", token) is None:
        return 0.0
    value = float(token.replace(",", "."))
    return value if value <= 100.0 else 0.0


def _percent(tokens: Sequence[str]) -> float:
    largest = 0.0
    for n, token in enumerate(tokens):
        if token in _PERCENT and n > 0:
            near = {*tokens[max(n - 1 - REACH, 0) : n - 1], *tokens[n + 1 : n + 1 + REACH]}
            if not near.isdisjoint(REDUCTION):
                largest = max(largest, _amount(tokens[n - 1]))
        elif token in FRACTIONS and n + 1 < len(tokens) and tokens[n + 1] in AFTER_FRACTION:
            largest = max(largest, FRACTIONS[token])
    return largest


def _is_price(tokens: Sequence[str], n: int) -> bool:
    """Whether token `n` is a number beside a currency's sign or name."""
    if not tokens[n][0].isdigit():
        return False
    return (n > 0 and tokens[n - 1] in _CURRENCY) or (n + 1 < len(tokens) and tokens[n + 1] in _MONEY)


def _amount_off(tokens: Sequence[str]) -> bool:
    """Whether an amount of money stands next to a reduction: `$10 off`, `save 20 euros`; or `was $64`."""
    for n in range(len(tokens)):
        if _is_price(tokens, n):
            start, end = max(n - 2, 0), n + 3
            if "was" in tokens[start:n] or not {*tokens[start:n], *tokens[n + 1 : end]}.isdisjoint(REDUCTION):
                return True
    return False
