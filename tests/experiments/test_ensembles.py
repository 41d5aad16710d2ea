"""ensembles from its flags to its files: what it trains, what it finds, and how it goes on."""

import dataclasses

import jax
import numpy as np
import pytest
from scipy.special import softmax

import catdog_jax as cj
from catdog_jax.analysis.agreement import ensemble_accuracy
from catdog_jax.analysis.ensembles import SCORES
from catdog_jax.run import train
from catdog_jax.store import RunFolder
from experiments import ensembles

MODEL = "mlp:width=6:depth=1"
SMALL = (
    "--dataset=procedural:num_train=96:num_valid=40:num_test=60",
    "--image_size=8",
    f"--models={MODEL}",
    "--num_members=5",
    "--num_steps=6",
    "--batch_size=16",
    "--size=3",
    "--name=x",
)
KINDS = ("starts", "one start, other orders", "bootstraps", "one long run", "its snapshots",
         "their mean weights", "mlp:width=18:depth=1", "distilled")  # fmt: skip
STRANGE = np.random.default_rng(0).integers(0, 256, (30, 8, 8, 3), np.uint8)


@pytest.fixture(autouse=True)
def plain(monkeypatch):
    """No figures; and pictures of neither class, whatever this machine has."""
    monkeypatch.setattr("experiments._experiment.draw", lambda *_: None)
    monkeypatch.setattr(ensembles, "strange_pictures", lambda config, data: STRANGE)


@pytest.fixture(scope="module")
def whole(tmp_path_factory, machine):
    """A finished run."""
    out_dir = tmp_path_factory.mktemp("ensembles")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("experiments._experiment.draw", lambda *_: None)
        patch.setattr(ensembles, "strange_pictures", lambda config, data: STRANGE)
        assert ensembles.main([*SMALL, f"--out_dir={out_dir}"]) == 0
    return cj.open_run(out_dir / "ensembles" / "x")


def test_the_results_are_named_and_said_to_be_what_they_are(whole):
    data = whole.data
    assert tuple(data["kind"].values) == KINDS
    assert data["average"].values.tolist() == ["probabilities", "logits"]
    assert data["size"].values.tolist() == [1, 2, 3, 4, 5]
    for state in ("", "_calibrated"):
        for end in ("", "_low", "_high"):
            for score in SCORES:
                assert data[f"{score}{state}{end}"].dims == ("model", "average", "size")
    assert data["coverage_accuracy"].dims == ("model", "score", "coverage")
    assert data["score"].values.tolist() == ["confidence", "disagreement"]
    for name in data.data_vars:
        assert data[name].attrs.get("long_name"), name
    np.testing.assert_array_equal(data["accuracy"], data["accuracy_calibrated"])
    assert ((data["auroc"][0] > 0) & (data["auroc"][0] < 1)).all()


def test_the_members_are_those_of_the_run_and_all_together_its_ensemble(whole):
    logits, labels = whole.populations[MODEL].arrays["test_logits"], whole.data["label"].values
    one = whole.data.sel(model=MODEL, average="probabilities")
    single = (logits.argmax(-1) == labels).mean()
    assert float(one["accuracy"].sel(size=1)) == pytest.approx(single)
    assert float(one["accuracy"].sel(size=5)) == pytest.approx(ensemble_accuracy(logits, labels))


def test_each_alternative_is_what_it_is_called(whole):
    entries = {name: one.entry for name, one in whole.populations.items()}
    orders, bags, runs, wide, student = (
        entries[f"{MODEL}, {x}"] for x in ensembles.ALTERNATIVES[:-1]
    )
    assert (list(orders["streams"]), orders["num_members"]) == (["order"], 3)
    assert sorted(bags["streams"]) == ["data", "init"]
    assert [x["recipe"]["sample"] for x in (orders, bags)] == ["", "bootstrap"]
    assert runs["recipe"]["num_steps"] == 18
    assert runs["recipe"]["schedule"] == "cosine:warmup=0.1:cycles=3"
    assert wide["entry"] == "mlp:width=18:depth=1"
    assert set(entries[MODEL]["streams"]["init"]).isdisjoint(student["streams"]["init"])
    assert whole.data["trainings"].values.tolist() == [3] * 7 + [4]
    parameters = whole.data["parameters"].values / whole.populations[MODEL].num_params
    np.testing.assert_allclose(parameters, [3, 3, 3, 1, 3, 1, 3, 1], rtol=0.01)


def test_snapshots_are_asked_and_averaged_as_they_were_kept(whole):
    runs = whole.populations[f"{MODEL}, snapshots"]
    test = runs.data.test
    np.testing.assert_allclose(
        runs.evaluate(test.inputs), runs.arrays["test_logits"], rtol=1e-5, atol=1e-5
    )
    at = [runs.at(step) for step in (6, 12, 18)]
    p = np.mean([softmax(runs.evaluate(test.inputs, x), axis=-1) for x in at], axis=0)
    right = (p.argmax(-1) == test.labels).mean(axis=1)
    found = whole.data.sel(model=f"{MODEL}, snapshots, each", average="probabilities")
    assert float(found["accuracy"].sel(size=3)) == pytest.approx(right.mean())
    mean = jax.tree.map(lambda *x: np.mean(x, axis=0), *at)
    right = (runs.evaluate(test.inputs, mean).argmax(-1) == test.labels).mean()
    one = whole.data.sel(model=f"{MODEL}, snapshots, mean", average="probabilities")
    assert float(one["accuracy"].sel(size=1)) == pytest.approx(right)


