"""seed_variance from its flags to its files: which populations it trains, and what it finds."""

import jax
import numpy as np
import pytest

import catdog_jax as cj
from catdog_jax.run import train
from experiments import seed_variance

SMALL = (
    "--dataset=procedural:num_train=96:num_valid=8:num_test=40",
    "--image_size=8",
    "--models=mlp:width=6",
    "--num_members=9",
    "--num_steps=6",
    "--batch_size=16",
    "--grid=2",
    "--name=x",
)
KINDS = ("all seeds", "init alone", "order alone", "augment alone", "data alone",
         "one weight × 1.001", "crossed")  # fmt: skip


@pytest.fixture(scope="module")
def whole(tmp_path_factory, machine):
    """A finished run."""
    out_dir = tmp_path_factory.mktemp("seeds")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("experiments._experiment.draw", lambda *_: None)
        assert seed_variance.main([*SMALL, f"--out_dir={out_dir}"]) == 0
        yield cj.open_run(out_dir / "seed_variance" / "x")


def test_the_results_hold_every_population_and_say_what_each_number_is(whole):
    data = whole.data
    assert tuple(data["kind"].values) == (*KINDS, "init alone")
    assert data["model"].values[[0, 1, -1]].tolist() == [
        "mlp:width=6", "mlp:width=6, init alone", "linear, init alone"
    ]  # fmt: skip
    assert data["test_accuracy"].dims == ("model", "member")
    for name in ("accuracy_sd", "true_variance_low", "predicted_sd", "split_half_correlation"):
        assert data[name].dims == ("model",)
    assert (data["component"].dims, data["best_of"].dims) == (("model", "source"), ("model", "k"))
    for name in data.data_vars:
        assert data[name].attrs.get("long_name"), name


def test_populations_of_different_sizes_are_read_back_as_they_were(whole):
    counts = [one.num_members for one in whole.populations.values()]
    assert counts == [9, 9, 9, 9, 9, 9, 16, 9]
    assert whole.data["num_members"].values.tolist() == counts
    for label, one in whole.populations.items():
        right = one.arrays["test_logits"].argmax(-1) == whole.data["label"].values
        found = whole.data.sel(model=label)
        np.testing.assert_allclose(found["test_accuracy"][: len(right)], right.mean(axis=1))
        np.testing.assert_array_equal(found["correct"][: len(right)], right)
        assert np.isnan(found["test_accuracy"][len(right) :]).all()


def test_the_numbers_follow_from_the_accuracies(whole):
    for one in (whole.data.isel(model=m) for m in range(7)):
        accuracy = one["test_accuracy"].values[: int(one["num_members"])]
        spread, mean = accuracy.std(ddof=1), accuracy.mean()
        assert float(one["accuracy_sd"]) == pytest.approx(spread)
        assert float(one["test_set_variance"]) == pytest.approx(spread**2)
        assert float(one["predicted_sd"]) == pytest.approx(np.sqrt((1 - mean) / 80))
        law = float(one["disagreement_sd"]) ** 2 + 39 / 40 * float(one["true_variance"])
        assert law == pytest.approx(spread**2)
    first, second = (whole.data.isel(model=m) for m in (0, 1))
    ratio = float(second["disagreement"] / first["disagreement"])
    assert float(second["disagreement_ratio"]) == pytest.approx(ratio)
    assert np.isnan(first["sd_ratio"])


def test_the_grid_is_crossed_and_its_members_bound_nothing(whole):
    one = whole.data.sel(model="mlp:width=6, crossed")
    streams = whole.populations["mlp:width=6, crossed"].entry["streams"]
    assert list(streams) == ["init", "order", "augment", "data"]
    assert len(set(zip(*streams.values(), strict=True))) == 16
    grid = one["test_accuracy"].values.reshape(2, 2, 2, 2)
    effect = np.square(np.diff(grid.mean(axis=(1, 2, 3))))[0] / 2  # MS / 8
    assert float(one["component"].sel(source="init")) < effect
    assert np.isnan(one["accuracy_sd_low"])
    assert np.isfinite(one["component_low"]).all()
    assert np.isnan(whole.data["component"][:-2]).all()


def test_a_linear_model_answers_the_same_from_every_start(whole):
    assert whole.data.sel(model="linear, init alone")["contested"] <= 1


