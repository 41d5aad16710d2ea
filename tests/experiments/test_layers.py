"""The probes of a run: of the right weights, the right numbers, the same bits after a kill."""

import textwrap

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh
from sklearn.linear_model import RidgeCV

from catdog_jax import open_run
from catdog_jax.analysis.probe import PENALTIES
from catdog_jax.analysis.similarity import linear_cka
from catdog_jax.data import load_dataset
from catdog_jax.population import Plan, Program, member_keys, parse_vary
from experiments import layers
from experiments.shared import jobs as job_module
from experiments.shared import launcher, layer_results
from experiments.shared.results import Trained

DATA = "procedural:num_train=96:num_valid=8:num_test=48"
MODELS = "mlp:width=8:depth=2,cnn:widths=4-8"
SMALL = (
    f"--dataset={DATA}",
    "--image_size=8",
    f"--models={MODELS}",
    "--num_members=2",
    "--wave=2",  # a run that begins with one member gives it all devices, and other roundings
    "--num_steps=12",
    "--batch_size=16",
    "--eval_every=6",
    "--probe_features=100",
    "--name=x",
)


def _launch(out_dir, *flags):
    argv = ["layers", *SMALL, f"--out_dir={out_dir}", *flags]
    return launcher.launch(argv, layers.__name__, layers.Config, layers.run)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A small run that was never stopped."""
    out_dir = tmp_path_factory.mktemp("whole")
    assert _launch(out_dir) == 0
    return out_dir / "layers" / "x"


@pytest.fixture(scope="module")
def small_job():
    """Return a function: flags of vary -> (config, job of the mlp)."""

    def make(vary="init", entry="mlp:width=8:depth=2"):
        config = layers.Config(dataset=DATA, image_size=8, num_members=3, batch_size=16, vary=vary)
        dataset = load_dataset(DATA, image_size=8)
        return config, job_module.make_jobs(config, dataset, (entry,))[0]

    return make


@pytest.mark.parametrize("vary", ["init", "order"])
def test_the_starting_weights_are_those_of_the_engine(small_job, vary):
    config, job = small_job(vary)
    seeds, streams = job_module.seeds_of(config), parse_vary(config.vary)
    keys = member_keys(seeds, 0, 3, streams)
    plan = Plan("vmap", 3, 3, 1, 0, "direct", 0)
    mesh = Mesh(jax.devices()[:1], ("member",))
    learner = job_module.job_learner(config, job, plan)
    program = Program(learner, keys, job.dataset.train.data, {}, plan, mesh)
    if vary == "init":
        wanted = program.init(keys).params
    else:  # the engine gives every member the one start that all share
        one = learner.init(keys).params
        wanted = jax.tree.map(lambda leaf: jnp.stack([leaf] * 3), one)
    for member, _, params in layer_results.networks(config, job.model, wanted):
        one = jax.tree.map(lambda leaf, m=member: leaf[m], wanted)
        jax.tree.map(np.testing.assert_array_equal, params, one)


def test_the_last_features_by_ridge_and_the_networks_own_answer(whole):
    run = open_run(whole)
    data = run.data
    # All 48 test examples are asked, so the head is exactly as right as the engine says.
    np.testing.assert_allclose(
        data["head_accuracy"].sel(when="after"), data["test_accuracy"][:, :, -1], atol=1e-6
    )
    dataset = load_dataset(DATA, image_size=8)
    config = layers.Config(dataset=DATA, image_size=8, batch_size=16)
    for m, job in enumerate(job_module.make_jobs(config, dataset, tuple(MODELS.split(",")))):
        prepare = job_module.preprocess(dataset)
        last = int(data["num_layers"][m]) - 2
        params = jax.tree.map(lambda leaf: jnp.asarray(leaf[1]), run.params[job.label])
        parts = [
            job.model.features(params, prepare(jnp.asarray(split.inputs)))
            for split in (dataset.train, dataset.test)
        ]
        features = (np.asarray(part[last][1], np.float64) for part in parts)
        seen, asked = (x.reshape(len(x), -1) for x in features)
        alphas = np.array(PENALTIES) * len(seen) * seen.var(axis=0).mean()
        fit = RidgeCV(alphas).fit(seen, np.eye(2)[dataset.train.labels])
        answers = fit.predict(asked).argmax(axis=1)
        found = data.sel(model=job.label, when="after", member=1).isel(layer=last)
        assert float(found["probe_accuracy"]) == np.mean(answers == dataset.test.labels)
        own = np.asarray(parts[1][-1][1]).argmax(axis=1)
        assert float(found["head_agreement"]) == np.mean(answers == own)
        assert float(found["ridge_accuracy"]) == float(found["probe_accuracy"])
        assert float(found["ridge_agreement"]) == float(found["head_agreement"])
        muzzle = RidgeCV(alphas).fit(seen, dataset.train.factors["muzzle_length"])
        wanted = muzzle.score(asked, dataset.test.factors["muzzle_length"])
        got = float(found["factor_r2"].sel(factor="muzzle_length"))
        assert got == pytest.approx(wanted, abs=1e-5)


def test_a_head_that_reads_much_is_replaced_on_all_of_it(small_job):
    config, job = small_job(entry="cnn:widths=8:head=flatten")
    keys = job_module.seeds_of(config)
    start = job.model.init(member_keys(keys, 0, 1, parse_vary("init")).init[0])
    stacked = jax.tree.map(lambda leaf: np.asarray(leaf)[None], start)
    trained = Trained(np.array([0]), {"diverged_step": np.array([-1])}, stacked)
    found = [
        layer_results.probe_layers(config, job.dataset, 96, size, 5, [job], [trained])
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
    data = open_run(whole).data
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


def test_alignment_is_that_of_the_whole_layers(whole):
    run = open_run(whole)
    dataset = load_dataset(DATA, image_size=8)
    config = layers.Config(dataset=DATA, image_size=8, batch_size=16)
    (job,) = job_module.make_jobs(config, dataset, ("cnn:widths=4-8",))
    read = layer_results.layer_reader(job)
    networks = list(layer_results.networks(config, job.model, run.params[job.label]))
    # Member 0 as it started, member 1 as it ended.
    start, trained = (read(networks[n][2], dataset.test.inputs) for n in (0, 3))
    found = run.data["cka"].values[1, 1, 1, 2, 0, 0, 1]
    assert found == pytest.approx(linear_cka(trained[2], start[1], debiased=True), abs=1e-5)
    maps = run.data["alignment"]
    cka = run.data["cka"].values
    wanted = (cka[0, 1, 0, 1, 1, 1, 2] + cka[0, 1, 1, 1, 1, 0, 2]) / 2
    assert maps.sel(comparison="two networks, trained")[0, 1, 2] == pytest.approx(wanted)
    wanted = (cka[1, 0, 0, 3, 1, 0, 2] + cka[1, 0, 1, 3, 1, 1, 2]) / 2
    assert maps.sel(comparison="one network, start (down) and trained (across)")[
        1, 3, 2
    ] == pytest.approx(wanted)


class Killed(BaseException):
    """Stands for a kill: nothing catches it."""


def test_more_members_after_a_kill_while_it_probes_end_with_the_same_bits(
    tmp_path, whole, monkeypatch
):
    monkeypatch.setattr(layers, "FIGURES", {})
    folder = tmp_path / "layers" / "x"
    assert _launch(tmp_path, "--num_members=1") == 0
    lonely = open_run(folder).data["alignment"].sel(comparison="two networks, trained")
    assert np.isnan(lonely).all()

    def kill(*arguments):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(layer_results, "share", kill)
        with pytest.raises(Killed):
            _launch(tmp_path)
    assert open_run(folder).data.sizes["member"] == 1
    assert _launch(tmp_path) == 0
    assert (folder / "results.nc").read_bytes() == (whole / "results.nc").read_bytes()


MINE = """
import jax
import jax.numpy as jnp
import numpy as np
from catdog_jax.types import Dataset, Split


