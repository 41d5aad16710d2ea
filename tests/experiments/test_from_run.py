"""`--run=PATH`: an analysis of members that are there gives what it gives after training them."""

import shutil
import sys

import numpy as np
import pytest

from catdog_jax import open_run
from catdog_jax.store import manifest
from experiments import (
    attribution,
    bias_variance,
    connectivity,
    ensembles,
    init_convergence,
    layers,
    seed_variance,
    sweep,
    words,
)

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
    ensembles: ((*PICTURES, *TRAINING, "--models=mlp:width=8"), ()),
    connectivity: ((*PICTURES, *TRAINING, "--models=mlp:width=8"), ("--alignments=weights",)),
    seed_variance: (
        (*PICTURES, *TRAINING, "--models=mlp:width=8"),
        ("--populations=order,linear", "--grid=2"),
    ),
    sweep: (
        (*PICTURES, *TRAINING, "--models=mlp:width=8", "--gain=1,2,3,4,5,6", "--halving=2"),
        (),
    ),
}


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
    monkeypatch.setattr("experiments._experiment.draw", lambda *_: None)
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
        *stages, said = capsys.readouterr().err.splitlines()
        assert all(line.endswith(" …") for line in stages)
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
    assert line.endswith(", not another); give the --data_dir where the run's data lie")


def test_code_of_ones_own_runs_only_where_it_is_typed_again(tmp_path, mine, monkeypatch, capsys):
    monkeypatch.setattr("experiments._experiment.draw", lambda *_: None)
    dataset, models = f"--dataset={mine}.load", f"--models={mine}.build"
    out_dir = f"--out_dir={tmp_path}"
    assert init_convergence.main([dataset, models, *TRAINING, out_dir, "--name=own"]) == 0
    assert "gets pictures as they are, uint8 0..255" in capsys.readouterr().out
    run = f"--run={tmp_path / 'init_convergence' / 'own'}"
    quick = CASES[attribution][1]
    for typed, told in (((models,), "again in --dataset"), ((dataset,), "again in --models")):
        monkeypatch.delitem(sys.modules, mine, raising=False)
        assert attribution.main([run, *typed, *quick, out_dir, "--name=no"]) == 2
        assert told in capsys.readouterr().err
    monkeypatch.delitem(sys.modules, mine, raising=False)
    assert attribution.main([run, *quick, out_dir, "--name=no"]) == 2
    assert mine not in sys.modules
    assert attribution.main([run, dataset, models, *quick, out_dir, "--name=yes"]) == 0
