"""Runs that the tests of the store start from; lets them import `scenario`."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture
def folder(tmp_path):
    """A new run, open."""
    import scenario

    with scenario.RunFolder.open_or_create(tmp_path / "demo", "x", scenario.RECIPE) as opened:
        yield opened


@pytest.fixture
def finished(tmp_path):
    """A finished run of four members in two waves, closed."""
    import scenario

    return scenario.train(tmp_path)
