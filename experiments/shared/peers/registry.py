"""Names the competitors: what they are called, what they need, how many members they can bear."""

import importlib
import importlib.util
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from experiments.shared.throughput.problem import Problem

EVERY = 10**9


class Peer(NamedTuple):
    """One competitor.

    Attributes:
      title: for tables and figures.
      module: its file in this folder; has `prepare(problem, reference, **options) -> Runner`.
      options: further arguments of `prepare`.
      sequential: trains one member after another, so that its rate does not depend on how many
        there are: two are measured, once per model, and compared in every cell.
      needs: a package that it cannot do without; '' for none beyond the project's own.
      families: the models that it has; () for all.
      most: members that are measured at most, where the model convolves, on a CPU.
      hopeless: whether that is because it is so slow there.
      one_each: whether one process with one thread runs per core, in place of all in one.
      gpu: whether it can use a GPU.
    """

    title: str
    module: str
    options: Mapping[str, Any] = MappingProxyType({})
    sequential: bool = False
    needs: str = ""
    families: tuple[str, ...] = ()
    most: int = EVERY
    hopeless: bool = False
    one_each: bool = False
    gpu: bool = True

    def measured(self, problem: Problem, backend: str) -> int:
        """Tell how many members are trained where so many are asked for."""
        if self.sequential:
            return min(problem.members, 2)
        most = self.most if problem.has_conv and backend == "cpu" else EVERY
        return min(problem.members, most)

    def is_hopeless(self, problem: Problem, backend: str) -> bool:
        """Return whether it is so slow that it is only measured to say so."""
        return self.hopeless and problem.has_conv and backend == "cpu"

    def load(self) -> Any:
        """Import its file, and with it the package it needs."""
        return importlib.import_module(f"experiments.shared.peers.{self.module}")

    @property
    def installed(self) -> bool:
        """Whether the package that it needs is here."""
        return not self.needs or importlib.util.find_spec(self.needs) is not None


ENGINE, ROOFLINE = "engine", "roofline"
PEERS: dict[str, Peer] = {
    ENGINE: Peer("this engine", "engine"),
    ROOFLINE: Peer("matrix products", "roofline"),
    "flax_loop": Peer("stock Flax, jitted step in a Python loop", "flax_loop", sequential=True),
    "flax_vmap_scan": Peer("stock Flax, vmap + scan", "flax_vmap_scan", most=2, hopeless=True),
    "torch": Peer("torch, one after another", "torch_loop", sequential=True, needs="torch"),
    "torch_channels_last": Peer(
        "torch channels-last, one after another",
        "torch_loop",
        options={"channels_last": True},
        sequential=True,
        needs="torch",
        families=("cnn", "resnet"),
    ),
    "torch_processes": Peer(
        "torch, one process a core",
        "torch_loop",
        options={"channels_last": True, "threads": 1},
        sequential=True,
        needs="torch",
        one_each=True,
        gpu=False,
    ),
    "torch_vmap": Peer("torch.func vmap", "torch_vmap", needs="torch", most=8),
    "scikit_learn": Peer(
        "scikit-learn, one after another",
        "scikit_learn",
        sequential=True,
        needs="sklearn",
        families=("linear", "mlp"),
        gpu=False,
    ),
}
