"""An experiment's command as a process of its own, watched from outside."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Self

from catdog_jax.store import manifest
from catdog_jax.types import InputError
from experiments.shared.throughput.process import ROOT

EXPERIMENT = "init_convergence"
NAME = "run"
LOOK_SECONDS = 0.05
LEAVE_SECONDS = 60.0  # to save what there is and end, once that is asked for


class Command:
    """`python -m experiments.init_convergence` in a new run folder; a context manager that ends it.

    Attributes:
      began: Unix time just before the process was started, seconds.
      path: the run folder.
    """

    def __init__(self, out_dir: Path, flags: Sequence[str], variables: Mapping[str, str]):
        """Start the process.

        Args:
          out_dir: holds no run of NAME yet.
          flags: of the experiment, without --out_dir and --name.
          variables: to set in the environment.
        """
        self.path = out_dir / EXPERIMENT / NAME
        words = ["-m", f"experiments.{EXPERIMENT}", f"--out_dir={out_dir}", f"--name={NAME}"]
        words.append("--coordinator=none")  # also within the job of a batch system
        self._log: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 (closed by __exit__)
        self.began = time.time()
        self._process = subprocess.Popen(
            [sys.executable, *words, *flags],
            env={**os.environ, "PYTHONPATH": python_path(), **variables},
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C is for the parent alone, which then ends this one
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        self._log.close()

    def stop(self) -> None:
        """Ask it to end, and wait until it has."""
        self._process.terminate()
        try:
            self._process.wait(LEAVE_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def times(self, label: str, until: str, patience: float) -> dict[str, float]:
        """Wait until the manifest tells a time of a model.

        Args:
          label: the model's.
          until: the time to wait for: 'first_step' or 'kept'; see `Checkpointer`.
          patience: seconds to wait at most.

        Returns:
          All that it tells of this session then.

        Raises:
          RuntimeError: the process ended before, or it took longer.
        """
        end = time.monotonic() + patience
        while True:
            over = self._process.poll()
            found = self.manifest().get("timings", {}).get(label, {}).get("latest", {})
            if until in found:
                return dict(found)
            if over is not None:
                raise RuntimeError(f"{EXPERIMENT} ended with status {over}: {self._last_words()}")
            if time.monotonic() > end:
                raise RuntimeError(f"{EXPERIMENT} on {label}: no {until} within {patience:.0f} s")
            time.sleep(LOOK_SECONDS)

    def wait(self) -> float:
        """Wait for the end.

        Returns:
          Unix time of it, seconds.

        Raises:
          RuntimeError: it failed.
        """
        status = self._process.wait()
        ended = time.time()
        if status:
            raise RuntimeError(f"{EXPERIMENT} ended with status {status}: {self._last_words()}")
        return ended

    def manifest(self) -> dict[str, Any]:
        """Read what the run's manifest holds now; empty where there is none yet."""
        try:
            return manifest.read(self.path) or {}
        except (OSError, InputError):  # on some systems not readable while it is replaced
            return {}

    def _last_words(self) -> str:
        self._log.seek(0)
        lines = self._log.read().decode(errors="replace").strip().splitlines()
        return lines[-1][:300] if lines else "no word"


def python_path() -> str:
    """Write PYTHONPATH so that a process anywhere finds this checkout first."""
    return os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])


def user_caches(folder: Path) -> dict[str, str]:
    """Set where everything that the project uses keeps what a user has cached."""
    return {
        "XDG_CACHE_HOME": str(folder),
        "CATDOG_CACHE_DIR": str(folder / "catdog_jax"),
        "MPLCONFIGDIR": str(folder / "matplotlib"),
    }
