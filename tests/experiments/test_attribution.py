"""What members of a small run look at: every number against another way to it, and bad input."""

import dataclasses

import numpy as np
import pytest
import scipy.stats

from catdog_jax import open_run
from catdog_jax.types import InputError
from experiments import attribution

QUICK = ("--num_pictures=4", "--steps=16", "--ascent_steps=8")


@pytest.fixture(scope="module")
def asked(tmp_path_factory, source):
    """What attribution left of a run: (folder, results)."""
    out = tmp_path_factory.mktemp("asked")
    assert attribution.main([f"--run={source}", f"--out_dir={out}", *QUICK]) == 0
    (folder,) = (out / "attribution").iterdir()
    return folder, open_run(folder).data


def test_every_number_is_finite_and_has_a_unit(asked, finished):
    data = asked[1]
    for name in data.data_vars:
        assert name.startswith("first_layer") or data[name].attrs["units"], name
        if name != "agreement":
            assert np.isfinite(data[name].values).all(), name
    rows = data["picture_example"].values
    np.testing.assert_array_equal(finished.data["label"].values[rows], data["label"].values)


def test_scores_are_the_logits_of_the_run(asked, finished):
    data, logits = asked[1], finished.data["logits"].values
    chosen = logits[:, :, data["picture_example"].values]
    true = data["label"].values
    expected = [chosen[:, :, i, k] - chosen[:, :, i, 1 - k] for i, k in enumerate(true)]
    np.testing.assert_allclose(data["score"].values, np.stack(expected, -1), rtol=1e-4, atol=1e-5)


def test_the_linear_model_is_its_weights(asked, finished):
    data = asked[1].sel(model="linear")
    weights = np.asarray(finished.params["linear"]["weights"])
    signs = 2 * data["label"].values - 1
    dog_minus_cat = (weights[..., 1] - weights[..., 0]).reshape(3, 1, 8, 8, 3)
    expected = dog_minus_cat * signs[None, :, None, None, None]
    np.testing.assert_allclose(data["saliency"].values, expected, rtol=1e-4, atol=1e-6)
    inputs = finished.manifest["inputs"]
    pixels = (data["picture_pixels"].values / 255 - inputs["mean"]) / inputs["std"]
    parts = (expected * pixels[None]).sum(-1)
    np.testing.assert_allclose(data["integrated_gradients"].values, parts, rtol=1e-3, atol=1e-4)
    covered = parts[..., 2:4, 3:5].sum((-1, -2))
    np.testing.assert_allclose(data["occlusion"].values[..., 2, 3], covered, atol=1e-3)
    layer = data["first_layer_0"].sel(moment="after").values[:, 0]
    np.testing.assert_allclose(layer, dog_minus_cat[:, 0], rtol=1e-6)


@pytest.mark.parametrize("name", ["saliency", "integrated gradients", "occlusion"])
def test_agreement_is_the_mean_of_scipys_correlations(asked, name):
    data = asked[1]
    labels = data["label"].values

    def maps(member, suffix=""):
        found = data[name.replace(" ", "_") + suffix].values[2, member]
        found = np.abs(found).max(-1) if found.ndim == 4 else np.abs(found)
        return found.reshape(len(labels), -1)

    def mean(left, right, pairs):
        return np.mean([scipy.stats.spearmanr(left[p], right[q]).statistic for p, q in pairs])

    same = [(p, p) for p in range(4)]
    other = [(p, q) for p in range(4) for q in range(4) if p != q and labels[p] == labels[q]]
    rank = data["agreement"].sel(measure="rank of sizes", map=name).values[:, 2, 0, 1]
    expected = [
        mean(maps(0), maps(1), same),
        mean(maps(0), maps(1), other),
        mean(maps(0, "_before"), maps(1, "_before"), same),
    ]
    np.testing.assert_allclose(rank, expected, atol=1e-6)
    own = data["agreement_with_own_start"].sel(measure="rank of sizes", map=name).values[2, 1]
    np.testing.assert_allclose(own, mean(maps(1), maps(1, "_before"), same), atol=1e-6)


