"""The settings of an experiment: one frozen dataclass, turned into flags, manifest and captions."""

import dataclasses
import math
from dataclasses import dataclass, field
from typing import Any

from catdog_jax.types import InputError

SEED_MAX = 2**32 - 1
STEP_MAX = 2**31 - 1  # a step is an int32 in the program


def setting(
    default: Any,
    help: str,
    *,
    low: Any = None,
    high: Any = None,
    above: Any = None,
    operational: bool = False,
) -> Any:
    """Declare a field of a config.

    Args:
      default: its value where none is given.
      help: one line for `--helpshort`.
      low, high, above: its allowed range; `above` is exclusive.
      operational: it decides where and whether to work, but no number of the result.
    """
    metadata = {"help": help, "low": low, "high": high, "above": above, "operational": operational}
    return field(default=default, metadata=metadata)


@dataclass(frozen=True)
class TrainConfig:
    """Settings of every experiment that trains populations."""

    dataset: str = setting(
        "procedural",
        "procedural (embedded; procedural:difficulty=0.2 draws easier ones, 0 to 1), folder, "
        "cats_vs_dogs, cifar10, oxford_iiit_pet, any image set of TFDS, words (sentences), or "
        "package.module.function of your own",
    )
    data_dir: str | None = setting(
        None, "folder of the pictures, or of prepared TFDS data sets", operational=True
    )
    classes: str = setting("", "classes to tell apart, like cat,dog; empty: the data set's own")
    image_size: int = setting(
        0, "pixels a side, 8 to 1024; 0: the data set's default", low=0, high=1024
    )
    models: str = setting(
        "",
        "list of linear, mlp, cnn, resnet (of words: bag_of_words, word_average, word_conv, "
        "word_attention), each with settings if wanted (mlp:width=256:depth=3,"
        "cnn:widths=32-64-128), or package.module.builder of your own; "
        "empty: the data set's default",
    )
    num_members: int = setting(32, "random starts of each model", low=1)
    num_steps: int | None = setting(
        None, "training steps; unset: by model and data set", low=1, high=STEP_MAX
    )
    batch_size: int | None = setting(None, "examples a step; unset: by model and data set", low=1)
    optimizer: str | None = setting(
        None,
        "sgd, adam, adamw, nadamw, lion, rmsprop, lamb or muon, with settings if wanted "
        "(sgd:momentum=0.95); unset: by model and data set",
    )
    learning_rate: float | None = setting(
        None, "top of the schedule; unset: by model and data set", above=0.0
    )
    weight_decay: float | None = setting(None, "unset: by model and data set", low=0.0)
    schedule: str = setting(
        "cosine:warmup=0.1",
        "constant, cosine or linear, with settings if wanted (cosine:warmup=0.1)",
    )
    clip_norm: float = setting(0.0, "longest gradient let through; 0: any", low=0.0)
    label_smoothing: float = setting(
        0.0, "share of the target spread over all classes", low=0.0, high=0.999
    )
    augment: str | None = setting(
        None, "none, or a list of flip,shift,cutout; unset: by model and data set"
    )
    vary: str = setting("init", "what differs between members: a list of init,order,augment,data")
    sample: str | None = setting(
        None,
        "examples that a member learns from: bootstrap, subset:SHARE or leave_out:NUMBER, drawn "
        "for each member where --vary names data; unset: all",
    )
    init_seed: int = setting(0, "of the starting weights", low=0, high=SEED_MAX)
    order_seed: int = setting(0, "of the order of the examples", low=0, high=SEED_MAX)
    augment_seed: int = setting(0, "of the augmentation", low=0, high=SEED_MAX)
    data_seed: int | None = setting(
        None, "of the examples that --sample leaves; unset: 0", low=0, high=SEED_MAX
    )
    eval_every: int | None = setting(
        None, "steps between evaluations; unset: 5 to 20 evaluations, by their cost", low=1
    )
    out_dir: str = setting("runs", "where run folders are made", operational=True)
    name: str = setting("", "of the run folder; empty: made from the settings", operational=True)
    wave: int = setting(0, "members that train together; 0: as many as fit in memory", low=0)
    strategy: str = setting(
        "auto",
        "auto (a written rule), map, chunk or vmap: how members share a device; measure: try "
        "each for a moment and keep the fastest",
    )
    conv: str = setting(
        "auto", "auto, direct, lax or patches: how convolutions are computed, not what"
    )
    precision: str = setting("float32", "float32, tf32 or bfloat16")
    compile_cache: str = setting(
        "",
        "folder that keeps compiled programs; empty: the user's cache folder; none: no cache",
        operational=True,
    )
    fresh: bool = setting(
        False, "start another run beside one of the same settings", operational=True
    )
    download: bool = setting(
        False, "let TFDS fetch and prepare the data set in data_dir", operational=True
    )
    coordinator: str = setting(
        "",
        "host:port of process 0, where several share the run; empty: as SLURM, Open MPI, "
        "Kubernetes or Cloud TPU say, if they have started this one; none: always alone",
        operational=True,
    )
    num_processes: int | None = setting(
        None, "with --coordinator: processes that share the run", low=1, operational=True
    )
    process_id: int | None = setting(
        None, "with --coordinator: the number of this process, from 0", low=0, operational=True
    )

    @staticmethod
    def epilogue() -> str:
        """Write the table of what unset training flags become, for the help."""
        from catdog_jax.models.build import MODEL
        from experiments.shared.report import aligned

        names = ["steps", "batch", "optimizer", "rate", "decay", "augment"]
        rows = [["model", "data set", *names]]
        for model, spec in MODEL.table().items():
            for dataset, recipe in spec.recipes.items():
                cells = (f"{x:g}" if isinstance(x, float) else str(x) for x in recipe)
                rows.append([model, "any other" if dataset == "default" else dataset, *cells])
        return "\n".join(["What unset training flags become:", *("  " + r for r in aligned(rows))])


def deciding(config: Any) -> dict[str, Any]:
    """Give the settings that decide the numbers of a result; those that are None left out."""
    return {
        item.name: value
        for item in dataclasses.fields(config)
        if not item.metadata["operational"] and (value := getattr(config, item.name)) is not None
    }


def check_ranges(config: Any) -> None:
    """Hold every field of a config against its declared range.

    Raises:
      InputError: the first value out of range, with what is allowed.
    """
    for item in dataclasses.fields(config):
        check_value(item, getattr(config, item.name))


def check_value(item: dataclasses.Field, value: Any) -> None:
    """Hold one value against its field's range; None and text pass."""
    if value is None or isinstance(value, (str, bool)):
        return
    low, high, above = (item.metadata.get(name) for name in ("low", "high", "above"))
    good = (
        math.isfinite(value)
        and (low is None or value >= low)
        and (high is None or value <= high)
        and (above is None or value > above)
    )
    if not good:
        raise InputError(f"--{item.name}={value} is out of range; {_allowed(low, high, above)}")


def _allowed(low: Any, high: Any, above: Any) -> str:
    if above is not None:
        return f"give a finite number above {above:g}"
    if high is None:
        return f"give a finite number, at least {low}"
    return f"give a number from {low} to {high}"