def made(**settings):
    data = cj.load_dataset("procedural:num_train=96:num_valid=8:num_test=40", image_size=8)
    config = seed_variance.Config(models="mlp:width=6", num_members=5, num_steps=2, **settings)
    return {task.tags["kind"]: task for task in seed_variance.tasks(config, data)}


def test_only_what_is_named_varies_and_only_its_sample_is_drawn():
    found = made()
    assert list(found["order alone"].members.streams) == ["order"]
    samples = {kind: task.recipe.sample for kind, task in found.items()}
    assert {kind for kind, sample in samples.items() if sample} == {"data alone", "crossed"}
    assert found["all seeds"].recipe.augment == "flip"
    assert found["crossed"].members.count == 3**4
    plain = made(augment="none", populations="augment,order", grid=2)
    assert list(plain) == ["all seeds", "order alone", "crossed"]
    assert list(plain["crossed"].members.streams) == ["init", "order", "data"]


def test_one_weight_of_each_member_is_multiplied():
    task = made(populations="weight", grid=0)["one weight × 1.001"]
    params = task.formula.init(jax.random.key(0))
    places = task.members.settings["weight"]
    assert len(set(places.tolist())) == 5
    keys = cj.train.MemberKeys(*map(jax.random.key, range(4)))
    for place in places:
        moved = task.start(keys._replace(settings={"weight": jax.numpy.float32(place)}), params)
        ratio = jax.tree.map(lambda a, b: np.asarray(a) / np.where(b == 0, 1, b), moved, params)
        changed = ratio["hidden1"]["kernel"].ravel()
        assert changed[int(place)] == pytest.approx(1.001, rel=1e-5)
        assert sum(np.sum((x != 1) & (x != 0)) for x in jax.tree.leaves(ratio)) == 1


def test_a_run_stopped_before_its_end_trains_nothing_and_ends_in_the_same_bytes(whole, monkeypatch):
    before = (whole.path / "results.nc").read_bytes()
    (whole.path / "results.nc").unlink()
    monkeypatch.setattr(train, "train_population", None)
    assert seed_variance.main([*SMALL, f"--out_dir={whole.path.parents[1]}"]) == 0
    assert (whole.path / "results.nc").read_bytes() == before


def test_members_of_another_run_are_taken(source, finished, tmp_path, run_folder):
    assert seed_variance.main([f"--run={source}", f"--out_dir={tmp_path}"]) == 0
    run = cj.open_run(run_folder(tmp_path))
    assert max(map(len, seed_variance.table(run).splitlines())) <= 80
    data = run.data
    assert data["kind"].values.tolist() == ["init"] * 3
    wrong = finished.data["logits"].values.argmax(-1) != finished.data["label"].values
    spread = wrong.mean(axis=-1).std(axis=1, ddof=1)
    np.testing.assert_allclose(data["accuracy_sd"], spread, atol=1e-12)
    assert np.isnan(data["true_variance_low"]).all()


@pytest.mark.parametrize(("model", "status"), [("fragile", 0), ("hopeless", 1)])
def test_members_that_diverged_are_counted_and_left_out(
    model, status, tmp_path, run_folder, mine, monkeypatch, capsys
):
    monkeypatch.setattr("experiments._experiment.draw", lambda *_: None)
    flags = [f"--dataset={mine}.load", f"--models={mine}.{model}", "--num_members=8"]
    flags += ["--num_steps=4", "--batch_size=8", "--populations=linear", "--grid=0"]
    assert seed_variance.main([*flags, f"--out_dir={tmp_path}"]) == status
    said, data = capsys.readouterr(), cj.open_run(run_folder(tmp_path)).data
    lost = int((data["diverged_step"][0] >= 0).sum())
    assert 0 < lost < 7 if status == 0 else lost == 8
    assert f"{mine}.{model}: {lost} of 8 members diverged and left" in " ".join(said.out.split())
    assert ("all 8 members" in said.err) == bool(status)
    assert np.isnan(data["test_accuracy"]).sum("member").values.tolist() == [lost, 0]
    assert np.isfinite(data["accuracy_sd"]).values.tolist() == [not status, True]
    assert data["num_members"].values.tolist() == [8, 8]
