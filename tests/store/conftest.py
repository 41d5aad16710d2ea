"""Runs that the tests of the store start from."""

import importlib.util
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def scenario():
    """The module `scenario.py`: a small run and its parts."""
    spec = importlib.util.spec_from_file_location(
        "store_scenario", Path(__file__).with_name("scenario.py")
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def folder(tmp_path, scenario):
    """A new run, open."""
    with scenario.RunFolder.open_or_create(tmp_path, "demo", "x", scenario.RECIPE) as opened:
        yield opened


@pytest.fixture
def finished(tmp_path, scenario):
    """A finished run of four members in two waves, closed."""
    return scenario.train(tmp_path)
