"""Image features: size, light, colour, and how much of the area looks like text. Pillow decodes, nothing else.

Sums over pixels are sums of integers and hence exact, so that no CPU's order of adding shows in them.

luminance      mean of Y' = .299 R' + .587 G' + .114 B' (ITU-R BT.601-7, 2.5.1), 0 black to 1 white
colourfulness  M3 = sqrt(s_rg^2 + s_yb^2) + 0.3 sqrt(m_rg^2 + m_yb^2), with rg = R - G, yb = (R + G) / 2 - B, their
               means m and (population) standard deviations s. Hasler & Suesstrunk (2003), Measuring colourfulness in
               natural images, Proc. SPIE 5007, section 6, doi:10.1117/12.477378
text_area      share of whole CELL x CELL squares of which at least EDGES of the steps from pixel to pixel along a row
               are strong, at least STEP of 255 in Y'. Letters are dense in such steps, flat areas and outlines are not;
               foliage or a fine pattern is, and counts. A rule of ours, no reading of text. 0 of an image below a cell

A picture that is transparent stands on white; one that is turned by its EXIF orientation is turned.
"""

from __future__ import annotations

import math
import struct
import warnings
import zlib
from fractions import Fraction
from io import BytesIO

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from engine.creative_errors import ImageError
from engine.creative_field import Features, Field, rounded

FIELDS = (
    Field("width", "number", "pixels"),
    Field("height", "number", "pixels"),
    Field("aspect", "number", "width over height"),
    Field("megapixels", "number", "million pixels"),
    Field("luminance", "number", "share of white"),
    Field("colourfulness", "number", "levels of 255"),
    Field("text_area", "number", "share of the area"),
)

FORMATS = ("PNG", "JPEG")
MODES = frozenset({"1", "L", "LA", "P", "RGB", "RGBA"})  # at most eight bits a channel, no print colours
MAX_BYTES = 8 * 2**20
MAX_PIXELS = 20_000_000
CELL = 16  # pixels
EDGES = 0.08  # of a cell's steps: more than one upright outline makes, 1 in CELL - 1
STEP = 64  # levels of 255
_STRIP = CELL * 32  # rows that are looked at together

# what Pillow's readers of PNG and JPEG raise for bytes that are not as they should be
_DECODER = (OSError, SyntaxError, ValueError, EOFError, IndexError, KeyError, OverflowError, struct.error, zlib.error)

Pixels = npt.NDArray[np.uint8]


def extract(raw: bytes) -> Features:
    """FIELDS of the image in `raw`.

    Raises ImageError for bytes that are no whole PNG or JPEG of one frame and eight bits, and for an image of more than
    MAX_BYTES or MAX_PIXELS, which is refused before any of it is decoded.
    """
    pixels = decode(raw)  # (row, column, RGB)
    height, width = pixels.shape[:2]
    luma, colour, text, cells = 0, _Colour(), 0, 0
    for start in range(0, height, _STRIP):
        strip = pixels[start : start + _STRIP].astype(np.int64)
        y = 299 * strip[:, :, 0] + 587 * strip[:, :, 1] + 114 * strip[:, :, 2]  # (row, column), thousandths
        luma += int(y.sum())
        colour.add(strip)
        like, whole = _text_cells(y)
        text, cells = text + like, cells + whole
    return {
        "width": rounded(width),
        "height": rounded(height),
        "aspect": rounded(width / height),
        "megapixels": rounded(width * height / 1e6),
        "luminance": rounded(luma / (255_000 * width * height)),
        "colourfulness": rounded(colour.measure(width * height)),
        "text_area": rounded(text / cells if cells else 0.0),
    }


def decode(raw: bytes) -> Pixels:
    """The pixels, (row, column, RGB). Raises ImageError as `extract` does."""
    if len(raw) > MAX_BYTES:
        raise ImageError(f"image: expected at most {MAX_BYTES} bytes, found {len(raw)}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # what a decoder has doubts about is not looked at
            with Image.open(BytesIO(raw), formats=FORMATS) as image:
                _require(image)
                image.load()
                flat = _on_white(ImageOps.exif_transpose(image))
    except UnidentifiedImageError as error:
        raise ImageError(f"image: expected {' or '.join(FORMATS)}, found {raw[:8]!r}") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageError(f"image: expected at most {MAX_PIXELS} pixels, found {error}") from error
    except (*_DECODER, Warning) as error:
        found = f"{type(error).__name__}: {error}"
        raise ImageError(f"image: expected a whole {' or '.join(FORMATS)}, found {found[:200]}") from error
    return np.asarray(flat)


def _require(image: Image.Image) -> None:
    """ImageError unless the header promises what is looked at; nothing has been decoded yet."""
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise ImageError(f"image: expected at most {MAX_PIXELS} pixels, found {width} x {height}")
    if image.mode not in MODES:
        raise ImageError(f"image: expected a mode of {', '.join(sorted(MODES))}, found {image.mode}")
    if (frames := int(getattr(image, "n_frames", 1))) != 1:
        raise ImageError(f"image: expected one frame, found {frames}")


def _on_white(image: Image.Image) -> Image.Image:
    if image.mode in ("1", "L", "RGB") and "transparency" not in image.info:
        return image.convert("RGB")
    over = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", over.size, "white"), over).convert("RGB")


class _Colour:
    """Exact sums of rg and of 2 yb, and of their squares."""

    def __init__(self) -> None:
        self._sums = [0, 0, 0, 0]

    def add(self, strip: npt.NDArray[np.int64]) -> None:
        red, green, blue = strip[:, :, 0], strip[:, :, 1], strip[:, :, 2]
        rg, yb = red - green, red + green - 2 * blue
        for place, each in enumerate((rg, yb, rg * rg, yb * yb)):
            self._sums[place] += int(each.sum())

    def measure(self, n: int) -> float:
        """M3 of `n` pixels."""
        m_rg, m_yb = Fraction(self._sums[0], n), Fraction(self._sums[1], 2 * n)
        spread = Fraction(self._sums[2], n) - m_rg**2 + Fraction(self._sums[3], 4 * n) - m_yb**2
        return math.sqrt(spread) + 0.3 * math.sqrt(m_rg**2 + m_yb**2)


def _text_cells(y: npt.NDArray[np.int64]) -> tuple[int, int]:
    """Cells dense in strong steps, and whole cells, of a strip of Y' in thousandths."""
    rows, columns = y.shape[0] // CELL, y.shape[1] // CELL
    if rows == 0 or columns == 0:
        return 0, 0
    inside = y[: rows * CELL, : columns * CELL].reshape(rows, CELL, columns, CELL)
    strong = np.abs(np.diff(inside, axis=3)) >= 1000 * STEP  # (rows, CELL, columns, CELL - 1)
    dense = strong.sum(axis=(1, 3)) >= EDGES * CELL * (CELL - 1)
    return int(dense.sum()), rows * columns
