"""A run is started, continued, grown, refused; never overwritten."""

import json
import logging
import os
import re
import threading

import jax
import numpy as np
import pytest

from catdog_jax.store import RunFolder, StoreError, claim, manifest, run_name
from catdog_jax.types import FileNote, InputError

RECIPE = {"learning_rate": 0.1, "num_members": 4, "data_dir": "a", "models": ["linear", "mlp"]}


def start(out_dir, recipe=RECIPE, **more):
    return RunFolder.open(out_dir, "demo", "x", recipe, **more)


def refusal(out_dir, **changes):
    with pytest.raises(InputError) as caught:
        start(out_dir, RECIPE | changes)
    return str(caught.value)


def test_a_new_run_has_a_manifest_with_its_recipe(tmp_path):
    with start(tmp_path) as folder:
        assert folder.path == tmp_path / "demo" / "x"
        assert not folder.finished
        on_disk = json.loads((folder.path / "manifest.json").read_text())
    assert on_disk == folder.manifest
    assert on_disk["recipe"] == RECIPE
    assert (on_disk["experiment"], on_disk["name"]) == ("demo", "x")
    assert on_disk["sessions"][0]["versions"]["numpy"] == np.__version__


def test_facts_are_kept(tmp_path):
    with start(tmp_path) as folder:
        folder.update_manifest(plan={"wave": np.int64(8)}, path=tmp_path, seconds=np.float32(0.5))
    with start(tmp_path) as folder:
        assert folder.manifest["plan"] == {"wave": 8}
        assert folder.manifest["path"] == str(tmp_path)
        assert folder.manifest["seconds"] == 0.5
        assert len(folder.manifest["sessions"]) == 2


def test_other_versions_are_said_once_training_goes_on(tmp_path, monkeypatch, caplog):
    start(tmp_path).close()
    assert caplog.messages == []
    versions = manifest.versions() | {"jax": "0.0.1"}
    monkeypatch.setattr(manifest, "versions", lambda: versions)
    start(tmp_path).close()
    assert caplog.messages == [
        f"run 'x' was begun with jax {jax.__version__} and continues with jax 0.0.1: its bits may "
        "differ from those of an uninterrupted run"
    ]


def test_settings_that_are_no_json_are_refused(tmp_path):
    with pytest.raises(TypeError, match="object is no JSON"):
        start(tmp_path, {"a": object()})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("key", ["recipe", "results"])
def test_the_stores_own_facts_cannot_be_set(folder, key):
    with pytest.raises(ValueError, match="set by the store"):
        folder.update_manifest(**{key: {}})


def test_the_same_recipe_goes_on_whatever_its_order_or_types(tmp_path):
    start(tmp_path).close()
    again = {"models": ("linear", "mlp"), **dict(reversed(RECIPE.items()))}
    with start(tmp_path, again | {"learning_rate": np.float64(0.1), "data_dir": "b"}) as folder:
        assert folder.manifest["recipe"]["data_dir"] == "b"


def test_another_recipe_is_refused_and_the_difference_named(tmp_path):
    start(tmp_path).close()
    before = (tmp_path / "demo/x/manifest.json").read_bytes()
    assert refusal(tmp_path, learning_rate=0.2) == (
        "run 'x' was made with learning_rate=0.1, not 0.2; "
        "choose another --name, or repeat its settings"
    )
    assert (tmp_path / "demo/x/manifest.json").read_bytes() == before


def test_at_most_three_differences_are_named(tmp_path):
    many = RECIPE | {"a": 1, "b": "text", "c": {"d": [1, 2], "e": 0}}
    start(tmp_path, many).close()
    with pytest.raises(InputError) as caught:
        start(tmp_path, many | {"learning_rate": 1, "a": 2, "b": "", "c": {"d": [1], "f": None}})
    assert str(caught.value) == (
        "run 'x' was made with learning_rate=0.1, not 1 and a=1, not 2 and b=text, not \"\" "
        "and 3 more settings; choose another --name, or repeat its settings"
    )


