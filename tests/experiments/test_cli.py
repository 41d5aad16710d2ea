"""From flags to a config and back, from errors to exit statuses, and the list of experiments."""

import dataclasses
import importlib
import os
import signal
import subprocess
import sys
import typing
from pathlib import Path

import pytest

from catdog_jax import interrupt
from catdog_jax.estimators.build import ESTIMATOR
from catdog_jax.interrupt import Interrupted
from catdog_jax.models.build import MODEL
from catdog_jax.rules.build import RULE
from catdog_jax.run.summary import aligned
from catdog_jax.store import manifest
from catdog_jax.types import InputError
from experiments import __main__ as listing
from experiments import _cli, init_convergence, ladder, predict

ROOT = Path(__file__).parents[2]
Config = init_convergence.Config

KINDS = {int: ("3", 3), float: (".5", 0.5), str: ("some/where,a:b=1", "some/where,a:b=1")}
ONE_OF = {"strategy": "vmap", "conv": "lax", "precision": "bfloat16"}


def typed(name, annotation):
    """A value of a flag that is not its default, as a person types it and as a config holds it."""
    kind = annotation
    while typing.get_args(kind):
        kind = typing.get_args(kind)[0]
    return (ONE_OF[name],) * 2 if name in ONE_OF else KINDS.get(kind, ("true", True))


TYPED = {name: typed(name, annotation) for name, annotation in _cli.flags_of(Config).items()}


@pytest.mark.parametrize("form", ["--{}={}", "--{} {}", "-{}={}"])
def test_every_field_has_a_flag(form):
    assert _cli.parse_flags(["--nofresh"], Config) == Config()
    for name, (text, value) in TYPED.items():
        words = f"--{name}" if isinstance(value, bool) else form.format(name, text)
        config = _cli.parse_flags(words.split(" "), Config)
        assert config == dataclasses.replace(Config(), **{name: value})
        assert type(getattr(config, name)) is type(value)


def test_the_command_of_a_config_makes_that_config():
    config = Config(**{name: value for name, (_, value) in TYPED.items()})
    words = _cli.command_line(config, "init_convergence").split()
    assert words[:3] == ["python", "-m", "experiments.init_convergence"]
    places = ("out_dir", "name", "fresh", "keep", "compile_cache", "download", "dry_run", "yes")
    places += ("coordinator", "num_processes", "process_id", "data_sheets")
    plain = {name: getattr(Config, name) for name in places}
    wanted = dataclasses.replace(config, **plain | {"data_dir": "DIR"})
    assert _cli.parse_flags(words[3:], Config) == wanted
    assert _cli.command_line(Config(), "x") == "python -m experiments.x"


def test_every_flag_of_every_experiment_has_a_help_text():
    modules = [importlib.import_module(f"experiments.{name}") for name in listing.summaries()]
    for settings in [module.Config for module in modules if hasattr(module, "Config")]:
        lines = _cli.help_text(settings).splitlines()
        for name in _cli.flags_of(settings):
            (at,) = (i for i, line in enumerate(lines) if line.split(" (")[0] == f"  --{name}")
            assert lines[at + 1].startswith(" " * 6)
        assert max(map(len, lines)) <= 80


def test_the_settings_of_all_that_can_be_named_are_in_the_help():
    text = " ".join(_cli.help_text(ladder.Config).split())
    for line in (
        "mlp: depth=2 (≥ 1 and ≤ 16), width=256 (≥ 1), activation=relu, norm=none, init=he, ",
        "resnet: widths=16-32-64 (≥ 1), ",
        "lda: shrinkage=cv (> 0 and ≤ 1) ",
        "procedural: difficulty=0.5 (≥ 0 and ≤ 1), ",
        "norm: group, layer, none, rms ",
    ):
        assert line in text
    for kind in (MODEL, RULE, ESTIMATOR):
        for name, spec in kind.table().items():
            assert spec.build.__kwdefaults__ is None or f" {name}: " in text
    assert "vocabulary=" not in text  # the data set's


