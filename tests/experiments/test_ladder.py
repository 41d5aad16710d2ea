"""The ladder: every rung is asked, every number is traced, a rung is written as a program."""

import runpy

import jax.numpy as jnp
import numpy as np
import pytest

from catdog_jax import open_run
from catdog_jax.data import load_dataset
from catdog_jax.types import Dataset, Split
from experiments import init_convergence, ladder
from experiments._classifiers import can_be_asked, programmed

DATA = "procedural:num_train=96:num_valid=8:num_test=48"
SMALL = (
    f"--dataset={DATA}",
    "--image_size=16",
    "--estimators=centroid,lda,knn:k=3,logistic",
    "--models=linear,polynomial:degree=2,mlp:width=8:depth=1",
    "--components=4",
    "--num_members=3",
    "--stretch=0.05",
    "--batch_size=16",
)


def run_ladder(out_dir, *flags):
    return ladder.main([*SMALL, f"--out_dir={out_dir}", *flags])


@pytest.fixture(scope="module", autouse=True)
def no_figures():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ladder, "FIGURES", {})
        patch.setattr("experiments._experiment.draw", lambda *_: None)
        yield


@pytest.fixture(scope="module")
def finished(tmp_path_factory, no_figures):
    """A small finished ladder."""
    out_dir = tmp_path_factory.mktemp("ladder")
    assert run_ladder(out_dir) == 0
    (folder,) = (out_dir / "ladder").iterdir()
    return open_run(folder)


def test_every_rung_is_there_from_the_lowest_origin_to_the_highest(finished):
    names = [str(name) for name in finished.data["rung"].values]
    assert names == [
        *("constant", "template", "photo_rule", "drawn_rule", "generating_rule"),
        *("centroid", "lda", "knn:k=3"),
        *("logistic", "linear", "polynomial:degree=2", "mlp:width=8:depth=1"),
    ]
    origins = finished.data["origin"].values.tolist()
    assert origins == ["programmed"] * 5 + ["estimated"] * 3 + ["learned"] * 4
    assert finished.data["num_members"].values.tolist() == [0] * 9 + [3] * 3
    assert set(finished.manifest["rung_seconds"]) == set(names)


def test_every_accuracy_is_that_of_the_answers(finished):
    data = finished.data
    for accuracy, answers, labels in (
        ("test_accuracy", "prediction", "label"),
        ("train_accuracy", "train_prediction", "train_label"),
    ):
        right = (data[answers].values == data[labels].values).mean(axis=2)
        there = (data[answers].values >= 0).all(axis=2)
        np.testing.assert_array_equal(data[accuracy].values, np.where(there, right, np.nan))
        assert there.sum(axis=1).tolist() == [1] * 9 + [3] * 3
    low, high = data["test_low"].values, data["test_high"].values
    mean = np.nanmean(data["test_accuracy"].values, axis=1)
    assert ((low <= mean) & (mean <= high)).all()
    assert np.isnan(data["members_low"].values[:9]).all()


def test_the_rungs_say_what_they_must(finished):
    test = load_dataset(DATA, image_size=16).test
    one = finished.data.sel(rung="constant")
    assert len(np.unique(one["prediction"].values[0])) == 1
    centroid = finished.data.sel(rung="centroid")["prediction"].values[0]
    np.testing.assert_array_equal(finished.data["nearest_mean"].values, centroid)
    ceiling = finished.data.sel(rung="generating_rule")["test_accuracy"].values[0]
    assert ceiling > 0.95
    for name in finished.data["linear_rung"].values:
        rung = finished.data.sel(linear_rung=name)
        weights = rung["weights"].values.reshape(2, -1)
        logits = test.inputs.reshape(48, -1) / 255.0 @ weights.T + rung["bias"].values
        given = finished.data.sel(rung=name)["prediction"].values[0]
        assert (logits.argmax(axis=1) == given).all(), name
    assert {"centroid", "lda", "logistic", "linear", "template", "constant"} == set(
        finished.data["linear_rung"].values
    )


def test_the_rungs_of_a_run_are_the_same(finished, tmp_path, capsys):
    # A polynomial's principal components are computed again from the pictures of the run.
    flags = (f"--run={finished.path}", "--estimators=centroid,lda,knn:k=3,logistic")
    program = (f"--write_program={tmp_path / 'p.py'}", "--program_model=mlp:width=8:depth=1")
    for _ in range(2):
        assert ladder.main([*flags, *program, f"--out_dir={tmp_path}"]) == 0
    (folder,) = (tmp_path / "ladder").iterdir()
    again = open_run(folder)
    assert again.data.drop_attrs(deep=False).equals(finished.data.drop_attrs(deep=False))
    seconds = [run.manifest["rung_seconds"]["linear"] for run in (again, finished)]
    assert seconds[0] == seconds[1]
    assert "the same answer as mlp:width=8:depth=1 to 48 of 48" in capsys.readouterr().out


