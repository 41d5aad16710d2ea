"""What members of a small run look at: every number against another way to it, and bad input."""

import dataclasses
import shutil

import jax
import numpy as np
import pytest
import scipy.stats

from catdog_jax import open_run
from catdog_jax.store import Run, manifest
from catdog_jax.types import InputError
from experiments import attribution, init_convergence
from experiments.shared import attribution_results, launcher

MODELS = ("linear", "mlp:width=8", "cnn:widths=4")
QUICK = ("--num_pictures=4", "--steps=16", "--ascent_steps=8")


def ask(*arguments):
    """Run attribution in this process and return the exit status."""
    argv = ["attribution", *map(str, arguments)]
    return launcher.launch(argv, attribution.__name__, attribution.Config, attribution.run)


@pytest.fixture(scope="module")
def source(tmp_path_factory, run_here, run_folder):
    """The folder of a small run of three models and three members."""
    out = tmp_path_factory.mktemp("source")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(init_convergence, "FIGURES", {})
        assert run_here(out, f"--models={','.join(MODELS)}", "--num_members=3") == 0
    return run_folder(out)


@pytest.fixture(scope="module")
def asked(tmp_path_factory, source):
    """What attribution left of it: (folder, results)."""
    out = tmp_path_factory.mktemp("asked")
    assert ask(f"--run={source}", f"--out_dir={out}", *QUICK) == 0
    (folder,) = (out / "attribution").iterdir()
    return folder, open_run(folder).data


def test_every_number_is_finite_and_has_a_unit(asked, source):
    data = asked[1]
    for name in data.data_vars:
        assert name.startswith("first_layer") or data[name].attrs["units"], name
        if name != "agreement":
            assert np.isfinite(data[name].values).all(), name
    kept = open_run(source).data
    rows = data["picture_example"].values
    np.testing.assert_array_equal(kept["label"].values[rows], data["label"].values)


def test_scores_are_the_logits_of_the_run(asked, source):
    data, logits = asked[1], open_run(source).data["logits"].values
    chosen = logits[:, :, data["picture_example"].values]
    true = data["label"].values
    expected = np.stack(
        [chosen[:, :, i, k] - chosen[:, :, i, 1 - k] for i, k in enumerate(true)], axis=-1
    )
    np.testing.assert_allclose(data["score"].values, expected, rtol=1e-4, atol=1e-5)


def test_the_linear_model_is_its_weights(asked, source):
    data, run = asked[1].sel(model="linear"), open_run(source)
    weights = np.asarray(run.params["linear"]["weights"])
    signs = 2 * data["label"].values - 1
    dog_minus_cat = (weights[..., 1] - weights[..., 0]).reshape(3, 1, 8, 8, 3)
    expected = dog_minus_cat * signs[None, :, None, None, None]
    np.testing.assert_allclose(data["saliency"].values, expected, rtol=1e-4, atol=1e-6)
    facts = run.manifest["inputs"]
    pixels = (data["picture_pixels"].values / 255 - facts["mean"]) / facts["std"]
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
    margin = own[..., 1] - own[..., 0]
    np.testing.assert_allclose(
        margin * [-1, 1], data["maximising_score"].values, rtol=1e-3, atol=1e-4
    )
    alike = np.corrcoef(images[1, :, 0].reshape(3, -1))
    np.testing.assert_allclose(data["maximising_agreement"].values[1, 0], alike, atol=1e-6)


def test_the_start_is_drawn_again_from_the_key(tmp_path, run_here, run_folder, monkeypatch):
    monkeypatch.setattr(init_convergence, "FIGURES", {})
    flags = ["--num_steps=1", "--eval_every=1", "--optimizer=sgd", "--learning_rate=1e-30"]
    flags += ["--weight_decay=0", "--init_seed=7", f"--models={','.join(MODELS[:2])}"]
    assert run_here(tmp_path, *flags) == 0
    run = open_run(run_folder(tmp_path))
    for label in MODELS[:2]:
        model = attribution_results.build(run, label)
        for member in range(2):
            start = attribution_results.starting_params(run, label, model, member)
            unmoved = attribution_results.final_params(run, label, model, member)
            for left, right in zip(jax.tree.leaves(start), jax.tree.leaves(unmoved), strict=True):
                np.testing.assert_allclose(left, right, rtol=1e-6, atol=1e-7)
    recipe = run.manifest["recipe"] | {"init_seed": 8}
    other = dataclasses.replace(run, manifest={**run.manifest, "recipe": recipe})
    with pytest.raises(RuntimeError, match="are not drawn here as they were"):
        attribution_results.starting_params(other, label, model, 0)


