"""A run on sentences from its flags to its files; and who refuses what in one line."""

import jax
import numpy as np
import pytest

from catdog_jax import build_model, load_dataset, open_run
from catdog_jax.analysis.embeddings import nearest_words
from catdog_jax.data import grammar
from experiments import init_convergence, words
from experiments.shared import launcher, words_results

DATASET = "words:num_train=160:num_valid=2:num_test=96"
ENTRIES = ("bag_of_words", "word_average", "word_conv:width=8")
SMALL = (
    f"--dataset={DATASET}",
    f"--models={','.join(ENTRIES)}",
    "--num_members=2",
    "--num_steps=6",
    "--batch_size=16",
    "--eval_every=3",
    "--probe_sentences=60",
    "--probe_members=2",
)


def launch(module, out_dir, *flags):
    argv = ["x", *flags, f"--out_dir={out_dir}"]
    return launcher.launch(argv, module.__name__, module.Config, module.run)


@pytest.fixture(scope="module")
def finished(tmp_path_factory, machine):
    """A small run."""
    out_dir = tmp_path_factory.mktemp("words")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(words, "FIGURES", {})
        assert launch(words, out_dir, *SMALL) == 0
    (folder,) = (out_dir / "words").iterdir()
    return open_run(folder)


def test_the_results_hold_what_was_learned(finished):
    data = finished.data
    assert data["word"].values.tolist() == list(grammar.VOCABULARY[1:])
    for name, values in data.variables.items():
        text = ("model", "member", "class", "example_id")
        assert name in text or values.attrs["units"], name
    test = load_dataset(DATASET).test
    np.testing.assert_array_equal(data["tokens"].values, test.inputs)
    np.testing.assert_array_equal(data["factor_passive"].values, test.factors["passive"])
    # Who counts words is right half of the time.
    counted = data["test_accuracy"].sel(model=list(ENTRIES[:2])).values
    np.testing.assert_array_equal(counted, 0.5)
    for kind in ("construction", "modifiers"):
        counts = data[f"num_by_{kind}"].values
        assert counts.sum() == 96
        whole = data[f"accuracy_by_{kind}"].values @ counts / 96
        np.testing.assert_allclose(whole, data["test_accuracy"].values[:, :, -1], atol=1e-6)


def test_the_vectors_are_those_of_the_weights_and_of_the_starts(finished):
    for entry, width in zip(ENTRIES[1:], (32, 8), strict=True):
        found = finished.data["embedding"].sel(embedded=entry)
        trained = found.sel(when="trained").values
        np.testing.assert_array_equal(
            trained[..., :width], finished.params[entry]["embedding"]["table"]
        )
        assert np.isnan(trained[..., width:]).all()
        start = found.sel(when="start").values[..., :width]
        assert not np.array_equal(start[0], start[1])
        assert 0 < np.abs(start - trained[..., :width]).max() < 0.1
        nearest = finished.data["nearest_word"].sel(embedded=entry, when="trained").values
        np.testing.assert_array_equal(nearest[1], nearest_words(trained[1, :, :width], 3))


def test_the_probes_are_refitted_from_the_weights(finished):
    dataset = load_dataset(DATASET)
    fit, judge = dataset.train.inputs[:60], dataset.test.inputs[:60]
    model = build_model(ENTRIES[2], (grammar.LENGTH,), 2, vocabulary=len(grammar.VOCABULARY))
    like = jax.eval_shape(model.init, jax.random.key(0))
    params = jax.tree.map(lambda x: x[1], finished.params_like(ENTRIES[2], like))
    layers = [dict(model.features(params, jax.numpy.asarray(x)))["conv1"] for x in (fit, judge)]
    expected = words_results.probe_layer(*map(np.asarray, layers), fit, judge)
    found = finished.data["probe_accuracy"].values[2, 1, 1]
    np.testing.assert_allclose(found, expected, atol=0.01)


def test_a_model_without_vectors_leaves_their_figures_out(tmp_path, capsys, monkeypatch):
    flags = [flag for flag in SMALL if not flag.startswith("--models")]
    names = ("embeddings", "neighbours", "probes", "constructions")
    monkeypatch.setattr(words, "FIGURES", {name: words.FIGURES[name] for name in names})
    assert launch(words, tmp_path, *flags, "--models=bag_of_words") == 0
    (folder,) = (tmp_path / "words").iterdir()
    assert {path.name for path in (folder / "figures").iterdir()} == {"constructions.png"}
    assert "probed" not in capsys.readouterr().out


def test_lost_members_are_left_out_of_every_figure(tmp_path, capsys):
    flags = [flag for flag in SMALL if not flag.startswith(("--models", "--num_steps"))]
    flags += ["--models=word_conv:width=8", "--num_steps=3", "--optimizer=sgd"]
    assert launch(words, tmp_path, *flags, "--learning_rate=1e30") == 1
    assert "all 2 members of word_conv:width=8 diverged" in capsys.readouterr().err
    (folder,) = (tmp_path / "words").iterdir()
    drawn = {path.stem for path in (folder / "figures").iterdir()}
    assert drawn == set(words.FIGURES) - {"embeddings", "neighbours"}
    data = open_run(folder).data
    for name in ("probe_accuracy", "accuracy_by_construction"):
        assert np.isnan(data[name].values).all()


def test_the_main_experiment_trains_on_words_too(tmp_path, capsys):
    flags = [flag for flag in SMALL if "probe" not in flag]
    assert launch(init_convergence, tmp_path, *flags) == 0
    (folder,) = (tmp_path / "init_convergence").iterdir()
    drawn = {path.name for path in (folder / "figures").iterdir()}
    pictures = {"first_layer", "data_sheet"}
    assert drawn == {f"{name}.png" for name in init_convergence.FIGURES if name not in pictures}
    assert "96 test, up to 16 words, cat / dog" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("module", "flags", "message"),
    [
        (words, "--models=cnn", "model 'cnn' reads images; the data set words has tokens; give"),
        (init_convergence, f"--dataset={DATASET} --models=linear", "give one of bag_of_words, wo"),
        (
            words,
            "--dataset=procedural:num_train=8:num_valid=8:num_test=8 --image_size=8",
            "'procedural' has images; this experiment needs the sentences of its grammar; give --",
        ),
        (words, "--augment=flip", "--augment=flip changes pictures"),
    ],
)
def test_wrong_input_is_one_line_and_touches_nothing(module, flags, message, tmp_path, capsys):
    assert launch(module, tmp_path / "runs", *flags.split()) == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1
    assert not (tmp_path / "runs").exists()


def test_a_probe_reads_what_is_there_and_nothing_else():
    train, test = (load_dataset(DATASET).train.inputs, load_dataset(DATASET).test.inputs)
    one_hot = np.eye(len(grammar.VOCABULARY), dtype=np.float32)
    word_class, unseen, _, role, answer = words_results.probe_layer(
        one_hot[train], one_hot[test], train, test
    )
    baseline = words_results.baselines(train, test)
    assert word_class == 1.0  # a word has one class
    assert abs(unseen - baseline[1]) < 0.02  # and says nothing of another word's
    assert (
        role == answer == baseline[3] == baseline[4] == 0.5
    )  # mirrored sentences: each animal in both roles
    told = [np.eye(3, dtype=np.float32)[words_results.annotate(x).role] for x in (train, test)]
    told_role, told_answer = words_results.probe_layer(*told, train, test)[3:]
    assert told_role == 1.0
    assert told_answer == 0.5  # a role says who ran only together with the animal
