"""From flags to a config and back, from errors to exit statuses, and the list of experiments."""

import dataclasses
import logging
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from catdog_jax.types import InputError
from experiments import __main__ as listing
from experiments import init_convergence, predict
from experiments.shared import launcher
from experiments.shared.interrupt import Interrupted, deferred, pending
from experiments.shared.run_summary import command_line

ROOT = Path(__file__).parents[2]
Config = init_convergence.Config

# A value for each field that is not its default, as a person types it and as a config holds it.
TYPED = {
    "dataset": ("cifar10", "cifar10"),
    "data_dir": ("some/where", "some/where"),
    "classes": ("cat,dog", "cat,dog"),
    "image_size": ("64", 64),
    "models": ("mlp:width=256:depth=3,cnn:widths=32-64", "mlp:width=256:depth=3,cnn:widths=32-64"),
    "num_members": ("8", 8),
    "num_steps": ("100", 100),
    "batch_size": ("16", 16),
    "optimizer": ("sgd:momentum=0.95", "sgd:momentum=0.95"),
    "learning_rate": ("1e-3", 0.001),
    "weight_decay": ("0", 0.0),
    "schedule": ("linear:warmup=0.2", "linear:warmup=0.2"),
    "clip_norm": ("1", 1.0),
    "label_smoothing": (".1", 0.1),
    "augment": ("flip,shift", "flip,shift"),
    "vary": ("init,order", "init,order"),
    "init_seed": ("4294967295", 2**32 - 1),
    "order_seed": ("1", 1),
    "augment_seed": ("2", 2),
    "eval_every": ("10", 10),
    "out_dir": ("elsewhere", "elsewhere"),
    "name": ("mine", "mine"),
    "wave": ("4", 4),
    "strategy": ("vmap", "vmap"),
    "conv": ("lax", "lax"),
    "precision": ("bfloat16", "bfloat16"),
    "compile_cache": ("none", "none"),
    "fresh": ("true", True),
    "download": ("true", True),
    "coordinator": ("host:1234", "host:1234"),
    "num_processes": ("2", 2),
    "process_id": ("1", 1),
}


def test_every_field_has_a_flag():
    assert list(TYPED) == [item.name for item in dataclasses.fields(Config)]
    for item in dataclasses.fields(Config):
        assert TYPED[item.name][1] != item.default
        assert item.metadata["help"]


@pytest.mark.parametrize("name", TYPED)
@pytest.mark.parametrize("form", ["--{}={}", "--{} {}", "-{}={}"])
def test_a_flag_becomes_its_field(name, form):
    text, value = TYPED[name]
    if isinstance(value, bool):
        form = "--{}"
    words = form.format(name, text).split(" ")
    config = launcher.parse_flags(["x", *words], Config)
    assert config == dataclasses.replace(Config(), **{name: value})
    assert type(getattr(config, name)) is type(value)


def test_no_flag_is_the_default():
    assert launcher.parse_flags(["x"], Config) == Config()
    assert launcher.parse_flags(["x", "--nofresh"], Config) == Config()


def test_the_command_of_a_config_makes_that_config():
    config = Config(**{name: value for name, (_, value) in TYPED.items()})
    words = command_line(config, "init_convergence").split()
    assert words[:3] == ["python", "-m", "experiments.init_convergence"]
    back = launcher.parse_flags(words[2:], Config)
    wanted = dataclasses.replace(
        config,
        **{f.name: f.default for f in dataclasses.fields(Config) if f.metadata["operational"]},
    )
    assert back == dataclasses.replace(wanted, data_dir="DIR")
    assert command_line(Config(), "x") == "python -m experiments.x"


def test_what_is_left_over_goes_to_the_field_that_takes_it():
    config = launcher.parse_flags(["x", "--run=there", "a.jpg", "b.png"], predict.Config)
    assert config == predict.Config(run="there", pictures=("a.jpg", "b.png"))


def launch(run, *arguments):
    return launcher.launch(["x", *arguments], init_convergence.__name__, Config, run)


def raising(error):
    def run(config):
        raise error

    return run


