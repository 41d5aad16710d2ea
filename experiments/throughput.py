"""How fast is it, beside what else there is? One run measures this engine and its competitors.

Each competitor trains the same models, from the same weights on the same batches, with the same
optimiser, in a process of its own: this engine, stock Flax in a Python loop and as vmap + scan,
torch one model after another (as it comes, channels last, one process a core) and by
torch.func.vmap. The first steps of each are compared with stock Flax's before anything is timed: a
wrong engine does not win. Scikit-learn trains models of the same size in its own way, unchecked.
They take turns in an order drawn anew each round; what counts is the ratio of medians within the
run, and the share of the machine's own matrix product ("roofline") in the same rounds. This engine
works as in an experiment: its real optimiser, losses, metrics, its gathering and normalising of
batches (10,000 noise pictures of 32 × 32, no augmentation, since the others have none); the others
get their batches ready-made. Its samples are up to 8 times longer, because its calls are in a run
too; of members beyond one wave, a sample trains one wave, without its start. One member stands for
any number where a competitor trains one after another; on a CPU, convolutions are measured with 2
members of vmap + scan at most, which is hopelessly slow there, and 8 of torch.func vmap.

  python -m experiments.throughput                     a few minutes
  python -m experiments.throughput --full              all of it: over an hour
  python -m experiments.throughput --members=1,4,16,64,256 --baselines=none
  python -m experiments.throughput --parts=start,job   4 minutes, with --full 20

The minutes are those of two cores. The last one measures the main job: how soon its first step is
done, and how much longer a whole job takes than its training steps alone.

Competitors that are not installed are left out, with a note (the extra [bench] has them). It ends
with a table and the path of a new folder: throughput.json (every sample, versions, devices) and
figures/throughput.png. For numbers worth quoting, let nothing else run on the machine.
"""

import contextlib
import dataclasses
import importlib.metadata
import importlib.util
import itertools
import json
import random
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
import xarray as xr

from catdog_jax.population.devices import num_cores
from catdog_jax.population.plan import STRATEGIES
from catdog_jax.registry import OneOf, Range, split_list
from catdog_jax.run.progress import Progress
from catdog_jax.run.summary import aligned
from catdog_jax.store import atomic
from catdog_jax.store.manifest import check_name
from catdog_jax.train import PRECISIONS
from catdog_jax.types import InputError
from experiments import _cli, _experiment
from experiments._cli import Operational, command_line, whole_numbers
from experiments.baselines.case import Case, job, new_process, prepare, sample, starts
from experiments.baselines.flax_loop import first_steps, network

ENGINE, PRODUCT = "this engine", "matrix product"
# By default and with --full: rounds, seconds of a sample and of the job, members.
QUICK, FULL = (3, 0.5, 60.0, "1,8"), (7, 3.0, 660.0, "1,8,64,256")
SMALL = "cnn:widths=8-16-32:head=flatten,resnet:widths=8-16-32:stem_stride=2:head=flatten"
MODELS = f"linear,mlp,cnn:widths=32-64-128,{SMALL}"
JOB_MODEL = "cnn:widths=32-64-128"


@dataclasses.dataclass(frozen=True)
class Config(_cli.Settings):
    """Settings of throughput.

    Attributes:
      parts: list of table (of competitors), start and job (of the main job)
      full: measure all of it, longer and more often: for a quiet hour
      models: list of linear, mlp, cnn, resnet; empty: these, and those of the embedded data
      members: list of how many members; empty: 1,8, with --full 1,8,64,256
      baselines: list of competitors; empty: all that are installed; none: none
      rounds: samples of each; unset: 3, with --full 7
      seconds: of a sample; unset: 0.5, with --full 3
      job_seconds: of the job; unset: 60, with --full 660
      precision: float32, tf32 or bfloat16
      strategy: auto, map, chunk or vmap, of this engine
      out_dir: where folders of results are made
      name: of the folder; empty: the time
    """

    parts: str = "table"
    full: bool = False
    models: str = ""
    members: str = ""
    baselines: str = ""
    rounds: Annotated[int | None, Range(1, 99)] = None
    seconds: Annotated[float | None, Range(above=0)] = None
    job_seconds: Annotated[float | None, Range(above=0)] = None
    precision: Annotated[str, OneOf(PRECISIONS)] = "float32"
    strategy: Annotated[str, OneOf(STRATEGIES)] = "auto"
    out_dir: Operational[str] = "runs"
    name: Operational[str] = ""

    def cases(self, models: str, members: str) -> list[Case]:
        """Give every model with every number of members, in rising order; by default those given.

        Raises:
          InputError: a value that is not allowed.
        """
        counts = sorted(whole_numbers("members", self.members or members, 1))
        entries = split_list("models", self.models or models)
        for model in entries:
            network(model)
        how = self.precision, self.strategy
        return [Case(model, count, *how) for model in entries for count in counts]


