"""One encoded picture to a square of pixels, the same way for every source and for `predict`."""

import contextlib
import io
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from catdog_jax.data.sniffing import jpeg_surplus, not_a_picture, picture_format, webp_size

DECODE_VERSION = 1  # part of every cache key: raise it when pixels or notes change
MAX_PIXELS = 64_000_000
_LARGE = 16_000_000
_LONG = 8  # from this ratio of the sides on, a person is told
_LONELY = threading.Lock()  # large pictures are decoded one at a time, so that memory is bounded
_TURN = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


_REMARKS = ("very long", "enlarged", "stray bytes")


class PictureError(ValueError):
    """A file cannot be used as a picture; the message is a short reason for a person."""


def decode(
    source: bytes | str | Path, image_size: int
) -> tuple[UInt8[np.ndarray, "S S 3"], tuple[str, ...]]:
    """Decode a picture, shorter side to `image_size`, and keep the central square.

    The format is told from the content. EXIF orientation is honoured, transparency is laid on
    white, 16 bits are scaled to 8, of an animation the first frame is taken. A picture that has
    the wanted size already keeps its exact pixels.

    Args:
      source: encoded bytes (JPEG, PNG, WEBP, GIF, BMP), or the path of a file.
      image_size: S, pixels, ≥ 1.

    Returns:
      RGB, and what was done to the picture beyond resizing and cropping, in words.

    Raises:
      PictureError: not a picture, damaged, or larger than MAX_PIXELS.
      OSError: the file cannot be read.
    """
    content = source if isinstance(source, bytes) else Path(source).read_bytes()
    with quiet_pillow():
        return decode_here(content, image_size)


def is_conversion(note: str) -> bool:
    """Return whether a note of `decode` says that pixels were changed, not only odd."""
    return not note.startswith(_REMARKS)


@contextlib.contextmanager
def quiet_pillow() -> Iterator[None]:
    """Keep Pillow's warnings about odd files away; enter before threads start, it is global."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL\.")
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        yield


def decode_here(
    content: bytes, image_size: int
) -> tuple[UInt8[np.ndarray, "S S 3"], tuple[str, ...]]:
    """Do the work of `decode` inside a `quiet_pillow` that the caller has entered."""
    kind = picture_format(content)
    if kind is None:
        raise PictureError(not_a_picture(content))
    if kind == "WEBP" and (size := webp_size(content)):
        _check_size(size)
    try:
        with Image.open(io.BytesIO(content), formats=(kind,)) as image:
            _check_size(image.size)
            large = image.width * image.height > _LARGE
            with _LONELY if large else contextlib.nullcontext():
                return _square(image, kind, content, image_size)
    except (PictureError, MemoryError):
        raise
    except Image.DecompressionBombError:
        raise PictureError(_too_large("more")) from None
    # Pillow's parsers raise whatever they meet in a damaged file: SyntaxError, struct.error, ...
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        if "cannot identify" in reason:
            reason = "its header cannot be read"
        raise PictureError(f"damaged {kind}: {reason}") from None


def _square(
    image: Image.Image, kind: str, content: bytes, size: int
) -> tuple[np.ndarray, tuple[str, ...]]:
    notes = []
    # A JPEG may carry a second picture (phones do that); it is no animation.
    if kind != "JPEG" and getattr(image, "is_animated", False):
        image.seek(0)
        notes.append("first frame of an animation")
    width, height = image.size
    if kind == "JPEG":
        # libjpeg's own reduction, never below twice the wanted size: big photographs decode faster.
        image.draft(None, (2 * size, 2 * size))
    image.load()
    try:
        turn = image.getexif().get(0x0112)
    except Exception:  # the pixels are good whatever raises in a damaged EXIF block
        turn = None
    picture, note = _rgb(image, kind, content)
    notes += [note] if note else []
    if turn in _TURN:
        picture = picture.transpose(_TURN[turn])
        notes.append(f"turned as its EXIF orientation {turn} says")
    short, long = sorted((width, height))
    if long >= _LONG * short:
        notes.append(f"very long ({width}x{height}), only the central {short}x{short} is seen")
    if size > 4 * short:
        notes.append(f"enlarged from {short}x{short} to {size}x{size}")
    if kind == "JPEG" and (surplus := jpeg_surplus(content)):
        notes.append(f"stray bytes after the end of the picture: {surplus}")
    side = min(picture.size)
    left, top = (picture.width - side) / 2, (picture.height - side) / 2
    box = (left, top, left + side, top + side)
    pixels = np.asarray(picture.resize((size, size), Image.Resampling.LANCZOS, box=box))
    return pixels, tuple(notes)


def _rgb(image: Image.Image, kind: str, content: bytes) -> tuple[Image.Image, str]:
    """Bring any mode to RGB, and say what was done."""
    mode = image.mode
    if mode.startswith("I"):
        # convert("RGB") would clip every value above 255 to white.
        wide = np.asarray(image).astype(np.float64)
        narrow = np.clip(np.rint(wide / 257.0), 0, 255).astype(np.uint8)
        return Image.fromarray(narrow).convert("RGB"), "16-bit grey scaled to 8-bit RGB"
    wide_note = " (16-bit scaled to 8-bit)" if kind == "PNG" and content[24:25] == b"\x10" else ""
    if image.has_transparency_data:
        clear = image.convert("RGBA")
        white = Image.new("RGBA", clear.size, "white")
        return (
            Image.alpha_composite(white, clear).convert("RGB"),
            f"{_mode_name(mode)} with transparency laid on white{wide_note}",
        )
    if mode == "RGB":
        return image, "16-bit colour scaled to 8-bit" if wide_note else ""
    return image.convert("RGB"), f"{_mode_name(mode)} turned into RGB{wide_note}"


def _mode_name(mode: str) -> str:
    return {"L": "grey", "LA": "grey", "1": "black and white", "P": "palette", "PA": "palette"}.get(
        mode, "RGB" if mode == "RGBA" else mode
    )


def _check_size(size: tuple[int, int]) -> None:
    width, height = size
    if width * height > MAX_PIXELS:
        raise PictureError(_too_large(f"{width}x{height}"))
    if width < 1 or height < 1:
        raise PictureError("no pixels")


def _too_large(size: str) -> str:
    return f"too large: {size} pixels, at most {MAX_PIXELS // 1_000_000} million are decoded"
