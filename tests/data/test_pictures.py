"""Decoding: exact pixels where they must be exact, plain reasons where there are none."""

import contextlib
import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from catdog_jax.data.pictures import MAX_PIXELS, PictureError, decode

ORIENTED = {
    1: lambda a: a,
    2: np.fliplr,
    3: lambda a: np.rot90(a, 2),
    4: np.flipud,
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: np.rot90(a, 2).transpose(1, 0, 2),
    8: lambda a: np.rot90(a, 1),
}


def encode(pixels: np.ndarray, kind: str = "PNG", **options: object) -> bytes:
    """Encode pixels in memory."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind, **options)
    return buffer.getvalue()


def noise(seed: int, height: int, width: int) -> np.ndarray:
    """Draw random colours [H, W, 3]."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def png_of(width: int, height: int) -> bytes:
    """Craft a PNG whose header claims a size."""
    chunks = [
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(b"\0" * 100)),
        (b"IEND", b""),
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        for name, body in chunks
    )


@pytest.mark.parametrize("kind", ["PNG", "BMP", "WEBP"])
def test_a_picture_of_the_right_size_keeps_its_exact_pixels(kind):
    pixels = noise(0, 32, 32)
    options = {"lossless": True} if kind == "WEBP" else {}
    found, notes = decode(encode(pixels, kind, **options), 32)
    np.testing.assert_array_equal(found, pixels)
    assert notes == ()


def test_path_and_bytes_are_read_alike(tmp_path: Path):
    path = tmp_path / "picture.anything"
    path.write_bytes(encode(noise(1, 20, 30), "JPEG"))
    from_path, from_text, from_bytes = (
        decode(source, 16)[0] for source in (path, str(path), path.read_bytes())
    )
    np.testing.assert_array_equal(from_path, from_bytes)
    np.testing.assert_array_equal(from_text, from_bytes)


def test_a_missing_path_is_an_os_error(tmp_path: Path):
    with pytest.raises(FileNotFoundError):
        decode(tmp_path / "none.jpg", 16)


@pytest.mark.parametrize(("height", "width"), [(20, 40), (40, 20), (20, 41)])
def test_the_centre_is_kept_and_the_aspect_too(height, width):
    pixels = noise(2, height, width)
    found, _ = decode(encode(pixels), 20)
    if (height + width) % 2 == 0:
        top, left = (height - 20) // 2, (width - 20) // 2
        np.testing.assert_array_equal(found, pixels[top : top + 20, left : left + 20])
    # A disc stays a disc: its width is its height.
    y, x = np.mgrid[:height, :width]
    disc = np.hypot(y - (height - 1) / 2, x - (width - 1) / 2) < 8
    small, _ = decode(encode(np.repeat(disc[..., None] * np.uint8(255), 3, -1)), 40)
    ink = small[..., 0].astype(float)
    assert ink.max(0).sum() == pytest.approx(ink.max(1).sum(), abs=600)
    assert ink.sum() / 255 == pytest.approx(4 * disc.sum(), rel=0.02)


def test_shrinking_is_antialiased():
    # One-pixel stripes must average to grey, not pick black or white.
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::2] = 255
    found, _ = decode(encode(stripes), 16)
    assert np.abs(found.astype(int) - 127.5).max() < 16


@pytest.mark.parametrize("orientation", ORIENTED)
def test_exif_orientation_is_honoured(orientation):
    pixels = noise(3, 16, 16)
    exif = Image.Exif()
    exif[0x0112] = orientation
    found, notes = decode(encode(pixels, exif=exif.tobytes()), 16)
    np.testing.assert_array_equal(found, ORIENTED[orientation](pixels))
    expected = () if orientation == 1 else (f"turned as its EXIF orientation {orientation} says",)
    assert notes == expected


def test_a_turned_picture_that_is_not_square_keeps_its_centre():
    pixels = noise(4, 16, 32)
    exif = Image.Exif()
    exif[0x0112] = 6
    found, _ = decode(encode(pixels, exif=exif.tobytes()), 16)
    np.testing.assert_array_equal(found, np.rot90(pixels, -1)[8:24])


