"""What the README and the pages behind it tell people to type works."""

import importlib
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from catdog_jax import open_run
from experiments._cli import parse_flags
from experiments._results import table

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
TEXT = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", TEXT, re.DOTALL)
COMMANDS = [
    line.split("&&")[-1].strip()
    for language, block in BLOCKS
    if language == "bash"
    for line in block.splitlines()
    if "-m experiments" in line
]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_is_one_that_its_experiment_takes(command):
    words = shlex.split(command)
    name = words[2].removeprefix("experiments").removeprefix(".")
    arguments = [word for word in words[3:] if word != "--helpshort"]
    if name:
        module = importlib.import_module(f"experiments.{name}")
        parse_flags(arguments, module.Config)


def test_the_lines_of_python_train_a_population():
    program = next(block for language, block in BLOCKS if "train_population" in block)
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    accuracies = [float(word) for word in re.findall(r"\d\.\d+", done.stdout)]
    assert len(accuracies) == 32
    assert min(accuracies) > 0.5
    assert len(program.splitlines()) < 30


@pytest.fixture(scope="module")
def first_run():
    """What the README's first command found, where it has been run in this checkout."""
    for file in (ROOT / "runs" / "init_convergence").glob("*/results.nc"):
        run = open_run(file)
        if run.manifest["command"] == "python -m experiments.init_convergence":
            return run
    pytest.skip("the README's first command has not been run here")


def test_the_numbers_on_the_page_are_those_of_the_first_command(first_run):
    page = (ROOT / "docs" / "seeds.md").read_text(encoding="utf-8")
    models, lines = first_run.data["model"].values.tolist(), table(first_run).splitlines()
    for at, model in enumerate(models, 1):
        told = re.search(rf"^\| `{model}` \|(.*)", page, re.MULTILINE)[1]
        both = [lines[row].partition(" ")[2] for row in (at, at + len(models) + 2)]
        wanted, found = (
            [float(number) for number in re.findall(r"\d+\.?\d*", text.replace(",", ""))]
            for text in (told, " ".join(both))
        )
        # Behind what the page tells the run has its times; another machine adds in another order.
        np.testing.assert_allclose(found[: len(wanted)], wanted, rtol=0.02, atol=0.02)


@pytest.mark.parametrize("name", ["learning_curves", "data_sheet", "trajectories", "twins"])
def test_the_pictures_of_the_first_command_say_what_it_draws(name, first_run):
    said = []
    for folder in (first_run.path, ROOT / "notebooks"):
        with Image.open(folder / "figures" / f"{name}.png") as image:
            said.append([image.info[text] for text in ("Title", "Description")])
    assert said[0] == said[1]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_file_that_is_named_exists_and_no_page_is_lost(page):
    text = page.read_text(encoding="utf-8")
    for path in re.findall(r"\]\(([^)#:]+)\)", text):
        assert (page.parent / path).exists(), path
    for path in re.findall(r"`((?:notebooks|experiments/launch)/[^`]+)`", text):
        assert (ROOT / path).exists(), path
    assert page == PAGES[0] or str(page.relative_to(ROOT)) in PAGES[0].read_text(encoding="utf-8")


def test_the_first_page_is_short():
    assert len(PAGES[0].read_text(encoding="utf-8")) <= 7500
