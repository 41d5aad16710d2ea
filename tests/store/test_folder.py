"""A run is started, continued, grown, refused; never overwritten."""

import errno
import json
import os
import re
import stat
import threading
from pathlib import Path

import jax
import numpy as np
import pytest
import scenario

from catdog_jax.store import RunFolder, StoreError, manifest, run_name
from catdog_jax.store import folder as folder_module
from catdog_jax.types import FileNote, InputError

MODEL = "00_mlp"
RECIPE = {"learning_rate": 0.1, "num_members": 4, "models": ["linear", "mlp"]}


def start(out_dir, recipe=RECIPE, **more):
    return RunFolder.open_or_create(out_dir / "demo", "x", recipe, **more)


def refusal(out_dir, recipe=RECIPE, error=InputError):
    with pytest.raises(error) as caught:
        start(out_dir, recipe)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def contents(path):
    return {p: p.read_bytes() for p in path.rglob("*") if p.is_file() and p.name != "lock"}


def test_a_new_run_has_a_manifest_that_others_can_read(tmp_path, monkeypatch, caplog):
    with start(tmp_path) as run:
        run.update_manifest(plan={"wave": np.int64(8)}, path=tmp_path, rate=np.float32(np.nan))
        written = json.loads((tmp_path / "demo/x/manifest.json").read_text())
    assert (written["experiment"], written["name"], written["recipe"]) == ("demo", "x", RECIPE)
    versions = manifest.versions()
    assert written["sessions"][0]["versions"] == versions
    assert (versions["numpy"], versions["jax"]) == (np.__version__, jax.__version__)
    monkeypatch.setenv("XLA_FLAGS", "--xla_b=2 --xla_force_host_platform_device_count=2 --xla_a=1")
    assert manifest.versions()["XLA_FLAGS"] == "--xla_a=1 --xla_b=2"
    monkeypatch.setattr(manifest, "versions", lambda: versions | {"jax": "0.0.1"})
    with start(tmp_path, {**dict(reversed(RECIPE.items())), "models": ("linear", "mlp")}) as run:
        assert (run.manifest["plan"], run.manifest["path"]) == ({"wave": 8}, str(tmp_path))
        assert np.isnan(run.manifest["rate"])
        assert len(run.manifest["sessions"]) == 2
    assert caplog.messages == [
        f"run 'x' was begun with jax {jax.__version__}: from here on its bits may differ"
    ]


def test_other_settings_are_refused_and_up_to_three_named(tmp_path):
    start(tmp_path, RECIPE | {"a": 1, "b": 2}).close()
    before = contents(tmp_path)
    assert refusal(tmp_path, RECIPE | {"a": 1}) == (
        "run 'x' was made with b=2, not unset; choose another --name, or repeat its settings"
    )
    other = {"learning_rate": 1, "num_members": 4, "models": [], "a": "x\ny", "new": 0}
    assert refusal(tmp_path, other) == (
        'run \'x\' was made with learning_rate=0.1, not 1 and models=["linear","mlp"], not [] and '
        'a=1, not "x\\ny" and 2 more; choose another --name, or repeat its settings'
    )
    assert contents(tmp_path) == before


def test_growing_keeps_the_old_members_and_a_finished_run_is_not_touched(tmp_path):
    first = scenario.train(tmp_path, members=4)
    waves = {p: p.stat().st_mtime_ns for p in first.path.rglob("*.npz")}
    grown = scenario.train(tmp_path, members=6)
    assert {p: p.stat().st_mtime_ns for p in waves} == waves
    assert [record["recipe"]["num_members"] for record in grown.manifest["results"]] == [4, 6]
    before = contents(tmp_path)
    for members in (6, 4, 2):
        again = scenario.train(tmp_path, members)
        assert again.finished
        assert again.recipe["num_members"] == 6
    assert contents(tmp_path) == before


