"""Every rung is on the ladder, with its numbers, among those of its origin."""

import numpy as np
import pytest

from catdog_jax.figures.ladder import ladder

LONG = "resnet:widths=8-16-32:stem_stride=2:head=flatten"
NAMES = ("constant", "knn:k=15", "centroid", "mlp:depth=2", LONG, "polynomial:degree=3")
ORIGINS = ("programmed", "estimated", "estimated", "learned", "learned", "learned")


class Rungs:
    """Made-up numbers of R rungs; learned ones have M members, others one."""

    def __init__(self, count, num_members):
        rng = np.random.default_rng(0)
        self.names = [NAMES[r % 6] + (f":more={r}" if r > 5 else "") for r in range(count)]
        self.origins = [ORIGINS[r % 6] for r in range(count)]
        self.test = rng.uniform(0.5, 0.9, size=(count, num_members))
        for r, origin in enumerate(self.origins):
            if origin != "learned":
                self.test[r, 1:] = np.nan
        self.train = self.test + 0.05
        middle = np.nanmean(self.test, axis=1)
        self.low, self.high = middle - 0.02, middle + 0.03
        self.num_params = 10 ** np.arange(count)
        self.seconds = np.linspace(0.0, 1234.5, count)

    def figure(self, command="", **others):
        arrays = (self.train, self.test, self.low, self.high, self.num_params, self.seconds)
        return ladder(self.names, self.origins, *arrays, chance=0.5, command=command, **others)


def _rows(figure):
    """Height of each rung, in the order of the names."""
    return np.array(figure.axes[0].get_yticks())


@pytest.mark.parametrize(("count", "num_members"), [(1, 1), (6, 1), (8, 4), (16, 300)])
def test_every_size_is_drawn_and_says_what_it_is(count, num_members, command, draw):
    rungs = Rungs(count, num_members)
    words = draw(rungs.figure(command, note="Data: drawn."))
    assert "".join(words.split()).count("".join(command.split())) == 1
    assert "95 % interval" in words
    assert "Data: drawn." in words
    assert ("mean over members" in words) == (num_members > 1 and count > 3)
    for origin in set(rungs.origins):
        assert origin in words
    for name in rungs.names:
        entry, *settings = name.split(":")
        assert entry in words
        assert all(setting.split("=")[0] in words for setting in settings)


def test_marks_lie_at_the_numbers():
    rungs = Rungs(6, 3)
    figure = rungs.figure()
    lines = figure.axes[0].lines
    for r, y in enumerate(_rows(figure)):
        found = {}
        for line in lines:
            x, height = np.asarray(line.get_xdata()), np.asarray(line.get_ydata())
            if line.get_linestyle() == "None" and np.isclose(height, y).all():
                kind = "train" if line.get_markerfacecolor() == "white" else "test"
                found[kind] = x[0]
                assert line.get_marker() == {"p": "s", "e": "D", "l": "o"}[rungs.origins[r][0]]
            elif line.get_linewidth() == 2.0 and np.isclose(height, y).all():
                found["interval"] = tuple(x)
        assert found["test"] == pytest.approx(np.nanmean(rungs.test[r]))
        assert found["train"] == pytest.approx(np.nanmean(rungs.train[r]))
        assert found["interval"] == pytest.approx((rungs.low[r], rungs.high[r]))
    dots = [line.get_xdata() for line in lines if line.get_markersize() == 2.2]
    assert {tuple(d) for d in dots} == {tuple(rungs.test[r]) for r in (3, 4, 5)}


def test_origins_stay_together_and_the_best_of_each_is_on_top():
    rungs = Rungs(12, 2)
    rows, accuracy = _rows(rungs.figure()), np.nanmean(rungs.test, axis=1)
    climbed = np.argsort(rows)
    assert [rungs.origins[r] for r in climbed] == sorted(
        rungs.origins, key=["programmed", "estimated", "learned"].index
    )
    for origin in set(rungs.origins):
        own = [accuracy[r] for r in climbed if rungs.origins[r] == origin]
        assert own == sorted(own)
    assert np.diff(np.sort(rows)).min() > 0.15  # inches: no rung lies on another


def test_columns_hold_the_numbers_and_say_where_there_are_none(draw):
    rungs = Rungs(6, 2)
    rungs.names[4] = "my.own.package.transformer:" + ":".join(f"setting{i}={i}" for i in range(20))
    rungs.num_params = np.array([2.0, np.nan, 6146.0, 9_999_999.0, 30_720_000.0, 1.0])
    rungs.seconds = np.array([0.0, 0.0312, 0.25, 12.34, 1234.5, np.nan])
    rungs.test[0] = rungs.low[0] = np.nan
    rungs.origins[2] = "found on the street"
    words = draw(rungs.figure()).split()
    for text in ("6,146", "9,999,999", "30.7", "0.031", "0.25", "12.3", "1,234", "0.001"):
        assert text in words, text
    assert words.count("–") == 3
    assert "street" in words
    assert f"{np.nanmean(rungs.test[1]):.3f}" in words