def test_a_missing_or_new_setting_is_a_difference(tmp_path):
    start(tmp_path).close()
    assert "made with augment=unset, not flip;" in refusal(tmp_path, augment="flip")
    assert 'models=["linear", "mlp"], not x\\ny;' in refusal(tmp_path, models="x\ny").replace(
        '"x\\ny"', "x\\ny"
    )
    with pytest.raises(InputError, match=r"made with learning_rate=0\.1, not unset;"):
        start(tmp_path, {k: v for k, v in RECIPE.items() if k != "learning_rate"})


def test_a_growable_number_may_grow_and_shrink(tmp_path):
    start(tmp_path).close()
    with start(tmp_path, RECIPE | {"num_members": 8}) as folder:
        assert folder.manifest["recipe"]["num_members"] == 8
        assert not folder.finished
    with start(tmp_path, RECIPE | {"num_members": 2}) as folder:
        assert folder.manifest["recipe"]["num_members"] == 8
        assert folder.recipe["num_members"] == 2
        assert not folder.finished
    assert "num_members=8, not all" in refusal(tmp_path, num_members="all")


def test_growing_keeps_the_old_members(tmp_path, scenario, monkeypatch):
    first = scenario.train(tmp_path, members=4)
    waves = {p: p.stat().st_mtime_ns for p in first.path.rglob("*.npz")}
    grown = scenario.train(tmp_path, members=6)
    assert {p: p.stat().st_mtime_ns for p in waves} == waves
    assert grown.manifest["recipe"]["num_members"] == 6
    assert [r["num_members"] for r in grown.manifest["results"]] == [4, 6]
    monkeypatch.setattr(RunFolder, "save_checkpoint", None)  # nothing is left to train
    for members in (6, 4, 2):
        again = scenario.train(tmp_path, members)
        assert again.finished
        assert again.recipe["num_members"] == 6


def test_a_finished_run_is_not_touched(finished, scenario):
    before = {p: p.read_bytes() for p in finished.path.rglob("*") if p.is_file()}
    scenario.train(finished.path.parents[1])
    lock = finished.path / "lock"
    after = {p: p.read_bytes() for p in finished.path.rglob("*") if p.is_file()}
    assert {p for p in before if before[p] != after[p]} <= {lock}
    assert before.keys() == after.keys()


def test_fresh_starts_another_beside_it(tmp_path):
    paths = []
    for _ in range(3):
        with start(tmp_path, fresh=True) as folder:
            paths.append(folder.path.name)
            assert folder.manifest["name"] == folder.path.name
    assert paths == ["x", "x-2", "x-3"]
    with RunFolder.open(tmp_path, "demo", "x-2", RECIPE) as folder:
        assert folder.path.name == "x-2"


@pytest.mark.parametrize("leftover", [(), ("lock",), ("lock", ".manifest.json.tmp")])
def test_a_folder_without_a_manifest_is_adopted_if_it_is_ours(tmp_path, leftover):
    (tmp_path / "demo/x").mkdir(parents=True)
    for name in leftover:
        (tmp_path / "demo/x" / name).write_text("{")
    with start(tmp_path) as folder:
        assert sorted(os.listdir(folder.path)) == ["lock", "manifest.json"]


def test_a_folder_with_something_else_is_refused_and_not_touched(tmp_path):
    (tmp_path / "demo/x").mkdir(parents=True)
    (tmp_path / "demo/x/thesis.tex").write_text("mine")
    assert refusal(tmp_path) == (
        f"{tmp_path}/demo/x is no run folder: it holds 'thesis.tex' and no manifest.json; "
        "choose another --name"
    )
    assert os.listdir(tmp_path / "demo/x") == ["thesis.tex"]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"recipe": {}}', '{"recipe": 1, "results": []}'])
def test_a_damaged_manifest_is_named_and_kept(tmp_path, text):
    start(tmp_path).close()
    (tmp_path / "demo/x/manifest.json").write_text(text)
    message = refusal(tmp_path)
    assert re.match(r".*/demo/x/manifest\.json is damaged \(.*\); restore it, or choose", message)
    assert "\n" not in message
    assert (tmp_path / "demo/x/manifest.json").read_text() == text


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "a/b", "../x", "/x", ".x", "x.", "a\\b", "a\nb", "a\0b", " x", "x" * 101],
)
def test_a_name_that_is_no_folder_name_is_refused(tmp_path, name):
    with pytest.raises(InputError, match="cannot name a folder; use 1 to 100 letters") as caught:
        RunFolder.open(tmp_path, "demo", name, RECIPE)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["x" * 100, "große-Läufe", "a=1_b.c-2"])
