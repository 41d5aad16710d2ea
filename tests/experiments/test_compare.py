"""Comparisons from the command line: three sources, one answer; a gate's verdict and resume."""

import json

import numpy as np
import pytest

from catdog_jax import open_run
from catdog_jax.analysis.comparison import SCALARS, difference
from catdog_jax.store import RunFolder
from experiments import compare

SMALL = (
    "--dataset=procedural:num_train=64:num_valid=8:num_test=64",
    "--image_size=8",
    "--models=mlp:width=8",
    "--num_members=4",
    "--num_steps=12",
    "--batch_size=16",
)


@pytest.fixture(autouse=True)
def plain(monkeypatch):
    monkeypatch.setattr("experiments._experiment.draw", lambda *_: None)


@pytest.fixture(scope="module")
def itself(tmp_path_factory, run_folder, machine):
    """A run of a recipe against itself."""
    out_dir = tmp_path_factory.mktemp("itself")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("experiments._experiment.draw", lambda *_: None)
        assert compare.main([*SMALL, "--recipe_b=", f"--out_dir={out_dir}"]) == 0
    return open_run(run_folder(out_dir))


def of(path, name):
    return open_run(path / "compare" / name)


def test_a_recipe_against_itself_has_other_members(itself, tmp_path):
    logits = [one.arrays["test_logits"] for one in itself.populations.values()]
    right = np.stack(logits).argmax(-1) == itself.populations["A"].data.test.labels
    np.testing.assert_array_equal(itself.data["right"].values, right)
    numbers = [float(itself.data[name]) for name in SCALARS]
    np.testing.assert_allclose(numbers[:3], difference(*right)[:3])
    assert numbers[1] < 0 < numbers[2]
    assert (itself.data["test_accuracy"][0] != itself.data["test_accuracy"][1]).any()
    # B has the members that A has at the next seeds; what does not vary, both share.
    seeds = [f"--{name}_seed=1" for name in ("init", "order", "augment")]
    flags = (*SMALL, "--recipe_b=", "--name=x", f"--out_dir={tmp_path}")
    assert compare.main([*flags, *seeds]) == 0
    np.testing.assert_array_equal(of(tmp_path, "x").data["right"][0], right[1])
    assert compare.main([*flags[:-2], "--vary=init", "--name=y", flags[-1]]) == 0
    of_b = of(tmp_path, "y").manifest["parts"][1]
    assert (of_b["seeds"], list(of_b["streams"])) == ([1, 0, 0, 0], ["init"])


def test_two_runs_and_files_of_logits_give_the_same_answer(itself, tmp_path):
    out_dir, run = f"--out_dir={tmp_path}", itself.path
    sides = (f"--run_a={run}", f"--run_b={run}", "--recipe_a=--models=A", "--recipe_b=--models=B")
    assert compare.main([*sides, "--name=runs", out_dir]) == 0
    for name, one in itself.populations.items():
        np.save(tmp_path / f"{name}.npy", one.arrays["test_logits"].astype(np.float64))
        np.save(tmp_path / "y.npy", one.data.test.labels)
    files = [f"--{k}={tmp_path / v}.npy" for k, v in zip(compare.FILES, "ABy", strict=True)]
    assert compare.main([*files, "--name=files", out_dir]) == 0
    for name in ("runs", "files"):
        data = of(tmp_path, name).data
        for key in (*SCALARS, "right", "resampled", "interquartile_mean"):
            np.testing.assert_array_equal(data[key], itself.data[key], err_msg=f"{name} {key}")


def test_pairs_share_their_seeds(tmp_path, capsys):
    flags = (*SMALL, "--paired", "--recipe_b=", "--name=x", f"--out_dir={tmp_path}")
    assert compare.main(flags) == 0
    data = of(tmp_path, "x").data
    assert [float(data[name]) for name in SCALARS[:3]] == [0.0, 0.0, 0.0]
    assert float(data["seed_correlation"]) == pytest.approx(1.0)
    assert "at equal seeds A and B correlate by 1.00" in capsys.readouterr().out


def last(capsys):
    return json.loads(capsys.readouterr().out.splitlines()[-1])