def test_sixteen_bits_are_scaled_not_clipped():
    wide = np.linspace(0, 65535, 16 * 16).astype(np.uint16).reshape(16, 16)
    found, notes = decode(encode(wide), 16)
    np.testing.assert_array_equal(found[..., 0], np.rint(wide / 257).astype(np.uint8))
    np.testing.assert_array_equal(found[..., 0], found[..., 2])
    assert notes == ("16-bit grey scaled to 8-bit RGB",)


def test_transparency_is_laid_on_white():
    pixels = np.dstack([noise(5, 16, 16), np.full((16, 16), 255, np.uint8)])
    pixels[:8, :, 3] = 0
    found, notes = decode(encode(pixels), 16)
    assert (found[:8] == 255).all()
    np.testing.assert_array_equal(found[8:], pixels[8:, :, :3])
    assert notes == ("RGB with transparency laid on white",)
    half = np.full((16, 16, 4), 0, np.uint8)
    half[..., 3] = 51
    assert np.unique(decode(encode(half), 16)[0]).tolist() == [204]


def test_transparent_palette_and_grey(tmp_path: Path):
    palette = Image.fromarray(np.repeat([[0, 1]], 8, 1).astype(np.uint8).repeat(16, 0), "P")
    palette.putpalette([10, 20, 30, 200, 100, 50])
    path = tmp_path / "p.png"
    palette.save(path, transparency=bytes([0, 255]))
    found, notes = decode(path, 16)
    assert found[0, 0].tolist() == [255, 255, 255]
    assert found[0, 15].tolist() == [200, 100, 50]
    assert notes == ("palette with transparency laid on white",)
    grey = np.zeros((16, 16, 2), np.uint8)
    grey[..., 0], grey[:8, :, 1] = 90, 255
    found, notes = decode(encode(grey), 16)
    assert (found[:8] == 90).all()
    assert (found[8:] == 255).all()
    assert notes == ("grey with transparency laid on white",)


def test_grey_black_and_white_and_palette():
    grey = noise(6, 16, 16)[..., 0]
    found, notes = decode(encode(grey), 16)
    np.testing.assert_array_equal(found, np.repeat(grey[..., None], 3, -1))
    assert notes == ("grey turned into RGB",)
    bits = grey > 128
    found, notes = decode(encode(bits), 16)
    np.testing.assert_array_equal(found[..., 1], bits * np.uint8(255))
    assert notes == ("black and white turned into RGB",)


def test_cmyk(tmp_path: Path):
    path = tmp_path / "c.jpg"
    Image.new("CMYK", (16, 16), (0, 255, 255, 0)).save(path, quality=100)
    found, notes = decode(path, 16)
    assert np.abs(found.astype(int) - [255, 0, 0]).max() <= 3
    assert notes == ("CMYK turned into RGB",)


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_of_an_animation_the_first_frame_is_taken(tmp_path: Path, kind: str):
    path = tmp_path / "a"
    frames = [Image.new("RGB", (16, 16), colour) for colour in ("red", "blue", "green")]
    frames[0].save(path, kind, save_all=True, append_images=frames[1:], duration=50)
    found, notes = decode(path, 16)
    assert np.abs(found.astype(int) - [255, 0, 0]).max() <= 6
    assert "first frame of an animation" in notes


def test_a_second_picture_in_a_jpeg_is_no_animation(tmp_path: Path):
    path = tmp_path / "phone.jpg"
    frames = [Image.new("RGB", (16, 16), colour) for colour in ("red", "blue")]
    frames[0].save(path, "MPO", save_all=True, append_images=frames[1:])
    found, notes = decode(path, 16)
    assert np.abs(found.astype(int) - [255, 0, 0]).max() <= 3
    assert notes == ()


