"""A run from its flags to its files: the contract that others build on, number by number."""

import dataclasses
import os
import signal

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr
from PIL import Image

import catdog_jax as cj
from catdog_jax import population as pop
from catdog_jax.analysis.distance import flatten_members
from catdog_jax.types import InputError, Model
from experiments import _tasks, init_convergence, predict
from experiments._cli import command_line, parse_flags
from experiments._experiment import run_folder

MODELS = ("linear", "mlp:width=8", "cnn:widths=4")
DATASET = "procedural:num_train=64:num_valid=8:num_test=32"


@pytest.fixture(scope="module")
def test_split():
    """The test pictures of the run."""
    return cj.load_dataset(DATASET, image_size=8).test


def softmax(logits):
    powers = np.exp(logits.astype(np.float64) - logits.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def judged(population, params, pictures):
    """Logits [M, N, K] of every member."""
    apply = jax.jit(population.model.apply)
    members = range(population.num_members)
    each = (jax.tree.map(lambda x, m=m: jnp.asarray(x[m]), params) for m in members)
    return np.stack([apply(one, pictures) for one in each])


def test_the_results_have_the_dimensions_of_the_contract(finished):
    data = finished.data
    sizes = {"model": 3, "member": 3, "eval": 4, "example": 32, "class": 2}
    assert {name: data.sizes[name] for name in sizes} == sizes
    assert tuple(data["model"].values) == MODELS
    assert tuple(data["class"].values) == ("cat", "dog")
    assert data["step"].values.tolist() == [[0, 4, 8, 12]] * 3
    for name in ("train_loss", "train_accuracy", "test_loss", "test_accuracy"):
        assert data[name].dims == ("model", "member", "eval")
        assert np.isfinite(data[name].values).all()
    assert data["logits"].dims == ("model", "member", "example", "class")
    assert data["label"].dims == ("example",)
    assert (data["diverged_step"].values == -1).all()
    for name in ("disagreement", "weight_distance", "relative_weight_distance"):
        assert data[name].shape == (3, 3, 3)
    for name, values in data.variables.items():
        assert name in ("model", "member", "class", "example_id") or values.attrs["units"]


def test_the_final_numbers_follow_from_the_logits(finished):
    data = finished.data
    logits, labels = data["logits"].values, data["label"].values
    right = logits.argmax(-1) == labels
    np.testing.assert_allclose(data["test_accuracy"].values[:, :, -1], right.mean(-1), rtol=1e-6)
    chosen = np.take_along_axis(softmax(logits), labels[None, None, :, None], -1)[..., 0]
    loss = data["test_loss"].values[:, :, -1]
    np.testing.assert_allclose(loss, -np.log(chosen).mean(-1), rtol=1e-4)
    recalls = [right[:, :, labels == k].mean(-1) for k in (0, 1)]
    np.testing.assert_allclose(data["test_balanced_accuracy"].values, np.mean(recalls, 0))
    answers = logits.argmax(-1)
    apart = (answers[:, :, None] != answers[:, None]).mean(-1)
    np.testing.assert_allclose(data["disagreement"].values, apart, atol=1e-7)


def test_the_params_make_the_logits_of_raw_pictures(finished, test_split):
    data = finished.data
    assert np.array_equal(data["label"].values, test_split.labels)
    assert list(finished.params) == list(finished.populations) == list(MODELS)
    for label, found in finished.populations.items():
        assert found.num_params == data["num_parameters"].sel(model=label)
        leaves = [np.asarray(x, np.float64).reshape(3, -1) for x in jax.tree.leaves(found.params)]
        weights = np.concatenate(leaves, axis=1)
        apart = np.linalg.norm(weights[:, None] - weights[None], axis=-1)
        kept = data["weight_distance"].sel(model=label).values
        np.testing.assert_allclose(kept, apart, rtol=1e-5, atol=1e-5)
        wanted = data["logits"].sel(model=label).values
        logits = judged(found, found.params, test_split.inputs)
        np.testing.assert_allclose(logits, wanted, atol=2e-4)


def test_a_population_keeps_its_logits_and_the_params_of_named_steps(finished, test_split):
    for label, found in finished.populations.items():
        assert (found.logits.shape, found.logits.dtype) == ((4, 3, 32, 2), np.float16)
        final = finished.data["logits"].sel(model=label).values
        np.testing.assert_allclose(found.logits[-1], final, rtol=1e-3, atol=1e-4)
        logits = judged(found, found.at(8), test_split.inputs)
        np.testing.assert_allclose(found.logits[2], logits, rtol=2e-3, atol=1e-3)
        observed = {name: x for name, x in found.arrays.items() if name != "params"}
        drawing = dataclasses.replace(found, read=lambda kept=observed: {"observed": kept})
        for one in (found, drawing):
            starts = [jax.tree.leaves(one.start(m)) for m in range(3)]
            for kept, *drawn in zip(jax.tree.leaves(found.at(0)), *starts, strict=True):
                np.testing.assert_allclose(kept, np.stack(drawn), rtol=1e-6, atol=1e-7)
        with pytest.raises(InputError, match=f"{label}: no params of step 4 were kept, but of: 0"):
            found.at(4)


def test_a_dry_run_says_what_it_takes_and_writes_nothing(tmp_path, run_here, capsys):
    assert run_here(tmp_path, "--dry_run") == 0
    said = capsys.readouterr().out
    assert "time about" in said
    assert max(map(len, said.splitlines()[:-1])) <= 80  # the last is the run folder
    assert not list(tmp_path.iterdir())


def test_a_long_run_waits_for_yes_where_a_person_sits(tmp_path, run_here, monkeypatch, capsys):
    flags = ("--models=linear", "--num_members=4")
    monkeypatch.setattr(os, "isatty", lambda descriptor: True)
    monkeypatch.setattr(_tasks, "LONG_SECONDS", 1.0)
    monkeypatch.setattr("catdog_jax.run.train.expected_seconds", lambda *_: [2.0])
    assert run_here(tmp_path / "runs", *flags) == 2
    said = capsys.readouterr().err
    assert "takes about 2 s; add --yes to begin it, or ask for less: --num_members=2 takes" in said
    assert not (tmp_path / "runs").exists()
    assert run_here(tmp_path / "asked", *flags, "--yes") == 0
    monkeypatch.setattr(os, "isatty", lambda descriptor: descriptor == 0)
    assert run_here(tmp_path / "logged", *flags) == 0


def test_the_flags_of_a_run_are_in_its_folder_and_the_latest_is_found(finished, tmp_path):
    config = parse_flags([f"--flagfile={finished.path / 'flags.txt'}"], init_convergence.Config)
    assert command_line(config, "init_convergence") == finished.manifest["command"]
    assert parse_flags([f"--like={finished.path}"], init_convergence.Config) == config
    assert run_folder("latest", str(finished.path.parents[1])) == str(finished.path)
    with pytest.raises(InputError, match=r"--run=latest: no finished run with members in "):
        run_folder("latest", str(tmp_path))


def test_starts_and_ways_are_those_of_the_kept_params(finished):
    for label, found in finished.populations.items():
        start, end = (flatten_members(params) for params in (found.at(0), found.params))
        apart = np.linalg.norm(start[:, None] - start[None], axis=-1)
        length = np.linalg.norm(start, axis=-1)
        relative = apart / ((length[:, None] + length) / 2)
        one = finished.data.sel(model=label)
        np.testing.assert_allclose(one["relative_start_distance"], relative, rtol=1e-4, atol=1e-5)
        way = np.linalg.norm(end - start, axis=-1) / length
        np.testing.assert_allclose(one["way_moved"], way, rtol=1e-4)


def test_the_final_logits_alone_are_kept_where_that_is_asked(tmp_path, run_here, run_folder):
    assert run_here(tmp_path, "--models=linear", "--keep=final", "--num_steps=4") == 0
    run = cj.open_run(run_folder(tmp_path))
    assert np.isfinite(run.data["logits"].values).all()
    with pytest.raises(InputError, match="the last logits of linear only; train it with --keep="):
        _ = run.populations["linear"].logits


def test_main_prints_what_the_results_hold_and_changes_no_signal_handler(source, capsys):
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    flags = [f"--models={','.join(MODELS)}", "--num_members=3", "--keep_params=0,8"]
    flags += [f"--dataset={DATASET}", "--image_size=8", "--num_steps=12", "--batch_size=16"]
    flags += ["--eval_every=4", "--name=source", f"--out_dir={source.parents[1]}"]
    assert [init_convergence.main(flags) for _ in range(2)] == [0, 0]
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"already done: {source} holds these results; nothing is computed"
    assert lines[-3] == f"results, weights and figures: {source}"
    assert lines[-1] == f"next: python -m experiments.attribution --run={source}"
    run = cj.open_run(source)
    assert {path.stem for path in (source / "figures").iterdir()} == set(init_convergence.FIGURES)
    for label in MODELS:
        rows = [line.split() for line in lines if line.startswith(f"{label} ")]
        cells = rows[-2][:2] + rows[-1][-2:]
        timings = run.manifest["timings"][label]
        accuracy = run.data["test_accuracy"].sel(model=label).values[:, -1]
        assert cells[1] == f"{accuracy.mean():.3f}"
        assert cells[-2:] == [f"{timings['seconds']:,.1f}", f"{timings['rate']:,.0f}"]


def test_the_manifest_has_what_the_results_must_not(finished):
    found = finished.manifest
    assert set(found["timings"]) == set(found["plans"]) == set(MODELS)
    for label in MODELS:
        assert found["timings"][label]["seconds"] > 0
        assert found["plans"][label]["wave"] >= 3
    assert found["inputs"]["shape"] == [8, 8, 3]
    assert found["inputs"]["class_names"] == ["cat", "dog"]
    assert found["command"].startswith("python -m experiments.init_convergence --dataset=")
    assert found["data"]["source"] == "procedural"
    assert found["machine"]["backend"] == "cpu"
    assert found["recipe"]["num_members"] == 3


def test_all_members_diverged_is_a_failure_that_keeps_its_results(
    tmp_path, run_here, run_folder, capsys
):
    flags = ("--models=mlp:width=8", "--optimizer=sgd", "--learning_rate=1e30")
    for _ in range(2):  # the second time nothing is trained, and it is a failure still
        assert run_here(tmp_path, *flags) == 1
        said = capsys.readouterr()
        assert said.err.splitlines()[-1].startswith("error: all 2 members of mlp:width=8 diverged")
        assert "mlp:width=8: 2 of 2 members diverged" in said.out
    data = cj.open_run(run_folder(tmp_path)).data
    assert (data["diverged_step"].values >= 0).all()
    assert np.isfinite(data["test_loss"].values[:, :, 0]).all()


def test_predict_prints_the_vote_of_every_member(finished, tmp_path, capsys):
    paths = [tmp_path / "one.png", tmp_path / "two.png"]
    drawn = np.random.default_rng(1).integers(0, 256, (2, 8, 8, 3)).astype(np.uint8)
    for path, pixels in zip(paths, drawn, strict=True):
        Image.fromarray(pixels).save(path)
    assert predict.main([f"--run={finished.path}", *map(str, paths)]) == 0
    lines = capsys.readouterr().out.splitlines()
    for path, pixels in zip(paths, drawn, strict=True):
        begin = lines.index(f"{path} (as 8 × 8 pixels)") + 2
        for line, found in zip(lines[begin:], finished.populations.values(), strict=False):
            logits = judged(found, found.params, pixels[None])[:, 0]
            votes, probability = logits.argmax(-1), softmax(logits).mean(0)
            best = int(probability.argmax())
            assert line.split() == [
                found.label,
                str((votes == 0).sum()),
                str((votes == 1).sum()),
                ("cat", "dog")[best],
                f"{probability[best]:.2f}",
                "".join("cd"[vote] for vote in votes),
            ]


def test_predict_needs_no_kept_pictures(finished, tmp_path, monkeypatch, capsys):
    """As of a run of bias_variance, which keeps none."""
    without = dataclasses.replace(finished, data=finished.data.drop_vars("picture"))
    monkeypatch.setattr(predict, "open_run", lambda *_, **__: without)
    Image.new("RGB", (8, 8)).save(tmp_path / "black.png")
    assert predict.main([f"--run={finished.path}", str(tmp_path / "black.png")]) == 0
    assert "note: unlike" not in capsys.readouterr().out


def test_a_person_trains_a_formula_of_their_own_from_python(tmp_path, capsys):
    def init(key):
        return {"w": 0.01 * jax.random.normal(key, (192, 2)), "b": jnp.zeros((1, 2))}

    def apply(params, pictures):
        flat = pictures.reshape(len(pictures), -1).astype(jnp.float32)
        return (flat / 127.5 - 1) @ params["w"] + params["b"]

    recipe = cj.Recipe(6, 16, "adam", 1e-3, eval_every=3)
    data = cj.load_dataset(DATASET, image_size=8)
    gain = np.array([1.0, 2.0, 0.5])
    members = cj.Members(3, {"init": np.arange(3)}, {"gain": gain, "learning_rate": 1e-3 * gain})
    task = cj.Task(
        "mine", Model(init, apply), recipe, data, members,
        start=lambda keys, drawn: drawn | {"b": drawn["b"] + keys.settings["gain"]},
    )  # fmt: skip
    run = cj.train_run([task], experiment="own", out_dir=tmp_path, name="x")
    found = run.populations["mine"]
    test = found.data.test
    logits = judged(found, found.params, test.inputs)  # as the data set has them, 0..255
    np.testing.assert_allclose(found.logits[-1], logits, rtol=2e-3, atol=1e-3)
    right = (found.logits.argmax(-1) == test.labels).mean(-1).T
    np.testing.assert_allclose(found.arrays["test_accuracy"], right, atol=1e-6)
    starts = [found.start(m) for m in range(3)]
    drawn = init(pop.member_keys(pop.Seeds(), members).init[1])
    np.testing.assert_allclose(starts[1]["w"], 2 * drawn["w"], rtol=1e-6)
    assert [start["b"].tolist() for start in starts] == [[[x, x]] for x in gain]
    assert run.data is None
    done = run.finish(xr.Dataset({"accuracy": (("member",), right[:, -1])}))
    assert done.path == tmp_path / "own" / "x"
    again = cj.train_run([task], experiment="own", out_dir=tmp_path, name="x")
    np.testing.assert_array_equal(again.data["accuracy"].values, right[:, -1])
    assert again.folder is None
    assert "already done" in capsys.readouterr().out
    with pytest.raises(InputError, match="is code of your own"):
        _ = again.populations["mine"].model