@pytest.mark.parametrize(
    ("error", "status", "line"),
    [
        (InputError("unknown model 'x'"), 2, "error: unknown model 'x'"),
        (RuntimeError("all members diverged"), 1, "error: all members diverged"),
        (OSError(28, "No space left"), 1, "error: [Errno 28] No space left"),
        (MemoryError(), 1, "error: MemoryError"),
        (RuntimeError("RESOURCE_EXHAUSTED: much\nmore\nof it"), 1, "error: RESOURCE_EXHAUSTED: "),
        (Interrupted(signal.SIGINT, "saved"), 130, "saved"),
        (Interrupted(signal.SIGTERM, "saved"), 143, "saved"),
    ],
)
def test_an_error_is_one_line_and_a_status(error, status, line, capsys):
    assert launch(raising(error)) == status
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith(line)
    assert said.err.count("\n") == 1


def test_a_mistake_of_ours_keeps_its_traceback():
    with pytest.raises(ZeroDivisionError):
        launch(lambda config: 1 / 0)


def test_done_is_0_and_the_config_arrives():
    seen = []
    assert launch(seen.append, "--num_members=3") == 0
    assert seen == [Config(num_members=3)]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_work_at_once_where_nothing_is_to_be_saved(number, capsys):
    before = signal.getsignal(number)
    after = []

    def run(config):
        os.kill(os.getpid(), number)
        after.append("still here")

    assert launch(run) == 128 + number
    assert after == []
    said = capsys.readouterr().err
    assert said == f"interrupted by {number.name}; the same command goes on\n"
    assert signal.getsignal(number) is before


def test_what_cannot_go_on_says_so_when_it_is_interrupted(capsys):
    class Anew(Config):
        AFTER = "the same command begins again"

    def run(config):
        os.kill(os.getpid(), signal.SIGINT)

    assert launcher.launch(["anew"], "experiments.anew", Anew, run) == 130
    assert capsys.readouterr().err == "interrupted by SIGINT; the same command begins again\n"
    assert launch(run) == 130
    assert capsys.readouterr().err == "interrupted by SIGINT; the same command goes on\n"


def test_a_signal_is_held_back_while_there_is_something_to_save_but_not_a_second_one():
    seen = []

    def run(config):
        with deferred():
            assert pending() is None
            os.kill(os.getpid(), signal.SIGTERM)
            seen.append(pending())
            os.kill(os.getpid(), signal.SIGINT)
            seen.append("not reached")

    assert launch(run) == 130
    assert seen == [signal.SIGTERM]
    assert pending() is None


def test_a_signal_that_nobody_answered_ends_the_work_after_all_is_saved(capsys):
    saved = []

    def run(config):
        with deferred("all of it is saved"):
            os.kill(os.getpid(), signal.SIGTERM)
            saved.append(pending())
        saved.append("not reached")

    assert launch(run) == 143
    assert saved == [signal.SIGTERM]
    said = capsys.readouterr().err
    assert said == "interrupted by SIGTERM; all of it is saved; the same command goes on\n"
    assert pending() is None


def test_main_leaves_with_the_status(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["x", "--num_members=0"])
    monkeypatch.setattr(logging, "basicConfig", lambda **_: None)
    with pytest.raises(SystemExit) as left:
        init_convergence.main()
    assert left.value.code == 2
    assert "--num_members=0 is out of range" in capsys.readouterr().err


def test_the_list_has_one_line_for_each_experiment(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["experiments"])
    assert listing.main() == 0
    lines = capsys.readouterr().out.splitlines()
    files = {path.stem for path in (ROOT / "experiments").glob("[!_]*.py")}
    assert len(lines) == len(files) >= 2
    for line, name in zip(lines, sorted(files), strict=True):
        assert line.startswith(f"python -m experiments.{name} ")
    assert "Does it matter where you start?" in lines[sorted(files).index("init_convergence")]


def test_an_unknown_experiment_is_wrong_input(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["experiments", "init_convergance"])
    assert listing.main() == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("error: unknown experiment 'init_convergance'; known: ")
    assert said.err.endswith("(did you mean 'init_convergence'?); run python -m experiments.NAME\n")


HELP = """
import sys
from experiments import init_convergence
try:
    init_convergence.main()
except SystemExit as left:
    assert left.code == 0, left.code
from jax._src import xla_bridge
assert not xla_bridge._backends, "a device was opened"
assert "tensorflow_datasets" not in sys.modules, "TFDS was imported"
assert "tensorflow" not in sys.modules
"""


def test_help_opens_no_device_and_imports_no_tfds():
    done = subprocess.run(
        [sys.executable, "-c", HELP, "--help"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "--num_members (default 32)" in done.stdout


def test_the_list_is_a_command():
    done = subprocess.run(
        [sys.executable, "-m", "experiments"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "python -m experiments.init_convergence" in done.stdout
