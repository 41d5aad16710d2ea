"""Does a run fit a machine that is not here, and how long does it take there at best?

Compiles the very programs of a training run for a TPU, a GPU or this machine, without data and
without running them. Per model it prints the memory on each device, the communication between
devices (there must be none between members), the largest wave that fits, and a bound on the time
from the published peaks of the device. On an accelerator the wave is the one that a run finds by
itself (or --wave), and may fill 90 % of the memory that programs have. The last line is 'fits: yes'
or 'fits: no'; the exit status is 0 or 1. Nothing is measured but memory, and a bound is not a
forecast: real programs take longer.

  python -m experiments.fit_check --topology=v5e:2x4 --models=cnn --num_members=4096
  python -m experiments.fit_check --topology=gpu:h200 --models=cnn --num_members=1000
  python -m experiments.fit_check --models=linear,mlp --num_members=4096

A TPU needs the extra [tpu] (Linux; 213 MB to download, no TPU), a GPU jax-cuda13-plugin of the same
version as JAX (Linux; 132 MB to download, no GPU and no CUDA). One to five minutes for a model on
two cores.
"""

import dataclasses
import functools
import sys
from dataclasses import dataclass
from typing import Any, ClassVar

import jax

from catdog_jax.population import parse_vary, use_all_cores
from catdog_jax.population.plan import STRATEGIES
from catdog_jax.population.topology import LOCAL, find_machine
from catdog_jax.store.manifest import check_name
from catdog_jax.types import InputError
from experiments.shared import jobs as job_module
from experiments.shared import launcher
from experiments.shared.config import TrainConfig, check_ranges, setting
from experiments.shared.fit_programs import shape_dataset
from experiments.shared.fit_report import check_model, report, write


def _as_in_training(name: str, default: Any) -> Any:
    """Declare a setting that a training run has too, with a default of our own."""
    field = TrainConfig.__dataclass_fields__[name]
    return dataclasses.field(default=default, metadata=field.metadata)


@dataclass(frozen=True)
class Config:
    """Settings of fit_check."""

    AFTER: ClassVar[str] = "nothing of it is kept; the same command begins again"

    topology: str = setting(
        LOCAL,
        "local; a TPU slice like v4:2x2x1, v5e:1x1, v5e:2x4, v5e:16x16, v5p:2x2x1 or v6e:2x2; or "
        "gpu:a100, gpu:h100, gpu:h200, several as gpu:h200x8",
    )
    models: str = _as_in_training("models", "cnn")
    num_members: int = _as_in_training("num_members", 4096)
    dataset: str = setting("cifar10", "whose recipes fill in the unset settings; nothing is read")
    image_size: int = setting(32, "pixels a side", low=8, high=1024)
    num_train: int = setting(10_000, "training pictures", low=1)
    num_test: int = setting(2_000, "test pictures", low=1)
    num_classes: int = setting(2, "classes to tell apart", low=2)
    num_steps: int | None = _as_in_training("num_steps", None)
    batch_size: int | None = _as_in_training("batch_size", None)
    optimizer: str | None = _as_in_training("optimizer", None)
    augment: str | None = _as_in_training("augment", None)
    eval_every: int | None = _as_in_training("eval_every", None)
    vary: str = _as_in_training("vary", "init")
    precision: str = _as_in_training("precision", "float32")
    strategy: str = setting(
        "auto", "auto (a written rule), map, chunk or vmap: how members share a device"
    )
    wave: int = _as_in_training("wave", 0)
    conv: str = _as_in_training("conv", "auto")
    search: bool = setting(
        True,
        "look for the largest wave that fits, which compiles more often; without --wave, on "
        "accelerators a run looks for it, and so does this",
    )
    out_dir: str = _as_in_training("out_dir", "runs")
    name: str = _as_in_training("name", "")


def run(config: Config) -> None:
    """Compile, print, and write fit_check.json.

    Raises:
      InputError: wrong input.
      RuntimeError: it does not fit, or members are coupled.
    """
    training = _training(config)
    if config.topology == LOCAL:
        use_all_cores()
    else:  # what is compiled for another machine must not look for this one's devices
        jax.config.update("jax_platforms", "cpu")
    machine = find_machine(config.topology)
    dataset = shape_dataset(
        config.dataset, config.num_train, config.num_test, config.image_size, config.num_classes
    )
    jobs = job_module.make_jobs(training, dataset, job_module.split_models(config.models))
    print(
        f"{config.num_members:,} members of each model on {len(machine.devices)} × {machine.kind} "
        f"({config.topology}); {config.num_train:,} train, {config.num_test:,} test, "
        f"{config.image_size} × {config.image_size} pixels, {config.precision}",
        flush=True,
    )
    results = []
    for job in jobs:
        result = check_model(training, job, machine, config.search, _tell)
        print(report(training, job, machine, result), flush=True)
        results.append(result)
    path = write(config, jobs, machine, results)
    print(f"results: {path}")
    reasons = [result.reason for result in results if result.reason]
    print(f"fits: {'no' if reasons else 'yes'}")
    if reasons:
        raise RuntimeError("; ".join(reasons))


def _training(config: Config) -> TrainConfig:
    """Make the settings of the training run that is asked about, and check them."""
    check_ranges(config)
    shared = {field.name for field in dataclasses.fields(TrainConfig)}
    given = {
        field.name: getattr(config, field.name)
        for field in dataclasses.fields(Config)
        if field.name in shared
    }
    training = TrainConfig(**given)
    parse_vary(config.vary)
    if config.strategy == job_module.MEASURE:
        raise InputError(
            "--strategy=measure times the machine itself, which fit_check does not; allowed: "
            f"{', '.join(STRATEGIES)}"
        )
    job_module.check_config(training)
    if config.name:
        check_name(config.name)
    return training


def _tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


main = functools.partial(launcher.main, "experiments.fit_check", Config, run)

if __name__ == "__main__":
    main()
