"""Golden values: a small run of every experiment and one training step of every model.

`golden/NAME.json` holds the flags of a run of experiments.NAME, how lines that it must print begin,
tolerances (rtol, atol; the first pattern that fits a name counts), the figures it must draw, and a
digest of every variable and weight that it must leave: shape, number of finite values, their mean,
deviation and a few of them. `golden/steps.json` holds the loss and the gradient norm of every
model's first step. Where numbers are meant to change,

    CATDOG_GOLDEN=write python -m pytest tests/test_golden.py

writes figures, digests and steps anew; the rest stays as it was typed. Read the difference before
you commit it. A new experiment begins with a file of the rest.
"""

import contextlib
import fnmatch
import functools
import importlib
import io
import json
import os
from pathlib import Path

import flax
import jax
import numpy as np
import pytest
from PIL import Image

from catdog_jax import build_model, make_learner, make_optimizer, open_run
from catdog_jax.models.build import MODEL
from catdog_jax.train import MemberKeys
from catdog_jax.types import Data

GOLDEN = Path(__file__).parent / "golden"
WRITE = os.environ.get("CATDOG_GOLDEN") == "write"
NAMES = sorted(path.stem for path in GOLDEN.glob("*.json"))
SHAPES = {"images": (16, 16, 3), "vectors": (11,), "tokens": (9,)}
VOCABULARY = 23
SAMPLES = 4
QUICK = ("fit_check", "init_convergence", "predict")


def read(name):
    return json.loads((GOLDEN / f"{name}.json").read_text(encoding="utf-8"))


def write(name, content):
    """Write JSON with one line for each thing two levels deep."""
    lines = []
    for key, value in content.items():
        if isinstance(value, dict):
            inner = (f"    {json.dumps(k)}: {json.dumps(v)}" for k, v in value.items())
            lines.append(f"  {json.dumps(key)}: {{\n" + ",\n".join(inner) + "\n  }")
        else:
            lines.append(f"  {json.dumps(key)}: {json.dumps(value, ensure_ascii=False)}")
    (GOLDEN / f"{name}.json").write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


def launch(name, argv):
    """Run an experiment in this process and return its exit status."""
    return importlib.import_module(f"experiments.{name}").main(argv)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A function: name of an experiment -> (its run folder, what it printed)."""
    out = tmp_path_factory.mktemp("golden")
    picture = out / "picture.png"
    pixels = np.random.default_rng(1).integers(0, 256, (8, 8, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(picture)

    @functools.cache
    def run(name):
        argv = read(name)["argv"]
        if "--run=RUN" in argv:
            source, _ = run("init_convergence")
            places = {"--run=RUN": f"--run={source}", "PICTURE": str(picture)}
            argv = [places.get(argument, argument) for argument in argv]
        if name != "predict":
            argv.append(f"--out_dir={out}")
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            assert launch(name, argv) == 0
        return next(out.glob(f"{name}/*"), out), printed.getvalue()

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JAX_NUM_CPU_DEVICES", str(jax.config.values["jax_num_cpu_devices"]))
        yield run


def digest(values):
    """Shape, then texts or numbers: how many are finite, mean, deviation, samples."""
    array = np.asarray(values)
    if array.dtype.kind not in "biuf":
        return [list(array.shape), *map(str, array.ravel()[:SAMPLES])]
    flat = array.ravel().astype(np.float64)
    flat = flat[np.isfinite(flat)]
    places = np.linspace(0, flat.size - 1, min(SAMPLES, flat.size)).astype(int)
    moments = (flat.mean(), flat.std()) if flat.size else ()
    return [list(array.shape), *(float(f"{x:.8g}") for x in (flat.size, *moments, *flat[places]))]


def digests_of(folder):
    """Name -> digest of every variable of the results and of every leaf of the params."""
    run = open_run(folder)
    arrays = {str(name): variable.values for name, variable in run.data.variables.items()}
    for model, params in run.params.items():
        for path, leaf in flax.traverse_util.flatten_dict(params, sep="/").items():
            arrays[f"{model} {path}"] = leaf
    return {name: digest(values) for name, values in sorted(arrays.items())}


def close(found, wanted, tolerances, name):
    """Hold a digest to the golden one, as closely as the first pattern that fits its name says."""
    assert found[0] == wanted[0], f"{name}: shape"
    if any(isinstance(item, str) for item in wanted[1:]):
        assert found == wanted, name
        return
    limits = (limits for pattern, limits in tolerances.items() if fnmatch.fnmatch(name, pattern))
    rtol, atol = next(limits)
    np.testing.assert_allclose(found[1:], wanted[1:], rtol, atol, err_msg=name)


# Slow: those whose own tests compute their numbers again.
@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=() if n in QUICK else pytest.mark.slow) for n in NAMES if n != "steps"],
)
def test_a_small_run_leaves_the_golden_numbers(name, finished):
    golden = read(name)
    folder, printed = finished(name)
    lines = [" ".join(line.split()) for line in printed.splitlines()]
    for start in golden["prints"]:
        assert any(line.startswith(start) for line in lines), printed
    found = digests_of(folder) if (folder / "results.nc").exists() else {}
    for path in folder.glob("figures/*"):
        with Image.open(path) as image:
            assert np.asarray(image.convert("L")).std() > 5, f"{path.name} is blank"
    figures = sorted(path.name for path in folder.glob("figures/*"))
    if WRITE:
        write(name, golden | {"figures": figures, "digests": found})
        return
    assert figures == golden["figures"]
    for key, wanted in golden["digests"].items():
        close(found[key], wanted, golden["tolerances"], key)


@pytest.mark.parametrize("name", sorted(MODEL.table()))
def test_the_first_step_of_every_model_has_the_golden_loss_and_gradient_norm(name):
    kind = MODEL.table()[name].reads[0]
    words = {"vocabulary": VOCABULARY} if kind == "tokens" else {}
    model = build_model(name, SHAPES[kind], 2, **words)
    learner = make_learner(model, make_optimizer("adam", 1e-3, num_steps=1), batch_size=8)
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(8, *SHAPES[kind])).astype(np.float32)
    if kind == "tokens":
        inputs = rng.integers(1, VOCABULARY, (8, *SHAPES[kind])).astype(np.int32)
    batch = Data(inputs, np.arange(8, dtype=np.int32) % 2)
    keys = MemberKeys(*map(jax.random.key, range(4)))
    _, info = jax.jit(lambda keys: learner.step(learner.init(keys), keys, batch))(keys)
    found = [float(f"{x:.8g}") for x in (info.loss, info.grad_norm)]
    golden = read("steps")
    if WRITE:
        write("steps", golden | {name: found})
        return
    np.testing.assert_allclose(found, golden[name], rtol=1e-5)
