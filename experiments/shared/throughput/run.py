"""A benchmark from its settings to its folder: cells, JSON, tables, figures."""

import dataclasses
import importlib.metadata
import os
import platform
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from catdog_jax.population.devices import num_cores
from catdog_jax.registry import unknown
from catdog_jax.store import run_name
from catdog_jax.types import InputError
from experiments.shared.config import deciding
from experiments.shared.jobs import split_list, split_models
from experiments.shared.peers.registry import ENGINE, PEERS, ROOFLINE
from experiments.shared.progress import Progress, duration
from experiments.shared.run_summary import command_line
from experiments.shared.throughput import cells as cell_module
from experiments.shared.throughput import summary, whole
from experiments.shared.throughput.cells import Cell, split_numbers
from experiments.shared.throughput.drawing import draw
from experiments.shared.throughput.measure import Bench
from experiments.shared.throughput.problem import Problem
from experiments.shared.throughput.process import WorkerError
from experiments.shared.throughput.store import new_folder, write

MODELS = "linear,mlp,cnn:widths=32-64-128"
PACKAGES = ("jax", "jaxlib", "flax", "optax", "numpy", "torch", "scikit-learn")
VARIABLES = ("XLA_FLAGS", "JAX_PLATFORMS", "OMP_NUM_THREADS", "OMP_WAIT_POLICY", "MKL_NUM_THREADS")


def measure_all(config: Any) -> tuple[dict[str, Any], Path]:
    """Measure what a config asks for.

    Args:
      config: of `experiments.throughput`, checked.

    Returns:
      What `throughput.json` holds, and its folder.

    Raises:
      InputError: what is asked for cannot be measured here; no folder is made.
    """
    rounds = config.rounds or (7 if config.full else 3)
    seconds = config.seconds or (3.0 if config.full else 0.5)
    models = split_models(config.models or MODELS + (",resnet" if config.full else ""))
    counts = split_numbers("members", config.members or ("1,8,64,256" if config.full else "1,8"))
    peers, notes = chosen_peers(config.peers)
    base = Problem(models[0], 1, seconds, config.precision, config.strategy)
    where: dict[str, Any] = {"backend": "cpu", "cores": num_cores()}
    name = config.name or run_name("throughput", deciding(config))
    result: dict[str, Any] = {
        "experiment": "throughput",
        "command": command_line(config, "throughput"),
        "settings": {**dataclasses.asdict(config), "rounds": rounds, "seconds": seconds},
        "finished": False,
        "definitions": {"roofline_share": summary.SHARE},
    }
    begin = time.monotonic()
    with Bench(where) as bench:
        devices = split_numbers("devices", config.devices) if config.devices else ()
        facts = bench.start_roofline(base, [0])
        where["backend"] = facts["backend"]
        if facts["backend"] == "tpu":
            raise InputError(
                "throughput does not measure TPUs: a chip serves one process, and here every "
                "competitor has its own; set JAX_PLATFORMS=cpu to measure the processor"
            )
        if facts["backend"] != "cpu":
            where["cores"] = len(facts["devices"])
            peers, found = gpu_peers(peers)
            notes += found
        devices = devices or tuple(sorted({1, where["cores"]}))
        _refuse_more(config.devices, devices, where["cores"])
        folder = new_folder(config.out_dir, name)
        asked_parts = split_list("parts", config.parts)
        parts = [part for part in asked_parts if part not in whole.WHOLE]
        further = {1, *(devices if "devices" in parts else ())} - {where["cores"]}
        if not parts:
            further.clear()
        elif further:
            bench.start_roofline(base, sorted(further))
        cells = _cells(parts, base, models, counts, peers, devices, where, config.full)
        if parts:
            print(_announcement(cells, rounds, peers, notes, where, facts["devices"]), flush=True)
        result["machine"] = machine_facts(facts)
        result["models"] = {}
        result["cells"] = []
        for model in dict.fromkeys(cell.model for cell in cells):
            asked = {e.members for cell in cells if cell.model == model for e in cell.entrants}
            try:
                result["models"][model] = bench.describe(base, model, sorted(asked))
            except WorkerError as error:
                notes.append(f"{model} is left out: {error}")
        cells = [cell for cell in cells if cell.model in result["models"]]
        if parts and not cells:
            raise RuntimeError(f"nothing is left to measure: {'; '.join(notes)}")
        for cores in further:
            for _ in range(rounds):
                bench.look_at_roofline(cores)
        total = sum(len(cell.entrants) for cell in cells) * (rounds + 1)
        with Progress("throughput", total, "samples") as progress:
            for cell in cells:
                found_cell = bench.measure(cell, rounds, progress.to)
                result["cells"].append(found_cell)
                result["roofline"] = {str(k): list(v) for k, v in bench.roofline.items()}
                result["notes"] = [*notes, *bench.notes]
                summary.summarise(result)
                result["seconds"] = time.monotonic() - begin
                write(folder, result)
                tqdm.write(f"\n{summary.table(found_cell, result)}")
    summary.summarise(result)
    for part in (part for part in asked_parts if part in whole.WHOLE):  # now nothing else runs
        found_part = whole.measure(part, config, base, rounds, where, folder, tqdm.write)
        result[part] = found_part["rows"]
        result["notes"] = [*result.get("notes", notes), *found_part["notes"]]
        write(folder, result)
        print(f"\n{found_part['table']}", flush=True)
    result["seconds"] = time.monotonic() - begin
    result["finished"] = True
    write(folder, result)
    if cells:
        print(f"\n{summary.roofline_line(result)}")
    for note in dict.fromkeys(result["notes"]):
        print(f"note: {note}")
    draw(result, folder)
    print(f"it took {duration(time.monotonic() - begin)}")
    return result, folder


