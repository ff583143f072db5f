"""Laws and attacks: what is measured of pixels, and which bytes are not looked at."""

from __future__ import annotations

import math
import struct
import warnings
import zlib
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from engine import creative_image
from engine.creative_errors import ImageError
from tests.creatives.images import drawn

RGB = arrays.arrays(np.uint8, st.tuples(st.integers(1, 40), st.integers(1, 40), st.just(3)))


def encoded(image: Image.Image, form: str = "PNG", **options: Any) -> bytes:
    into = BytesIO()
    image.save(into, form, **options)
    return into.getvalue()


def png(pixels: Any) -> bytes:
    return encoded(Image.fromarray(np.asarray(pixels, np.uint8)))


def refusal(raw: bytes) -> str:
    with pytest.raises(ImageError) as caught:
        creative_image.extract(raw)
    return str(caught.value)


@given(RGB)
def test_every_field_is_there_finite_and_within_its_range(pixels: np.ndarray[Any, Any]) -> None:
    found = creative_image.extract(png(pixels))
    assert tuple(found) == tuple(field.name for field in creative_image.FIELDS)
    assert all(type(value) is float and math.isfinite(value) for value in found.values())
    assert (found["height"], found["width"]) == pixels.shape[:2]
    assert 0.0 <= float(found["luminance"]) <= 1.0
    assert 0.0 <= float(found["text_area"]) <= 1.0


@given(RGB)
def test_sums_agree_with_their_slow_twin(pixels: np.ndarray[Any, Any]) -> None:
    found = creative_image.extract(png(pixels))
    red, green, blue = (pixels[:, :, n].astype(float) for n in range(3))
    luma = (0.299 * red + 0.587 * green + 0.114 * blue).mean() / 255
    rg, yb = red - green, (red + green) / 2 - blue
    m3 = math.hypot(rg.std(), yb.std()) + 0.3 * math.hypot(rg.mean(), yb.mean())
    assert found["luminance"] == pytest.approx(luma, abs=1e-6)
    assert found["colourfulness"] == pytest.approx(m3, abs=2e-6)


@given(RGB)
def test_grey_has_no_colour_and_a_mirror_changes_nothing(pixels: np.ndarray[Any, Any]) -> None:
    grey = np.repeat(pixels[:, :, :1], 3, axis=2)
    assert creative_image.extract(png(grey))["colourfulness"] == 0.0
    whole = np.tile(pixels[:16, :16], (16, 16, 1))[:16, :16]  # one cell: no other cells after a mirror
    assert creative_image.extract(png(whole)) == creative_image.extract(png(whole[:, ::-1]))


def test_known_pictures_have_known_values() -> None:
    white = creative_image.extract(png(np.full((8, 4, 3), 255)))
    assert (white["luminance"], white["aspect"], white["megapixels"]) == (1.0, 0.5, 0.000032)
    halves = creative_image.extract(png([[[255, 0, 0], [0, 255, 0]]]))
    assert halves["colourfulness"] == pytest.approx(255 + 0.3 * 127.5, abs=1e-6)  # rg = 255, -255; yb = 127.5 twice
    assert halves["luminance"] == pytest.approx((0.299 + 0.587) / 2, abs=1e-6)


def test_stripes_are_text_and_an_outline_is_none() -> None:
    stripes = np.zeros((32, 32, 3))
    stripes[:, ::4] = 255
    outline = np.zeros((32, 32, 3))
    outline[:, 8:] = 255
    assert creative_image.extract(png(stripes))["text_area"] == 1.0
    assert creative_image.extract(png(outline))["text_area"] == 0.0
    half = np.concatenate([stripes, np.zeros((32, 32, 3))], axis=1)
    assert creative_image.extract(png(half))["text_area"] == 0.5
    assert creative_image.extract(png(stripes[:15]))["text_area"] == 0.0  # not one whole cell


