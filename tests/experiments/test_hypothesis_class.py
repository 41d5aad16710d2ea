"""hypothesis_class from its flags to its files, and the training sets it draws."""

import contextlib
import io
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from catdog_jax.data import load_dataset
from catdog_jax.store import open_run
from catdog_jax.types import InputError
from experiments import hypothesis_class
from experiments.shared import launcher, training, training_sets
from experiments.shared.training_sets import Network

SMALL = (
    "--dataset=procedural:num_train=96:num_valid=8:num_test=40",
    "--image_size=8",
    "--widths=3,6",
    "--depths=1",
    "--width=6",
    "--depth=1",
    "--sizes=16",
    "--num_sets=2",
    "--num_members=4",
    "--num_steps=6",
    "--batch_size=16",
    "--degrees=1",
    "--points=8",
    "--shown_points=8",
    "--curve_starts=2",
    "--curve_steps=30",
)


def launch(out_dir, *flags):
    argv = ["hypothesis_class", *SMALL, f"--out_dir={out_dir}", *flags]
    module = hypothesis_class
    return launcher.launch(argv, "experiments.hypothesis_class", module.Config, module.run)


@pytest.fixture(scope="module")
def finished(tmp_path_factory, machine):
    """A finished run and what it printed."""
    out_dir, out = tmp_path_factory.mktemp("hypothesis"), io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hypothesis_class, "FIGURES", {})
        with contextlib.redirect_stdout(out):
            assert launch(out_dir) == 0
        (folder,) = (Path(out_dir) / "hypothesis_class").iterdir()
        yield out_dir, open_run(folder), out.getvalue()


def test_the_results_hold_every_network_and_training_set(finished):
    _, run, printed = finished
    data = run.data
    sizes = [data[name].values.tolist() for name in ("width", "depth", "num_examples")]
    assert sizes == [[6, 3, 6], [1, 1, 1], [16, 48, 48]]
    assert data["logits"].shape == (3, 2, 4, 40, 2)
    assert data.attrs["disjoint"] == 1
    assert run.manifest["timings"]["curves"]["seconds"] > 0
    for name in data["network"].values:
        assert f"\n{name}" in printed
    for name in data.data_vars:
        assert data[name].attrs.get("long_name"), name


def test_the_decomposition_follows_from_the_logits(finished):
    _, run, _ = finished
    data = run.data
    logits, labels = data["logits"].values.astype(np.float64), data["label"].values
    votes = logits.argmax(-1)
    errors = (votes != labels).mean((1, 2, 3))
    found = data["decomposition"].sel(estimate="value")
    np.testing.assert_allclose(found.sel(loss="zero_one", component="error"), errors)
    powers = np.exp(logits - logits.max(-1, keepdims=True))
    brier = np.square(powers / powers.sum(-1, keepdims=True) - np.eye(2)[labels]).sum(-1)
    np.testing.assert_allclose(
        found.sel(loss="squared", component="error"), brier.mean((1, 2, 3)), rtol=1e-6
    )
    parts = found.isel(component=slice(1, None)).sum("component")
    np.testing.assert_allclose(parts, found.sel(component="error"), atol=1e-12)
    main = data["main_prediction"].values
    np.testing.assert_allclose(main[:, 0], errors)
    np.testing.assert_allclose(main[:, 1] + main[:, 2] - main[:, 3], errors)


def test_the_same_starts_are_given_every_training_set(finished):
    _, run, _ = finished
    kernels = [run.params[part["model"]]["hidden1"]["kernel"] for part in run.manifest["parts"]]
    for one, other in zip(kernels[::2], kernels[1::2], strict=True):
        # Six steps from one start on two sets: far nearer than two starts are.
        assert np.linalg.norm(one - other) < 0.2 * np.linalg.norm(one[::-1] - other)


def test_a_run_stopped_before_its_end_trains_nothing_and_ends_in_the_same_bytes(
    finished, monkeypatch
):
    out_dir, run, _ = finished
    before = (run.path / "results.nc").read_bytes()
    (run.path / "results.nc").unlink()
    monkeypatch.setattr(training, "train_population", None)
    assert launch(out_dir) == 0
    assert (run.path / "results.nc").read_bytes() == before


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("--models=cnn", "--models=cnn: this experiment trains MLPs; give --widths and --depths"),
        ("--widths=4,x", "--widths=4,x is not allowed; give whole numbers from 1"),
        ("--depths=17", "--depths=17 is not allowed; give whole numbers from 1 to 16"),
        ("--points=1", "--points=1 is not allowed; give whole numbers from 2"),
        ("--set_size=97", "a training set of 97 examples is more than the 96 there are"),
    ],
)
def test_wrong_flags(tmp_path, capsys, flag, message):
    assert launch(tmp_path, flag) == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1
    assert not (tmp_path / "hypothesis_class").exists()


def test_training_sets_share_no_example_where_there_are_enough():
    rows = training_sets.draw_rows(100, 4, 25, seed=0)
    assert sorted(np.concatenate(rows).tolist()) == list(range(100))
    overlapping = training_sets.draw_rows(100, 4, 30, seed=0)
    for part in overlapping:
        assert len(set(part.tolist())) == 30
    assert not np.array_equal(*overlapping[:2])
    with pytest.raises(InputError, match="a training set of 101 examples"):
        training_sets.draw_rows(100, 1, 101, seed=0)


def test_networks_differ_from_the_middle_one_in_one_thing():
    found = training_sets.networks((4, 8), (1, 2), (50, 100), Network(8, 2, 100))
    assert found == [
        Network(8, 2, 50),
        Network(8, 1, 100),
        Network(4, 2, 100),
        Network(8, 2, 100),
    ]


def test_networks_on_every_training_set_see_pictures_normalised_alike():
    dataset = load_dataset("procedural:num_train=40:num_valid=8:num_test=10", image_size=8)
    config = hypothesis_class.Config(augment="none", num_steps=2, batch_size=4)
    rows = [np.arange(10), np.arange(10, 20)]
    jobs = training_sets.make_jobs(config, dataset, [Network(4, 1, 10)], rows)
    images = jnp.asarray(dataset.test.inputs)
    params = jobs[0].model.init(jax.random.key(0))
    one, other = (job.model.features(params, images)[0][1] for job in jobs)
    np.testing.assert_array_equal(one, other)
    mean, std = (np.array(dataset.constants[name]) for name in ("mean", "std"))
    np.testing.assert_allclose(one, (dataset.test.inputs / 255 - mean) / std, atol=1e-5)


def test_a_start_that_diverged_is_left_out_everywhere():
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(size=(3, 4, 20, 2)), rng.integers(0, 2, 20)
    diverged = np.full((3, 4), -1)
    diverged[1, 2] = 7
    spoiled = logits.copy()
    spoiled[1, 2] = np.nan
    found = training_sets.decompose(spoiled, labels, 2, diverged)
    kept = training_sets.decompose(logits[:, [0, 1, 3]], labels, 2, np.full((3, 3), -1))
    for one, other in zip(found, kept, strict=True):
        np.testing.assert_array_equal(one, other)
    diverged[0] = 5
    assert np.isnan(training_sets.decompose(logits, labels, 2, diverged)[0]).all()
