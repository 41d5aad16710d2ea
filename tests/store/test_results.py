"""The results of a finished run are whole, and read back with every member's params."""

import re
import shutil

import jax
import numpy as np
import pytest
import scenario

from catdog_jax.run import open_run
from catdog_jax.store import StoreError
from catdog_jax.types import InputError


@pytest.mark.parametrize("below", ["", "results.nc"])
def test_a_run_is_read_into_memory(finished, below):
    names = sorted(str(p.relative_to(finished.path)) for p in finished.path.rglob("*.*"))
    waves = [f"waves/00_mlp/wave_0000{wave}.npz" for wave in (0, 1)]
    assert names == ["files.csv", "manifest.json", "results.nc", *waves]
    run = open_run(finished.path / below)
    assert (run.path, run.manifest) == (finished.path, finished.manifest)
    found = run.params["mlp"]["dense"]
    expected = jax.tree.map(lambda *x: np.concatenate(x), scenario.params(0), scenario.params(1))
    shutil.rmtree(finished.path)
    logits = [scenario.observed(wave)["logits"] for wave in (0, 1)]
    np.testing.assert_array_equal(run.data["logits"].values[0], np.concatenate(logits))
    assert run.data.attrs == {"experiment": "demo", "num_steps": 3}
    assert list(run.params) == ["mlp"]
    assert scenario.same(found, expected["dense"]._asdict())


def test_a_run_that_is_growing_is_read_as_it_was(finished):
    more = scenario.RECIPE | {"num_members": 6}
    out_dir = finished.path.parents[1]
    with scenario.RunFolder.open_or_create(out_dir / "demo", "x", more) as folder:
        folder.save_wave(scenario.MODEL, 2, scenario.observed(2), scenario.params(2))
    run = open_run(finished.path)
    assert run.data.sizes["member"] == 4
    assert run.params["mlp"]["dense"]["bias"].shape == (4, 2)


def test_damaged_or_missing_results_are_named_and_written_again(finished, caplog):
    path = finished.path / "results.nc"
    whole = path.read_bytes()
    for damage in (lambda: path.write_bytes(whole[:-1]), path.unlink):
        damage()
        with pytest.raises(InputError) as caught:
            open_run(finished.path)
        words = f"{path} is missing or damaged; rerun the run's command"
        assert str(caught.value) == words
        again = scenario.train(finished.path.parents[1])
        assert path.read_bytes() == whole
        assert len(again.manifest["results"]) == 1
    assert set(caplog.messages) == {f"{path} is damaged (its digest differs)"}


def test_a_damaged_or_foreign_wave_is_named_and_trained_anew(finished):
    path = finished.path / "waves/00_mlp/wave_00001.npz"
    whole = path.read_bytes()
    foreign = path.with_name("wave_00000.npz").read_bytes()
    for content in (whole[:-1], foreign):
        path.write_bytes(content)
        with pytest.raises(StoreError) as caught:
            open_run(finished.path).params["mlp"]
        assert str(caught.value) == (
            f"{path} is missing or damaged; remove results.nc and rerun the command of this run "
            "to train that wave anew"
        )
    path.write_bytes(whole[:-1])
    (finished.path / "results.nc").unlink()
    scenario.train(finished.path.parents[1])
    assert path.read_bytes() == whole


def test_what_is_no_run_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "nowhere", tmp_path, tmp_path / "file", tmp_path / "results.nc"):
        message = re.escape(f"no run at '{path}': there is no manifest.json; give the folder that")
        with pytest.raises(InputError, match=message):
            open_run(path)