def test_fresh_starts_another_beside_it(tmp_path):
    for name in ("x", "x-2", "x-3"):
        with start(tmp_path, fresh=True) as run:
            assert run.path == tmp_path / "demo" / name


def test_a_folder_is_taken_where_it_is_empty_but_for_what_a_kill_leaves(tmp_path):
    (tmp_path / "demo/x").mkdir(parents=True)
    (tmp_path / "demo/x/.manifest.json.host-1.tmp").write_text("{")
    start(tmp_path).close()
    assert sorted(os.listdir(tmp_path / "demo/x")) == ["lock", "manifest.json"]
    (tmp_path / "demo/x/manifest.json").rename(tmp_path / "demo/x/thesis.tex")
    assert refusal(tmp_path) == (
        f"{tmp_path}/demo/x is no run folder: it holds 'thesis.tex' and no manifest.json; "
        "choose another --name"
    )


def test_a_manifest_that_is_damaged_edited_or_old_is_named(tmp_path):
    with start(tmp_path) as run:
        found, file = run.manifest, run.path / "manifest.json"
    whole = file.read_bytes()
    wrong = [b"", b"[]", b'{"recipe": {}, "results": []}', whole.replace(b"0.1", b"0.2")]
    for content in wrong:
        file.write_bytes(content)
        assert refusal(tmp_path).startswith(f"{file} is damaged, was edited, or is of another ")
        assert file.read_bytes() == content
    file.write_bytes(whole)
    assert manifest.read(file.parent) == found


def test_names(tmp_path):
    for name in ("", ".", "..", "a/b", ".x", "x.", "a\\b", "a\nb", "a\0b", " x", "x" * 101):
        with pytest.raises(InputError, match="cannot name a folder; use 1 to 100 letters"):
            manifest.check_name(name)
    for stem in ("", "a/b:c d", "../x", "." * 200, "x" * 200, "große"):
        manifest.check_name(run_name(stem, RECIPE))
    assert run_name("golden", {"b": 2, "a": 1}, ignore=["b"]) == "golden-015abd7f"


def test_an_out_dir_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    for out_dir in (tmp_path / "file", tmp_path / "file" / "below", Path("/proc/catdog")):
        assert refusal(out_dir).startswith(f"cannot write to {out_dir}/demo/x (")


def test_one_process_holds_the_folder(tmp_path):
    with start(tmp_path):
        assert f"in use by process {os.getpid()};" in refusal(tmp_path, error=StoreError)
    refusal(tmp_path, {"a": 2})  # lets go of the lock
    start(tmp_path).close()


def test_a_process_that_joins_takes_a_wave_over(tmp_path, monkeypatch):
    monkeypatch.setattr(folder_module, "VISIBLE_SECONDS", 0.3)
    state, observed = scenario.state(2), scenario.observed(0)
    with start(tmp_path) as first:
        session = first.manifest["sessions"][-1]
        with pytest.raises(InputError, match="is not here as process 0 sees it"):
            RunFolder.join(first.path, 1, {**session, "started": "then"})
        with RunFolder.join(first.path, 1, session) as dead:
            dead.save_checkpoint(MODEL, 0, 2, state)
        with RunFolder.join(first.path, 2, session) as other:
            other.update_manifest(timings={"mlp": 1})
            found = other.load_checkpoint(MODEL, 0, scenario.state(0))
            assert scenario.same(found, (2, state))
            with pytest.raises(StoreError, match=r"wave_00000\.npz is missing or damaged; rerun"):
                first.await_wave(MODEL, 0)
            wave = (MODEL, 0, observed, scenario.params(0))
            threading.Timer(0.1, other.save_wave, wave).start()
            assert scenario.same(first.await_wave(MODEL, 0), scenario.wave(0))
            assert scenario.same(other.load_wave(MODEL, 0), scenario.wave(0))
            assert other.manifest == {"timings": {"mlp": 1}}
            first.close()
            assert "is in use" in refusal(tmp_path, error=StoreError)
    with start(tmp_path) as run:
        assert "timings" not in run.manifest


