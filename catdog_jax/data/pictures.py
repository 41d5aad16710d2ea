"""Encoded pictures to squares of pixels, the same way for every source and for `predict`."""

import contextlib
import io
import os
import re
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8
from PIL import ExifTags, Image, ImageFile, ImageOps, PngImagePlugin, UnidentifiedImageError

from catdog_jax import interrupt
from catdog_jax.host import host_memory
from catdog_jax.types import FileNote, InputError

Progress = Callable[[int, int], None]  # done, total

MAX_PIXELS = 64_000_000
PngImagePlugin.MAX_TEXT_CHUNK = 64 * 2**20  # of a good PNG the profile alone may be large
_REMARKS = ("very long", "enlarged", "bytes after", "a ")  # notes that change no pixel
HEAD = 1024  # bytes that tell what a file is
_MODES = {"L": "grey", "I": "grey", "1": "black and white", "P": "palette"}
_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP")
_READ = f"read are {', '.join(_FORMATS)}"
_SIGNATURES = {
    "JPEG": rb"\xff\xd8\xff",
    "PNG": rb"\x89PNG\r\n\x1a\n",
    "WEBP": rb"RIFF....WEBP",
    "GIF": rb"GIF8[79]a",
    "BMP": rb"BM....\0{4}.{16}",  # two letters alone would also match text
    "zero bytes": rb"\Z",
    "a Git LFS pointer, not the picture itself (fetch it with git lfs pull)": rb"version https://",
    f"a HEIC or AVIF file; {_READ}: convert it": rb"....ftyp(he[iv][cx]|m[is]f1|avi[fs])",
    f"a film; {_READ}": rb"....(ftyp|moov)|\x1aE\xdf\xa3|RIFF....AVI ",
    "an HTML page, not a picture": rb"(\xef\xbb\xbf)?\s*<(?i:!doctype html|html|head|body)",
    "text, not a picture": rb"[^\0-\x08\x0e-\x1f]*\Z",
    f"not in a format that is read ({', '.join(_FORMATS)})": rb"",
}


class PictureError(ValueError):
    """A file cannot be used as a picture; the message is a short reason for a person."""


def picture_format(head: bytes) -> str:
    """Name the format of a picture from its first HEAD bytes; its file's name is not asked.

    Raises:
      PictureError: it is something else; the message says what.
    """
    what = next(w for w, pattern in _SIGNATURES.items() if re.match(pattern, head, re.DOTALL))
    if what not in _FORMATS:
        raise PictureError(what)
    return what


