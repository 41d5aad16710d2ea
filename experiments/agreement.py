"""Which test pictures do members disagree on most, and how often does one change its mind?

Members of a model differ in their starts alone, and still answer some pictures differently. For
each test picture: the share of pairs of members that disagree on it (0 where all answer the same,
and at most about a half with two classes). For each two evaluations in a row: churn, the share of
pictures that a member answers differently than before. Expected: disagreement sits in a few
pictures, much the same ones for all models, those near a model's boundary; churn falls as the rate
does, and the pictures that change last are those that members disagree on.

  python -m experiments.agreement --run=runs/init_convergence/NAME
  python -m experiments.agreement

The first trains nothing and takes seconds; the second trains members of its own as
init_convergence does, in about two minutes on two cores. It ends with a table and the path of the
run folder: results.nc (every number) and figures/*.png.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr
from scipy.stats import rankdata

from catdog_jax.analysis.agreement import predictions, votes
from catdog_jax.analysis.labelled import described, readable
from catdog_jax.run import Population, Run
from catdog_jax.run.summary import aligned
from catdog_jax.types import InputError
from experiments import _cli
from experiments._experiment import Experiment
from experiments._results import number
from experiments._tasks import TrainConfig

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SHOWN = 32  # pictures that are kept, those of the most disagreement in the last model


@dataclass(frozen=True)
class Config(TrainConfig):
    """Settings of agreement."""


def analyse(populations: Mapping[str, Population], config: Config) -> xr.Dataset:
    """Count disagreement of each picture, and churn between evaluations, of members left.

    Variables:
      disagreement_by_example: share of pairs of members that disagree on a test example
      churn_by_example: mean over members and evaluations of changes of its class
      churn: share of test examples whose class changes between two evaluations
      step: training steps at the later of the two; -1 = none [step]
      diverged_step: step whose loss or gradient was not finite; -1 = never [step]
      logits: of the final weights on the test examples [nats]
      label: class index of the test examples
      alike: rank correlation of disagreement_by_example of two models
      picture: the test pictures of the most disagreement in the last model [grey level]
      picture_example: index of each kept picture among the test examples
      example_id: stable name of each test example
    """
    del config
    trained = list(populations.values())
    data, steps = trained[0].data, max((one.steps for one in trained), key=len)
    shape = (len(trained), trained[0].num_members, len(steps) - 1)
    churn, last = np.full(shape, np.nan), np.full((len(trained), shape[2]), -1)
    apart = np.full((len(trained), len(data.test.labels)), np.nan)
    changes = apart.copy()
    for m, one in enumerate(trained):
        answers = predictions(one.logits[:, one.alive])  # [E, alive, N]
        changed = answers[1:] != answers[:-1]
        churn[m, one.alive, : len(changed)] = changed.mean(axis=2).T
        last[m, : len(changed)] = one.steps[1:]
        if one.alive.sum() > 1:
            apart[m] = disagreement_by_example(one.arrays["test_logits"][one.alive])
        changes[m] = changed.mean(axis=(0, 1)) if changed.size else np.nan
    order = np.argsort(-apart[-1], kind="stable")[:SHOWN].astype(np.int32)
    shown = order[apart[-1][order] > 0]
    variables = {
        "disagreement_by_example": (("model", "example"), apart),
        "churn_by_example": (("model", "example"), changes),
        "churn": (("model", "member", "change"), churn),
        "step": (("model", "change"), last),
        "diverged_step": (("model", "member"), np.stack([one.diverged_step for one in trained])),
        "logits": (
            ("model", "member", "example", "class"),
            np.stack([one.arrays["test_logits"] for one in trained]),
        ),
        "label": (("example",), data.test.labels),
        "alike": (("model", "other_model"), _rank_correlations(apart)),
    }
    if data.kind == "images" and len(shown):
        pixels = ("shown", "row", "column", "channel")
        variables["picture"] = (pixels, data.test.inputs[shown])
        variables["picture_example"] = (("shown",), shown)
    coordinates = {
        "model": np.array(list(populations), dtype=object),
        "example_id": (("example",), readable(data.test.ids)),
        "class": np.array(data.class_names, dtype=object),
    }
    return described(xr.Dataset(variables, coordinates, {"dataset": data.name}), analyse)


def disagreement_by_example(logits: np.ndarray) -> np.ndarray:
    """Give the share of pairs of members that disagree on each example.

    1 - Σₖ nₖ(nₖ - 1) / M(M - 1), nₖ the members that say class k: its mean over examples is the
    mean of `pairwise_disagreement` over pairs.

    Args:
      logits: [M, N, K], finite, M ≥ 2.

    Returns:
      [N] float64, 0..1.
    """
    count = len(logits)
    said = np.rint(votes(logits) * count)
    return 1.0 - (said * (said - 1)).sum(axis=1) / (count * (count - 1))


def _rank_correlations(rows: np.ndarray) -> np.ndarray:
    """Correlate the ranks of examples for every two models; nan where one of them never differs."""
    with np.errstate(invalid="ignore"):
        return np.corrcoef(rankdata(rows, axis=1)).reshape(len(rows), len(rows))


def churn_figure(data: xr.Dataset) -> "Figure":
    """Draw how many pictures each member answers anew, from evaluation to evaluation.

    Args:
      data: `churn` (model, member, change), shares; `step` (model, change).
    """
    from catdog_jax.figures import style

    with style.look():
        models, ylabel = data["model"].values.tolist(), "churn (fraction of examples)"
        figure, panels = style.panels(models, 3.0, 2.5, ylabel=ylabel, sharey=True)
        for p, axes in enumerate(panels):
            one, look = data.isel(model=p), {"color": style.colour(p)}
            step, churn = one["step"].values, one["churn"].values
            kept, later = churn[np.isfinite(churn).any(axis=1)][:, step > 0], step[step > 0]
            thin = {"lw": 0.7, "alpha": style.thin(len(kept)), "label": "one member"}
            axes.plot(later, kept.T, **thin, **look)
            if len(kept):
                middle = np.median(kept, axis=0)
                axes.plot(later, middle, "o-", ms=3, lw=2, label="median", **look)
            axes.set(xlabel="training step", ylim=(0, None))
        caption = (
            "Share of the test examples that a member classifies differently than at its "
            f"evaluation before, for {style.members(data.sizes['member'])} of each model; bold: "
            "their median."
        )
        return style.finish(figure, "How often members change their minds", caption, data)


FIGURES = {"churn": churn_figure, "most_disagreement": "pictures.data_sheet"}


def table(run: Run) -> str:
    """Write how much members disagree, how few pictures carry it, and how churn falls."""
    data = run.data
    head = ["model", "disagreement", "no pair disagrees", "half of it in", "churn, first", "last"]
    rows = [[*head, "with churn", *(f"like {name}" for name in data["model"].values)]]
    for name in data["model"].values:
        one = data.sel(model=name)
        apart = np.sort(one["disagreement_by_example"].values)[::-1]
        half = np.searchsorted(np.cumsum(apart), apart.sum() / 2) + 1
        steps = int((one["step"] > 0).sum())
        churn = one["churn"].mean("member").values
        both = np.stack([one["disagreement_by_example"], one["churn_by_example"]])
        rows.append(
            [
                str(name),
                number(float(apart.mean())),
                number(float((apart == 0).mean())),
                f"{100 * half / len(apart):.0f} %" if apart.sum() > 0 else "–",
                *(number(float(x)) for x in (churn[0], churn[steps - 1])),
                number(float(_rank_correlations(both)[0, 1])),
                *(number(float(x)) for x in one["alike"].values),
            ]
        )
    return "\n".join(
        [
            *aligned(rows),
            "disagreement: share of pairs of members, mean over test examples; half of it in: the "
            "share of examples that carry half; churn: share of examples whose class changes "
            "between two evaluations; with churn, like: Spearman's correlation over examples",
        ]
    )


def check(populations: Mapping[str, Population]) -> None:
    """Raise InputError for models that differ in number of members."""
    counts = {label: one.num_members for label, one in populations.items()}
    if len({*counts.values()}) > 1:
        told = ", ".join(f"{count} of {label}" for label, count in counts.items())
        raise InputError(f"the run has {told}; name models of as many members by --models")


main = Experiment("agreement", Config, analyse, FIGURES, table, check=check).main

if __name__ == "__main__":
    _cli.command(main)
