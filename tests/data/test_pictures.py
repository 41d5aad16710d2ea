"""Decoding: exact pixels where they must be exact, plain reasons where there are none."""

import contextlib

import numpy as np
import pytest
from PIL import Image

from catdog_jax.data import load_dataset, pictures
from catdog_jax.data.pictures import PictureError, check_memory, decode
from catdog_jax.types import InputError

FLAT = np.full((16, 16, 3), 200, np.uint8)


def noise(seed: int, height: int = 16, width: int = 16, channels: int = 3) -> np.ndarray:
    """Draw random numbers [H, W, C]."""
    shape = (height, width, channels)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


@pytest.mark.parametrize("kind", ["PNG", "BMP", "WEBP"])
@pytest.mark.parametrize(("height", "width"), [(20, 20), (20, 40), (40, 20)])
def test_the_central_square_of_the_right_size_keeps_its_exact_pixels(encode, kind, height, width):
    pixels = noise(0, height, width)
    found, notes = decode(encode(pixels, kind, **{"lossless": True} if kind == "WEBP" else {}), 20)
    top, left = (height - 20) // 2, (width - 20) // 2
    np.testing.assert_array_equal(found, pixels[top : top + 20, left : left + 20])
    assert notes == ()


@pytest.mark.parametrize("block", [b"", b"II*\0", b"II*\0\xff\xff\xff\xff", b"junk" * 9])
def test_a_damaged_exif_block_costs_no_picture(encode, block):
    found, notes = decode(encode(FLAT, "JPEG", exif=b"Exif\0\0" + block), 16)
    assert np.abs(found.astype(int) - 200).max() <= 2
    assert notes == ()


def test_a_picture_is_turned_and_cut_though_its_exif_block_cannot_be_written_anew(encode):
    exif = Image.Exif()
    exif[0x0112], exif[0x011A] = 6, 72.0
    # A width that is a fraction: Pillow reads it, and cannot write it.
    block = exif.tobytes().replace(b"\x01\x1a\0\x05", b"\x01\0\0\x05")
    found, notes = decode(encode(noise(4, 16, 32), exif=block), 16)
    np.testing.assert_array_equal(found, np.rot90(noise(4, 16, 32), -1)[8:24])
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


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "MPO"])
def test_the_first_frame_is_taken_and_a_second_picture_in_a_jpeg_is_no_animation(encode, kind):
    first, *more = [Image.new("RGB", (16, 16), colour) for colour in ("red", "blue", "green")]
    found, notes = decode(encode(first, kind, save_all=True, append_images=more), 16)
    assert np.abs(found.astype(int) - [255, 0, 0]).max() <= 6
    assert ("first frame of an animation" in notes) == (kind != "MPO")
    assert kind != "MPO" or notes == ()


def test_a_bomb_is_refused_by_its_header(encode, monkeypatch):
    monkeypatch.setattr(pictures, "MAX_PIXELS", 255)
    with pytest.raises(PictureError, match="too large: 16x16 pixels"):
        decode(encode(FLAT), 16)


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


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "BMP"])
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
    monkeypatch.setattr(pictures, "host_memory", lambda: 2**20)
    check_memory(20, 66)  # 261,360 bytes: just under a quarter of 2**20
    with pytest.raises(InputError, match=r"20 pictures at --image_size=67 .* give --image_size=66"):
        check_memory(20, 67)
    with pytest.raises(InputError, match="--image_size=100 need"):
        load_dataset("folder", data_dir=str(make_folder({"cat": 9, "dog": 9})), image_size=100)
    assert decodes == [0]