def test_what_is_left_over_goes_to_the_field_that_takes_it():
    config = _cli.parse_flags(["--run=there", "a.jpg", "b.png"], predict.Config)
    assert config == predict.Config(run="there", pictures=("a.jpg", "b.png"))


def raising(error):
    def work(config):
        raise error

    return work


@pytest.mark.parametrize(
    ("error", "status", "line"),
    [
        (InputError("unknown model 'x'"), 2, "error: unknown model 'x'"),
        (RuntimeError("all members diverged"), 1, "error: all members diverged"),
        (OSError(28, "No space left"), 1, "error: [Errno 28] No space left"),
        (MemoryError(), 1, "error: MemoryError"),
        (RuntimeError("RESOURCE_EXHAUSTED: much\nmore\nof it"), 1, "error: RESOURCE_EXHAUSTED: "),
        (Interrupted(signal.SIGHUP, "; saved"), 129, "interrupted by SIGHUP; saved"),
        (Interrupted(signal.SIGINT, "; saved"), 130, "interrupted by SIGINT; saved"),
        (Interrupted(signal.SIGTERM, "; saved"), 143, "interrupted by SIGTERM; saved"),
    ],
)
def test_an_error_is_one_line_and_a_status(error, status, line, capsys):
    assert _cli.run([], Config, raising(error)) == status
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith(line)
    assert said.err.count("\n") == 1


def test_done_is_0_and_a_mistake_of_ours_keeps_its_traceback():
    seen = []
    assert _cli.run(["--num_members=3"], Config, seen.append) == 0
    assert seen == [Config(num_members=3)]
    with pytest.raises(ZeroDivisionError):
        _cli.run([], Config, lambda config: 1 / 0)


def test_a_signal_ends_the_work_at_the_next_safe_place(monkeypatch, capsys):
    monkeypatch.setattr(interrupt, "arrived", [])
    reached = []

    def work(config):
        interrupt.arrived += [signal.SIGTERM, signal.SIGINT]
        reached.append("what is to be saved")
        interrupt.check("; all of it is saved")
        reached.append("what comes then")

    for after in ("rerun the same command to resume", "the same command begins again"):
        assert _cli.run([], Config, work, after=after) == 143
        interrupt.arrived.clear()
        said = f"interrupted by SIGTERM; all of it is saved; {after}\n"
        assert capsys.readouterr().err == said
    assert reached == 2 * ["what is to be saved"]


NOTING = """
import hashlib, signal, time
from experiments import _signals
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # under nohup it is ignored
_signals.take()
print("ready", flush=True)
while not _signals.arrived: time.sleep(0.01)
print(*_signals.arrived, flush=True)
hashlib.pbkdf2_hmac("sha256", b"", b"", 10**9)  # compiled code, which no handler interrupts
"""


@pytest.mark.parametrize("first", [signal.SIGHUP, signal.SIGINT, signal.SIGTERM])
def test_a_command_says_at_once_that_it_will_stop_and_a_second_signal_ends_it(first):
    with subprocess.Popen(
        [sys.executable, "-c", NOTING],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    ) as process:
        try:
            assert process.stdout.readline() == "ready\n"
            process.send_signal(first)
            assert process.stdout.readline() == f"{first.value}\n"
            said = f"{first.name}: stops at the next safe place; another one stops at once\n"
            assert process.stderr.readline() == said
            process.send_signal(signal.SIGTERM)
            rest = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 128 + signal.SIGTERM
    assert rest == ("", "")


def test_the_list_has_one_line_for_each_experiment(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["experiments"])
    assert listing.main() == 0
    lines = capsys.readouterr().out.splitlines()
    files = sorted(path.stem for path in (ROOT / "experiments").glob("[!_]*.py"))
    assert [line.split()[1] for line in lines if line.startswith("catdog ")] == files
    assert max(map(len, lines)) <= 80
    assert any("init_convergence" in x and "Does it matter where you" in x for x in lines)
    monkeypatch.setattr(sys, "argv", ["experiments", "init_convergance"])
    assert listing.main() == 2
    said = capsys.readouterr().err
    assert said.startswith("error: unknown experiment 'init_convergance'; known: ")
    assert said.endswith(
        "(did you mean 'init_convergence'?); run catdog NAME, or python -m experiments.NAME\n"
    )


