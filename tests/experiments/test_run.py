"""A run from its flags to its files: the contract that others build on, number by number."""

import contextlib
import csv
import io
import shutil
import textwrap

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from catdog_jax import build_model, load_dataset, open_run
from experiments import init_convergence
from experiments.shared import launcher

ENTRIES = ("linear", "mlp:width=8")
DATASET = "procedural:num_train=64:num_valid=8:num_test=32"


@pytest.fixture(scope="module")
def printed():
    """What the shared run printed."""
    return []


@pytest.fixture(scope="module")
def folder(tmp_path_factory, run_here, run_folder, machine, printed):
    """A finished run of three members, with all figures."""
    out_dir = tmp_path_factory.mktemp("finished")
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        assert run_here(out_dir, "--num_members=3") == 0
    printed.append(out.getvalue())
    return run_folder(out_dir)


@pytest.fixture(scope="module")
def run(folder):
    """The same run, opened."""
    return open_run(folder)


@pytest.fixture
def one_figure(monkeypatch):
    """For runs whose figures are not the question."""
    table = {"final_accuracy": init_convergence.FIGURES["final_accuracy"]}
    monkeypatch.setattr(init_convergence, "FIGURES", table)


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
    assert data["frozen_step"].dims == ("model", "member")
    assert (data["frozen_step"].values == -1).all()
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
    pixels = (test.images / 255.0 - inputs["mean"]) / inputs["std"]
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
        assert facts["plans"][entry]["wave"] == 4
        assert facts["plans"][entry]["num_devices"] == 4
    assert facts["inputs"]["shape"] == [8, 8, 3]
    assert facts["inputs"]["class_names"] == ["cat", "dog"]
    assert facts["command"].startswith("python -m experiments.init_convergence --dataset=")
    assert facts["data"]["source"] == "procedural"
    assert facts["machine"]["backend"] == "cpu"
    assert facts["recipe"]["num_members"] == 3


def test_the_figures_are_pictures(folder):
    names = {path.name for path in (folder / "figures").iterdir()}
    assert names == {
        f"{name}.png"
        for name in (
            "learning_curves",
            "final_accuracy",
            "disagreement",
            "weight_distance",
            "trajectories",
            "first_layer",
            "data_sheet",
        )
    }
    for name in names:
        with Image.open(folder / "figures" / name) as image:
            assert np.asarray(image.convert("L")).std() > 5


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
        assert said.err.startswith("error: all 2 members of mlp:width=8 were lost")
        assert said.err.count("\n") == 1
        assert "mlp:width=8: 2 of 2 members lost" in said.out
    data = open_run(run_folder(tmp_path)).data
    assert (data["frozen_step"].values >= 0).all()
    assert np.isfinite(data["test_loss"].values[:, :, 0]).all()
    assert (run_folder(tmp_path) / "figures" / "data_sheet.png").exists()


MINE = """
import jax
import jax.numpy as jnp
import numpy as np
from catdog_jax.types import Dataset, Model, ModelSpec, Recipe, Split


def build(input_shape, num_classes, *, scale: float = 1.0):
    '''One weight per pixel.'''

    def init(key):
        size = int(np.prod(input_shape))
        return {"w": scale * jax.random.normal(key, (size, num_classes)) / size**0.5}

    def apply(params, images):
        return images.reshape(len(images), -1) @ params["w"]

    return init, apply


def fragile(input_shape, num_classes):
    '''Some starts are lost at once.'''
    model = build(input_shape, num_classes)

    def init(key):
        lost = jax.random.uniform(jax.random.fold_in(key, 1)) < 0.5
        return jax.tree.map(lambda w: jnp.where(lost, jnp.nan, w), model[0](key))

    return init, model[1]


def hopeless(input_shape, num_classes):
    '''All are lost.'''
    init, apply = build(input_shape, num_classes)
    return init, lambda params, images: apply(params, images) * jnp.nan


SHORT = ModelSpec(build, "mine", {"default": Recipe(5, 8, "sgd", 0.01)})
LONG = ModelSpec(build, "mine", {"default": Recipe(9, 8, "adam", 0.01)})


def load(*, image_size: int = 0, num: int = 24):
    '''Bright and dark squares, three bright ones to each dark one.'''
    size = image_size or 8
    labels = (np.arange(num) % 4 == 3).astype(np.int32)
    noise = np.random.default_rng(0).integers(0, 100, (num, size, size, 3))
    images = (noise + 100 * (1 - labels)[:, None, None, None]).astype(np.uint8)
    part = Split(images, labels, tuple(str(i) for i in range(num)))
    none = Split(images[:0], labels[:0], ())
    return Dataset("squares", part, none, part, ("bright", "dark"), {"source": "mine"})
"""


@pytest.fixture
def mine(tmp_path, monkeypatch, request):
    """The name of a module of one's own, importable from here."""
    name = f"mine_{request.node.name.split('[')[0]}"
    (tmp_path / f"{name}.py").write_text(textwrap.dedent(MINE))
    monkeypatch.syspath_prepend(tmp_path)
    return name


