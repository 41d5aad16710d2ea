"""A competitor's own process: so that threads, JAX devices and memory of competitors never mix.

Reads one JSON request a line on standard input and answers each with one JSON line on standard
output; what libraries print goes to standard error. It ends when its input does.
"""

import importlib
import json
import os
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from experiments.shared.throughput.problem import Problem


def main() -> None:
    """Answer requests until there are no more."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    worker = Worker()
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = getattr(worker, request.pop("do"))(**request)
        except Exception as error:  # whatever a library raises is told, and ends this column only
            traceback.print_exc()
            first = (str(error).strip().splitlines() or [""])[0]
            answer = {"error": f"{type(error).__name__}: {first}"}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


class Worker:
    """What can be asked of a competitor's process."""

    def prepare(
        self,
        module: str,
        options: dict[str, Any],
        problem: dict[str, Any],
        reference: str,
    ) -> dict[str, Any]:
        """Build, compile, warm up, and find out how many steps make a sample.

        Args:
          module: of `experiments.shared.peers`.
          options: further arguments of its `prepare`.
          problem: fields of `Problem`.
          reference: file of starting weights and batches; '' for none.
        """
        peer = importlib.import_module(f"experiments.shared.peers.{module}")
        base = resident_bytes()
        known = None
        if reference:
            from experiments.shared.peers.reference import read_reference

            known = read_reference(Path(reference))
        asked = Problem(**problem)
        self._runner = runner = peer.prepare(asked, known, **options)
        reset_peak()
        seconds = max(asked.seconds, runner.seconds)
        self._steps = calibrated(runner.run, runner.quantum, seconds)
        self._base = base
        return {
            "members": runner.members,
            "steps": self._steps,
            "check": runner.check,
            "state_bytes": runner.state_bytes,
            "compile_seconds": runner.compile_seconds,
            "facts": dict(runner.facts),
        }

    def describe(self, problem: dict[str, Any], reference: str, members: list[int]) -> Any:
        """Write the reference of a model, and tell what one step of one member computes."""
        import jax
        import numpy as np

        from catdog_jax.population.flops import step_flops
        from experiments.shared.peers import stock
        from experiments.shared.peers.reference import read_reference, write_reference

        asked = Problem(**problem)
        write_reference(asked, Path(reference), members)
        start = read_reference(Path(reference)).start[members[0]]
        images = jax.ShapeDtypeStruct((asked.batch_size, *asked.shape), np.float32)
        params = jax.eval_shape(lambda: stock.nested(start))
        return {
            "flops": step_flops(stock.stock_apply(asked), params, images),
            "parameters": sum(x.size for x in start.values()),
            "batch_size": asked.batch_size,
            "optimizer": asked.recipe.optimizer,
        }

    def take(self, steps: int) -> dict[str, Any]:
        """Make so many steps a sample from now on, in place of those that `prepare` found."""
        self._steps = steps
        return {}

    def sample(self) -> dict[str, Any]:
        """Train once more, and tell for how many steps and seconds.

        Where something comes before the sample (see `Runner.start`), 'start' tells its seconds.
        """
        found = {}
        if self._runner.start is not None:
            begin = time.perf_counter()
            self._runner.start()
            found["start"] = time.perf_counter() - begin
        begin = time.perf_counter()
        self._runner.run(self._steps)
        return {**found, "steps": self._steps, "seconds": time.perf_counter() - begin}

    def finish(self) -> dict[str, Any]:
        """Tell what memory it took, and what else was found."""
        return {
            "memory": {
                "base_bytes": self._base,
                "peak_bytes": peak_bytes(),
                "device_peak_bytes": self._runner.device_memory(),
            },
            "facts": dict(self._runner.facts),
        }


def calibrated(run: Callable[[int], None], quantum: int, seconds: float) -> int:
    """Find how many steps last about so long; the search is the warm-up."""
    steps = quantum
    while True:
        begin = time.perf_counter()
        run(steps)
        took = max(time.perf_counter() - begin, 1e-6)
        wanted = steps * seconds / took
        if took >= seconds / 4:
            return max(1, round(wanted / quantum)) * quantum
        steps = max(steps + quantum, quantum * int(min(wanted, 10 * steps) / quantum))


def resident_bytes() -> int:
    """Tell the memory this process holds now."""
    import psutil

    return psutil.Process().memory_info().rss


def reset_peak() -> None:
    """Forget the highest memory so far, that of compiling; only Linux can."""
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except OSError:
        return


def peak_bytes() -> int:
    """Tell the highest memory this process held, since `reset_peak` where that works."""
    try:
        for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    try:
        import resource
    except ImportError:  # Windows
        return resident_bytes()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


if __name__ == "__main__":
    main()
