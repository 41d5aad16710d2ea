"""Decoding: exact pixels where they must be exact, plain reasons where there are none."""

import contextlib
import struct
import types
import zlib

import numpy as np
import pytest
from PIL import Image

from catdog_jax.data import load_dataset, pictures
from catdog_jax.data.pictures import MAX_PIXELS, PictureError, check_memory, decode
from catdog_jax.types import InputError

TURNS = {
    2: np.fliplr,
    3: lambda a: np.rot90(a, 2),
    4: np.flipud,
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: np.rot90(a, 2).transpose(1, 0, 2),
    8: lambda a: np.rot90(a, 1),
}
KINDS = ["PNG", "JPEG", "WEBP", "GIF", "BMP"]
FLAT = np.full((16, 16, 3), 200, np.uint8)


def noise(seed: int, height: int = 16, width: int = 16, channels: int = 3) -> np.ndarray:
    """Draw random numbers [H, W, C]."""
    shape = (height, width, channels)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


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
@pytest.mark.parametrize(("height", "width"), [(20, 20), (20, 40), (40, 20)])
def test_the_central_square_of_the_right_size_keeps_its_exact_pixels(encode, kind, height, width):
    pixels = noise(0, height, width)
    found, notes = decode(encode(pixels, kind, **{"lossless": True} if kind == "WEBP" else {}), 20)
    top, left = (height - 20) // 2, (width - 20) // 2
    np.testing.assert_array_equal(found, pixels[top : top + 20, left : left + 20])
    assert notes == ()


def test_path_and_bytes_are_read_alike(encode, tmp_path):
    path = tmp_path / "picture.jpg"
    path.write_bytes(encode(noise(1, 20, 30), "JPEG"))
    expected, _ = decode(path.read_bytes(), 16)
    for source in (path, str(path)):
        np.testing.assert_array_equal(decode(source, 16)[0], expected)
    with pytest.raises(FileNotFoundError):
        decode(tmp_path / "none.jpg", 16)


@pytest.mark.parametrize("orientation", TURNS)
def test_exif_orientation_is_honoured(encode, orientation):
    pixels = noise(3, 16, 32)
    exif = Image.Exif()
    exif[0x0112] = orientation
    found, notes = decode(encode(pixels, exif=exif.tobytes()), 16)
    turned = TURNS[orientation](pixels)
    expected = turned[:, 8:24] if len(turned) == 16 else turned[8:24]
    np.testing.assert_array_equal(found, expected)
    assert notes == (f"turned as its EXIF orientation {orientation} says",)


@pytest.mark.parametrize("block", [b"", b"II*\0", b"II*\0\xff\xff\xff\xff", b"junk" * 9])
def test_a_damaged_exif_block_costs_no_picture(encode, block):
    found, notes = decode(encode(FLAT, "JPEG", exif=b"Exif\0\0" + block), 16)
    assert np.abs(found.astype(int) - 200).max() <= 2
    assert notes == ()


def test_an_exif_block_that_cannot_be_written_anew_still_turns(encode):
    exif = Image.Exif()
    exif[0x0112], exif[0x8298] = 6, "Copyright"
    # The latter's type becomes 'undefined', which Pillow reads as bytes and cannot write as text.
    block = exif.tobytes().replace(b"\x98\x82\x02\0", b"\x98\x82\x05\0")
    found, notes = decode(encode(noise(4), exif=block), 16)
    np.testing.assert_array_equal(found, np.rot90(noise(4), -1))
    assert notes == ("turned as its EXIF orientation 6 says",)


def test_sixteen_bits_are_scaled_not_clipped(encode):
    wide = np.linspace(0, 65535, 16 * 16).astype(np.uint16).reshape(16, 16)
    found, notes = decode(encode(wide), 16)
    for channel in range(3):
        np.testing.assert_array_equal(found[..., channel], np.rint(wide / 257).astype(np.uint8))
    assert notes == ("16 bits scaled to 8", "grey turned into RGB")


def test_transparency_is_laid_on_white(encode):
    pixels = noise(5, channels=4)
    pixels[:8, :, 3], pixels[8:, :, 3] = 0, 255
    found, notes = decode(encode(pixels), 16)
    assert (found[:8] == 255).all()
    np.testing.assert_array_equal(found[8:], pixels[8:, :, :3])
    assert notes == ("RGB with transparency laid on white",)
    half = np.zeros((16, 16, 4), np.uint8)
    half[..., 3] = 51
    assert np.unique(decode(encode(half), 16)[0]).tolist() == [204]
    palette = Image.fromarray(np.repeat([[0, 1]], 8, 1).astype(np.uint8).repeat(16, 0), "P")
    palette.putpalette([10, 20, 30, 200, 100, 50])
    found, notes = decode(encode(palette, transparency=bytes([0, 255])), 16)
    assert found[0, [0, 15]].tolist() == [[255, 255, 255], [200, 100, 50]]
    assert notes == ("palette with transparency laid on white",)


