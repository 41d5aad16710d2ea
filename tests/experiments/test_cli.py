"""From flags to a config and back, from errors to exit statuses, and the list of experiments."""

import dataclasses
import importlib
import os
import signal
import subprocess
import sys
import typing
from pathlib import Path

import pytest

from catdog_jax.run.interrupt import Interrupted, deferred, interruptible, pending
from catdog_jax.types import InputError
from experiments import __main__ as listing
from experiments import _cli, hypothesis_class, init_convergence, predict

ROOT = Path(__file__).parents[2]
Config = init_convergence.Config

KINDS = {int: ("3", 3), float: (".5", 0.5), str: ("some/where,a:b=1", "some/where,a:b=1")}
ONE_OF = {"strategy": "vmap", "conv": "lax", "precision": "bfloat16"}


def typed(name, annotation):
    """A value of a flag that is not its default, as a person types it and as a config holds it."""
    kind = annotation
    while typing.get_args(kind):
        kind = typing.get_args(kind)[0]
    return (ONE_OF[name],) * 2 if name in ONE_OF else KINDS.get(kind, ("true", True))


TYPED = {name: typed(name, annotation) for name, annotation in _cli.flags_of(Config).items()}


@pytest.mark.parametrize("form", ["--{}={}", "--{} {}", "-{}={}"])
def test_every_field_has_a_flag(form):
    assert _cli.parse_flags(["--nofresh"], Config) == Config()
    for name, (text, value) in TYPED.items():
        words = f"--{name}" if isinstance(value, bool) else form.format(name, text)
        config = _cli.parse_flags(words.split(" "), Config)
        assert config == dataclasses.replace(Config(), **{name: value})
        assert type(getattr(config, name)) is type(value)


def test_the_command_of_a_config_makes_that_config():
    config = Config(**{name: value for name, (_, value) in TYPED.items()})
    words = _cli.command_line(config, "init_convergence").split()
    assert words[:3] == ["python", "-m", "experiments.init_convergence"]
    places = ("out_dir", "name", "fresh", "keep", "compile_cache", "download")
    places += ("coordinator", "num_processes", "process_id")
    plain = {name: getattr(Config, name) for name in places}
    wanted = dataclasses.replace(config, **plain | {"data_dir": "DIR"})
    assert _cli.parse_flags(words[3:], Config) == wanted
    assert _cli.command_line(Config(), "x") == "python -m experiments.x"


def test_every_flag_of_every_experiment_has_a_help_text():
    modules = [importlib.import_module(f"experiments.{name}") for name in listing.summaries()]
    for settings in [module.Config for module in modules if hasattr(module, "Config")]:
        lines = _cli.help_text(settings).splitlines()
        for name in _cli.flags_of(settings):
            (at,) = (i for i, line in enumerate(lines) if line.split(" (")[0] == f"  --{name}")
            assert lines[at + 1].startswith(" " * 6)
        assert max(map(len, lines)) <= 100


def test_what_is_left_over_goes_to_the_field_that_takes_it():
    config = _cli.parse_flags(["--run=there", "a.jpg", "b.png"], predict.Config)
    assert config == predict.Config(run="there", pictures=("a.jpg", "b.png"))


def raising(error):
    def work(config):
        raise error

    return work


@pytest.mark.parametrize(
    ("error", "status", "line"),
    [
        (InputError("unknown model 'x'"), 2, "error: unknown model 'x'"),
        (RuntimeError("all members diverged"), 1, "error: all members diverged"),
        (OSError(28, "No space left"), 1, "error: [Errno 28] No space left"),
        (MemoryError(), 1, "error: MemoryError"),
        (RuntimeError("RESOURCE_EXHAUSTED: much\nmore\nof it"), 1, "error: RESOURCE_EXHAUSTED: "),
        (Interrupted(signal.SIGTERM, "; saved"), 143, "interrupted by SIGTERM; saved"),
    ],
)
def test_an_error_is_one_line_and_a_status(error, status, line, capsys):
    assert _cli.run([], Config, raising(error)) == status
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith(line)
    assert said.err.count("\n") == 1


def test_done_is_0_and_a_mistake_of_ours_keeps_its_traceback():
    seen = []
    assert _cli.run(["--num_members=3"], Config, seen.append) == 0
    assert seen == [Config(num_members=3)]
    with pytest.raises(ZeroDivisionError):
        _cli.run([], Config, lambda config: 1 / 0)


def signalled(work, **options):
    """Run as a command does, which alone takes the signals."""
    with interruptible():
        return _cli.run([], Config, work, **options)


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_work_at_once_where_nothing_is_to_be_saved(number, capsys):
    before, passed = signal.getsignal(number), []

    def work(config):
        os.kill(os.getpid(), number)
        passed.append("still here")

    for after in ("rerun the same command to resume", "the same command begins again"):
        assert signalled(work, after=after) == 128 + number
        assert capsys.readouterr().err == f"interrupted by {number.name}; {after}\n"
    assert passed == []
    assert signal.getsignal(number) is before


def test_a_signal_is_held_back_while_there_is_something_to_save_but_not_a_second_one():
    seen = []

    def work(config):
        with deferred():
            assert pending() is None
            os.kill(os.getpid(), signal.SIGTERM)
            seen.append(pending())
            os.kill(os.getpid(), signal.SIGINT)
            seen.append("not reached")

    assert signalled(work) == 130
    assert seen == [signal.SIGTERM]
    assert pending() is None


def test_a_signal_that_nobody_answered_ends_the_work_after_all_is_saved(capsys):
    saved = []

    def work(config):
        with deferred("all of it is saved"):
            os.kill(os.getpid(), signal.SIGTERM)
            saved.append(pending())
        saved.append("not reached")

    assert signalled(work) == 143
    assert saved == [signal.SIGTERM]
    said = capsys.readouterr().err
    assert said == "interrupted by SIGTERM; all of it is saved; rerun the same command to resume\n"


def test_the_list_has_one_line_for_each_experiment(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["experiments"])
    assert listing.main() == 0
    lines = capsys.readouterr().out.splitlines()
    files = sorted(path.stem for path in (ROOT / "experiments").glob("[!_]*.py"))
    assert len(lines) == len(files) >= 2
    for line, name in zip(lines, files, strict=True):
        assert line.startswith(f"python -m experiments.{name} ")
    assert "Does it matter where you start?" in lines[files.index("init_convergence")]
    monkeypatch.setattr(sys, "argv", ["experiments", "init_convergance"])
    assert listing.main() == 2
    said = capsys.readouterr().err
    assert said.startswith("error: unknown experiment 'init_convergance'; known: ")
    assert said.endswith("(did you mean 'init_convergence'?); run python -m experiments.NAME\n")


def test_the_old_name_of_two_experiments_says_theirs(capsys):
    assert hypothesis_class.main(["--degrees=1"]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "experiments.curve_fitting and python -m experiments.bias_variance" in said


HELP = """
import sys
import typing
from experiments import _cli, init_convergence
try:
    _cli.command(init_convergence.main)
except SystemExit as left:
    assert left.code == 0, left.code
from jax._src import xla_bridge
assert not xla_bridge._backends, "a device was opened"
assert "tensorflow_datasets" not in sys.modules, "TFDS was imported"
assert "tensorflow" not in sys.modules
"""


def test_help_is_no_error_opens_no_device_and_imports_no_tfds():
    command = [sys.executable, "-c", HELP, "--help"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "Does it matter where you start?" in done.stdout
    assert "--num_members (default 32)" in done.stdout