class Competitor(NamedTuple):
    """What decides where a competitor is measured, and with how many members.

    Attributes:
      title: for table and figure.
      needs: a package that it cannot do without.
      dense: members that are measured at most where the model does not convolve. One that trains
        them one after another needs no more than 1; 0 where it has no such model.
      conv: likewise, where the model convolves; 2 and more hold for a CPU alone.
      cpu_only: whether it cannot use an accelerator.
    """

    title: str
    needs: str = "jax"
    dense: int = 1
    conv: int = 1
    cpu_only: bool = False


ALL = 10**9
BASELINES = {
    "flax_loop": Competitor("Flax loop"),
    "vmap_scan": Competitor("vmap + scan", dense=ALL, conv=2),
    "torch_loop": Competitor("torch", "torch"),
    "torch_channels_last": Competitor("torch channels-last", "torch", dense=0),
    "torch_processes": Competitor("torch, a process a core", "torch", cpu_only=True),
    "torch_vmap": Competitor("torch.func vmap", "torch", dense=ALL, conv=8),
    "scikit_learn": Competitor("scikit-learn", "sklearn", conv=0, cpu_only=True),
}
ENGINES = {"engine": Competitor(ENGINE, dense=ALL, conv=ALL), "roofline": Competitor(PRODUCT)}
COMPETITORS = ENGINES | BASELINES


def own_case(name: str, case: Case, backend: str) -> Case | None:
    """Give what a competitor trains where a case is asked for; None where it takes no part."""
    one, on_cpu = COMPETITORS[name], backend == "cpu"
    most = one.conv if case.has_conv else one.dense
    few = name == "torch_processes" and not 1 < num_cores() <= case.members
    if few or most == 0 or (one.cpu_only and not on_cpu):
        return None
    return case._replace(members=min(case.members, most if most == 1 or on_cpu else ALL))


def summarised(data: xr.Dataset) -> xr.Dataset:
    """Add what the table and the figure show to the samples.

    Args:
      data: 'rate' [model, members, competitor, round], member-steps a second (of the matrix
        product: operations), and 'flops' [model] of a member-step.

    Returns:
      With the median 'member_steps_per_second'; 'ratio' of this engine's to each other one, and
      'ratio_low', 'ratio_high', the quartiles of the ratios within a round; and 'share' [model,
      members] of the matrix product's median that this engine reaches.
    """
    middle = data["rate"].median("round", skipna=False)
    engine = middle.sel(competitor=ENGINE, drop=True)
    pairs = data["rate"].sel(competitor=ENGINE, drop=True) / data["rate"]
    low, high = pairs.quantile([0.25, 0.75], "round", skipna=False).drop_vars("quantile")
    ratio, product = engine / middle, middle.sel(competitor=PRODUCT, drop=True)
    low, high, share = np.minimum(low, ratio), np.maximum(high, ratio), engine / product
    data = data.assign(member_steps_per_second=middle, share=share * data["flops"])
    return data.assign(ratio=ratio, ratio_low=low, ratio_high=high)


def table(data: xr.Dataset) -> list[list[str]]:
    """Write a row for each model and number of members; '–' is what was not measured."""
    others = data["competitor"].values[2:]
    titles = [f"÷ {title}" for title in others]
    rows = [["model", "members", "member-steps/s", "of a matrix product's speed", *titles]]
    for model, members in itertools.product(data["model"].values, data["members"].values):
        one = data.sel(model=model, members=members)
        rate = float(one["member_steps_per_second"].sel(competitor=ENGINE))
        words = [f"{rate:,.{int(rate < 100)}f}", f"{100 * one['share']:.0f} %"]
        words += [f"{x:,.{2 * (x < 10)}f}" for x in one["ratio"].sel(competitor=others).values]
        rows.append([model, f"{members:,}", *("–" if "nan" in word else word for word in words)])
    return rows


def measure(
    cases: list[Case], names: list[str], rounds: int, seconds: float, keep: Callable[..., None]
) -> xr.Dataset:
    """Prepare each competitor of a case, then sample it once a round, in an order drawn anew.

    One that fails costs its own column.

    Args:
      cases: every model with every number of members, in rising order.
      names: of COMPETITORS, this engine and the matrix product first.
      rounds, seconds: samples of each, and how long they last.
      keep: given what is to be recorded, after each case.

    Returns:
      See `summarised`; and 'hopeless' [model, competitor], so slow that it is hardly measured.
    """
    models, members = (list(dict.fromkeys(x)) for x in list(zip(*cases, strict=True))[:2])
    titles = [COMPETITORS[name].title for name in names]
    coords = {"model": models, "members": members, "competitor": titles, "round": range(rounds)}
    data = xr.DataArray(np.nan, coords, [*coords]).to_dataset(name="rate")
    data["flops"] = "model", np.full(len(models), np.nan)
    data["hopeless"] = ("model", "competitor"), np.zeros((len(models), len(names)), bool)
    info: dict[str, dict[str, Any]] = {}
    ticks, total = itertools.count(), len(cases) * len(names) * (1 + rounds)
    with Progress("throughput", total, "samples") as progress:
        for case in cases:
            with new_process() as process:
                start = process.submit(first_steps, case).result()
            data["flops"].loc[case.model] = start.flops
            slow = case.has_conv and start.backend == "cpu"
            data["hopeless"].loc[case.model] = [slow and name == "vmap_scan" for name in names]
            own = {name: x for name in names if (x := own_case(name, case, start.backend))}
            turns = [(r, x) for r in range(rounds + 1) for x in random.sample([*own], len(own))]
            rates = data["rate"].loc[case.model, case.members]
            told = info.setdefault(case.title, {})
            with contextlib.ExitStack() as stack:
                processes = {name: stack.enter_context(new_process()) for name in own}
                for number, name in turns:
                    if name not in processes:
                        continue
                    process, title = processes[name], COMPETITORS[name].title
                    progress.to(next(ticks), f"{case.title}, round {number}: {title}")
                    try:
                        if number == 0:
                            asked = name, own[name], start, seconds
                            told[name] = process.submit(prepare, *asked).result()
                        else:
                            rates.loc[title][number - 1] = process.submit(sample).result()
                    except Exception as error:  # whatever a library raises
                        if name == "engine":
                            raise
                        why = " ".join(f"{type(error).__name__}: {error}".split())[:300]
                        told[name], rates.loc[title] = {"error": why}, np.nan
                        print(f"{title} failed on {case.title}: {why}", flush=True)
                        processes.pop(name).shutdown()
            done = summarised(data)
            plain = done.astype(object).where(done.notnull(), None).to_dict()
            keep(table=plain, info=info, backend=start.backend, devices=start.devices)
    return done


