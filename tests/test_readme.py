"""What the README tells people to type works."""

import importlib
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from experiments._cli import parse_flags

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
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


def test_every_file_that_is_named_exists():
    for path in re.findall(r"\]\(([^)#:]+)\)", TEXT) + re.findall(r"`(notebooks/[^`]+)`", TEXT):
        assert (ROOT / path).exists(), path