def test_a_better_recipe_is_let_through_in_one_line(tmp_path, capsys):
    dataset = "--dataset=procedural:difficulty=0:num_train=256:num_valid=8:num_test=256"
    recipes = ("--recipe_a=--num_steps=1 --learning_rate=1e-9", "--recipe_b=--num_steps=60")
    flags = [*SMALL, dataset, "--learning_rate=0.01", "--num_members=8", *recipes]
    flags += ["--gate", "--delta=0", "--name=x", f"--out_dir={tmp_path}"]
    assert compare.main(flags) == 0
    said, run = last(capsys), of(tmp_path, "x")
    assert said["verdict"] == "better"
    assert [said[name] for name in SCALARS[:3]] == [float(run.data[name]) for name in SCALARS[:3]]
    assert said["members"] == run.data.sizes["member"] == 8 * said["wave"]
    assert (said["command"], said["low"] > 0) == (run.manifest["command"], True)
    assert compare.main(flags) == 0
    assert last(capsys) == said


def test_a_gate_that_was_killed_or_undecided_goes_on_to_the_same_end(tmp_path, monkeypatch, capsys):
    class Killed(BaseException):
        """Stands for a kill: nothing catches it."""

    save, saved = RunFolder.save_wave, []

    def dying(*arguments):
        saved.append(arguments)
        if len(saved) == 4:  # A of the second look is kept, B is not
            raise Killed
        save(*arguments)

    found = []
    for name in ("undecided", "killed"):
        flags = [*SMALL, "--gate", "--delta=0.9", "--recipe_b=", "--name=x"]
        flags.append(f"--out_dir={tmp_path / name}")
        if name == "killed":
            with monkeypatch.context() as patch:
                patch.setattr(RunFolder, "save_wave", dying)
                with pytest.raises(Killed):
                    compare.main(flags)
        else:
            assert compare.main([*flags, "--max_members=4"]) == 11
            said = last(capsys)
            assert (said["verdict"], said["members"]) == ("undecided", 4)
        capsys.readouterr()
        assert compare.main(flags) == 10
        found.append((last(capsys), (tmp_path / name / "compare/x/results.nc").read_bytes()))
    assert found[0] == found[1]
    assert (found[0][0]["verdict"], found[0][0]["members"]) == ("not_better", 8)


def test_a_gate_that_is_begun_anew_stays_in_one_folder(tmp_path):
    flags = [*SMALL, "--gate", "--delta=0.9", "--recipe_b=", f"--out_dir={tmp_path}"]
    for folders in (1, 2):
        assert compare.main([*flags, "--fresh"]) == 10  # at its second look
        assert len([*tmp_path.glob("compare/*")]) == folders


def test_files_that_do_not_fit_are_refused_in_one_line(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    arrays = {
        "a": rng.normal(size=(3, 8, 2)),
        "b": rng.normal(size=(2, 8, 2)),
        "short": rng.normal(size=(3, 7, 2)),
        "one": rng.normal(size=(1, 8, 2)),
        "nan": np.full((3, 8, 2), np.nan),
        "y": np.arange(8) % 2,
        "three": np.arange(8) % 3,
        "real": np.ones(8),
    }
    for name, x in arrays.items():
        np.save(f"{name}.npy", x)
    (tmp_path / "text.npy").write_text("0 1")
    for a, b, y, message in (
        ("a", "short", "y", "--logits_a is float64 [3, 8, 2], --logits_b is float64 [3, 7, 2], --"),
        (
            "a",
            "b",
            "real",
            "--labels is float64 [8]; give float [M, N, K] twice, N ≥ 2, and int [N]",
        ),
        ("a", "b", "three", "holds 0 to 2, and the logits have 2 classes; give 0 to 1"),
        ("a", "one", "y", "a recipe has 1 member(s) with finite logits; give 2 at least"),
        ("nan", "b", "y", "a recipe has 0 member(s) with finite logits"),
        ("a", "text", "y", "--logits_b=text.npy: "),
        ("a", "none", "y", "give a .npy file"),
    ):
        files = zip(compare.FILES, (a, b, y), strict=True)
        assert compare.main([f"--{flag}={name}.npy" for flag, name in files]) == 2
        said = capsys.readouterr().err
        assert message in said
        assert said.count("\n") == 1
    files = [f"--{k}={v}.npy" for k, v in zip(compare.FILES, "aby", strict=True)]
    assert compare.main([*files, "--paired"]) == 2
    assert "--paired needs as many members of A as of B" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()
