"""bias_variance from its flags to its files, and the training sets it draws."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import catdog_jax as cj
from catdog_jax.run import train
from catdog_jax.types import InputError
from experiments import bias_variance

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
    "--name=x",
)


@pytest.fixture(scope="module")
def whole(tmp_path_factory, machine):
    """A finished run."""
    out_dir = tmp_path_factory.mktemp("bias")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("experiments._experiment.draw", lambda *_: None)
        assert bias_variance.main([*SMALL, f"--out_dir={out_dir}"]) == 0
        yield cj.open_run(out_dir / "bias_variance" / "x")


def test_the_results_hold_every_network_and_training_set(whole):
    data = whole.data
    sizes = [data[name].values.tolist() for name in ("width", "depth", "num_examples")]
    assert sizes == [[6, 3, 6], [1, 1, 1], [16, 48, 48]]
    assert data["logits"].shape == (3, 2, 4, 40, 2)
    assert data.attrs["disjoint"] == 1
    for name in data.data_vars:
        assert data[name].attrs.get("long_name"), name


def test_the_decomposition_follows_from_the_logits(whole):
    data = whole.data
    logits, labels = data["logits"].values.astype(np.float64), data["label"].values
    errors = (logits.argmax(-1) != labels).mean((1, 2, 3))
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


def test_the_same_starts_are_given_every_training_set(whole):
    kernels = [params["hidden1"]["kernel"] for params in whole.params.values()]
    for one, other in zip(kernels[::2], kernels[1::2], strict=True):
        # Six steps from one start on two sets: far nearer than two starts are.
        assert np.linalg.norm(one - other) < 0.2 * np.linalg.norm(one[::-1] - other)


def test_a_run_stopped_before_its_end_trains_nothing_and_ends_in_the_same_bytes(whole, monkeypatch):
    before = (whole.path / "results.nc").read_bytes()
    (whole.path / "results.nc").unlink()
    monkeypatch.setattr(train, "train_population", None)
    assert bias_variance.main([*SMALL, f"--out_dir={whole.path.parents[1]}"]) == 0
    assert (whole.path / "results.nc").read_bytes() == before


def test_training_sets_share_no_example_where_there_are_enough():
    rows = bias_variance.draw_rows(100, 4, 25, seed=0)
    assert sorted(np.concatenate(rows).tolist()) == list(range(100))
    overlapping = bias_variance.draw_rows(100, 4, 30, seed=0)
    for part in overlapping:
        assert len(set(part.tolist())) == 30
    assert not np.array_equal(*overlapping[:2])
    with pytest.raises(InputError, match="a training set of 101 examples"):
        bias_variance.draw_rows(100, 1, 101, seed=0)


def test_networks_differ_from_the_middle_one_in_one_thing():
    Network = bias_variance.Network
    assert bias_variance.networks((4, 8), (1, 2), (50, 100), Network(8, 2, 100)) == [
        Network(8, 2, 50),
        Network(8, 1, 100),
        Network(4, 2, 100),
        Network(8, 2, 100),
    ]


def test_networks_on_every_training_set_see_pictures_normalised_alike():
    data = cj.load_dataset("procedural:num_train=40:num_valid=8:num_test=10", image_size=8)
    config = bias_variance.Config(
        num_steps=2, batch_size=4, widths="4", depths="1", width=4, depth=1, sizes="10", num_sets=2
    )
    tasks, images = bias_variance.tasks(config, data)[:2], jnp.asarray(data.test.inputs)
    params = tasks[0].formula.init(jax.random.key(0))
    one, other = (task.formula.features(params, images)[0][1] for task in tasks)
    np.testing.assert_array_equal(one, other)
