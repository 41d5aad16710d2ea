"""Models, data sets and photographs of one's own, and models whose members diverge."""

import csv
import shutil

import numpy as np
import pytest

from catdog_jax import open_run
from experiments import init_convergence


def test_a_model_and_a_data_set_of_ones_own(tmp_path, mine, run_folder, capsys):
    models = [f"{mine}.SHORT:scale=0.5", f"{mine}.LONG"]
    argv = [f"--dataset={mine}.load:num=40", f"--models={','.join(models)}"]
    argv += ["--num_members=2", "--eval_every=3", f"--out_dir={tmp_path / 'runs'}"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("experiments._experiment.draw", lambda *_: None)
        assert init_convergence.main(argv) == 0
    said = capsys.readouterr().out
    assert f"note: {', '.join(models)} gets pictures as they are, uint8 0..255" in said
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

    lines = said.splitlines()
    at = next(i for i, line in enumerate(lines) if line.startswith("model ") and "balanced" in line)
    head, *rows = lines[at:]
    end = head.index("balanced") + len("balanced")
    for row, values in zip(rows, data["test_balanced_accuracy"].values, strict=False):
        assert row[:end].split()[-1] == f"{values.mean():.3f}"


def test_odd_names_and_weights_that_are_no_picture(tmp_path, mine, run_folder):
    argv = [f"--dataset={mine}.odd", f"--models={mine}.colours", "--num_members=2"]
    argv += ["--num_steps=2", "--batch_size=4", f"--out_dir={tmp_path / 'runs'}"]
    assert init_convergence.main(argv) == 0
    folder = run_folder(tmp_path / "runs")
    data = open_run(folder).data
    assert data["example_id"].values[:2].tolist() == ["0\\udc80", "1\\udc80"]
    assert data["class"].values.tolist() == ["bright", "dark\\udc81"]
    drawn = {path.stem for path in (folder / "figures").iterdir()}
    assert drawn == set(init_convergence.FIGURES) - {"first_layer"}


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("--models={}.too_many", r"makes (2, 3) of 2 examples; apply must return logits [2, 2]"),
        ("--models={}.broken", "on uint8 (8, 8, 3) fails (KeyError: 'v'); mend its apply"),
        ("--models={}.raising", "fails (LookupError: no weights here); mend its builder"),
        ("--models={}.nowhere", "logits that are not finite for the first two training examples"),
        ("--models={}.slashes", "the names of its params are ['a', 'b', 'a/b']; none may hold '/'"),
        ("--models=linear --dataset={}.empty --image_size=0", "its test part has inputs uint8 (0,"),
    ],
)
def test_what_a_run_cannot_use_is_refused_before_it_starts(
    flags, message, tmp_path, mine, run_here, capsys
):
    assert run_here(tmp_path / "runs", *flags.format(mine).split()) == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1
    assert not (tmp_path / "runs").exists()


def test_members_that_diverge_at_the_last_step_are_marked(tmp_path, run_here, run_folder):
    flags = ("--models=linear", "--num_steps=1", "--learning_rate=1e20", "--weight_decay=1e20")
    assert run_here(tmp_path / "runs", *flags) == 1
    assert open_run(run_folder(tmp_path / "runs")).data["diverged_step"].values.tolist() == [[1, 1]]


def test_members_that_diverge_leave_the_others_alone_and_are_counted(
    tmp_path, mine, run_here, run_folder, capsys
):
    models = f"--models={mine}.build,{mine}.fragile,{mine}.hopeless"
    assert run_here(tmp_path / "runs", models, "--num_members=8", "--num_steps=4") == 1
    said = capsys.readouterr()
    *_, last = said.err.splitlines()
    assert last.startswith(f"error: all 8 members of {mine}.hopeless diverged")
    data = open_run(run_folder(tmp_path / "runs")).data
    steady, some, every = data["diverged_step"].values
    assert (steady == -1).all()
    assert (every == 0).all()
    assert set(some) == {-1, 0}
    alive = some == -1
    assert f"{mine}.fragile: {int((~alive).sum())} of 8 members diverged" in " ".join(
        said.out.split()
    )
    # Where they live, the two models are the same formula with the same keys.
    logits = data["logits"].values
    assert np.array_equal(logits[0, alive], logits[1, alive])
    assert np.isnan(logits[1, ~alive]).all()
    accuracy = data["test_accuracy"].values[1, alive, -1].astype(np.float64)
    lines = said.out.splitlines()
    block = lines[next(i for i, line in enumerate(lines) if "± starts" in line) :]
    row = next(line for line in block if line.startswith("fragile ")).split()
    assert row[1] == f"{accuracy.mean():.3f}"


def test_photographs_of_ones_own(tmp_path, shared_data, run_here, run_folder, capsys):
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
        patch.setattr("catdog_jax.data.pictures.decode_many", None)  # the cache has it all
        assert run_here(tmp_path / "again", *flags) == 0
    second = run_folder(tmp_path / "again")
    for name in ("files.csv", "results.nc"):
        assert (second / name).read_bytes() == (first / name).read_bytes()


def test_logits_of_half_precision_are_kept_as_float32(tmp_path, mine, run_here, run_folder):
    assert run_here(tmp_path, f"--models={mine}.half", "--num_steps=2") == 0
    assert open_run(run_folder(tmp_path)).data["logits"].dtype == np.float32


def test_the_traceback_of_a_persons_own_code_is_shown_where_it_is_asked_for(
    tmp_path, mine, run_here, capsys
):
    assert run_here(tmp_path, f"--models={mine}.raising", "--verbose") == 2
    said = capsys.readouterr().err.splitlines()
    assert said[-1].startswith("error: model ")
    (place,) = [line for line in said if line.startswith("  File ")]
    assert "in raising" in place
