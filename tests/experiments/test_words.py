"""A run on sentences from its flags to its files, every number against another way to it."""

import jax
import numpy as np
import pytest

from catdog_jax import load_dataset, open_run
from catdog_jax.analysis import word_vectors
from catdog_jax.data import grammar
from catdog_jax.data.grammar import annotate
from experiments import words

DATASET = "words:num_train=160:num_valid=2:num_test=96"
MODELS = ("bag_of_words", "word_average", "word_conv:width=8")
TRAINING = (f"--dataset={DATASET}", "--num_members=2", "--batch_size=16", "--eval_every=3")
PROBES = ("--probe_sentences=60", "--probe_members=2")


@pytest.fixture(scope="module")
def whole(tmp_path_factory, machine):
    """A small run."""
    out_dir = tmp_path_factory.mktemp("words")
    flags = (*TRAINING, *PROBES, "--num_steps=6", f"--models={','.join(MODELS)}")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("experiments._experiment.draw", lambda *_: None)
        assert words.main([*flags, f"--out_dir={out_dir}", "--name=x"]) == 0
    return open_run(out_dir / "words" / "x")


@pytest.fixture(scope="module")
def dataset():
    """The sentences of the run."""
    return load_dataset(DATASET)


def test_the_results_hold_what_was_learned(whole, dataset):
    data, test = whole.data, dataset.test
    assert data["word"].values.tolist() == list(grammar.VOCABULARY[1:])
    for name, values in data.variables.items():
        text = ("model", "member", "class", "example_id")
        assert name in text or values.attrs["units"], name
    np.testing.assert_array_equal(data["tokens"].values, test.inputs)
    np.testing.assert_array_equal(data["factor_passive"].values, test.factors["passive"])
    # Who counts words is right half of the time.
    counted = data["test_accuracy"].sel(model=list(MODELS[:2])).values
    np.testing.assert_array_equal(counted, 0.5)
    for kind in ("construction", "modifiers"):
        counts = data[f"num_by_{kind}"].values
        assert counts.sum() == 96
        mean = data[f"accuracy_by_{kind}"].values @ counts / 96
        np.testing.assert_allclose(mean, data["test_accuracy"].values[:, :, -1], atol=1e-6)


def test_the_vectors_are_those_of_the_weights_and_of_the_starts(whole):
    for model, width in zip(MODELS[1:], (32, 8), strict=True):
        found = whole.data["embedding"].sel(embedded=model)
        trained = found.sel(when="trained").values
        weights = whole.params[model]["embedding"]["table"]
        np.testing.assert_array_equal(trained[..., :width], weights)
        assert np.isnan(trained[..., width:]).all()
        start = found.sel(when="start").values[..., :width]
        assert not np.array_equal(start[0], start[1])
        assert 0 < np.abs(start - trained[..., :width]).max() < 0.1
        nearest = whole.data["nearest_word"].sel(embedded=model, when="trained").values
        np.testing.assert_array_equal(
            nearest[1], word_vectors.nearest_words(trained[1, :, :width], 3)
        )


def test_the_probes_are_refitted_from_the_weights(whole, dataset):
    fit, judge = dataset.train.inputs[:60], dataset.test.inputs[:60]
    found = whole.populations[MODELS[2]]
    layers = [
        dict(found.model.features(found.member(1), jax.numpy.asarray(x)))["conv1"]
        for x in (fit, judge)
    ]
    expected = word_vectors.probe_layer(*map(np.asarray, layers), fit, judge)
    kept = whole.data["probe_accuracy"].values[2, 1, 1]
    np.testing.assert_allclose(kept, expected, atol=0.01)


@pytest.mark.parametrize(
    ("flags", "status", "left_out"),
    [
        (("--models=bag_of_words", "--num_steps=2"), 0, {"embeddings", "neighbours", "probes"}),
        pytest.param(
            (
                *("--models=word_conv:width=8", "--num_steps=3", "--optimizer=sgd"),
                "--learning_rate=1e30",
            ),
            1,
            {"embeddings", "neighbours"},
            marks=pytest.mark.slow,
        ),
    ],
    ids=["no vectors", "all diverged"],
)
def test_what_has_nothing_to_show_leaves_its_figures_out(flags, status, left_out, tmp_path, capsys):
    out_dir = f"--out_dir={tmp_path}"
    assert words.main([*TRAINING, *PROBES, *flags, out_dir, "--name=x"]) == status
    drawn = {path.stem for path in (tmp_path / "words" / "x" / "figures").iterdir()}
    assert drawn == set(words.FIGURES) - left_out
    said = capsys.readouterr()
    assert ("probed" in said.out) == ("probes" not in left_out)
    if status:
        assert "all 2 members of word_conv:width=8 diverged" in said.err
        data = open_run(tmp_path / "words" / "x").data
        for name in ("probe_accuracy", "accuracy_by_construction"):
            assert np.isnan(data[name].values).all()


def test_a_probe_reads_what_is_there_and_nothing_else(dataset):
    train, test = dataset.train.inputs, dataset.test.inputs
    one_hot = np.eye(len(grammar.VOCABULARY), dtype=np.float32)
    word_class, unseen, _, role, answer = word_vectors.probe_layer(
        one_hot[train], one_hot[test], train, test
    )
    baseline = word_vectors.baselines(train, test)
    assert word_class == 1.0  # a word has one class
    assert abs(unseen - baseline[1]) < 0.02  # and says nothing of another word's
    # Mirrored sentences: each animal in both roles.
    assert role == answer == baseline[3] == baseline[4] == 0.5
    told = [np.eye(3, dtype=np.float32)[annotate(x).role] for x in (train, test)]
    told_role, told_answer = word_vectors.probe_layer(*told, train, test)[3:]
    assert told_role == 1.0
    assert told_answer == 0.5  # a role says who ran only together with the animal
