"""The page that verifies a bundle in a browser: its verdict is read from the page, in headless Chromium."""

from __future__ import annotations

import base64
import hashlib
import lzma
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from browser import Browser, browser
from bundle_case import Parts, case_with_siblings, parts, write
from ledger_case import FORECAST, KEY, Case
from test_audit_bundle_attacks import CHEATS

import audit
from audit.bundle import PAGE
from audit.bundleplan import page_bytes
from audit.bundleverify import verify_bundle
from audit.errors import Inconsistent
from audit.root import Anchor
from audit.signing import SigningKey
from tests.attacks.good import ROOT

FILE = Path(audit.__file__).with_name(PAGE)
FINGERPRINT = KEY.public.key_id
OTHER = SigningKey.from_seed(bytes(range(1, 33)))
DONE = "document.getElementById('verdict').dataset.verdict !== undefined"


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Case:
    return case_with_siblings(tmp_path_factory.mktemp("sealed"))


@pytest.fixture(scope="module")
def good(case: Case, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(case, tmp_path_factory.mktemp("bundle") / "good.tar")


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browser(tmp_path_factory.mktemp("profile")) as opened:
        opened.open(FILE)
        yield opened


def verdict(page: Browser, bundle: Path, fingerprint: str = FINGERPRINT) -> tuple[str, str]:
    """What the page says of the bundle: the verdict for programs, and the text for people."""
    page.evaluate("delete document.getElementById('verdict').dataset.verdict")
    page.choose("#bundle", bundle)
    page.evaluate(f"document.getElementById('fingerprint').value = '{fingerprint}'")
    page.evaluate("document.getElementById('form').requestSubmit()")
    page.wait(DONE)
    found = page.evaluate("[$('verdict').dataset.verdict, $('verdict').innerText]")
    return found[0], found[1]


@pytest.mark.parametrize(
    ("light", "withheld"), [(False, ()), (True, ()), (False, ("fit", "data")), (True, ("register", "source"))]
)
def test_a_good_bundle_is_verified(
    case: Case, page: Browser, tmp_path: Path, light: bool, withheld: tuple[str, ...]
) -> None:
    bundle = write(case, tmp_path / "b.tar", light=light, withheld=withheld)
    said, text = verdict(page, bundle)
    assert (said, FORECAST in text) == ("verified", True)
    for word in withheld:
        assert word in text
    assert ("digests" in text) == light
    assert page.evaluate("document.querySelectorAll('#checks li.ok').length") == 9


def test_the_fingerprint_is_read_as_people_write_it(page: Browser, good: Path) -> None:
    grouped = " ".join(re.findall("....", FINGERPRINT.upper()))
    for text in (f"SHA256:{FINGERPRINT}", grouped, ":".join(re.findall("..", FINGERPRINT))):
        assert verdict(page, good, text)[0] == "verified"


def test_another_fingerprint_refuses_the_bundle_and_none_checks_nothing(page: Browser, good: Path) -> None:
    said, text = verdict(page, good, OTHER.public.key_id)
    assert said == "refused"
    assert "not signed by the root key of the fingerprint you entered" in text.lower()
    for nothing in ("", "abc", FINGERPRINT[:-1], f"{FINGERPRINT}0"):
        page.evaluate("document.getElementById('fingerprint').required = false")
        assert verdict(page, good, nothing)[0] == "unknown"


def test_a_bundle_of_another_key_is_refused(page: Browser, good: Path, tmp_path: Path) -> None:
    bundle = parts(good).signed_again(OTHER).to(tmp_path / "b.tar")
    said, text = verdict(page, bundle)
    assert (said, "manifest-sha256.txt" in text) == ("refused", True)


@pytest.mark.parametrize("edit", [Parts.listed_again, Parts.signed_again, lambda bundle: bundle])
def test_a_tampered_artifact_is_refused_and_named_however_far_it_is_covered_up(
    page: Browser, good: Path, tmp_path: Path, edit: Callable[[Parts], Parts]
) -> None:
    bundle = parts(good)
    name = f"data/artifacts/{FORECAST}/fit/result.json"
    bundle.files[name] = b"[0]"
    said, text = verdict(page, edit(bundle).to(tmp_path / "b.tar"))
    assert (said, name in text) == ("refused", True)


@pytest.mark.parametrize("cheat", CHEATS)
def test_what_the_logs_own_key_cannot_cover_up_is_refused_by_the_page_too(
    page: Browser, good: Path, tmp_path: Path, cheat: Callable[[Parts], str]
) -> None:
    bundle = parts(good)
    where = cheat(bundle)
    said, text = verdict(page, bundle.signed_again().to(tmp_path / "b.tar"))
    assert said == "refused", (where, text)


@pytest.mark.parametrize("place", [0.0, 0.1, 0.35, 0.6, 0.85, 0.9999])
def test_a_flipped_bit_and_a_cut_file_are_refused(page: Browser, good: Path, tmp_path: Path, place: float) -> None:
    raw = bytearray(good.read_bytes())
    raw[int(place * len(raw))] ^= 4
    (tmp_path / "flipped.tar").write_bytes(raw)
    (tmp_path / "cut.tar").write_bytes(raw[: int(place * len(raw))])
    assert verdict(page, tmp_path / "flipped.tar")[0] == "refused"
    assert verdict(page, tmp_path / "cut.tar")[0] == "refused"


@pytest.mark.parametrize("name", ["late_beside_a_withheld_sibling", "registered_late", "void_parts"])
def test_a_run_that_the_logs_own_key_tells_in_a_false_order_is_refused_by_both(
    page: Browser, tmp_path: Path, name: str
) -> None:
    """Whole bundles, signed by the key of the attack vectors; every digest, proof and signature in them is right."""
    bundle = tmp_path / "bundle.tar"
    bundle.write_bytes(lzma.decompress((Path(__file__).parent / "insider" / f"{name}.tar.xz").read_bytes()))
    found, said = verdict(page, bundle, ROOT.public.key_id)
    assert found == "refused"
    assert "not before the seal" in said
    with pytest.raises(Inconsistent):
        verify_bundle(bundle, Anchor(ROOT.public))


def test_the_page_is_worked_with_the_keyboard_alone(page: Browser, good: Path) -> None:
    page.evaluate("delete document.getElementById('verdict').dataset.verdict")
    page.choose("#bundle", good)
    page.evaluate(f"fingerprint.value = '{FINGERPRINT}'; bundle.focus()")
    visited = [page.evaluate("document.activeElement.id")]
    for _ in range(2):
        page.press("Tab")
        visited.append(page.evaluate("document.activeElement.id"))
    assert visited == ["bundle", "fingerprint", "check"]
    page.press("Enter")
    page.wait(DONE)
    assert page.evaluate("$('verdict').dataset.verdict") == "verified"
    assert page.evaluate("document.activeElement.id") == "verdict"  # where a screen reader goes on


def test_nothing_but_the_page_itself_was_ever_asked_for(page: Browser, good: Path) -> None:
    verdict(page, good)
    assert set(page.requests) == {FILE.as_uri()}


def test_the_page_may_run_only_what_it_holds_and_reach_nothing() -> None:
    html = page_bytes().decode()
    for tag, directive in (("script", "script-src"), ("style", "style-src")):
        (body,) = re.findall(rf"<{tag}>(.*?)</{tag}>", html, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(body.encode()).digest()).decode()
        assert f"{directive} 'sha256-{digest}'" in html
    assert "default-src 'none'" in html
    assert not re.search(r"https?://|\ssrc=|\shref=|\son[a-z]+=|innerHTML|eval\(", html)