def test_a_model_and_a_data_set_of_ones_own(tmp_path, mine, run_folder, capsys):
    models = [f"{mine}.SHORT:scale=0.5", f"{mine}.LONG"]
    argv = ["x", f"--dataset={mine}.load:num=40", f"--models={','.join(models)}"]
    argv += ["--num_members=2", "--eval_every=3", f"--out_dir={tmp_path / 'runs'}"]
    module = init_convergence
    assert launcher.launch(argv, "experiments.init_convergence", module.Config, module.run) == 0
    said = capsys.readouterr().out
    run = open_run(run_folder(tmp_path / "runs"))
    data = run.data
    assert data["model"].values.tolist() == models
    assert data.sizes["example"] == 40
    assert data["class"].values.tolist() == ["bright", "dark"]
    # The shorter one repeats its last evaluation.
    assert data["step"].values.tolist() == [[0, 3, 5, 5], [0, 3, 6, 9]]
    for name in ("train_loss", "test_loss", "test_accuracy", "sketch"):
        values = data[name].values
        assert np.array_equal(values[0, :, 2], values[0, :, 3])
        assert name == "test_accuracy" or not np.array_equal(values[1, :, 2], values[1, :, 3])
    assert run.params[models[0]]["w"].shape == (2, 192, 2)

    assert " balanced " in said
    head, *rows = said[said.rindex("model  ") :].splitlines()
    for row, values in zip(rows, data["test_balanced_accuracy"].values, strict=False):
        end = head.index("balanced") + len("balanced")
        assert row[:end].split()[-1] == f"{values.mean():.3f}"
    assert "balanced" in head


def test_some_members_lost_leave_the_others_and_are_counted(
    tmp_path, mine, run_here, run_folder, capsys
):
    flags = (f"--models={mine}.build,{mine}.fragile", "--num_members=8", "--num_steps=4")
    assert run_here(tmp_path / "runs", *flags) == 0
    said = capsys.readouterr().out
    data = open_run(run_folder(tmp_path / "runs")).data
    steady, lost = data["frozen_step"].values
    assert (steady == -1).all()
    assert set(lost) == {-1, 0}
    alive = lost == -1
    count = int((~alive).sum())
    assert f"{mine}.fragile: {count} of 8 members lost" in said
    # Where they live, the two models are the same formula with the same keys.
    logits = data["logits"].values
    assert np.array_equal(logits[0, alive], logits[1, alive])
    assert np.isnan(logits[1, ~alive]).all()
    accuracy = data["test_accuracy"].values[1, alive, -1].astype(np.float64)
    row = [line for line in said.splitlines() if line.startswith(f"{mine}.fragile ")][-1].split()
    assert row[2] == f"{accuracy.mean():.3f}"


def test_a_model_that_loses_all_leaves_the_other_models_alone(
    tmp_path, mine, run_here, run_folder, capsys
):
    assert run_here(tmp_path / "runs", f"--models={mine}.hopeless,linear", "--num_steps=4") == 1
    said = capsys.readouterr()
    assert said.err.startswith(f"error: all 2 members of {mine}.hopeless were lost")
    assert said.err.count("\n") == 1
    data = open_run(run_folder(tmp_path / "runs")).data
    assert (data["frozen_step"].values == [[0, 0], [-1, -1]]).all()
    assert np.isfinite(data.sel(model="linear")["logits"].values).all()
    assert [line for line in said.out.splitlines() if line.startswith("linear ")][-1].count(
        "–"
    ) == 0


def test_photographs_of_ones_own(tmp_path, shared_data, run_here, run_folder, one_figure, capsys):
    photos = tmp_path / "photos"
    for part, label, count in (
        ("train", "cat", 6),
        ("train", "dog", 5),
        ("test", "cat", 6),
        ("test", "dog", 2),
    ):
        (photos / part / label).mkdir(parents=True)
        for path in sorted((shared_data / "photos" / part / label).iterdir())[:count]:
            shutil.copy(path, photos / part / label)
    (photos / "train" / "cat" / "broken.jpg").write_text("not a picture")
    flags = ("--dataset=folder", f"--data_dir={photos}", "--batch_size=4", "--num_steps=4")
    assert run_here(tmp_path / "runs", *flags) == 0
    said = capsys.readouterr().out
    assert " balanced " in said
    first = run_folder(tmp_path / "runs")
    with open(first / "files.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [(row["path"], row["action"]) for row in rows] == [("train/cat/broken.jpg", "skipped")]
    assert rows[0]["reason"]
    run = open_run(first)
    assert sorted(run.data["label"].values) == [0] * 6 + [1] * 2
    assert all(str(name).startswith("test/") for name in run.data["example_id"].values)
    assert str(photos) not in run.manifest["command"]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("catdog_jax.data.folder.decode_many", None)  # the cache has it all
        assert run_here(tmp_path / "again", *flags) == 0
    second = run_folder(tmp_path / "again")
    for name in ("files.csv", "results.nc"):
        assert (second / name).read_bytes() == (first / name).read_bytes()


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
