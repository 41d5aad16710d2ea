"""The results of a finished run are whole, and read back with every member's params."""

import os
import re
import shutil

import jax
import numpy as np
import pytest
import xarray as xr

from catdog_jax.store import Run, StoreError, open_run
from catdog_jax.types import InputError


def test_a_finished_run_holds_one_results_file_and_nothing_temporary(finished):
    files = sorted(str(p.relative_to(finished.path)) for p in finished.path.rglob("*"))
    assert files == [
        "files.csv",
        "lock",
        "manifest.json",
        "results.nc",
        "waves",
        "waves/00_mlp",
        "waves/00_mlp/wave_00000.npz",
        "waves/00_mlp/wave_00000.params.npz",
        "waves/00_mlp/wave_00001.npz",
        "waves/00_mlp/wave_00001.params.npz",
    ]


@pytest.mark.parametrize("below", ["", "results.nc"])
def test_a_run_is_read_back(finished, scenario, below):
    run = open_run(finished.path / below)
    assert isinstance(run, Run)
    assert run.path == finished.path
    assert run.manifest == finished.manifest
    logits = [scenario.wave_arrays(wave)["logits"] for wave in (0, 1)]
    np.testing.assert_array_equal(run.data["logits"].values[0], np.concatenate(logits))
    assert run.data["logits"].dtype == np.float32
    assert run.data["model"].values.tolist() == ["mlp"]
    assert run.data.attrs == {"experiment": "demo", "num_steps": 3}


def test_the_file_is_closed_and_the_data_in_memory(finished):
    run = open_run(str(finished.path))
    shutil.rmtree(finished.path)
    assert np.isfinite(run.data["logits"]).all()


def test_params_are_stacked_over_waves(finished, scenario):
    run = open_run(finished.path)
    assert list(run.params) == ["mlp"]
    assert len(run.params) == 1
    stacked = run.params_like("mlp", scenario.wave_params(0))
    waves = [scenario.wave_params(0), scenario.wave_params(1)]
    assert scenario.same(stacked, jax.tree.map(lambda *x: np.concatenate(x), *waves))
    assert scenario.same(run.params["mlp"]["dense"]["bias"], stacked["dense"].bias)
    assert stacked["dense"].weights.shape == (4, 3, 2)
    with pytest.raises(StoreError, match="the params of 'mlp' lacks other"):
        run.params_like("mlp", {**scenario.wave_params(0), "other": 0})
    with pytest.raises(KeyError):
        run.params["cnn"]


def test_a_run_that_is_growing_is_read_as_it_was(finished, scenario):
    out_dir = finished.path.parents[1]
    more = scenario.RECIPE | {"num_members": 6}
    with scenario.RunFolder.open(out_dir, "demo", "x", more) as folder:
        folder.save_wave("00_mlp", 2, scenario.wave_arrays(2), scenario.wave_params(2))
        folder.save_checkpoint("00_mlp", 3, 1, scenario.state(1))
    run = open_run(finished.path)
    assert run.data.sizes["member"] == 4
    assert run.params["mlp"]["dense"]["bias"].shape == (4, 2)


def test_every_kind_of_variable_comes_back(folder):
    dataset = xr.Dataset(
        {
            "loss": (("model", "member"), np.array([[np.nan, np.inf, -0.0]], np.float32)),
            "diverged_step": (("model", "member"), np.array([[-1, 2, 3]], np.int32)),
            "flag": ("member", np.array([True, False, True])),
            "key": ("member", np.array([0, 1, 2**32 - 1], np.uint32)),
        },
        coords={"model": ["mlp:width=256 ü"], "class": ["cat", "dog"]},
        attrs={"title": "größe", "rate": 0.1, "steps": [1, 2], "empty": ""},
    )
    folder.write_results(dataset)
    assert folder.finished
    data = open_run(folder.path).data
    xr.testing.assert_equal(data, dataset)
    assert {k: v.dtype for k, v in data.items()} == {k: v.dtype for k, v in dataset.items()}
    assert data["loss"].values.tobytes() == dataset["loss"].values.tobytes()
    assert {k: np.asarray(v).tolist() for k, v in data.attrs.items()} == dataset.attrs


def test_the_same_results_give_the_same_bytes(finished, scenario):
    other = scenario.train(finished.path.parents[1] / "other")
    assert (other.path / "results.nc").read_bytes() == (finished.path / "results.nc").read_bytes()


def test_damaged_results_are_named_and_written_again(finished, scenario, caplog):
    path = finished.path / "results.nc"
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    with pytest.raises(InputError) as caught:
        open_run(finished.path)
    assert str(caught.value) == (
        f"{path} is damaged; run the command of this run again to write it anew"
    )
    assert caplog.messages == [f"{path} is damaged (its digest differs)"]
    again = scenario.train(finished.path.parents[1])
    assert path.read_bytes() == whole
    assert len(again.manifest["results"]) == 1


def test_missing_results_are_written_again(finished, scenario):
    whole = (finished.path / "results.nc").read_bytes()
    (finished.path / "results.nc").unlink()
    with pytest.raises(InputError, match=r"x' is not finished; run its command again to go on$"):
        open_run(finished.path)
    scenario.train(finished.path.parents[1])
    assert (finished.path / "results.nc").read_bytes() == whole


def test_damaged_params_are_named_with_the_way_out(finished, scenario):
    path = finished.path / "waves/00_mlp/wave_00001.params.npz"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    run = open_run(finished.path)
    assert run.data.sizes["member"] == 4
    with pytest.raises(StoreError) as caught:
        run.params["mlp"]
    assert str(caught.value) == (
        f"{path} is damaged (BadZipFile: File is not a zip file); remove results.nc and run the "
        "command of this run again to train that wave anew"
    )
    os.remove(finished.path / "results.nc")
    scenario.train(finished.path.parents[1])
    assert path.read_bytes() == whole
    path.unlink()
    with pytest.raises(StoreError, match="has the params of 2 members, not 4"):
        open_run(finished.path).params["mlp"]


@pytest.mark.parametrize("below", ["nowhere", "", "file", "results.nc", "alone/results.nc"])
def test_what_is_no_run_is_named(tmp_path, below):
    (tmp_path / "file").write_text("")
    (tmp_path / "alone").mkdir()
    (tmp_path / "alone/results.nc").write_text("")
    path = tmp_path / below
    message = re.escape(f"no run at '{path}': there is no manifest.json; give the folder that a ")
    with pytest.raises(InputError, match=message):
        open_run(path)


def test_results_that_cannot_be_read_are_named(finished, monkeypatch):
    def refuse(folder, facts):
        raise PermissionError(13, os.strerror(13), str(folder / "results.nc"))

    monkeypatch.setattr("catdog_jax.store.results.intact_record", refuse)
    with pytest.raises(InputError) as caught:
        open_run(finished.path)
    assert str(caught.value) == (
        f"cannot read {finished.path}/results.nc: Permission denied; give a run folder that can "
        "be read"
    )