def test_other_names_are_taken(tmp_path, name):
    with RunFolder.open(tmp_path, "demo", name, RECIPE) as folder:
        assert folder.path.name == name


def test_an_out_dir_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo/x").write_text("")
    cases = {
        tmp_path / "file": f"{tmp_path}/file is a file",
        tmp_path / "file" / "below": f"{tmp_path}/file is a file",
        tmp_path: f"{tmp_path}/demo/x is a file",
        "/proc/catdog": "No such file or directory",
    }
    for out_dir, reason in cases.items():
        with pytest.raises(InputError) as caught:
            start(out_dir)
        assert str(caught.value) == (
            f"cannot write to {out_dir}/demo/x: {reason}; choose another --out_dir"
        )


def test_the_same_recipe_gives_the_same_name():
    name = run_name("cats", RECIPE, ignore=("num_members",))
    assert re.fullmatch(r"cats-[0-9a-f]{8}", name)
    assert name == run_name("cats", {**RECIPE, "num_members": 9}, ignore=["num_members"])
    assert name == run_name("cats", dict(reversed(RECIPE.items())), ignore=("num_members",))
    assert name != run_name("cats", RECIPE)
    assert name != run_name("cats", RECIPE | {"learning_rate": 0.2}, ignore=("num_members",))
    assert run_name("golden", {"a": 1}) == "golden-015abd7f"


def test_any_stem_gives_a_valid_name(tmp_path):
    for stem in ["", "a/b:c d", "../x", "." * 200, "x" * 200, "große"]:
        with RunFolder.open(tmp_path, "demo", run_name(stem, RECIPE), RECIPE) as folder:
            assert folder.path.parent == tmp_path / "demo"


def test_files_csv_lists_what_was_not_used_as_it_is(folder):
    notes = [
        FileNote("cats/a,b.jpg", "skipped", 'truncated: "12 bytes"'),
        FileNote("dogs/\udcff.png", "converted", "16-bit"),
    ]
    folder.write_files(notes)
    assert (folder.path / "files.csv").read_text(encoding="utf-8") == (
        "path,action,reason\n"
        '"cats/a,b.jpg",skipped,"truncated: ""12 bytes"""\n'
        "dogs/\\udcff.png,converted,16-bit\n"
    )


def test_a_wave_comes_back(folder, scenario):
    arrays = scenario.wave_arrays(0) | {"file": np.array(["cat", "ü"]), "scalar": np.array(3)}
    assert folder.load_wave("00_mlp", 0) is None
    folder.save_wave("00_mlp", 0, arrays, scenario.wave_params(0))
    assert scenario.same(folder.load_wave("00_mlp", 0), arrays)
    like = scenario.wave_params(1)
    assert scenario.same(folder.load_params("00_mlp", 0, like), scenario.wave_params(0))
    weights, bias = scenario.wave_params(0)["dense"]
    nested = {"dense": {"weights": weights, "bias": bias}}
    assert scenario.same(folder.load_params("00_mlp", 0), nested)
    with pytest.raises(StoreError, match=r"wave_00000\.params\.npz lacks other: another version"):
        folder.load_params("00_mlp", 0, {**like, "other": 0})


def test_params_of_any_structure_come_back(folder, scenario):
    for wave, params in enumerate(
        [
            np.ones((2, 3), np.float32),
            {},
            {"a/b": np.ones(2), "a": {"b": np.zeros(2)}},
            (np.ones(1),),
        ]
    ):
        if wave == 2:  # the two leaves would share a name in the file
            with pytest.raises(ValueError, match="share a name"):
                folder.save_wave("00_mlp", wave, {}, params)
            continue
        folder.save_wave("00_mlp", wave, {}, params)
        assert scenario.same(folder.load_params("00_mlp", wave, params), params)


def test_saving_a_wave_removes_its_checkpoints_only(folder, scenario):
    for wave in (0, 1):
        folder.save_checkpoint("00_mlp", wave, 1, scenario.state(1))
    folder.save_wave("00_mlp", 0, scenario.wave_arrays(0), scenario.wave_params(0))
    assert os.listdir(folder.path / "checkpoints/00_mlp") == ["wave_00001"]