def test_maximising_inputs_are_pictures_that_score_more_than_noise(asked):
    data = asked[1]
    images = data["maximising_input"].values
    assert images.min() >= 0.0
    assert images.max() <= 1.0
    assert (data["maximising_score"] > data["maximising_start_score"]).all()
    logits = data["maximising_logits"].values  # [model, maker, class, judge, logit]
    own = np.moveaxis(np.diagonal(logits, axis1=1, axis2=3), -1, 1)
    margin = (own[..., 1] - own[..., 0]) * [-1, 1]
    np.testing.assert_allclose(margin, data["maximising_score"].values, rtol=1e-3, atol=1e-4)
    alike = np.corrcoef(images[1, :, 0].reshape(3, -1))
    np.testing.assert_allclose(data["maximising_agreement"].values[1, 0], alike, atol=1e-6)


def test_one_member_of_one_model_has_no_one_to_agree_with(tmp_path, source, capsys):
    flags = ["--models=mlp:width=8", "--members=2", "--num_pictures=1", *QUICK[1:]]
    assert attribution.main([f"--run={source}", f"--out_dir={tmp_path}", *flags]) == 0
    (folder,) = (tmp_path / "attribution").iterdir()
    assert not (folder / "figures" / "map_agreement.png").exists()
    assert (folder / "figures" / "maps_mlp_width=8.png").exists()
    assert "–" in capsys.readouterr().out
    assert open_run(folder).data["member"].values.tolist() == [2]


@pytest.mark.parametrize(
    ("flag", "expected"),
    [
        ("--members=0,3", "give whole numbers from 0 to 2"),
        ("--members=1,1", "'1' is given twice"),
        ("--members=first", "--members=first is not allowed"),
        ("--num_pictures=33", "the run keeps 32 pictures"),
    ],
)
def test_bad_input_is_one_line(tmp_path, source, capsys, flag, expected):
    assert attribution.main([f"--run={source}", flag, f"--out_dir={tmp_path}"]) == 2
    said = capsys.readouterr().err
    assert expected in said
    assert said.count("\n") == 1


def test_its_own_results_have_no_members_to_take(tmp_path, asked, capsys):
    assert attribution.main([f"--run={asked[0]}", f"--out_dir={tmp_path}"]) == 2
    assert "no trained members in it; give a run of init_convergence" in capsys.readouterr().err


def test_another_seed_than_the_runs_is_seen(source):
    """Starts that were not kept are drawn again, and held against what the run kept of them."""
    found = open_run(source).populations["linear"]
    observed = {name: x for name, x in found.arrays.items() if name != "params"}
    seeds = [8, *found.entry["seeds"][1:]]
    other = dataclasses.replace(
        found, entry={**found.entry, "seeds": seeds}, read=lambda: {"observed": observed}
    )
    with pytest.raises(RuntimeError, match="are not drawn here as they were"):
        other.start(0)


class Diverged:
    """Stands for a population of which some members diverged."""

    def __init__(self, *members):
        self.alive = ~np.isin(np.arange(3), members)


def test_diverged_members_are_left_out_or_refused():
    whole, some = {"linear": Diverged()}, {"linear": Diverged(), "mlp": Diverged(0)}
    assert attribution.chosen_members(some, "") == [1, 2]
    assert attribution.chosen_members(whole, "0,2") == [0, 2]
    with pytest.raises(InputError, match="member 0 diverged in training"):
        attribution.chosen_members(some, "0,2")
    with pytest.raises(InputError, match="no member of .* is left"):
        attribution.chosen_members({"mlp": Diverged(0, 1, 2)}, "")


def test_pictures_are_the_first_of_each_class_in_turn(finished):
    data, labels = finished.populations["linear"].data, finished.data["label"].values
    kept = labels[finished.data["picture_example"].values]
    for count in (1, 2, 5, 12):
        rows = attribution.chosen_pictures(data, count)
        taken = [np.flatnonzero(kept == k)[: (count + 1 - k) // 2] for k in (0, 1)]
        np.testing.assert_array_equal(rows, np.concatenate(taken))