def test_more_rows_than_a_strip_are_all_seen() -> None:
    pixels = np.zeros((creative_image._STRIP * 2 + 20, 16, 3))
    pixels[-1] = 255
    pixels[creative_image._STRIP : creative_image._STRIP + 16, ::2] = 255
    found = creative_image.extract(png(pixels))
    assert found["luminance"] == round(pixels.mean() / 255, 6)
    assert found["text_area"] == round(1 / (len(pixels) // 16), 6)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA"])
def test_one_picture_is_the_same_in_every_mode_that_holds_it(mode: str) -> None:
    plain = Image.new("RGB", (20, 20), "white")
    plain.paste((0, 0, 0), (0, 0, 10, 20))
    assert creative_image.extract(encoded(plain.convert(mode))) == creative_image.extract(encoded(plain))


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_what_is_transparent_stands_on_white(mode: str) -> None:
    clear = Image.new(mode, (4, 4), 0)
    raw = encoded(clear, transparency=0) if mode == "P" else encoded(clear)
    assert creative_image.extract(raw)["luminance"] == 1.0


def test_a_picture_is_turned_as_its_orientation_says() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    found = creative_image.extract(encoded(Image.new("RGB", (40, 20)), "JPEG", exif=exif))
    assert (found["width"], found["height"]) == (20.0, 40.0)


def bomb(width: int, height: int) -> bytes:
    """A PNG whose header promises more than there is."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


@pytest.mark.parametrize(("width", "height"), [(5000, 4001), (10_000, 10_000), (2**31 - 1, 2**31 - 1)])
def test_a_bomb_is_refused_by_its_header(width: int, height: int) -> None:
    assert f"expected at most {creative_image.MAX_PIXELS} pixels" in refusal(bomb(width, height))


def test_text_that_unpacks_to_much_more_is_refused() -> None:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    whole = png(np.zeros((4, 4, 3)))
    text = chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(64 * 2**20)))
    assert "expected a whole PNG or JPEG" in refusal(whole[:33] + text + whole[33:])


PHOTO = Image.effect_noise((64, 64), 50).convert("RGB")


@pytest.mark.parametrize(
    ("raw", "told"),
    [
        (b"", "expected PNG or JPEG"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "expected PNG or JPEG"),
        (encoded(PHOTO, "GIF"), "expected PNG or JPEG, found b'GIF8"),
        (encoded(PHOTO, "BMP"), "expected PNG or JPEG, found b'BM"),
        (encoded(PHOTO, "PNG")[:-2000], "expected a whole PNG or JPEG"),
        (encoded(PHOTO, "JPEG")[:-500], "expected a whole PNG or JPEG"),
        (encoded(PHOTO, "PNG")[:40], "expected"),
        (encoded(PHOTO.convert("CMYK"), "JPEG"), "expected a mode of 1, L"),
        (encoded(Image.new("I;16", (4, 4))), "expected a mode of 1, L"),
        (encoded(PHOTO, save_all=True, append_images=[PHOTO.rotate(90)]), "expected one frame, found 2"),
        (bytes(creative_image.MAX_BYTES + 1), "expected at most 8388608 bytes, found 8388609"),
    ],
    ids=("empty", "svg", "gif", "bmp", "png_cut", "jpeg_cut", "header", "cmyk", "deep", "moving", "long"),
)
def test_what_is_no_plain_picture_is_refused(raw: bytes, told: str) -> None:
    assert told in refusal(raw)


WHOLE = (encoded(PHOTO.resize((24, 24))), encoded(PHOTO.resize((24, 24)), "JPEG"), encoded(PHOTO.convert("P")))


@given(st.data())
def test_damaged_pictures_are_measured_or_refused_with_a_typed_error(data: st.DataObject) -> None:
    raw = bytearray(data.draw(st.sampled_from(WHOLE)))
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    cut = bytes(raw[: data.draw(st.integers(0, len(raw)))])
    for each in (bytes(raw), cut):
        try:
            found = creative_image.extract(each)
        except ImageError:
            continue
        assert all(math.isfinite(float(value)) for value in found.values())


def test_the_callers_warnings_are_as_they_were() -> None:
    before = list(warnings.filters)
    creative_image.extract(png(np.zeros((4, 4, 3))))
    assert refusal(b"")
    assert list(warnings.filters) == before


def test_drawn_pictures_are_told_apart() -> None:
    found = {name: creative_image.extract(encoded(image)) for name, image in drawn().items()}
    assert max(found, key=lambda name: found[name]["text_area"]) == "small_print.png"
    assert min(found, key=lambda name: found[name]["colourfulness"]) == "small_print.png"
    assert min(found, key=lambda name: found[name]["luminance"]) == "lamp_night.png"
