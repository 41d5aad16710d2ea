"""connectivity from its flags to its files: what it measures, and what it refuses."""

import numpy as np
import pytest

import catdog_jax as cj
from catdog_jax.analysis.connectivity import ALIGNMENTS
from catdog_jax.run import train
from experiments import connectivity

SMALL = (
    "--dataset=procedural:num_train=64:num_valid=16:num_test=32",
    "--image_size=8",
    "--models=mlp:depth=1",
    "--widths=4",
    "--num_members=3",
    "--num_steps=6",
    "--batch_size=16",
    "--name=x",
)
PAIRS = ("model", "pair", "alignment")
NAMES = {  # what others read
    "loss_barrier": (*PAIRS, "split"),
    "error_barrier": (*PAIRS, "split"),
    "line_loss": (*PAIRS, "split", "point"),
    "line_error": (*PAIRS, "split", "point"),
    "mixing": ("point",),
    "first": ("pair",),
    "second": ("pair",),
    "weight_distance": PAIRS,
    "picture_gap": (*PAIRS, "example"),
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory, machine):
    """A finished run."""
    out_dir = tmp_path_factory.mktemp("connectivity")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("experiments._experiment.draw", lambda *_: None)
        assert connectivity.main([*SMALL, f"--out_dir={out_dir}"]) == 0
        yield cj.open_run(out_dir / "connectivity" / "x")


def test_the_results_have_their_names_and_say_what_each_number_is(whole):
    data = whole.data
    for name, dims in NAMES.items():
        assert data[name].dims == dims, name
    assert tuple(data["alignment"].values) == ALIGNMENTS
    assert data["split"].values.tolist() == ["train", "test"]
    assert (data["first"].values.tolist(), data["second"].values.tolist()) == ([0, 0, 1], [1, 2, 2])
    assert data["model"].values.tolist() == ["mlp:depth=1:width=4"]
    assert (data["width"].values.tolist(), data["depth"].values.tolist()) == ([4], [1])
    np.testing.assert_allclose(data["mixing"], np.linspace(0, 1, 25))
    for name in data.data_vars:
        assert data[name].attrs.get("long_name"), name
    assert (data["identity_error"].sel(alignment=["none", "weights"]) < 1e-4).all()
    assert max(map(len, connectivity.table(whole).splitlines())) <= 80


def test_the_ends_of_the_lines_are_the_members_that_were_trained(whole):
    for label, one in whole.populations.items():
        line = whole.data["line_error"].sel(model=label, split="test", alignment="weights")
        wrong = 1 - one.arrays["test_accuracy"][:, -1]
        np.testing.assert_allclose(line[:, 0], wrong[whole.data["first"]], atol=1e-6)
        np.testing.assert_allclose(line[:, -1], wrong[whole.data["second"]], atol=1e-6)


def test_a_run_stopped_before_its_end_trains_nothing_and_ends_in_the_same_bytes(whole, monkeypatch):
    before = (whole.path / "results.nc").read_bytes()
    (whole.path / "results.nc").unlink()
    monkeypatch.setattr(train, "train_population", None)
    monkeypatch.setattr("experiments._experiment.draw", lambda *_: None)
    assert connectivity.main([*SMALL, f"--out_dir={whole.path.parents[1]}"]) == 0
    assert (whole.path / "results.nc").read_bytes() == before


def test_members_of_another_run_are_taken(source, tmp_path, run_folder):
    flags = ["--models=linear,mlp:width=8", "--alignments=weights", "--nomerge", "--examples=20"]
    assert connectivity.main([f"--run={source}", *flags, f"--out_dir={tmp_path}"]) == 0
    data = cj.open_run(run_folder(tmp_path)).data
    assert data.sizes["example"] == 20
    assert float(data["loss_barrier"].sel(model="linear", alignment="none").max()) < 1e-5
    assert data["loss_barrier"].sel(alignment="repair").isnull().all()
    assert data["width"].values.tolist() == [0, 8]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--models=mlp:norm=group"], "group normalisation has no free permutation"),
        (["--models=linear", "--widths=2"], "--widths is of mlp, cnn, resnet, not of 'linear'"),
        (["--models=mlp:width=3", "--widths=2"], "'width' is given twice"),
        (["--alignments=weight"], "did you mean 'weights'"),
        (["--run=x", "--widths=2"], "--widths and --depths cannot follow --run"),
        (["--num_members=1"], "give a whole number ≥ 2"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(flags, message, tmp_path, capsys):
    out_dir, own = tmp_path / "runs", [x for x in SMALL[:2] if "--run=x" not in flags]
    assert connectivity.main([*own, *flags, f"--out_dir={out_dir}"]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1
    assert not out_dir.exists()


def test_sizes_become_settings_of_each_family():
    assert connectivity.sized("cnn,mlp", "1,2", "3") == (
        "cnn:widths=4-8-16:convs=3,cnn:widths=8-16-32:convs=3,mlp:width=1:depth=3,"
        "mlp:width=2:depth=3"
    )
