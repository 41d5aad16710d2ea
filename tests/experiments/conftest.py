"""Small runs of the main experiment: here, or in a process of their own that can be killed."""

import os
import subprocess
import sys
import time
from pathlib import Path

import jax
import pytest

from catdog_jax import open_run
from catdog_jax.run import progress
from experiments import init_convergence

ROOT = Path(__file__).parents[2]
SMALL = (
    "--dataset=procedural:num_train=64:num_valid=8:num_test=32",
    "--image_size=8",
    "--models=linear,mlp:width=8",
    "--num_members=2",
    "--num_steps=12",
    "--batch_size=16",
    "--eval_every=4",
)

# As main, without the figures. Where there is a pause, a segment is one step and takes that long.
# A process that is to be killed says so where it holds: at the n-th call of a function.
SCRIPT = """
import time
from catdog_jax.population import Program, distributed, waves
from catdog_jax.store import RunFolder
from catdog_jax.run import checkpointer, processes, progress
from experiments import _cli, _experiment, init_convergence
progress.LINE_SECONDS = 1e9
_experiment.draw = lambda *_: None
distributed.MEETING_SECONDS = {meeting}
def wrap(owner, name, before):
    function = getattr(owner, name)
    def call(*arguments, **options):
        before()
        return function(*arguments, **options)
    setattr(owner, name, call)
if {pause}:
    waves.SEGMENT_SECONDS = checkpointer.CHECKPOINT_SECONDS = 0
    checkpointer.PATIENCE_SECONDS = 60
    wrap(Program, "segment", lambda: time.sleep({pause}))
if {hold!r}:
    name, last = {hold!r}.split()
    calls = []
    def hold():
        calls.append(None)
        if len(calls) == int(last):
            print("holds", flush=True)
            time.sleep(100)
    wrap(eval(name.rpartition(".")[0]), name.rpartition(".")[2], hold)
_cli.command(init_convergence.main)
"""


MINE = """
import jax
import jax.numpy as jnp
import numpy as np
from catdog_jax.types import Dataset, Model, Spec, Recipe, Split


def build(input_shape, num_classes, *, scale: float = 1.0):
    '''One weight per pixel.'''

    def init(key):
        size = int(np.prod(input_shape))
        return {"w": scale * jax.random.normal(key, (size, num_classes)) / size**0.5}

    def apply(params, images):
        return images.reshape(len(images), -1) / 127.5 @ params["w"]

    return init, apply


def fragile(input_shape, num_classes):
    '''Some starts diverge at once.'''
    model = build(input_shape, num_classes)

    def init(key):
        diverges = jax.random.uniform(jax.random.fold_in(key, 1)) < 0.5
        return jax.tree.map(lambda w: jnp.where(diverges, jnp.nan, w), model[0](key))

    return init, model[1]


def hopeless(input_shape, num_classes):
    '''All diverge: the logits are finite, their gradient is not.'''
    init, apply = build(input_shape, num_classes)
    return init, lambda params, images: apply(params, images) + jnp.sqrt(0 * params["w"].sum())


def colours(input_shape, num_classes):
    '''Sees mean colours alone: no weight has a place in the picture.'''

    def init(key):
        return jax.random.normal(key, (3, num_classes))

    return init, lambda params, images: images.mean((1, 2)) @ params


def too_many(input_shape, num_classes):
    return build(input_shape, num_classes + 1)


def broken(input_shape, num_classes):
    return build(input_shape, num_classes)[0], lambda params, images: params["v"]


def raising(input_shape, num_classes):
    raise LookupError("no weights here")


def nowhere(input_shape, num_classes):
    init, apply = build(input_shape, num_classes)
    return init, lambda params, images: apply(params, images) * jnp.nan


def slashes(input_shape, num_classes):
    init, apply = build(input_shape, num_classes)
    return (lambda key: {"a": {"b": init(key)["w"]}, "a/b": jnp.ones(3)}), (
        lambda params, images: apply({"w": params["a"]["b"]}, images)
    )


def half(input_shape, num_classes):
    init, apply = build(input_shape, num_classes)
    return init, lambda params, images: apply(params, images).astype(jnp.bfloat16)


SHORT = Spec(build, {"default": Recipe(5, 8, "sgd", 0.01)})
LONG = Spec(build, {"default": Recipe(9, 8, "adam", 0.01)})


def load(*, image_size: int = 0, num: int = 24):
    '''Bright and dark squares, three bright ones to each dark one.'''
    size = image_size or 8
    labels = (np.arange(num) % 4 == 3).astype(np.int32)
    noise = np.random.default_rng(0).integers(0, 100, (num, size, size, 3))
    images = (noise + 100 * (1 - labels)[:, None, None, None]).astype(np.uint8)
    part = Split(images, labels, tuple(str(i) for i in range(num)))
    none = Split(images[:0], labels[:0], ())
    return Dataset("squares", part, none, part, ("bright", "dark"), {"source": "mine"})


def odd():
    '''Names with a byte that is no UTF-8, as a file system gives them.'''
    part = load().train
    part = Split(part.inputs, part.labels, tuple(f"{name}\\udc80" for name in part.ids))
    return Dataset("odd", part, part, part, ("bright", "dark\\udc81"), {"source": "mine"})


def empty():
    found = load()
    return Dataset("empty", found.train, found.valid, found.valid, found.class_names, {})
"""


