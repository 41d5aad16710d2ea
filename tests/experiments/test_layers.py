"""The probes of a run: of the right weights, the right numbers."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.linear_model import RidgeCV

import catdog_jax as cj
from catdog_jax.analysis.layers import (
    alignment_maps,
    choose,
    factors_of,
    layer_reader,
    probe_layers,
)
from catdog_jax.analysis.probe import PENALTIES
from catdog_jax.analysis.similarity import centred_gram, gram_cka
from experiments import layers

DATA = "procedural:num_train=96:num_valid=8:num_test=48"
MODELS = ("mlp:width=8:depth=2", "cnn:widths=4-8")
SMALL = (
    f"--dataset={DATA}",
    "--image_size=8",
    f"--models={','.join(MODELS)}",
    "--num_members=2",
    "--num_steps=12",
    "--batch_size=16",
    "--eval_every=6",
    "--probe_features=100",
    "--name=x",
)


@pytest.fixture(scope="module")
def whole(tmp_path_factory, machine):
    """A small run, without figures."""
    out_dir = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("experiments._experiment.draw", lambda *_: None)
        assert layers.main([*SMALL, f"--out_dir={out_dir}"]) == 0
    return cj.open_run(out_dir / "layers" / "x")


@pytest.fixture(scope="module")
def dataset():
    """The pictures of the run."""
    return cj.load_dataset(DATA, image_size=8)


def test_the_last_features_by_ridge_and_the_networks_own_answer(whole, dataset):
    data = whole.data
    # All 48 test examples are asked, so the head is exactly as right as the engine says.
    np.testing.assert_allclose(
        data["head_accuracy"].sel(when="after"), data["test_accuracy"][:, :, -1], atol=1e-6
    )
    for m, found in enumerate(whole.populations.values()):
        last = int(data["num_layers"][m]) - 2
        params = jax.tree.map(jnp.asarray, found.member(1))
        parts = [
            found.model.features(params, jnp.asarray(split.inputs))
            for split in (dataset.train, dataset.test)
        ]
        features = (np.asarray(part[last][1], np.float64) for part in parts)
        seen, asked = (x.reshape(len(x), -1) for x in features)
        alphas = np.array(PENALTIES) * len(seen) * seen.var(axis=0).mean()
        fit = RidgeCV(alphas).fit(seen, np.eye(2)[dataset.train.labels])
        answers = fit.predict(asked).argmax(axis=1)
        one = data.sel(model=found.label, when="after", member=1).isel(layer=last)
        assert float(one["probe_accuracy"]) == np.mean(answers == dataset.test.labels)
        own = np.asarray(parts[1][-1][1]).argmax(axis=1)
        assert float(one["head_agreement"]) == np.mean(answers == own)
        assert float(one["ridge_accuracy"]) == float(one["probe_accuracy"])
        assert float(one["ridge_agreement"]) == float(one["head_agreement"])
        muzzle = RidgeCV(alphas).fit(seen, dataset.train.factors["muzzle_length"])
        wanted = muzzle.score(asked, dataset.test.factors["muzzle_length"])
        got = float(one["factor_r2"].sel(factor="muzzle_length"))
        assert got == pytest.approx(wanted, abs=1e-5)


def test_a_head_that_reads_much_is_replaced_on_all_of_it(dataset):
    constants = {name: dataset.constants[name] for name in ("mean", "std")}
    model = cj.build_model("cnn:widths=8:head=flatten", (8, 8, 3), 2, **constants)
    start = model.init(jax.random.key(0))
    alive = np.array([True])
    networks = {"cnn": SimpleNamespace(model=model, moment=lambda *_: start, alive=alive)}
    found = [
        probe_layers(
            networks,
            dataset,
            probe_examples=96,
            probe_features=size,
            neighbours=5,
            progress=lambda *_: None,
        )
        for size in (16, 128)
    ]
    for ridge, probed in {"accuracy": "probe", "agreement": "head"}.items():
        whole = float(found[1][f"{probed}_{ridge}"][0, 1, 0, -2])
        assert [float(x[f"ridge_{ridge}"][0, 1, 0]) for x in found] == [whole, whole]
    mixed, whole = (float(x["head_agreement"][0, 1, 0, -2]) for x in found)
    assert mixed != whole
    # Nothing was trained: both states are the same network.
    np.testing.assert_array_equal(found[0]["factor_r2"][0, 0], found[0]["factor_r2"][0, 1])


def test_results_hold_every_layer_before_and_after(whole):
    data = whole.data
    for name in ("probe_accuracy", "centroid_accuracy", "neighbour_accuracy"):
        values = data[name].values
        assert np.isfinite(values[0, ..., :4]).all()
        assert np.isnan(values[0, ..., 4]).all()
        # Nothing has been learned of the pictures themselves, by anyone.
        assert (values[..., 0] == values[0, 0, 0, 0]).all()
        assert not np.array_equal(values[:, 0, :, 1], values[:, 1, :, 1])
    # The pictures are the same layer at any time and in any network.
    cka = data["cka"].values
    np.testing.assert_allclose(cka[:, :, :, 0, :, :, 0], 1.0, atol=1e-5)
    np.testing.assert_allclose(cka, np.moveaxis(cka, (4, 5, 6), (1, 2, 3)), atol=1e-6)
    assert abs(cka[0, 1, 0, 1, 1, 1, 1]) < 0.999


def test_alignment_is_that_of_the_whole_layers(whole, dataset):
    found = whole.populations["cnn:widths=4-8"]
    read = layer_reader(found.model)
    # Member 0 as it started, member 1 as it ended.
    start, trained = (read(found.moment(m, m), dataset.test.inputs) for m in (0, 1))
    cka = whole.data["cka"].values
    grams = np.stack([centred_gram(x).ravel() for x in (trained[2], start[1])])
    assert cka[1, 1, 1, 2, 0, 0, 1] == pytest.approx(gram_cka(grams)[0, 1], abs=1e-5)
    maps = alignment_maps(cka)
    wanted = (cka[0, 1, 0, 1, 1, 1, 2] + cka[0, 1, 1, 1, 1, 0, 2]) / 2
    assert maps[3, 0, 1, 2] == pytest.approx(wanted)
    wanted = (cka[1, 0, 0, 3, 1, 0, 2] + cka[1, 0, 1, 3, 1, 1, 2]) / 2
    assert maps[4, 1, 3, 2] == pytest.approx(wanted)


def test_a_class_is_never_left_out_of_the_probes(dataset):
    split = dataset.train
    chosen = choose(split, 3)
    assert set(chosen.labels) == {0, 1}
    assert len(chosen.labels) in (3, 4)
    place = list(factors_of(split)).index("light_angle (sin)")
    everything = choose(split, 10**6)
    assert len(everything.labels) == 96
    wanted = np.sort(np.sin(split.factors["light_angle"]))
    np.testing.assert_allclose(np.sort(everything.factors[:, place]), wanted, atol=1e-6)