def load(*, image_size: int = 0):
    '''Three colours, unequally many, nothing known but the class.'''
    labels = np.minimum(np.arange(60) % 5, 2).astype(np.int32)
    images = np.random.default_rng(0).integers(0, 90, (60, 8, 8, 3))
    images[np.arange(60), ..., labels] += 100
    part = Split(images.astype(np.uint8), labels, tuple(map(str, range(60))))
    return Dataset("colours", part, part, part, ("red", "green", "blue"), {"fingerprint": "1"})


def fragile(input_shape, num_classes):
    '''Names no layers; every second start diverges at once.'''
    size = int(np.prod(input_shape))

    def init(key):
        lost = jax.random.uniform(jax.random.fold_in(key, 1)) < 0.5
        w = 0.01 * jax.random.normal(key, (size, num_classes))
        return {"w": jnp.where(lost, jnp.nan, w)}

    return init, lambda params, x: x.reshape(len(x), -1) @ params["w"]
"""


def test_three_classes_without_factors_and_a_model_that_loses_members(
    tmp_path, monkeypatch, capsys
):
    (tmp_path / "mine_layers.py").write_text(textwrap.dedent(MINE))
    monkeypatch.syspath_prepend(tmp_path)
    flags = ("--dataset=mine_layers.load", "--image_size=0", "--num_members=6")
    assert _launch(tmp_path, *flags, "--models=mine_layers.fragile", "--probe_examples=40") == 0
    folder = tmp_path / "layers" / "x"
    data = open_run(folder).data
    lost = data["diverged_step"].values[0] >= 0
    assert 0 < lost.sum() < 6
    assert data["layer_name"].values.tolist() == [["input", "logits"]]
    assert data.sizes["factor"] == 0
    after = data["probe_accuracy"].sel(when="after").values[0]
    assert np.isnan(after[lost]).all()
    before = data.sel(when="before").isel(model=0)
    for name in ("head_accuracy", "ridge_accuracy", "ridge_agreement"):
        np.testing.assert_array_equal(np.isnan(before[name]), lost & (name != "ridge_accuracy"))
    assert (after[~lost, 0] == 1.0).all()  # a colour is a linear function of the pixels
    assert data.attrs["probe_train_examples"] == 40
    drawn = {path.name for path in (folder / "figures").iterdir()}
    assert drawn == {f"{name}.png" for name in layers.FIGURES if name != "factors_by_layer"}
    assert "R²" not in capsys.readouterr().out


def test_a_class_is_never_left_out_of_the_probes():
    split = load_dataset(DATA, image_size=8).train
    chosen = layer_results.choose(split, 3)
    assert set(chosen.labels) == {0, 1}
    assert len(chosen.labels) in (3, 4)
    place = list(layer_results.factors_of(split)).index("light_angle (sin)")
    everything = layer_results.choose(split, 10**6)
    assert len(everything.labels) == 96
    wanted = np.sort(np.sin(split.factors["light_angle"]))
    np.testing.assert_allclose(np.sort(everything.factors[:, place]), wanted, atol=1e-6)
