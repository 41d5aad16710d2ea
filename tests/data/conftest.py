"""A cache of its own for every test, and small pictures to fill folders with."""

import io
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np
import pytest
from PIL import Image

from catdog_jax.data import pictures
from catdog_jax.types import Dataset


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Point the cache at an empty folder, so that no test sees another's."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("CATDOG_CACHE_DIR", str(folder))
    return folder


@pytest.fixture
def decodes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Count the pictures that are decoded."""
    count = [0]
    real = pictures.decode_many

    def counting(sources, *args):
        count[0] += len(sources)
        return real(sources, *args)

    monkeypatch.setattr(pictures, "decode_many", counting)
    return count


@pytest.fixture(scope="session")
def assert_equal() -> Callable[[Dataset, Dataset], None]:
    """Compare all that two data sets hold."""

    def equal(first: Dataset, second: Dataset) -> None:
        for split in ("train", "valid", "test"):
            a, b = getattr(first, split), getattr(second, split)
            assert (a.ids, list(a.factors)) == (b.ids, list(b.factors))
            old, new = (a.data, *a.factors.values()), (b.data, *b.factors.values())
            jax.tree.map(lambda x, y: np.testing.assert_array_equal(x, y, strict=True), old, new)
        for field in ("name", "class_names", "provenance", "files"):
            assert getattr(first, field) == getattr(second, field)

    return equal


@pytest.fixture(scope="session")
def encode() -> Callable[..., bytes]:
    """Encode pixels, or noise where a seed is given."""

    def encoded(pixels, kind: str = "PNG", shape=(12, 10, 3), **options: object) -> bytes:
        if isinstance(pixels, int):
            pixels = np.random.default_rng(pixels).integers(0, 256, shape, dtype=np.uint8)
        image = Image.fromarray(pixels) if isinstance(pixels, np.ndarray) else pixels
        buffer = io.BytesIO()
        image.save(buffer, kind, **options)
        return buffer.getvalue()

    return encoded


@pytest.fixture
def make_folder(tmp_path: Path, encode) -> Callable[..., Path]:
    """Write a folder of class folders: `make_folder({'cat': 5, 'dog': 5})`."""

    def make(counts: dict[str, int], name: str = "photos") -> Path:
        root = tmp_path / name
        root.mkdir()
        for k, (path, count) in enumerate(counts.items()):
            for i in range(count):
                (root / path).mkdir(parents=True, exist_ok=True)
                (root / path / f"{i}.png").write_bytes(encode(10_000 * k + i))
        return root

    return make