@pytest.fixture(scope="session", autouse=True)
def machine(tmp_path_factory):
    """Processes that are started have the devices and the compiled programs of this one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(progress, "LINE_SECONDS", 1e9)  # what is said does not depend on the machine
        patch.setenv("JAX_PLATFORMS", "cpu")
        patch.setenv("JAX_NUM_CPU_DEVICES", "4")
        for name in (
            "jax_compilation_cache_dir",
            "jax_persistent_cache_min_compile_time_secs",
            "jax_persistent_cache_min_entry_size_bytes",
        ):
            patch.setenv(name.upper(), str(jax.config.values[name]))
        patch.setenv("CATDOG_CACHE_DIR", str(tmp_path_factory.mktemp("pictures")))
        yield


@pytest.fixture(scope="session")
def run_here():
    """A function (out_dir, *flags) -> exit status of init_convergence, without figures."""

    def run(out_dir, *flags):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("experiments._experiment.draw", lambda *_: None)
            return init_convergence.main([*SMALL, f"--out_dir={out_dir}", *flags])

    return run


@pytest.fixture(scope="session")
def source(tmp_path_factory, run_here, machine):
    """The folder of a finished run: three models, three members, params of two steps kept."""
    out_dir = tmp_path_factory.mktemp("source")
    models = "--models=linear,mlp:width=8,cnn:widths=4"
    assert run_here(out_dir, models, "--num_members=3", "--keep_params=0,8", "--name=source") == 0
    return out_dir / "init_convergence" / "source"


@pytest.fixture(scope="session")
def finished(source):
    """The same run, opened."""
    return open_run(source)


@pytest.fixture
def launch():
    """A function (*flags, pause, meeting, hold) -> a process of init_convergence."""
    started = []

    def launch(*flags, pause=0.0, meeting=60, hold=""):
        script = SCRIPT.format(pause=pause, meeting=meeting, hold=hold)
        process = subprocess.Popen(
            [sys.executable, "-c", script, *flags],
            cwd=ROOT,
            env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "2"},  # JAX has set another one here
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield launch
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


@pytest.fixture
def start_slowed(launch):
    """A function (out_dir, *flags, pause) -> a process that has just begun to train."""

    def start(out_dir, *flags, pause=0.1):
        process = launch(*SMALL, f"--out_dir={out_dir}", *flags, pause=pause)
        for line in process.stdout:
            if line.startswith("run folder: "):
                return process
        raise AssertionError(f"it never began to train: {process.communicate()[1][-2000:]}")

    return start


@pytest.fixture(scope="session")
def wait_for():
    """A function that waits until a condition holds, as long as a process lives."""

    def wait(condition, process):
        while not condition():
            assert process.poll() is None, process.communicate()[1][-2000:]
            time.sleep(0.01)

    return wait


@pytest.fixture(scope="session")
def contents():
    """A function: run folder -> name -> (bytes, time of change) of every file but the lock."""

    def read(folder):
        return {
            str(path.relative_to(folder)): (path.read_bytes(), os.stat(path).st_mtime_ns)
            for path in Path(folder).rglob("*")
            if path.is_file() and path.name != "lock"
        }

    return read


@pytest.fixture(scope="session")
def run_folder():
    """A function: out_dir -> the only run folder in it."""

    def find(out_dir):
        (folder,) = Path(out_dir).glob("*/*")
        return folder

    return find


@pytest.fixture
def mine(tmp_path, monkeypatch, request):
    """The name of a module of one's own, importable from here."""
    name = f"mine_{request.node.name.split('[')[0]}"
    (tmp_path / f"{name}.py").write_text(MINE)
    monkeypatch.syspath_prepend(tmp_path)
    return name
