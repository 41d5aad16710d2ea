"""What a file is, told from its first bytes; its name is not asked."""

import re
import struct

READ = ("JPEG", "PNG", "WEBP", "GIF", "BMP")
EXTENSIONS = {
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif"),
    "PNG": (".png",),
    "WEBP": (".webp",),
    "GIF": (".gif",),
    "BMP": (".bmp", ".dib"),
}
_HEIF = (b"heic", b"heix", b"hevc", b"mif1", b"msf1", b"avif", b"avis")
_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")


def picture_format(content: bytes) -> str | None:
    """Tell which of the formats in READ the content is, or None."""
    if content.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if content.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return "WEBP"
    if content[:6] in (b"GIF87a", b"GIF89a"):
        return "GIF"
    # Two letters alone would also match text; the fields after them must make sense.
    if content[:2] == b"BM" and len(content) >= 26 and content[6:10] == b"\0\0\0\0":
        return "BMP"
    return None


def not_a_picture(content: bytes) -> str:
    """Say what a content is that is in no format of READ."""
    if not content:
        return "zero bytes"
    if content.startswith(b"version https://git-lfs"):
        return "a Git LFS pointer, not the picture itself (fetch it with git lfs pull)"
    if content.startswith(b"\0\0\0\x01Bud1"):
        return "a macOS .DS_Store file"
    if content[:4] in (b"II*\0", b"MM\0*"):
        return f"a TIFF file; read are {', '.join(READ)}"
    if content[4:8] == b"ftyp" and content[8:12] in _HEIF:
        return f"a HEIC or AVIF file; read are {', '.join(READ)}"
    head = content[:1024].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if head.startswith((b"<!doctype html", b"<html", b"<head", b"<body")):
        return "an HTML page, not a picture"
    if b"<svg" in head:
        return f"an SVG drawing; read are {', '.join(READ)}"
    if _is_text(content[:1024]):
        return "text, not a picture"
    return f"not in a format that is read ({', '.join(READ)})"


def webp_size(content: bytes) -> tuple[int, int] | None:
    """Read width and height of a WEBP from its header, before any decoder allocates for them."""
    kind, body = content[12:16], content[20:30]
    if len(body) < 10:
        return None
    if kind == b"VP8X":
        return int.from_bytes(body[4:7], "little") + 1, int.from_bytes(body[7:10], "little") + 1
    if kind == b"VP8L":
        bits = int.from_bytes(body[1:5], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if kind == b"VP8 ":
        width, height = struct.unpack("<HH", body[6:10])
        return width & 0x3FFF, height & 0x3FFF
    return None


def jpeg_surplus(content: bytes) -> int:
    """Count the bytes after the end of a JPEG; padding and a second picture do not count."""
    at = 2
    while at + 4 <= len(content) and content[at] == 0xFF:
        marker = content[at + 1]
        if marker == 0xD9:
            break
        at += 2 + int.from_bytes(content[at + 2 : at + 4], "big")
        if marker == 0xDA:
            found = _MARKER.search(content, at)
            if found is None:
                return 0
            at = found.start()
    if content[at : at + 2] != b"\xff\xd9":
        return 0
    rest = content[at + 2 :]
    return 0 if rest.startswith(b"\xff\xd8") or not rest.strip(b"\0") else len(rest)


def _is_text(head: bytes) -> bool:
    try:
        text = head.decode("utf-8", errors="strict")
    except UnicodeDecodeError as error:
        if error.start < len(head) - 4:  # a letter cut at the end of the head is no fault
            return False
        text = head[: error.start].decode("utf-8")
    return all(letter.isprintable() or letter in "\t\r\n\f" for letter in text)