def chosen_peers(text: str) -> tuple[list[str], list[str]]:
    """Read --peers; where it is empty, take all that are installed.

    Returns:
      Keys of PEERS, the engine apart, and notes on what is missing.

    Raises:
      InputError: an unknown competitor, or one that is asked for by name and not installed.
    """
    known = [name for name in PEERS if name not in (ENGINE, ROOFLINE)]
    if text == "none":
        return [], []
    asked = list(split_list("peers", text)) if text else known
    for name in asked:
        if name not in known:
            raise unknown("competitor", name, known, "--peers takes a list of them, or none")
    missing = [name for name in asked if not PEERS[name].installed]
    if text and missing:
        package = PEERS[missing[0]].needs
        raise InputError(
            f"--peers={text}: {missing[0]} needs the package {package}, which is not installed; "
            'give the extra [bench]: pip install "catdog_jax[bench]"'
        )
    notes = []
    if missing:
        packages = sorted({PEERS[name].needs for name in missing})
        notes.append(
            f"{' and '.join(packages)} not installed, so {', '.join(missing)} are left out; "
            "for them give the extra [bench]"
        )
    return [name for name in asked if name not in missing], notes


def gpu_peers(peers: Sequence[str]) -> tuple[list[str], list[str]]:
    """Leave out the competitors that cannot use the accelerator that the engine has."""
    kept = [name for name in peers if PEERS[name].gpu]
    notes = []
    if any(PEERS[name].needs == "torch" for name in kept):
        import torch  # only here, where its competitors are to run

        if not torch.cuda.is_available():
            kept = [name for name in kept if PEERS[name].needs != "torch"]
            notes.append("torch sees no GPU here: its competitors are left out")
    left = sorted(set(peers) - set(kept))
    if left:
        notes.append(f"without use of the accelerator, left out: {', '.join(left)}")
    return kept, notes


def machine_facts(facts: dict[str, Any]) -> dict[str, Any]:
    """Collect what the numbers depend on besides the settings."""
    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {
        "python": platform.python_version(),
        "system": platform.platform(),
        "processor": processor(),
        "cores": num_cores(),
        "backend": facts["backend"],
        "devices": facts["devices"],
        "versions": versions,
        "environment": {name: os.environ[name] for name in VARIABLES if name in os.environ},
    }


def processor() -> str:
    """Tell the processor's name, as far as the system says it."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _cells(
    parts: Sequence[str],
    base: Problem,
    models: Sequence[str],
    counts: Sequence[int],
    peers: Sequence[str],
    devices: Sequence[int],
    where: dict[str, Any],
    full: bool,
) -> list[Cell]:
    found: list[Cell] = []
    auto = base._replace(strategy="auto")
    for part in parts:
        if part == "table":
            found += cell_module.table_cells(base, models, counts, peers, where)
        elif part == "scaling":
            found += cell_module.scaling_cells(auto, full)
        elif part == "strategies":
            found += cell_module.strategy_cells(auto, models, counts, where["backend"])
        else:
            found += cell_module.device_cells(auto, models, counts, devices, where["backend"])
    return found


def _refuse_more(text: str, devices: Sequence[int], there: int) -> None:
    if max(devices) > there:
        raise InputError(
            f"--devices={text}: {max(devices)} is more than the {there} there are; give numbers "
            f"from 1 to {there}"
        )


def _announcement(
    cells: Sequence[Cell],
    rounds: int,
    peers: Sequence[str],
    notes: Sequence[str],
    where: dict[str, Any],
    devices: Sequence[str],
) -> str:
    machine = f"{where['cores']} × {devices[0]}" if devices else "nothing"
    lines = [
        f"{len(cells)} comparisons, {rounds} samples of each competitor, on {machine}",
        f"competitors of this engine: {', '.join(peers) or 'none'}",
        *(f"note: {note}" for note in notes),
    ]
    return "\n".join(lines)