def test_the_same_again_is_done(asked, source, contents, capsys):
    folder, _ = asked
    before, out = contents(folder), folder.parents[1]
    assert ask(f"--run={source}/results.nc", f"--out_dir={out}", *QUICK) == 0
    assert "already done" in capsys.readouterr().out
    assert contents(folder) == before


def test_one_member_of_one_model_has_no_one_to_agree_with(tmp_path, source, capsys):
    flags = ["--models=mlp:width=8", "--members=2", "--num_pictures=1", *QUICK[1:]]
    assert ask(f"--run={source}", f"--out_dir={tmp_path}", *flags) == 0
    (folder,) = (tmp_path / "attribution").iterdir()
    assert not (folder / "figures" / "map_agreement.png").exists()
    assert (folder / "figures" / "maps_mlp_width=8.png").exists()
    assert "–" in capsys.readouterr().out
    data = open_run(folder).data
    assert data["member"].values.tolist() == [2]


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ((), "--run is missing"),
        (("--run=nowhere",), "no run at 'nowhere'"),
        (("--run=SOURCE", "--models=mlp"), "unknown model of the run 'mlp'; known: cnn:widths=4,"),
        (("--run=SOURCE", "--members=0,3"), "the run has members 0 to 2"),
        (("--run=SOURCE", "--members=1,1"), "1 is given twice"),
        (("--run=SOURCE", "--members=first"), "'first' is no number"),
        (("--run=SOURCE", "--num_pictures=33"), "the run keeps 32 pictures"),
    ],
)
def test_bad_input_is_one_line_and_touches_nothing(tmp_path, source, capsys, flags, expected):
    out = tmp_path / "runs"
    typed = [flag.replace("SOURCE", str(source)) for flag in flags]
    assert ask(*typed, f"--out_dir={out}") == 2
    said = capsys.readouterr().err
    assert expected in said
    assert said.count("\n") == 1
    assert not out.exists()


def test_a_run_of_sentences_and_its_own_results_are_refused(tmp_path, source, asked, capsys):
    words = tmp_path / "words"
    shutil.copytree(source, words)
    inputs = {"kind": "tokens", "shape": [12], "class_names": ["cat", "dog"]}
    manifest.write(words, manifest.read(words) | {"inputs": inputs})
    for folder in (words, asked[0]):
        assert ask(f"--run={folder}", f"--out_dir={tmp_path}") == 2
        assert "no members trained on pictures" in capsys.readouterr().err


def test_lost_members_are_left_out_or_refused(source):
    run = open_run(source)

    def lost(*members) -> Run:
        data = run.data.copy(deep=True)
        data["diverged_step"].loc[{"model": "mlp:width=8", "member": list(members)}] = 3
        return dataclasses.replace(run, data=data)

    labels = list(MODELS)
    assert attribution.chosen_members(lost(0), labels, "") == [1, 2]
    assert attribution.chosen_members(lost(0), ["linear"], "0,2") == [0, 2]
    with pytest.raises(InputError, match="member 0 diverged in training"):
        attribution.chosen_members(lost(0), labels, "0,2")
    with pytest.raises(InputError, match="no member of .* is left"):
        attribution.chosen_members(lost(0, 1, 2), labels, "")


def test_pictures_are_the_first_of_each_class_in_turn(source):
    run = open_run(source)
    kept = run.data["label"].values[run.data["picture_example"].values]
    for count in (1, 2, 5, 12):
        rows = attribution.chosen_pictures(run, count)
        taken = [np.flatnonzero(kept == k)[: (count + 1 - k) // 2] for k in (0, 1)]
        np.testing.assert_array_equal(rows, np.concatenate(taken))
