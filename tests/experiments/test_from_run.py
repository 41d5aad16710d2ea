"""`--run=PATH`: an analysis of members that are there gives what it gives after training them."""

import shutil
import sys
import textwrap

import numpy as np
import pytest

from catdog_jax import open_run
from catdog_jax.store import manifest
from experiments import attribution, bias_variance, init_convergence, layers, words

PICTURES = ("--dataset=procedural:num_train=64:num_valid=8:num_test=32", "--image_size=8")
TRAINING = ("--num_members=2", "--num_steps=6", "--batch_size=16")
# Flags of the training, flags of the analysis.
CASES = {
    layers: (
        (*PICTURES, *TRAINING, "--models=mlp:width=8:depth=2"),
        ("--probe_features=64", "--probe_examples=40"),
    ),
    words: (
        (
            "--dataset=words:num_train=160:num_valid=2:num_test=96",
            *TRAINING,
            "--models=word_average,word_conv:width=8",
        ),
        ("--probe_sentences=50", "--probe_members=1"),
    ),
    attribution: (
        (*PICTURES, *TRAINING, "--models=linear,mlp:width=8"),
        ("--num_pictures=3", "--steps=4", "--ascent_steps=4"),
    ),
    bias_variance: (
        (*PICTURES, *TRAINING, "--widths=3", "--depths=1", "--width=3", "--depth=1", "--sizes=16"),
        ("--num_sets=2",),
    ),
}

MINE = """
import numpy as np
from catdog_jax.types import Dataset, Split

def load():
    labels = (np.arange(24) % 2).astype(np.int32)
    images = np.random.default_rng(0).integers(0, 256, (24, 8, 8, 3)).astype(np.uint8)
    part = Split(images, labels, tuple(map(str, labels)))
    none = Split(images[:0], labels[:0], ())
    return Dataset("mine", part, none, part, ("cat", "dog"), {"fingerprint": "1"})

def build(input_shape, num_classes):
    size = int(np.prod(input_shape))
    def init(key):
        import jax
        return {"w": jax.random.normal(key, (size, num_classes))}
    return init, lambda params, x: x.reshape(len(x), -1) / 255.0 @ params["w"]
"""


# Slow: all but one, for all take a run by the same code.
@pytest.mark.parametrize(
    "module",
    [
        pytest.param(m, marks=() if m.__name__.endswith("attribution") else pytest.mark.slow)
        for m in CASES
    ],
    ids=lambda module: module.__name__.split(".")[-1],
)
def test_the_numbers_are_those_of_its_own_training(module, tmp_path, run_folder, monkeypatch):
    monkeypatch.setattr(module, "FIGURES", {})
    training, flags = CASES[module]
    assert module.main([*training, *flags, f"--out_dir={tmp_path / 'own'}"]) == 0
    own = run_folder(tmp_path / "own")
    assert module.main([f"--run={own}", *flags, f"--out_dir={tmp_path / 'taken'}"]) == 0
    taken = open_run(run_folder(tmp_path / "taken"))
    data = open_run(own).data
    assert set(taken.data.variables) == set(data.variables)
    for name, values in data.variables.items():
        np.testing.assert_array_equal(taken.data[name].values, values.values, err_msg=name)
    assert taken.data.attrs["run"] == f"{own.parent.name}/{own.name}"
    assert not list(taken.path.glob("waves/*"))


def test_what_cannot_be_taken_is_refused_in_one_line(source, tmp_path, run_folder, capsys):
    def refused(*flags):
        assert layers.main([*flags, f"--out_dir={tmp_path / 'runs'}"]) == 2
        said = capsys.readouterr().err
        assert said.count("\n") == 1
        return said

    line = refused(f"--run={source}", "--learning_rate=0.1")
    assert "--learning_rate cannot follow --run: its members are trained already" in line
    line = refused(f"--run={source}", "--models=mlp")
    assert "unknown model of the run 'mlp'; known: cnn:widths=4, " in line
    assert not (tmp_path / "runs").exists()
    other = tmp_path / "other"
    shutil.copytree(source, other)
    found = manifest.read(other)
    manifest.write(other, found | {"data": found["data"] | {"fingerprint": "another"}})
    line = refused(f"--run={other}")
    assert line.endswith(", not another); give the --data_dir where the run's data lie\n")


def test_code_of_ones_own_runs_only_where_it_is_typed_again(tmp_path, monkeypatch, capsys):
    (tmp_path / "mine_from_run.py").write_text(textwrap.dedent(MINE))
    monkeypatch.syspath_prepend(tmp_path)
    for module in (init_convergence, attribution):
        monkeypatch.setattr(module, "FIGURES", {})
    dataset, models = "--dataset=mine_from_run.load", "--models=mine_from_run.build"
    out_dir = f"--out_dir={tmp_path}"
    assert init_convergence.main([dataset, models, *TRAINING, out_dir, "--name=own"]) == 0
    assert "gets pictures as they are, uint8 0..255" in capsys.readouterr().out
    run = f"--run={tmp_path / 'init_convergence' / 'own'}"
    quick = CASES[attribution][1]
    for typed, told in (((models,), "again in --dataset"), ((dataset,), "again in --models")):
        monkeypatch.delitem(sys.modules, "mine_from_run", raising=False)
        assert attribution.main([run, *typed, *quick, out_dir, "--name=no"]) == 2
        assert told in capsys.readouterr().err
    monkeypatch.delitem(sys.modules, "mine_from_run", raising=False)
    assert attribution.main([run, *quick, out_dir, "--name=no"]) == 2
    assert "mine_from_run" not in sys.modules
    assert attribution.main([run, dataset, models, *quick, out_dir, "--name=yes"]) == 0