def test_a_student_learns_what_its_teachers_say(whole):
    teachers, task = whole.populations[MODEL], made(size=3)["starts"]
    said = softmax(teachers.evaluate(task.data.train.inputs)[:3], axis=-1).mean(axis=0)
    student = ensembles.distilled(task, teachers)
    np.testing.assert_allclose(student.data.train.labels, said, atol=1e-6)


def made(**settings):
    data = cj.load_dataset("procedural:num_train=96:num_valid=8:num_test=40", image_size=8)
    values = {"models": MODEL, "num_members": 6, "num_steps": 2, "batch_size": 16} | settings
    config = ensembles.Config(**values)
    return {task.tags["kind"]: task for task in ensembles.tasks(config, data)}


def test_only_what_is_asked_for_and_is_something_else_is_trained():
    assert list(made(vary="order", alternatives="orders,bags")) == ["starts", "bootstraps"]
    assert list(made(vary="data", alternatives="orders,bags")) == ["starts", KINDS[1]]
    assert list(made(models="linear", alternatives="wide")) == ["starts"]
    longer = made(schedule="constant", alternatives="snapshots")["one long run"]
    assert longer.recipe.schedule == "constant"


def test_a_wide_network_has_as_many_parameters_as_the_ensemble():
    small = made(models="cnn:widths=4-8:head=flatten", alternatives="none")["starts"]
    wide = dataclasses.replace(small, model=ensembles.widened(small, 8))
    assert wide.num_params == pytest.approx(8 * small.num_params, rel=0.1)


class Killed(BaseException):
    """Stands for a kill: nothing catches it."""


@pytest.mark.slow  # `test_sweep` holds the same engine to a kill between two trainings
def test_a_run_that_was_killed_ends_in_the_same_bytes(whole, tmp_path, monkeypatch):
    save, saved = RunFolder.save_wave, []

    def dying(*arguments):
        saved.append(arguments)
        if len(saved) in (2, 7):  # the second wave; then the last, that of the student
            raise Killed
        save(*arguments)

    flags = [*SMALL, f"--out_dir={tmp_path}"]
    with monkeypatch.context() as patch:
        patch.setattr(RunFolder, "save_wave", dying)
        for _ in range(2):
            with pytest.raises(Killed):
                ensembles.main(flags)
    assert ensembles.main(flags) == 0
    found = (tmp_path / "ensembles" / "x" / "results.nc").read_bytes()
    assert found == (whole.path / "results.nc").read_bytes()
    monkeypatch.setattr(train, "train_population", None)
    assert ensembles.main(flags) == 0  # it only prints


def test_members_of_another_run_are_taken_and_their_kept_params_are_snapshots(
    tmp_path, run_here, run_folder, capsys
):
    flags = ("--keep_params=0,4,12", "--models=mlp:width=8", "--num_members=3")
    assert run_here(tmp_path / "a", *flags) == 0
    run = run_folder(tmp_path / "a")
    assert ensembles.main([f"--run={run}", f"--out_dir={tmp_path / 'b'}"]) == 0
    said, data = capsys.readouterr().out, cj.open_run(run_folder(tmp_path / "b")).data
    assert data["kind"].values.tolist() == ["starts", "its snapshots", "their mean weights"]
    assert data["equal_size"].values.tolist() == [3, 2, 1]
    assert "Found: 3 of mlp:width=8 together are" in said
    assert max(map(len, ensembles.table(cj.open_run(run_folder(tmp_path / "b"))).split("\n"))) <= 80


def test_members_that_diverged_are_left_out_and_where_all_did_the_command_fails(
    tmp_path, run_folder, mine, capsys
):
    flags = [f"--dataset={mine}.load", "--num_members=8", "--num_steps=4", "--batch_size=8"]
    flags += ["--alternatives=distilled"]
    fragile = [*flags, f"--models={mine}.fragile", f"--out_dir={tmp_path / 'a'}"]
    assert ensembles.main(fragile) in (0, 1)  # a student may start where it diverges at once
    data = cj.open_run(run_folder(tmp_path / "a")).data.isel(model=0, average=0)
    left = int((data["diverged_step"] < 0).sum())
    assert 1 < left < 8
    assert np.isfinite(data["accuracy"].sel(size=left))
    assert np.isnan(data["temperature"]).all()  # there are no validation examples
    hopeless = [*flags, f"--models={mine}.hopeless", f"--out_dir={tmp_path / 'b'}"]
    assert ensembles.main(hopeless) == 1
    assert "all 8 members" in capsys.readouterr().err
