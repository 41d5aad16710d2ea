"""Odd values for every flag of every experiment: one line, exit status 2, nothing left."""

import importlib
import os
import random

import pytest

from catdog_jax.types import InputError
from experiments import __main__ as listing
from experiments import _cli, _tasks

ODD = (
    *("", " ", "-1", "0", "1", "-0", "+3", "3.5", "1e309", "-1e309", "nan", "inf", "1_000"),
    *("٣", "²", "99999999999999999999", "-99999999999999999999", "1e-320", "0x10", "True"),
    *("none", "null", "x" * 300, "ä" * 300, "a,b,", ",", ",,", "../x", "/dev/null/x", "/", "."),
    *("~nobodyhere/x", "~", "\x00", "\x1b[2J", "\u202eabc", "\u2028", "a\nb", "\udc80", "猫"),
    *("🐱", "'", '"', "{}", "[]", "*", "%s", "{0}", "--", "=", ":", "::", "mlp:", "mlp:width="),
    *("mlp:width=-1", ":x=1", "mlp:x=1", "linear,linear", "os.system", "os.path.join", "..", "a.b"),
    *("sys.exit", "builtins.print", "mlp:width=99999999999", "cnn:widths=1-", "resnet:blocks=0"),
    *("folder", "cifar10", "words", "procedural:num_train=0", "procedural:difficulty=nan"),
    *("sgd:momentum=2", "cosine:warmup=9", "log:1e-4:1e-1:16", "bootstrap", "subset:0"),
    *("leave_out:-1", "flip,flip", "measure", "127.0.0.1:0"),
)
SMALL = {
    "dataset": "procedural:num_train=16:num_valid=8:num_test=8",
    "image_size": "8",
    "models": "linear",
    "num_members": "2",
    "num_steps": "2",
    "batch_size": "4",
}
COUNT = int(os.environ.get("CATDOG_ODD", 40))


class Reached(InputError):
    """All checks before training have passed."""


def names():
    found = {name: importlib.import_module(f"experiments.{name}") for name in listing.summaries()}
    return [name for name, module in found.items() if hasattr(module, "Config")]


@pytest.mark.parametrize("name", names())
def test_odd_values_are_refused_in_one_line(name, tmp_path, monkeypatch, capsys):
    def reached(*args, **options):
        raise Reached("reached")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(_tasks.run, "train_run", reached)
    monkeypatch.setattr(_tasks.run, "take_run", reached)
    monkeypatch.setattr(_tasks.run, "begin", lambda *args, **options: None)
    module = importlib.import_module(f"experiments.{name}")
    for work in ("measure", "check_model"):  # of those that train no population
        if hasattr(module, work):
            monkeypatch.setattr(module, work, reached, raising=False)
    flags = _cli.flags_of(module.Config)
    small = [f"--{flag}={value}" for flag, value in SMALL.items() if flag in flags]
    draw = random.Random(name)
    for _ in range(COUNT):
        chosen = draw.sample([*flags], draw.choice((1, 1, 2)))
        odd = [f"--{flag}={draw.choice(ODD)}" for flag in chosen]
        odd = [x for x in odd if not x.startswith(("--download=1", "--download=True"))]
        argv = [*small, f"--out_dir={tmp_path}/out", *odd] if "out_dir" in flags else [*small, *odd]
        before = sorted(tmp_path.rglob("*"))
        status = module.main(argv)
        said = capsys.readouterr()
        if said.err == "error: reached\n" or status == 0:
            continue
        assert status == 2, (argv, said)
        assert said.err.startswith("error: "), (argv, said)
        assert said.err.count("\n") == 1, (argv, said)
        assert said.err[:-1].isprintable(), (argv, said)
        assert len(said.err) < 1700, argv
        assert sorted(tmp_path.rglob("*")) == before, argv