@pytest.mark.parametrize(
    ("mode", "kind", "note"),
    [
        ("L", "PNG", "grey turned into RGB"),
        ("1", "PNG", "black and white turned into RGB"),
        ("P", "GIF", "palette turned into RGB"),
        ("CMYK", "JPEG", "CMYK turned into RGB"),
        ("LA", "PNG", "grey with transparency laid on white"),
    ],
)
def test_other_modes_become_rgb(encode, mode, kind, note):
    found, notes = decode(encode(Image.fromarray(FLAT).convert(mode, dither=0), kind), 16)
    assert np.abs(found.astype(int) - (255 if mode == "1" else 200)).max() <= 4
    assert notes == (note,)


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "MPO"])
def test_the_first_frame_is_taken_and_a_second_picture_in_a_jpeg_is_no_animation(encode, kind):
    first, *more = [Image.new("RGB", (16, 16), colour) for colour in ("red", "blue", "green")]
    found, notes = decode(encode(first, kind, save_all=True, append_images=more), 16)
    assert np.abs(found.astype(int) - [255, 0, 0]).max() <= 6
    assert ("first frame of an animation" in notes) == (kind != "MPO")
    assert kind != "MPO" or notes == ()


def test_tiny_and_very_long_pictures_are_used_and_told(encode):
    found, notes = decode(encode(np.full((1, 1, 3), 77, np.uint8)), 64)
    assert np.unique(found).tolist() == [77]
    assert notes == ("enlarged from 1x1 to 64x64",)
    _, notes = decode(encode(noise(7, 8, 1000)), 16)
    assert notes == ("very long (1000x8), only the central 8x8 is seen",)


@pytest.mark.parametrize("size", [(9000, 9000), (60000, 60000)])
def test_bombs_are_refused_by_their_header(size):
    assert size[0] * size[1] > MAX_PIXELS
    with pytest.raises(PictureError, match="too large"):
        decode(png_of(*size), 16)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "zero bytes"),
        ("späte Wörter".encode(), "text, not a picture"),
        (b"BMW is a car, not a bitmap, and this is a sentence", "text, not a picture"),
        (b"  <!DOCTYPE html><html>", "an HTML page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "a Git LFS pointer"),
        (b"\0\0\0\x18ftypheic" + bytes(20), "a HEIC or AVIF file; read are JPEG, PNG"),
        (b"\0\0\0\x14ftypqt  " + bytes(20), "a film"),
        (b"%PDF\x00\x8f\x93\xff", "not in a format that is read"),
    ],
)
def test_what_is_no_picture_is_named(content, reason):
    with pytest.raises(PictureError, match=reason):
        decode(content, 16)


@pytest.mark.parametrize("kind", KINDS)
def test_damage_is_a_reason_and_never_another_error(encode, kind):
    content = encode(noise(9, 24, 24), kind)
    with pytest.raises(PictureError, match=f"damaged {kind}"):
        decode(content[: len(content) // 2], 16)
    draw = np.random.default_rng(0)
    for _ in range(60):
        broken = np.frombuffer(content, np.uint8).copy()
        broken[draw.integers(0, len(broken), 4)] = draw.integers(0, 256, 4)
        with contextlib.suppress(PictureError):
            assert decode(broken.tobytes(), 16)[0].shape == (16, 16, 3)


def test_stray_bytes_are_told_but_padding_and_second_pictures_are_not(encode):
    content = encode(FLAT, "JPEG")
    assert decode(content + b"xyz", 16)[1] == ("bytes after the end of the picture",)
    for tail in (b"\0" * 9, content):
        assert decode(content + tail, 16)[1] == ()


def test_memory_is_looked_at_before_decoding(make_folder, decodes, monkeypatch):
    memory = types.SimpleNamespace(total=2**20)
    monkeypatch.setattr(pictures.psutil, "virtual_memory", lambda: memory)
    check_memory(20, 66)  # 261,360 bytes: just under a quarter of 2**20
    with pytest.raises(InputError, match=r"20 pictures at --image_size=67 .* give --image_size=66"):
        check_memory(20, 67)
    with pytest.raises(InputError, match="--image_size=100 need"):
        load_dataset("folder", data_dir=str(make_folder({"cat": 9, "dog": 9})), image_size=100)
    assert decodes == [0]