@pytest.mark.slow  # a ladder of its own
def test_members_of_init_convergence_are_rungs(tmp_path, capsys):
    train = ("--models=mlp:width=4", "--num_steps=4", "--num_members=2", "--batch_size=16")
    places = (f"--dataset={DATA}", "--image_size=16", f"--out_dir={tmp_path}")
    assert init_convergence.main([*train, *places]) == 0
    (folder,) = (tmp_path / "init_convergence").iterdir()
    flags = ("--rules=template", "--estimators=none", f"--out_dir={tmp_path}")
    program = (f"--write_program={tmp_path / 'p.py'}", "--program_model=logistic")
    assert ladder.main([f"--run={folder}", *flags, *program]) == 2
    assert "give one of template, mlp:width=4" in capsys.readouterr().err
    assert not (tmp_path / "ladder").exists()
    assert ladder.main([f"--run={folder}", *flags]) == 0
    (made,) = (tmp_path / "ladder").iterdir()
    data, trained = open_run(made).data, open_run(folder).data
    assert data["rung"].values.tolist() == ["template", "mlp:width=4"]
    np.testing.assert_allclose(
        data["test_accuracy"].sel(rung="mlp:width=4").values,
        trained["test_accuracy"].values[0, :, -1],
    )


@pytest.mark.parametrize("name", ["logistic", "mlp:width=8:depth=1"])
def test_a_rung_is_written_as_a_program_with_the_same_answers(finished, tmp_path, capsys, name):
    path = tmp_path / "program.py"
    flags = (f"--write_program={path}", f"--program_model={name}")
    assert run_ladder(finished.path.parents[1], *flags) == 0
    said = capsys.readouterr().out
    assert "already done" in said
    assert "nearest average by distances, and by the weights" in said
    assert f"the same answer as {name} to 48 of 48 test pictures" in said
    logits = runpy.run_path(str(path))["logits"](load_dataset(DATA, image_size=16).test.inputs)
    given = finished.data.sel(rung=name)["prediction"].values[0]
    np.testing.assert_array_equal(logits.argmax(1), given)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--rules=photo_rul"], "unknown rule 'photo_rul'"),
        (["--estimators=ldaa"], "unknown estimator 'ldaa'"),
        (["--estimators=knn:k=0"], "k=0"),
        (["--estimators=knn:k=97"], "k=97"),
        (["--components=900"], "components"),
        (["--write_program=/no/such/folder/p.py"], "a file in a folder that exists"),
        (["--write_program=/"], "a file in a folder that exists"),
        (["--write_program=p.py", "--program_model=mlp"], "is no rung of this ladder"),
        (["--write_program=p.py", "--program_model=knn:k=3"], "cannot be written"),
        (["--name=a/b"], "a/b"),
        (["--rules=none", "--estimators=none", "--models=none"], "no rung is left"),
    ],
)
def test_wrong_input_is_one_line_and_nothing_is_made(tmp_path, capsys, flags, message):
    assert run_ladder(tmp_path, *flags) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert said.count("\n") == 1
    assert message in said
    assert not (tmp_path / "ladder").exists()


def test_rules_of_cats_and_dogs_are_left_out_for_others():
    pictures = np.zeros((4, 8, 8, 3), np.uint8)
    part = Split(pictures, np.array([0, 1, 0, 1], np.int32), tuple("abcd"))
    birds = Dataset("birds", part, part, part, ("crow", "owl"), {})
    assert not can_be_asked("photo_rule", birds)
    turned = Dataset("turned", part, part, part, ("Dogs", "cats"), {})
    straight = Dataset("straight", part, part, part, ("cat", "dog"), {})
    assert can_be_asked("template", turned)
    assert not can_be_asked("generating_rule", straight)
    first, second = (programmed("template", d) for d in (turned, straight))
    images = jnp.asarray(np.random.default_rng(0).random((5, 8, 8, 3)), jnp.float32)
    np.testing.assert_array_equal(
        first.apply(first.member(0), images), second.apply(second.member(0), images)[:, ::-1]
    )


def test_a_rung_whose_members_all_diverged_is_told_and_the_rest_is_kept(tmp_path, capsys):
    flags = ("--models=linear", "--estimators=centroid", "--rules=constant,template")
    program = ("--program_model=linear", f"--write_program={tmp_path / 'p.py'}")
    assert run_ladder(tmp_path, *flags, *program, "--learning_rate=1e38") == 1
    said = capsys.readouterr()
    assert "all members of linear diverged" in said.err
    assert "centroid" in said.out
    (folder,) = (tmp_path / "ladder").iterdir()
    data = open_run(folder).data
    assert np.isnan(data["test_accuracy"].sel(rung="linear")).all()
    assert np.isfinite(data["test_accuracy"].sel(rung="centroid").values[0])
    assert not (tmp_path / "p.py").exists()