def decode(
    source: bytes | Path, image_size: int
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
    with warnings.catch_warnings(action="ignore"):  # of Pillow, about odd files
        return _decode(source, image_size)


def decode_many(
    sources: Sequence[bytes | Path],
    names: Sequence[str],
    image_size: int,
    progress: Progress = lambda done, total: None,
) -> tuple[UInt8[np.ndarray, "n S S 3"], list[int], list[FileNote]]:
    """Decode N pictures with a thread per core.

    Args:
      sources: encoded bytes, or paths of files; a name of another format is noted.
      names: of the pictures, for the notes.
      image_size: S, pixels.
      progress: called with (done, N).

    Returns:
      The pictures that could be decoded, their indices, and notes on those that could not be or
      that were changed beyond resizing and cropping.
    """
    pixels = np.zeros((len(sources), image_size, image_size, 3), dtype=np.uint8)

    def one(i: int) -> FileNote | None:
        try:
            pixels[i], reasons = _decode(sources[i], image_size)
        except PictureError as error:
            return FileNote(names[i], "skipped", str(error))
        changed = not all(reason.startswith(_REMARKS) for reason in reasons)
        action = "converted" if changed else "reported"
        return FileNote(names[i], action, "; ".join(reasons)) if reasons else None

    with warnings.catch_warnings(action="ignore"):  # it is global: before the threads start
        notes = in_threads(one, range(len(sources)), progress)
    good = [i for i, note in enumerate(notes) if note is None or note.action != "skipped"]
    return pixels[good], good, [note for note in notes if note is not None]


def in_threads(work: Callable[[Any], Any], items: Sequence[Any], progress: Progress) -> list[Any]:
    """Call `work` with every item from a thread per core, and return the results in order."""
    results = []
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for result in pool.map(work, items):
            results.append(result)
            interrupt.check()
            progress(len(results), len(items))
    return results


def check_memory(count: int, image_size: int) -> None:
    """Check that pixels need no more than a quarter of the machine's memory.

    Args:
      count: pictures.
      image_size: pixels of a side.

    Raises:
      InputError: they would not fit.
    """
    need, most = count * image_size**2 * 3, host_memory() // 4
    if need > most:
        fits = int((most / 3 / count) ** 0.5)
        raise InputError(
            f"{count:,} pictures at --image_size={image_size} need {need / 2**30:,.1f} GiB, over "
            f"a quarter of the memory; give --image_size={max(fits, 8)} or less, or fewer pictures"
        )


def _decode(source: bytes | Path, size: int) -> tuple[np.ndarray, tuple[str, ...]]:
    with io.BytesIO(source) if isinstance(source, bytes) else source.open("rb") as file:
        head = file.read(HEAD)
        kind = picture_format(head)  # before a film is read whole
        content = head + file.read()
    notes = []
    suffix = None if isinstance(source, bytes) else source.suffix
    if suffix is not None and Image.registered_extensions().get(suffix.lower()) != kind:
        notes.append(f"a {kind} named {suffix or 'without an extension'}; read as {kind}")
    try:
        with Image.open(io.BytesIO(content), formats=(kind,)) as image:
            if image.width * image.height > MAX_PIXELS:
                most = f"at most {MAX_PIXELS // 1_000_000} million are decoded"
                raise PictureError(f"too large: {image.width}x{image.height} pixels, {most}")
            return _square(image, kind, content, size, notes)
    except (PictureError, MemoryError):
        raise
    except Image.DecompressionBombError as error:
        raise PictureError(f"too large: {error}") from None
    # Pillow's parsers raise whatever they meet in a damaged file: SyntaxError, struct.error, ...
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        if isinstance(error, UnidentifiedImageError):
            reason = "its header cannot be read"
        raise PictureError(f"damaged {kind}: {reason}") from None


def _square(
    image: ImageFile.ImageFile, kind: str, content: bytes, size: int, notes: list[str]
) -> tuple[np.ndarray, tuple[str, ...]]:
    # A JPEG may carry a second picture (phones do that); it is no animation.
    if kind != "JPEG" and getattr(image, "is_animated", False):
        notes.append("first frame of an animation")
    width, height = image.size
    # libjpeg's own reduction, never below twice the wanted size: big photographs decode faster.
    image.draft(None, (2 * size, 2 * size))
    if "16B" in str(image.tile):
        notes.append("16 bits scaled to 8")
    image.load()
    picture: Image.Image = image
    # The pixels are good whatever raises in a damaged EXIF block.
    with contextlib.suppress(Exception):
        orientation = image.getexif().get(ExifTags.Base.Orientation)
        if orientation in range(2, 9):
            # Pillow would write the rest of the block anew, which fails for some cameras' blocks.
            image.info.pop("exif", None)
            picture = ImageOps.exif_transpose(image)
            notes.append(f"turned as its EXIF orientation {orientation} says")
    name = _MODES.get(picture.mode[0], picture.mode.removesuffix("A"))
    if picture.mode.startswith("I"):  # convert("RGB") would clip every value above 255 to white
        narrow = np.rint(np.asarray(picture) / 257.0).clip(0, 255).astype(np.uint8)
        picture = Image.fromarray(narrow)
    if picture.has_transparency_data:
        clear = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", clear.size, "white"), clear)
        notes.append(f"{name} with transparency laid on white")
    elif picture.mode != "RGB":
        notes.append(f"{name} turned into RGB")
    short, long = sorted((width, height))
    if long >= 8 * short:
        notes.append(f"very long ({width}x{height}), only the central {short}x{short} is seen")
    if size > 4 * short:
        notes.append(f"enlarged from {short}x{short} to {size}x{size}")
    if kind == "JPEG" and not content.rstrip(b"\0").endswith(b"\xff\xd9"):
        notes.append("bytes after the end of the picture")
    square = ImageOps.fit(picture.convert("RGB"), (size, size), Image.Resampling.LANCZOS)
    return np.asarray(square), tuple(notes)