def test_the_same_wave_gives_the_same_bytes(folder, scenario):
    for part in ("00_a", "01_b"):
        folder.save_wave(part, 0, scenario.wave_arrays(0), scenario.wave_params(0))
    a, b = (folder.path / "waves" / part for part in ("00_a", "01_b"))
    for name in ("wave_00000.npz", "wave_00000.params.npz"):
        assert (a / name).read_bytes() == (b / name).read_bytes()


@pytest.mark.parametrize("kind", ["flipped", "truncated", "missing", "empty"])
@pytest.mark.parametrize("name", ["wave_00000.npz", "wave_00000.params.npz"])
def test_a_damaged_wave_is_named_and_not_done(folder, scenario, caplog, name, kind):
    for wave in (0, 1):
        folder.save_wave("00_mlp", wave, scenario.wave_arrays(wave), scenario.wave_params(wave))
    path = folder.path / "waves/00_mlp" / name
    content = path.read_bytes()
    if kind == "flipped":
        position = content.index(b"NUMPY", content.index(b"NUMPY") + 5) + 140  # inside the numbers
        path.write_bytes(
            content[:position] + bytes([content[position] ^ 1]) + content[position + 1 :]
        )
    elif kind == "missing":
        path.unlink()
    else:
        path.write_bytes(content[: len(content) // 2] if kind == "truncated" else b"")
    assert folder.load_wave("00_mlp", 0) is None
    if kind == "missing" and name == "wave_00000.npz":
        assert caplog.records == []
    else:
        (message,) = caplog.messages
        assert message.startswith(f"{path} is damaged (")
        assert message.endswith("); this wave is trained again")
    assert scenario.same(folder.load_wave("00_mlp", 1), scenario.wave_arrays(1))


def test_a_wave_of_another_machine_may_show_late(folder, scenario):
    arrays, params = scenario.wave_arrays(0), scenario.wave_params(0)
    threading.Timer(0.3, folder.save_wave, ("00_mlp", 0, arrays, params)).start()
    assert scenario.same(folder.await_wave("00_mlp", 0), arrays)


def test_a_wave_that_does_not_come_or_is_damaged_ends_the_run(folder, scenario, monkeypatch):
    monkeypatch.setattr(claim, "VISIBLE_SECONDS", 0)
    words = f"wave 0 of 00_mlp is missing or damaged in {folder.path}; run the command again to"
    with pytest.raises(StoreError, match=re.escape(words)):
        folder.await_wave("00_mlp", 0)
    folder.save_wave("00_mlp", 0, scenario.wave_arrays(0), scenario.wave_params(0))
    (folder.path / "waves/00_mlp/wave_00000.params.npz").write_bytes(b"")
    with pytest.raises(StoreError, match=re.escape(words)):
        folder.await_wave("00_mlp", 0)


def test_a_flipped_byte_anywhere_in_a_wave_is_found_or_harmless(folder, scenario, caplog):
    caplog.set_level(logging.ERROR)
    folder.save_wave("00_mlp", 0, scenario.wave_arrays(0), scenario.wave_params(0))
    path = folder.path / "waves/00_mlp/wave_00000.npz"
    content = path.read_bytes()
    found = 0
    for position in range(0, len(content), 29):
        path.write_bytes(
            content[:position] + bytes([content[position] ^ 0x10]) + content[position + 1 :]
        )
        loaded = folder.load_wave("00_mlp", 0)
        found += loaded is None
        assert loaded is None or scenario.same(loaded, scenario.wave_arrays(0))
    assert found > len(content) / 29 / 2


def test_part_names_become_folder_names(folder, scenario):
    for part in ["00_mlp:width=256", "01_cnn:widths=32-64/../..", "..", "", "02_" + "x" * 300, "ü"]:
        folder.save_wave(part, 0, scenario.wave_arrays(0), scenario.wave_params(0))
        assert scenario.same(folder.load_wave(part, 0), scenario.wave_arrays(0))
    names = os.listdir(folder.path / "waves")
    assert len(names) == 6
    assert {"00_mlp_width=256", "01_cnn_widths=32-64_.._.."} < set(names)
