"""The images of data/creatives/geo, drawn: plain shapes, no anti-aliasing, Pillow's own bitmap letters, no chance.

`drawn()` gives the same pixels on every machine; the bytes of a PNG depend on the zlib that Pillow was built with, so
those committed are the data, and a test compares pixels. From the root: `python -m tests.creatives.images FOLDER`.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

CREAM, INK, MOSS, RUST, BLUE = (245, 238, 220), (35, 31, 32), (88, 110, 68), (178, 84, 44), (38, 80, 158)
YELLOW, SKIN, WHITE = (240, 190, 60), (222, 170, 130), (255, 255, 255)


def drawn() -> Mapping[str, Image.Image]:
    """Every image by its file name."""
    return {
        "blanket_stripes.png": _blanket(),
        "dusk.png": _dusk(),
        "family_picnic.png": _people(),
        "kettle_blue.png": _kettle(BLUE, CREAM),
        "kettle_rust.png": _kettle(RUST, WHITE),
        "lamp_night.png": _lamp(),
        "sale_poster.png": _poster("SALE", ("25% OFF THE KITCHEN", "UNTIL SUNDAY", "BRINDLEMOOR"), RUST, CREAM),
        "small_print.png": _small_print(),
    }


def _canvas(
    colour: tuple[int, int, int], size: tuple[int, int] = (320, 240)
) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    image = Image.new("RGB", size, colour)
    return image, ImageDraw.Draw(image)


def _kettle(body: tuple[int, int, int], ground: tuple[int, int, int]) -> Image.Image:
    image, draw = _canvas(ground)
    draw.rectangle((0, 200, 319, 239), fill=tuple(each - 30 for each in ground))
    draw.polygon([(215, 120), (290, 80), (280, 105), (225, 165)], fill=body)  # the spout
    draw.ellipse((90, 80, 230, 215), fill=body)
    draw.arc((85, 35, 235, 165), 180, 360, fill=INK, width=8)  # the handle
    draw.ellipse((150, 66, 170, 86), fill=INK)
    return image


def _lamp() -> Image.Image:
    image, draw = _canvas((28, 32, 58))
    for radius in range(110, 50, -10):  # light on the wall
        shade = 58 + (110 - radius)
        draw.ellipse((160 - radius, 90 - radius, 160 + radius, 90 + radius), fill=(shade, shade - 8, 60))
    draw.polygon([(120, 110), (200, 110), (180, 55), (140, 55)], fill=YELLOW)
    draw.rectangle((156, 110, 164, 205), fill=RUST)
    draw.ellipse((125, 198, 195, 216), fill=RUST)
    return image


def _blanket() -> Image.Image:
    image, draw = _canvas(CREAM)
    for n, top in enumerate(range(20, 220, 20)):
        draw.rectangle((30, top, 289, top + 19), fill=(MOSS, RUST, CREAM)[n % 3])
    for left in range(30, 290, 8):  # fringe
        draw.line((left, 220, left, 232), fill=INK)
    return image


def _people() -> Image.Image:
    image, draw = _canvas((170, 210, 235))
    draw.rectangle((0, 150, 319, 239), fill=MOSS)
    for left, height, coat in ((60, 110, BLUE), (125, 120, RUST), (190, 75, YELLOW), (235, 65, INK)):
        top = 215 - height
        draw.ellipse((left, top, left + 26, top + 26), fill=SKIN)
        draw.rectangle((left - 4, top + 26, left + 30, 215), fill=coat)
    return image


def _dusk() -> Image.Image:
    image, draw = _canvas(INK)
    for row in range(240):
        draw.line((0, row, 319, row), fill=(60 + row * 3 // 4, 40 + row // 3, 110 - row // 4))
    draw.ellipse((200, 150, 260, 210), fill=YELLOW)
    return image


def _poster(head: str, lines: tuple[str, ...], ink: tuple[int, int, int], ground: tuple[int, int, int]) -> Image.Image:
    image, _ = _canvas(ground)
    _write(image, (40, 20), head, ink, 8)
    for n, line in enumerate(lines):
        _write(image, (20, 130 + 34 * n), line, INK, 2)
    return image


def _small_print() -> Image.Image:
    image, _ = _canvas(WHITE, (400, 300))
    for n in range(24):
        _write(
            image,
            (10, 6 + 12 * n),
            f"{n + 1}. Delivery in five days. Returns within thirty. Terms of 2025 hold.",
            INK,
            1,
        )
    return image


def _write(image: Image.Image, at: tuple[int, int], text: str, ink: tuple[int, int, int], scale: int) -> None:
    """`text` in bitmap letters, each pixel `scale` wide."""
    font = ImageFont.load_default_imagefont()
    mask = Image.new("1", tuple(int(side) for side in font.getbbox(text)[2:]))
    ImageDraw.Draw(mask).text((0, 0), text, fill=1, font=font)
    mask = mask.resize((mask.width * scale, mask.height * scale), Image.Resampling.NEAREST)
    image.paste(ink, at, mask)


if __name__ == "__main__":
    for name, image in drawn().items():
        image.save(Path(sys.argv[1]) / name, optimize=True)
