"""Small populations that the tests of the engine train."""

import jax
import jax.numpy as jnp
import numpy as np

from catdog_jax import population as pop
from catdog_jax.augment import augmenter
from catdog_jax.models.build import build_model, recipe_for
from catdog_jax.optimizers import make_optimizer
from catdog_jax.population.members import DEFAULT_SEEDS
from catdog_jax.run import Task
from catdog_jax.train import make_learner
from catdog_jax.types import Data, Dataset, Model, Split

SHAPE = (8, 8, 3)
NORMAL = {"mean": (0.5,) * 3, "std": (0.2,) * 3}
ALL = ("init", "order", "augment")


def examples(num=96, seed=0) -> Data:
    """Noise with a faint class: learnable, and not in a few steps."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, num).astype(np.int32)
    images = (
        rng.normal(120, 50, (num, *SHAPE)) + 30 * labels[:, None, None, None] * np.eye(8)[..., None]
    )
    return Data(images.clip(0, 255).astype(np.uint8), labels)


def plan(
    strategy="map",
    wave=4,
    num_devices=4,
    microbatch=0,
    conv="direct",
    share=1,
    matrices="stored",
    joined=1,
) -> pop.Plan:
    """A plan by hand, so that a test says what it tests."""
    each = wave * share // num_devices
    chunk = {"map": min(joined, each), "chunk": 2, "vmap": each}[strategy]
    bits = microbatch, conv, 0, share, matrices, joined
    return pop.Plan(strategy, chunk, wave, num_devices, *bits)


def learner(entry="mlp:width=16", model: Model | None = None, augment=("flip", "shift"), **options):
    """A learner of a registered model on 8 x 8 pictures."""
    conv = {"conv": options.pop("conv")} if "conv" in options else {}
    model = model or build_model(entry, SHAPE, 2, **NORMAL, **conv)
    tx = options.pop("tx", None) or make_optimizer("adam", 3e-3, num_steps=40, schedule="cosine")
    return make_learner(
        model, tx, batch_size=options.pop("batch_size", 16), augment=augmenter(augment), **options
    )


def train(
    learner, plan, num_members=4, steps=10, eval_every=5, vary=("init",), **options
) -> list[pop.Wave]:
    """Train on the examples and give all waves."""
    data = options.pop("data", None) or examples()
    return list(
        pop.train_population(
            learner,
            data,
            pop.Schedule(steps, eval_every),
            members=options.pop("members", None) or pop.varied(num_members, vary),
            plan=plan,
            evaluations={"test": examples(40, seed=1)},
            **options,
        )
    )


def training(
    entry,
    num_members,
    side=8,
    sizes=(64, 32),
    vary=("init",),
    wave=0,
    precision="float32",
    **changes,
):
    """What planning knows of a task, on pictures that have a shape alone; the data take nothing."""

    def split(num):
        pictures = np.broadcast_to(np.uint8(0), (num, side, side, 3))
        return Split(pictures, np.zeros(num, np.int32), ())

    train, test = map(split, sizes)
    data = Dataset("shapes", train, split(0), test, ("cat", "dog"), {}, constants=NORMAL)
    recipe = recipe_for(entry, "cifar10")._replace(augment="none", **changes)
    how = pop.Execution(wave=wave, precision=precision)
    task = Task(entry, entry, recipe, data, pop.varied(num_members, vary), execution=how)
    return task.training._replace(fixed_bytes=0)


def keys_of(members, row, seeds=DEFAULT_SEEDS):
    """What one row of a table stands for, as a solo run takes it."""
    keys = pop.member_keys(seeds, members.rows(row, row + 1))
    own = lambda x: x[0] if x.ndim else x  # noqa: E731
    return jax.tree.map(own, keys)


def assert_close(found, wanted):
    """Hold two pytrees of arrays equal but for the order of their sums, over a few steps."""
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True):
        # 1e-7 after a step, growing with the steps.
        np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-5)


def assert_same_bits(one, other, rows=slice(None)):
    """Hold two pytrees of arrays equal, bit for bit, in the given members."""
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        np.testing.assert_array_equal(np.asarray(a)[rows], np.asarray(b)[rows])


def differs(one, other) -> bool:
    """Return whether any leaf differs anywhere."""
    return any(jax.tree.leaves(jax.tree.map(lambda a, b: bool(np.any(a != b)), one, other)))


def poisoned_model(member: int, seeds=DEFAULT_SEEDS, entry="mlp:width=16") -> Model:
    """A formula whose start is not a number for one member, told by its key."""
    base = build_model(entry, SHAPE, 2, **NORMAL)
    bad = jax.random.key_data(pop.member_keys(seeds, pop.varied(member + 1)).init[member])

    def init(key):
        params = base.init(key)
        poison = jnp.where((jax.random.key_data(key) == bad).all(), jnp.nan, 0.0)
        return jax.tree.map(lambda x: x + poison, params)

    return base._replace(init=init)