@pytest.mark.parametrize("block", [b"", b"II*\0", b"II*\0\xff\xff\xff\xff", b"junk" * 9])
def test_a_damaged_exif_block_costs_no_picture(block: bytes):
    content = encode(np.full((16, 16, 3), 200, np.uint8), "JPEG", exif=b"Exif\0\0" + block)
    found, notes = decode(content, 16)
    assert np.abs(found.astype(int) - 200).max() <= 2
    assert notes == ()


def test_tiny_and_very_long_pictures_are_used_and_told():
    found, notes = decode(encode(np.full((1, 1, 3), 77, np.uint8)), 64)
    assert np.unique(found).tolist() == [77]
    assert notes == ("enlarged from 1x1 to 64x64",)
    _, notes = decode(encode(noise(7, 8, 1000)), 16)
    assert notes == ("very long (1000x8), only the central 8x8 is seen",)


@pytest.mark.parametrize("size", [(9000, 9000), (12000, 12000), (60000, 60000)])
def test_bombs_are_refused_by_their_header(size):
    assert size[0] * size[1] > MAX_PIXELS
    with pytest.raises(PictureError, match="too large"):
        decode(png_of(*size), 16)


def test_a_webp_bomb_is_refused_before_its_decoder_is_made():
    side = (16383 - 1).to_bytes(3, "little")
    body = b"VP8X" + struct.pack("<I", 10) + b"\0\0\0\0" + side + side + b"\0" * 30
    bomb = b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body
    with pytest.raises(PictureError, match="too large: 16383x16383"):
        decode(bomb, 16)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "zero bytes"),
        (b"just words\n", "text, not a picture"),
        ("späte Wörter".encode(), "text, not a picture"),
        (b"BMW is a car, not a bitmap, and this is a sentence", "text, not a picture"),
        (b"  <!DOCTYPE html><html>", "an HTML page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "a Git LFS pointer"),
        (b"<?xml version='1.0'?><svg></svg>", "an SVG drawing"),
        (b"II*\0" + bytes(20), "a TIFF file"),
        (b"\0\0\0\x18ftypheic" + bytes(20), "a HEIC or AVIF file"),
        (b"\0\0\0\x01Bud1" + bytes(20), "a macOS .DS_Store file"),
        (b"%PDF\x00\x8f\x93\xff", "not in a format that is read"),
    ],
)
def test_what_is_no_picture_is_named(content, reason):
    with pytest.raises(PictureError, match=reason):
        decode(content, 16)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "BMP"])
def test_a_file_cut_short_is_refused(kind):
    content = encode(noise(8, 64, 64), kind)
    with pytest.raises(PictureError, match=f"damaged {kind}"):
        decode(content[: len(content) // 2], 16)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "BMP"])
def test_no_damage_raises_anything_else(kind):
    content = encode(noise(9, 24, 24), kind)
    draw = np.random.default_rng(0)
    for _ in range(60):
        broken = np.frombuffer(content, np.uint8).copy()
        where = draw.integers(0, len(broken), 4)
        broken[where] = draw.integers(0, 256, 4)
        # Anything but PictureError would end the test here.
        with contextlib.suppress(PictureError):
            assert decode(broken.tobytes(), 16)[0].shape == (16, 16, 3)


def test_stray_bytes_are_told_but_padding_and_second_pictures_are_not():
    content = encode(noise(10, 16, 16), "JPEG")
    assert decode(content + b"xyz", 16)[1] == ("stray bytes after the end of the picture: 3",)
    for tail in (b"", b"\0" * 9, content):
        assert decode(content + tail, 16)[1] == ()


def test_a_large_jpeg_by_reduction_is_close_to_the_full_decode():
    y, x = np.mgrid[:1600, :1600] / 1600
    smooth = np.dstack([255 * x, 255 * y, 255 * (1 - x)]).astype(np.uint8)
    content = encode(smooth, "JPEG", quality=95)
    found, _ = decode(content, 32)
    exact = np.asarray(Image.fromarray(smooth).resize((32, 32), Image.Resampling.LANCZOS))
    assert np.abs(found.astype(int) - exact).max() <= 3
    np.testing.assert_array_equal(found, decode(content, 32)[0])
