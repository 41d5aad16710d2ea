"""A cache of its own for every test, and small pictures to fill folders with."""

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Point the cache at an empty folder, so that no test sees another's."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("CATDOG_CACHE_DIR", str(folder))
    return folder


def encode(pixels: np.ndarray, kind: str = "PNG", **options: object) -> bytes:
    """Encode pixels in memory."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind, **options)
    return buffer.getvalue()


def noise(seed: int, height: int = 12, width: int = 10) -> np.ndarray:
    """Draw random colours [H, W, 3]."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.fixture
def make_folder(tmp_path: Path) -> Callable[..., Path]:
    """Write a folder of class folders: `make_folder('name', {'cat': 5, 'dog': 5})`."""

    def make(name: str, counts: dict[str, int], first: int = 0, reverse: bool = False) -> Path:
        root = tmp_path / name
        rows = [
            (path, 10_000 * k + first + i)
            for k, (path, n) in enumerate(counts.items())
            for i in range(n)
        ]
        for path, seed in reversed(rows) if reverse else rows:
            (root / path).mkdir(parents=True, exist_ok=True)
            (root / path / f"{seed}.png").write_bytes(encode(noise(seed)))
        return root

    return make
