"""Laws of the lexicon and layout features: what each counts, and what must not move it."""

from __future__ import annotations

import math
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine import creative_layout, creative_lexicon
from engine.creative_errors import CreativeError
from engine.creative_field import MAX_CHARACTERS

EXTRACTORS = (creative_layout, creative_lexicon)
TEXTS = st.text(max_size=200)


@pytest.mark.parametrize("extractor", EXTRACTORS, ids=lambda each: each.__name__)
@given(text=TEXTS)
def test_any_text_gives_every_declared_field_finite_and_rounded(extractor: type, text: str) -> None:
    found = extractor.extract(text)
    assert tuple(found) == tuple(field.name for field in extractor.FIELDS)
    for field in extractor.FIELDS:
        value = found[field.name]
        if field.kind == "flag":
            assert type(value) is bool
        else:
            assert type(value) is float
            assert math.isfinite(value)
            assert value >= 0.0
            assert value == round(value, 6)


@pytest.mark.parametrize("extractor", EXTRACTORS, ids=lambda each: each.__name__)
@given(text=TEXTS)
def test_composed_and_decomposed_texts_are_the_same(extractor: type, text: str) -> None:
    composed, decomposed = (unicodedata.normalize(form, text) for form in ("NFC", "NFD"))
    assert extractor.extract(composed) == extractor.extract(decomposed)


@pytest.mark.parametrize("extractor", EXTRACTORS, ids=lambda each: each.__name__)
def test_a_text_too_long_is_refused(extractor: type) -> None:
    extractor.extract("?!1%" * (MAX_CHARACTERS // 4))
    with pytest.raises(
        CreativeError, match=f"expected at most {MAX_CHARACTERS} characters, found {MAX_CHARACTERS + 1}"
    ):
        extractor.extract("x" * (MAX_CHARACTERS + 1))


@given(text=st.text(st.characters(codec="ascii"), max_size=200))
def test_a_lexicon_hears_no_case(text: str) -> None:
    assert creative_lexicon.extract(text.upper()) == creative_lexicon.extract(text.lower())


@given(st.text("abc XYZ.!?", max_size=80), st.text("abc XYZ.!?", max_size=80))
def test_counts_of_lines_add_up(one: str, other: str) -> None:
    parts = [creative_layout.extract(text) for text in (one, other, f"{one}\n{other}")]
    for name in ("characters", "words", "sentences", "exclamation_marks"):
        assert parts[0][name] + parts[1][name] == parts[2][name], name


@pytest.mark.parametrize(
    ("text", "name", "expected"),
    [
        ("", "characters", 0.0),
        ("a b\nc", "characters", 4.0),
        ("e\u0301a\u200db", "characters", 3.0),
        ("don't well-kept 48 $ — ...", "words", 3.0),
        ("один два, 三", "words", 3.0),
        ("ab abcd", "mean_word_length", 3.0),
        ("don't", "mean_word_length", 5.0),
        ("", "mean_word_length", 0.0),
        ("One. Two! Three", "sentences", 3.0),
        ("From $3.50. Really?!", "sentences", 2.0),
        ("...", "sentences", 0.0),
        ("It said “go.” We went…", "sentences", 2.0),
        ("早い。安い！", "sentences", 2.0),
        ("Headline\nand a line", "sentences", 2.0),
        ("ABcd", "capitals_share", 0.5),
        ("ÄÖ äö", "capitals_share", 0.5),
        ("三 12", "capitals_share", 0.0),
        ("a! b！ c‼", "exclamation_marks", 4.0),
        ("☕ ☕️ ⏰", "emoji", 3.0),
        ("👩🏽‍🎨 👨‍👩‍👧‍👦", "emoji", 2.0),
        ("🇫🇷🇩🇪", "emoji", 2.0),
        ("1️⃣ 2", "emoji", 1.0),
        ("👍🏿👍", "emoji", 2.0),
        ("❤️ ♥ ✓ © →", "emoji", 1.0),
        ("🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f", "emoji", 1.0),
        ("#1 * 12 abc", "emoji", 0.0),
    ],
)
def test_a_layout_is_counted_as_its_glossary_says(text: str, name: str, expected: float) -> None:
    assert creative_layout.extract(text)[name] == expected


@pytest.mark.parametrize(
    ("text", "percent"),
    [
        ("20% off", 20.0),
        ("Save up to 30 % on pans", 30.0),
        ("7,5 percent less", 7.5),
        ("7.25 per cent cheaper", 7.25),
        ("２０％ OFF", 20.0),
        ("10% off, then 40% off", 40.0),
        ("half price", 50.0),
        ("a third off", 33.333333),
        ("a quarter less", 25.0),
        ("100% cotton", 0.0),
        ("Half of them came", 0.0),
        ("200% off", 0.0),
        ("off with the lid: it holds 90% of heat", 0.0),
        ("1.2.3% off", 0.0),
        ("% off", 0.0),
    ],
)
def test_a_percentage_is_a_discount_near_a_word_of_reduction(text: str, percent: float) -> None:
    found = creative_lexicon.extract(text)
    assert found["discount_percent"] == percent
    assert found["discount"] == (percent > 0.0)


@pytest.mark.parametrize(
    ("text", "price", "discount"),
    [
        ("From $349", True, False),
        ("48 € or 50 euros", True, False),
        ("€ is a sign, 48 is a number", False, False),
        ("$10 off", True, True),
        ("Spend $90, save $15", True, True),
        ("was $64, now $48", True, True),
        ("marked down", False, True),
        ("the sale of the year", False, True),
        ("50 ways", False, False),
    ],
)
def test_prices_and_lowered_prices_are_told_apart(text: str, price: bool, discount: bool) -> None:
    found = creative_lexicon.extract(text)
    assert (found["price"], found["discount"]) == (price, discount)


@pytest.mark.parametrize(
    ("text", "name", "expected"),
    [
        ("Hurry, last chance!", "urgency", 2.0),
        ("Don’t wait", "urgency", 1.0),
        ("The renewal of news", "novelty", 0.0),
        ("NEW: brand new", "novelty", 2.0),
        ("for the first time", "novelty", 1.0),
        ("Shop now. Sign up, learn more", "call_to_action", 3.0),
        ("you and your own", "second_person", 0.5),
        ("¿Buscas luz", "question", True),
        ("Why not？", "question", True),
        ("Why not.", "question", False),
    ],
)
def test_terms_are_whole_words_and_the_longest_is_taken(text: str, name: str, expected: float | bool) -> None:
    assert creative_lexicon.extract(text)[name] == expected


@pytest.mark.parametrize("name", ["URGENCY", "ACTION", "NOVELTY", "DISCOUNT", "SECOND_PERSON", "REDUCTION"])
def test_every_term_of_a_list_can_be_found_and_stands_there_once(name: str) -> None:
    terms = getattr(creative_lexicon, name)
    assert len(terms) == len(set(terms))
    for term in terms:
        assert creative_lexicon.count(terms, creative_lexicon._tokens(f"so {term.upper()}.")) == 1, term
