"""A run from its flags to its files: the contract that others build on, number by number."""

import contextlib
import io

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from catdog_jax import build_model, load_dataset, open_run
from experiments import init_convergence

ENTRIES = ("linear", "mlp:width=8")
DATASET = "procedural:num_train=64:num_valid=8:num_test=32"


@pytest.fixture(scope="module")
def printed():
    """What the shared run printed."""
    return []


@pytest.fixture(scope="module")
def folder(tmp_path_factory, run_here, run_folder, machine, printed):
    """A finished run of three members."""
    out_dir = tmp_path_factory.mktemp("finished")
    out = io.StringIO()
    with contextlib.redirect_stdout(out), pytest.MonkeyPatch.context() as patch:
        patch.setattr(init_convergence, "FIGURES", {})
        assert run_here(out_dir, "--num_members=3") == 0
    printed.append(out.getvalue())
    return run_folder(out_dir)


@pytest.fixture(scope="module")
def run(folder):
    """The same run, opened."""
    return open_run(folder)


def softmax(logits):
    powers = np.exp(logits.astype(np.float64) - logits.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def test_the_results_have_the_dimensions_of_the_contract(run):
    data = run.data
    sizes = {"model": 2, "member": 3, "eval": 4, "example": 32, "class": 2}
    assert {name: data.sizes[name] for name in sizes} == sizes
    assert tuple(data["model"].values) == ENTRIES
    assert tuple(data["class"].values) == ("cat", "dog")
    assert data["step"].dims == ("model", "eval")
    assert data["step"].values.tolist() == [[0, 4, 8, 12]] * 2
    for name in ("train_loss", "train_accuracy", "test_loss", "test_accuracy"):
        assert data[name].dims == ("model", "member", "eval")
        assert np.isfinite(data[name].values).all()
    assert data["logits"].dims == ("model", "member", "example", "class")
    assert data["label"].dims == ("example",)
    assert data["diverged_step"].dims == ("model", "member")
    assert (data["diverged_step"].values == -1).all()
    for name in ("disagreement", "weight_distance", "relative_weight_distance"):
        assert data[name].shape == (2, 3, 3)
    for name, values in data.variables.items():
        assert name in ("model", "member", "class", "example_id") or values.attrs["units"]


def test_the_final_numbers_follow_from_the_logits(run):
    data = run.data
    logits, labels = data["logits"].values, data["label"].values
    right = logits.argmax(-1) == labels
    np.testing.assert_allclose(data["test_accuracy"].values[:, :, -1], right.mean(-1), rtol=1e-6)
    chosen = np.take_along_axis(softmax(logits), labels[None, None, :, None], -1)[..., 0]
    np.testing.assert_allclose(
        data["test_loss"].values[:, :, -1], -np.log(chosen).mean(-1), rtol=1e-4
    )
    recalls = [right[:, :, labels == k].mean(-1) for k in (0, 1)]
    np.testing.assert_allclose(data["test_balanced_accuracy"].values, np.mean(recalls, 0))
    answers = logits.argmax(-1)
    apart = (answers[:, :, None] != answers[:, None]).mean(-1)
    np.testing.assert_allclose(data["disagreement"].values, apart, atol=1e-7)


def test_the_params_make_the_logits(run):
    test = load_dataset(DATASET, image_size=8).test
    inputs = run.manifest["inputs"]
    pixels = (test.inputs / 255.0 - inputs["mean"]) / inputs["std"]
    assert np.array_equal(run.data["label"].values, test.labels)
    assert list(run.params) == list(ENTRIES)
    for entry in ENTRIES:
        model = build_model(entry, (8, 8, 3), 2)
        like = jax.eval_shape(model.init, jax.random.key(0))
        stacked = run.params_like(entry, like)
        leaves = jax.tree.leaves(stacked)
        assert all(leaf.shape[0] == 3 for leaf in leaves)
        count = sum(leaf[0].size for leaf in leaves)
        assert count == run.data["num_parameters"].sel(model=entry)
        weights = np.concatenate([leaf.reshape(3, -1) for leaf in leaves], axis=1)
        apart = np.linalg.norm(weights[:, None].astype(np.float64) - weights[None], axis=-1)
        np.testing.assert_allclose(
            run.data["weight_distance"].sel(model=entry).values, apart, rtol=1e-5, atol=1e-5
        )
        for member in range(3):
            params = jax.tree.map(lambda x, m=member: x[m], stacked)
            logits = model.apply(params, jnp.asarray(pixels, jnp.float32))
            wanted = run.data["logits"].sel(model=entry).values[member]
            np.testing.assert_allclose(logits, wanted, atol=2e-4)
            assert np.abs(wanted).max() > 0.01


def test_every_number_of_the_table_is_in_the_results(run, printed):
    table = printed[0].splitlines()
    data = run.data
    for index, entry in enumerate(ENTRIES):
        # The announcement has a line for each model too; the table comes last.
        cells = [line for line in table if line.startswith(f"{entry} ")][-1].split()
        logits, labels = data["logits"].values[index], data["label"].values
        accuracy = (logits.argmax(-1) == labels).mean(-1)
        pairs = np.triu_indices(3, 1)
        timings = run.manifest["timings"][entry]
        assert cells == [
            entry,
            f"{int(data['num_parameters'][index]):,}",
            f"{accuracy.mean():.3f}",
            "±",
            f"{accuracy.std(ddof=1):.3f}",
            f"{accuracy.min():.3f}",
            f"{accuracy.max():.3f}",
            f"{(softmax(logits).mean(0).argmax(-1) == labels).mean():.3f}",
            f"{data['disagreement'].values[index][pairs].mean():.3f}",
            f"{data['weight_distance'].values[index][pairs].mean():,.2f}",
            f"{data['relative_weight_distance'].values[index][pairs].mean():.3f}",
            f"{timings['seconds']:,.1f}",
            f"{timings['rate']:,.1f}",
        ]
    assert f"run folder: {run.path}" in table
    assert table[-1] == f"results, weights and figures: {run.path}"


def test_the_manifest_has_what_the_results_must_not(run):
    facts = run.manifest
    assert set(facts["timings"]) == set(facts["plans"]) == set(ENTRIES)
    for entry in ENTRIES:
        assert facts["timings"][entry]["seconds"] > 0
        assert facts["timings"][entry]["rate"] > 0
        assert facts["plans"][entry]["wave"] == 3
        assert facts["plans"][entry]["num_devices"] == 3  # of 4: one for each member
    assert facts["inputs"]["shape"] == [8, 8, 3]
    assert facts["inputs"]["class_names"] == ["cat", "dog"]
    assert facts["command"].startswith("python -m experiments.init_convergence --dataset=")
    assert facts["data"]["source"] == "procedural"
    assert facts["machine"]["backend"] == "cpu"
    assert facts["recipe"]["num_members"] == 3


def test_two_folders_have_the_same_bytes(folder, tmp_path, run_here, run_folder, one_figure):
    assert run_here(tmp_path, "--num_members=3", "--name=another") == 0
    other = run_folder(tmp_path)
    assert (other / "results.nc").read_bytes() == (folder / "results.nc").read_bytes()
    assert other.name == "another"
    assert folder.name.startswith("procedural-linear-mlp-")


def test_order_alone_leaves_the_starts_equal(tmp_path, run_here, run_folder, one_figure):
    assert run_here(tmp_path, "--vary=order", "--models=mlp:width=8") == 0
    sketch = open_run(run_folder(tmp_path)).data["sketch"].values[0]
    assert np.array_equal(sketch[0, 0], sketch[1, 0])
    assert not np.array_equal(sketch[0, -1], sketch[1, -1])


def test_init_alone_moves_the_starts(run):
    sketch = run.data["sketch"].values[:, :, 0]
    assert not np.array_equal(sketch[:, 0], sketch[:, 1])


def test_all_members_lost_is_a_failure_that_keeps_its_results(
    tmp_path, run_here, run_folder, capsys
):
    flags = ("--models=mlp:width=8", "--optimizer=sgd", "--learning_rate=1e30")
    for _ in range(2):  # the second time nothing is trained, and it is a failure still
        assert run_here(tmp_path, *flags) == 1
        said = capsys.readouterr()
        assert said.err.startswith("error: all 2 members of mlp:width=8 diverged")
        assert said.err.count("\n") == 1
        assert "mlp:width=8: 2 of 2 members diverged" in said.out
    data = open_run(run_folder(tmp_path)).data
    assert (data["diverged_step"].values >= 0).all()
    assert np.isfinite(data["test_loss"].values[:, :, 0]).all()
    assert (run_folder(tmp_path) / "figures" / "data_sheet.png").exists()


def test_predict_prints_the_vote_of_every_member(run, tmp_path, predict_here, capsys):
    pictures = [tmp_path / "one.png", tmp_path / "two.png"]
    drawn = np.random.default_rng(1).integers(0, 256, (2, 8, 8, 3)).astype(np.uint8)
    for path, pixels in zip(pictures, drawn, strict=True):
        Image.fromarray(pixels).save(path)
    assert predict_here(f"--run={run.path}", *pictures) == 0
    lines = capsys.readouterr().out.splitlines()
    inputs = run.manifest["inputs"]
    for path, pixels in zip(pictures, drawn, strict=True):
        start = lines.index(f"{path} (as 8 × 8 pixels)")
        image = jnp.asarray((pixels[None] / 255.0 - inputs["mean"]) / inputs["std"], jnp.float32)
        for offset, entry in enumerate(ENTRIES):
            model = build_model(entry, (8, 8, 3), 2)
            stacked = run.params_like(entry, jax.eval_shape(model.init, jax.random.key(0)))
            logits = np.stack(
                [
                    model.apply(jax.tree.map(lambda x, m=m: x[m], stacked), image)[0]
                    for m in range(3)
                ]
            )
            votes = logits.argmax(-1)
            probability = softmax(logits).mean(0)
            best = int(probability.argmax())
            assert lines[start + 2 + offset].split() == [
                entry,
                str((votes == 0).sum()),
                str((votes == 1).sum()),
                ("cat", "dog")[best],
                f"{probability[best]:.2f}",
                "".join("cd"[vote] for vote in votes),
            ]


def test_predict_refuses_what_is_no_picture(run, tmp_path, predict_here, capsys):
    (tmp_path / "text.jpg").write_text("not a picture")
    for name in ("text.jpg", "missing.jpg"):
        assert predict_here(f"--run={run.path}", tmp_path / name) == 2
        said = capsys.readouterr()
        assert said.err.count("\n") == 1
        assert name in said.err
        assert said.out == ""