def draw(data: xr.Dataset, result: dict[str, Any], folder: Path) -> None:
    """Draw the figure of the part `table`."""
    settings, kinds = result["settings"], result["devices"]
    machine = f"{num_cores()} cores" if kinds[0] == "cpu" else f"{len(kinds)} × {kinds[0]}"
    note = f"{machine}, {settings['precision']}, {settings['rounds']} samples each."
    waved = [title for title, one in result["info"].items() if one["engine"]["waves"] > 1]
    if waved:
        note = f"It trains {', '.join(waved)} in waves of fewer members; a sample is one. {note}"
    data = data.assign_attrs(command=result["command"], note=note)
    _experiment.draw(data, folder, {"throughput": "throughput.throughput"})


def benchmark(config: Config) -> None:
    """Measure, print what was found, draw the figure, and say where they are."""
    parts = split_list("parts", config.parts, ("table", "start", "job"))
    rounds, seconds, lasts, members = FULL if config.full else QUICK
    rounds, seconds = config.rounds or rounds, config.seconds or seconds
    cases = config.cases(MODELS + ",resnet" * config.full, members)
    asked = config.baselines or ",".join(BASELINES)
    baselines = () if asked == "none" else split_list("baselines", asked, BASELINES)
    missing = [x for x in baselines if not importlib.util.find_spec(BASELINES[x].needs)]
    baselines = tuple(x for x in baselines if x not in missing)
    name = config.name or time.strftime("%Y-%m-%d_%H-%M-%S")
    check_name(name)
    folder = Path(config.out_dir).expanduser().absolute() / "throughput" / name
    if folder.exists():
        raise InputError(f"{folder} is there already; choose another --name")
    result: dict[str, Any] = {
        "command": command_line(config, "throughput"),
        "settings": {**dataclasses.asdict(config), "rounds": rounds, "seconds": seconds},
        "versions": {d.name: d.version for d in importlib.metadata.distributions()},
    }

    def keep(**more: Any) -> None:
        result.update(more)
        with atomic.replacing(folder / "throughput.json") as file:
            file.write(json.dumps(result, indent=1, ensure_ascii=False, allow_nan=False).encode())

    if missing:
        print(f"left out: {', '.join(missing)}; for them install the extra [bench]", flush=True)
    keep()
    if "table" in parts:
        data = measure(cases, ["engine", "roofline", *baselines], rounds, seconds, keep)
        print(*aligned(table(data), keys=2), sep="\n", flush=True)
        if baselines:
            draw(data.isel(competitor=slice(2, None)), result, folder)
    for case in config.cases("linear", "8") if "start" in parts else ():
        result.setdefault("start", {})[case.title] = started = starts(case, rounds, folder)
        keep()
        for state, times in started.items():
            low, middle, high = np.percentile(times, [25, 50, 75])
            text = f"{middle:.2f} s to its first step ({low:.2f} to {high:.2f})"
            print(f"{case.title}, {state}: {text}", flush=True)
    for case in config.cases(JOB_MODEL, "8") if "job" in parts else ():
        known = result.setdefault("job", {})
        lasts, out_dir = config.job_seconds or lasts, folder / f"job_{len(known)}"
        known[case.title] = one = job(case, rounds, lasts, seconds, out_dir)
        keep()
        text = "{1:.3f} ({0:.3f} to {2:.3f})".format(*one["ratio"])
        spent = f"{one['job_seconds']:.1f} s ÷ {one['engine_seconds']:.1f} s"
        print(f"{case.title}: whole job ÷ engine alone {text}, {spent}", flush=True)
    print(f"results: {folder}")


def main(argv: Sequence[str]) -> int:
    """Run on command-line arguments; return the exit status."""
    return _cli.run(argv, Config, benchmark, "the same command measures anew, in a new folder")


if __name__ == "__main__":
    _cli.command(main)
