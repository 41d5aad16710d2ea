"""Run folders that were damaged, mixed up or edited: the same numbers, or one line."""

import json
import os
import random
import shutil

import jax
import numpy as np
import pytest

from catdog_jax import open_run
from catdog_jax.store import StoreError
from catdog_jax.types import InputError

FLAGS = ("--name=x", "--num_members=4", "--wave=2", "--strategy=map")
COUNT = int(os.environ.get("CATDOG_DAMAGES", 100))


@pytest.fixture(scope="module")
def whole(tmp_path_factory, run_here):
    out_dir = tmp_path_factory.mktemp("whole")
    assert run_here(out_dir, *FLAGS) == 0
    return out_dir / "init_convergence" / "x"


def numbers(folder):
    """All that a run says, as bytes."""
    run = open_run(folder)
    leaves = [x for label in run.populations for x in jax.tree.leaves(run.params[label])]
    entries = {key: run.manifest[key] for key in ("inputs", "data", "plans", "parts", "recipe")}
    said = [run.data.to_dict(), entries, *map(np.asarray, leaves)]
    return repr([x.tobytes() if isinstance(x, np.ndarray) else x for x in said])


def damage(folder, draw):
    """Do something to one file, or to two; return what."""
    files = sorted(p for p in folder.rglob("*") if p.is_file() and p.name != "lock")
    file, other = draw.sample(files, 2)
    content = bytearray(file.read_bytes())
    kind = draw.choice(["flip", "cut", "empty", "remove", "swap", "edit", "folder"])
    if kind == "flip":
        content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
        file.write_bytes(content)
    elif kind in ("cut", "empty"):
        file.write_bytes(content[: draw.randrange(len(content)) if kind == "cut" else 0])
    elif kind == "remove":
        file.unlink()
    elif kind == "swap":
        file.write_bytes(other.read_bytes())
        other.write_bytes(content)
    elif kind == "folder":
        shutil.rmtree(draw.choice(sorted(p for p in folder.rglob("*") if p.is_dir())))
    else:
        file = folder / "manifest.json"
        found = json.loads(file.read_text())
        place, key = found, draw.choice([*found])
        while isinstance(place[key], dict) and place[key] and draw.random() < 0.8:
            place, key = place[key], draw.choice([*place[key]])
        place[key] = draw.choice([None, 0, 1.5, "x", [], {}, [1], {"a": 1}])
        file.write_text(json.dumps(found))
    return kind, file.name, other.name


@pytest.mark.slow  # each damage is a run of its own
def test_damage_is_one_line_or_makes_no_difference(whole, tmp_path, run_here, capsys):
    expected, draw = numbers(whole), random.Random(5)
    for index in range(COUNT):
        folder = tmp_path / str(index) / "init_convergence" / "x"
        shutil.copytree(whole, folder)
        what = damage(folder, draw)
        found, said = expected, ""
        try:
            found = numbers(folder)
        except (InputError, StoreError) as error:
            said = str(error)
        assert (found == expected, said.count("\n")) == (True, 0), what
        capsys.readouterr()
        status = run_here(tmp_path / str(index), *FLAGS)
        said = capsys.readouterr().err.splitlines()
        if status == 0:
            assert numbers(folder) == expected, what
        else:
            assert (status, said[-1][:7]) in ((1, "error: "), (2, "error: ")), what
        shutil.rmtree(tmp_path / str(index))
