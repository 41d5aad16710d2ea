"""How fast is it, beside what else there is? One run measures this engine and its competitors.

Each competitor trains the same models, from the same weights on the same batches, with the same
optimiser, in a process of its own: this engine, stock Flax in a Python loop and as vmap + scan,
torch one model after another (NCHW, channels-last, one process a core) and by torch.func.vmap.
The first steps of each are compared with stock Flax's: a wrong engine does not win. Scikit-learn
trains models of the same size in its own way, unchecked. They take turns in an order drawn anew
each round; what counts is the ratio of medians within the run, and the share of the machine's own
matrix product ("roofline") in the same rounds. This engine works as in an experiment: its real
optimiser, schedule, losses, metrics, its gathering and normalising of batches (10,000 noise
pictures of 32 × 32, no augmentation, since the others have none); the others get their batches
ready-made. Members beyond one wave are timed wave by wave, another in each sample.

  python -m experiments.throughput                       a few minutes on two cores
  python -m experiments.throughput --full                the whole table: over an hour on two cores
  python -m experiments.throughput --full --parts=scaling,devices,strategies
  python -m experiments.throughput --parts=start,job     4 minutes on two cores, with --full 20

The last one measures the main job: how soon its first step is done, and how much longer a whole job
takes than its training steps alone.

Competitors that are not installed are left out, with a note (the extra [bench] has them). It ends
with tables and the path of a new folder: throughput.json (every sample, versions, devices) and
figures/*.png. For numbers worth quoting, let nothing else run on the machine.
"""

import functools
import sys
from dataclasses import dataclass
from typing import Any, ClassVar

from catdog_jax.models.build import model_spec
from catdog_jax.population.plan import STRATEGIES
from catdog_jax.store.manifest import check_name
from catdog_jax.train import PRECISIONS
from catdog_jax.types import InputError
from experiments.shared import launcher
from experiments.shared.config import check_ranges, setting
from experiments.shared.jobs import split_list, split_models
from experiments.shared.throughput import run as bench
from experiments.shared.throughput.cells import PARTS, split_numbers
from experiments.shared.throughput.problem import check_entry


@dataclass(frozen=True)
class Config:
    """Settings of throughput."""

    AFTER: ClassVar[str] = (
        "throughput.json has the comparisons that were done; the same command measures anew, in a "
        "new folder"
    )

    parts: str = setting(
        "table",
        "list of table (the engine and its competitors), scaling (its cost against the number of "
        "members), strategies (its strategies and forms of convolution), devices (it on fewer), "
        "start (an experiment's, to its first step), job (a whole one against the engine alone)",
    )
    full: bool = setting(False, "measure all of the table, longer and more often: for a quiet hour")
    models: str = setting(
        "",
        "list of linear, mlp, cnn, resnet, with settings; empty: by --full, without resnet; of the "
        "part start linear, of job cnn:widths=32-64-128",
    )
    members: str = setting(
        "", "list of how many members; empty: 1,8, with --full 1,8,64,256; of start and job 8"
    )
    peers: str = setting("", "list of competitors; empty: all that are installed; none: no other")
    rounds: int | None = setting(None, "samples of each; unset: 3, with --full 7", low=1, high=99)
    seconds: float | None = setting(
        None,
        "that a sample lasts; unset: 0.5, with --full 3; this engine's last up to 8 times as long, "
        "as far as the 4 s of its calls in a run",
        above=0.0,
        high=600.0,
    )
    job_seconds: float | None = setting(
        None,
        "of training in the part job; unset: 60, with --full 660",
        above=0.0,
        high=1e6,
    )
    precision: str = setting("float32", "float32, tf32 or bfloat16 (of this engine)")
    strategy: str = setting("auto", "auto, map, chunk or vmap, of this engine in the table")
    devices: str = setting("", "list of how many devices the part devices compares; empty: 1, all")
    out_dir: str = setting("runs", "where folders of results are made", operational=True)
    name: str = setting("", "of the folder; empty: made from the settings", operational=True)


def check(config: Config) -> None:
    """Refuse what cannot be measured before anything starts.

    Raises:
      InputError: a value that is not allowed.
    """
    check_ranges(config)
    if config.name:
        check_name(config.name)
    for flag, value, allowed in (
        ("precision", config.precision, PRECISIONS),
        ("strategy", config.strategy, STRATEGIES),
    ):
        if value not in allowed:
            raise InputError(f"--{flag}={value}; allowed: {', '.join(allowed)}")
    for part in split_list("parts", config.parts):
        if part not in PARTS:
            raise InputError(f"--parts={config.parts}: {part!r}; allowed: {', '.join(PARTS)}")
    for entry in split_models(config.models) if config.models else ():
        model_spec(entry)
        check_entry(entry)
    for flag in ("members", "devices"):
        if getattr(config, flag):
            split_numbers(flag, getattr(config, flag))


def run(config: Config) -> dict[str, Any]:
    """Measure, print tables, draw figures, and say where they are."""
    check(config)
    result, folder = bench.measure_all(config)
    print(f"results and figures: {folder}")
    faults = [row["wrong"] for cell in result["cells"] for row in cell["rows"] if row["wrong"]]
    if faults:
        sys.stdout.flush()
        raise RuntimeError(f"a competitor computed something else: {faults[0]}; see the tables")
    return result


main = functools.partial(launcher.main, "experiments.throughput", Config, run)

if __name__ == "__main__":
    main()