HELP = """
import sys
import typing
from experiments import _cli, init_convergence
try:
    _cli.command(init_convergence.main)
except SystemExit as left:
    assert left.code == 0, left.code
from jax._src import xla_bridge
assert not xla_bridge._backends, "a device was opened"
assert "tensorflow_datasets" not in sys.modules, "TFDS was imported"
assert "tensorflow" not in sys.modules
"""


def test_help_is_no_error_opens_no_device_and_imports_no_tfds():
    command = [sys.executable, "-c", HELP, "--help"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "Does it matter where you start?" in done.stdout
    assert "--init_seed (default 0)" in done.stdout


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"--models=mine.evil", "'--models=mine.evil' starts code, which only a command may"),
        (b"--models=mine.evil/x", "'--models=mine.evil/x' starts code, which only a command may"),
        (b"--models\nmine.evil", "'--models' has no value; write --models=value"),
        (b"--dataset=mine.load", "'--dataset=mine.load' starts code, which only a command may"),
        (b"--recipe_b=--models=mine.evil", "'--models=mine.evil' starts code"),
        (b"--recipe_b\n'--models=mine.evil'", "'--models=mine.evil' starts code"),
        (b"--flagfile=f", "'--flagfile=f' names another file of flags; type both"),
        (b"--num_members=\xff", "cannot be read ('utf-8' codec can't decode"),
        (None, "cannot be read ([Errno 2] No such file or directory"),
    ],
)
def test_a_file_of_flags_starts_no_code(content, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    if content is not None:
        Path("f").write_bytes(content)
    assert _cli.run(["--flagfile=f"], Config, raising(ZeroDivisionError())) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: --flagfile=f")
    assert message in said
    assert said.count("\n") == 1


def test_a_file_of_flags_is_read(tmp_path):
    file = tmp_path / "flags"
    file.write_text("# as last time\n\n--num_members=3\n--models=mlp:width=4\n")
    config = _cli.parse_flags([f"--flagfile={file}", "--num_steps=5"], Config)
    assert config == Config(num_members=3, models="mlp:width=4", num_steps=5)


def test_a_run_gives_its_settings_to_another_but_starts_no_code(tmp_path, capsys):
    command = "python -m experiments.init_convergence --models=mine.build --num_steps=5"
    made = {"command": f"{command} --data_dir=DIR", "source": {"data_dir": "my photos"}}
    kept = {"experiment": "", "name": "", "recipe": {}, "sessions": [], "results": []}
    manifest.write(tmp_path, kept | made)
    typed = ["--num_steps=7", f"--like={tmp_path}", "--models=mine.build"]
    config = _cli.parse_flags(typed, Config)
    assert config == Config(models="mine.build", num_steps=7, data_dir="my photos")
    for words, message in [
        (typed[1:2], "'--models=mine.build' starts code, which only a command may; type it"),
        (["--like=nowhere"], "(there is no manifest.json that names a command); give --like=RUN"),
    ]:
        assert _cli.run(words, Config, raising(ZeroDivisionError())) == 2
        assert message in capsys.readouterr().err


def test_foreign_text_reaches_the_terminal_escaped_and_short(capsys):
    error = InputError("no picture 'a\x1b[2J\u202eb\u2028c' " + 5000 * "x" + "; give another")
    assert _cli.run([], Config, raising(error)) == 2
    said = capsys.readouterr().err
    assert said.startswith(r"error: no picture 'a\x1b[2J\u202eb\u2028c' xxx")
    assert said.endswith("xxx; give another\n")
    assert len(said) < 1500
    assert _cli.run([], Config, lambda config: print("in a\x1b[2J\udc80 猫\nhere")) == 0
    assert capsys.readouterr().out == "in a\\x1b[2J\\udc80 猫\nhere\n"
    assert aligned([["a\nb", "1"], ["c", "\u202e23"]]) == [r"a\nb         1", r"c     \u202e23"]


def test_a_table_is_folded_to_the_width_of_a_terminal():
    names = ["cnn", *(f"cnn:widths=8-16-32:head={head}" for head in ("flatten", "average"))]
    head = [f"column {i}" for i in range(12)]
    lines = aligned([["model", *head], *([name, *map(str, range(12))] for name in names)])
    assert max(map(len, lines)) <= 80
    blocks = "\n".join(lines).split("\n\n")
    found = [[line.split() for line in block.splitlines()[:4]] for block in blocks]
    assert [row[0] for row in found[0]] == ["model", *("cnn", "cnn-2", "cnn-3")]
    assert [cell for block in found for cell in block[3][1:]] == [str(i) for i in range(12)]
    assert lines[-2:] == [f"cnn-{i + 1}: {names[i]}" for i in (1, 2)]
    lines = aligned([["model", "map", *head], ["cnn", "sizes", *head]], keys=2)
    assert len([line for line in lines if line.split()[:2] == ["cnn", "sizes"]]) == len(lines) // 2


ODD_SETTINGS = {
    "JAX_ENABLE_X64": "1",
    "JAX_DEFAULT_PRNG_IMPL": "rbg",
    "JAX_NUMPY_DTYPE_PROMOTION": "strict",
    "JAX_DEBUG_NANS": "1",
    "JAX_RANDOM_SEED_OFFSET": "7",
    "JAX_THREEFRY_PARTITIONABLE": "0",
    "JAX_USE_SHARDY_PARTITIONER": "0",
    "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",
    "MPLBACKEND": "module://nothing.like_this",
}


def start(tmp_path, settings, *flags):
    """Start the experiment as a person does, where a numpy.py lies that is none."""
    for library in ("numpy", "socket", "contextlib"):
        (tmp_path / f"{library}.py").write_text("raise SystemExit('it ran')")
    (tmp_path / "matplotlibrc").write_bytes(b"axes.grid: \xff\nno colon")
    environ = {k: v for k, v in os.environ.items() if k != "JAX_PLATFORMS"}
    return subprocess.run(
        [sys.executable, "-m", "experiments.init_convergence", *flags, "--num_members=2"],
        cwd=tmp_path,
        env={**environ, "PYTHONPATH": str(ROOT), **settings},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.slow  # two starts of processes
def test_settings_from_outside_change_no_number_and_the_current_folder_no_library(tmp_path):
    small = "--dataset=procedural:num_train=32:num_valid=8:num_test=16"
    flags = [small, "--models=linear", "--image_size=8", "--num_steps=3", "--batch_size=8"]
    found = []
    for name, settings in {"usual": {}, "odd": ODD_SETTINGS}.items():
        done = start(tmp_path, settings, *flags, f"--out_dir={name}")
        said = [x for x in done.stderr.splitlines() if not x.endswith((" …", " left"))]
        assert (done.returncode, said) == (0, [])
        (file,) = tmp_path.glob(f"{name}/*/*/results.nc")
        found.append(file.read_bytes())
    assert found[0] == found[1]


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("JAX_PLATFORMS", "nothing", "JAX finds no device"),
        ("JAX_NUM_CPU_DEVICES", "many", "mend one of JAX_NUM_CPU_DEVICES=many"),
    ],
)
def test_settings_that_jax_refuses_are_one_line(name, value, message, tmp_path):
    done = start(tmp_path, {name: value})
    assert done.returncode == 2
    assert done.stderr.startswith("error: JAX ")
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


def test_closed_streams_are_nobodys_error():
    for closed in (">&-", "2>&- >&-"):
        line = f"{sys.executable} -m experiments.predict {closed}"
        assert subprocess.run(["sh", "-c", line], cwd=ROOT, check=False).returncode == 2