def test_the_last_two_checkpoints_are_kept_and_a_damaged_one_is_skipped(folder, caplog):
    for step in (2, 9, 10, 100):
        folder.save_checkpoint(MODEL, 0, step, scenario.state(step))
    place = folder.path / "checkpoints/00_mlp/wave_00000"
    assert sorted(os.listdir(place)) == ["10.npz", "100.npz"]
    (place / "100.npz").write_bytes((place / "100.npz").read_bytes()[:-1])
    found = folder.load_checkpoint(MODEL, 0, scenario.state(0))
    assert scenario.same(found, (10, scenario.state(10)))
    (message,) = caplog.messages
    assert re.fullmatch(rf"{place}/100.npz is damaged \(.*\); trying the one before", message)
    (place / "10.npz").write_bytes(b"")
    assert folder.load_checkpoint(MODEL, 0, scenario.state(0)) is None


def test_a_wave_comes_back_and_a_damaged_one_is_named(folder, caplog):
    observed, params = scenario.observed(0), scenario.params(0)
    for model in (MODEL, "01_ü/../" + "x" * 300):
        assert folder.load_wave(model, 0) is None
        folder.save_checkpoint(model, 0, 1, scenario.state(1))
        folder.save_wave(model, 0, observed, params)
        assert scenario.same(folder.load_wave(model, 0), scenario.wave(0))
    assert not list(folder.path.glob("checkpoints/*/*"))
    one, other = folder.path.glob("waves/*/wave_00000.npz")
    one.write_bytes(one.read_bytes()[:-1])
    other.write_bytes(other.read_bytes()[:-1])
    assert folder.load_wave(MODEL, 0) is None
    (message,) = caplog.messages
    assert re.fullmatch(r".*/00_mlp/wave.*is damaged \(.*\); this wave is trained again", message)


def test_files_csv_lists_what_was_not_used_as_it_is(folder):
    notes = [FileNote("cats/a,b.jpg", "skipped", '"12 bytes"'), FileNote("\udcff.png", "a", "b")]
    folder.write_files(notes)
    assert (folder.path / "files.csv").read_text(encoding="utf-8") == (
        'path,action,reason\n"cats/a,b.jpg",skipped,"""12 bytes"""\n\\udcff.png,a,b\n'
    )


def test_a_wave_in_the_place_of_another_is_damaged(folder, caplog):
    for number in range(2):
        folder.save_wave(MODEL, number, {"x": np.zeros(3)}, {"w": np.full(3, number)})
    place = folder.path / "waves/00_mlp"
    os.replace(place / "wave_00001.npz", place / "wave_00000.npz")
    assert folder.load_wave(MODEL, 0) is None
    assert "it is another file" in caplog.text


def test_a_finished_run_that_may_only_be_read_is_opened(tmp_path, monkeypatch):
    path = scenario.train(tmp_path).path
    before = contents(path)

    def refuse(file):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(folder_module, "hold", refuse)
    with RunFolder.open_or_create(path.parent, path.name, scenario.RECIPE) as run:
        assert run.finished
    assert contents(path) == before
    (path / "results.nc").unlink()
    with pytest.raises(InputError, match="cannot write to"):
        RunFolder.open_or_create(path.parent, path.name, scenario.RECIPE)


def test_a_share_that_syncs_no_folder_has_the_file_all_the_same(tmp_path, monkeypatch):
    sync = os.fsync

    def fsync(number):
        if stat.S_ISDIR(os.fstat(number).st_mode):
            raise OSError(errno.EINVAL, "Invalid argument")
        sync(number)

    monkeypatch.setattr(os, "fsync", fsync)
    start(tmp_path).close()
    assert json.loads((tmp_path / "demo/x/manifest.json").read_text())["recipe"] == RECIPE
