"""The parent's end of a competitor's process, or of several that work at the same time."""

import contextlib
import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, Self

import psutil

ROOT = Path(__file__).parents[3]
VISIBLE = "CUDA_VISIBLE_DEVICES"
PATIENCE = 1800.0  # seconds that any one answer may take
SILENT = {  # compilation is measured, so nothing compiled before may be found
    "JAX_ENABLE_COMPILATION_CACHE": "false",
    "XLA_PYTHON_CLIENT_PREALLOCATE": "false",  # several processes share a GPU
    "PYTHONUNBUFFERED": "1",
}


class WorkerError(RuntimeError):
    """A competitor could not do what it was asked; the message is one line."""


class Worker:
    """One process of `worker`; a context manager that ends it."""

    def __init__(self, environment: dict[str, str], cores: int = 0):
        """Start the process.

        Args:
          environment: variables to set beside those of this process.
          cores: it may use the first few only; 0 for all.
        """
        self._log: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 (closed by close)
        path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
        with _confined(cores):
            self._process = subprocess.Popen(
                [sys.executable, "-m", "experiments.shared.throughput.worker"],
                env={**os.environ, **SILENT, "PYTHONPATH": path, **environment},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._log,
                text=True,
                encoding="utf-8",
                start_new_session=True,  # Ctrl-C is for the parent alone, which then ends this one
            )
        self._answers: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._listen, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._answers.put(line)
        self._answers.put("")

    def tell(self, do: str, **arguments: Any) -> None:
        """Send a request; `answer` waits for what comes of it."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps({"do": do, **arguments}) + "\n")
            self._process.stdin.flush()
        except OSError:
            pass  # `answer` says why it is gone

    def answer(self) -> dict[str, Any]:
        """Wait for the answer to the oldest request.

        Raises:
          WorkerError: the process failed, died, or took longer than PATIENCE.
        """
        try:
            line = self._answers.get(timeout=PATIENCE)
        except queue.Empty:
            raise WorkerError(f"no answer for {PATIENCE:.0f} s") from None
        if not line:
            code = self._process.wait()
            raise WorkerError(f"its process ended with status {code}: {self._last_words()}")
        found = json.loads(line)
        if "error" in found:
            raise WorkerError(found["error"])
        return found

    def ask(self, do: str, **arguments: Any) -> dict[str, Any]:
        """Send a request and wait for its answer."""
        self.tell(do, **arguments)
        return self.answer()

    def cpu_seconds(self) -> float:
        """Tell the processor time it has used so far."""
        try:
            times = psutil.Process(self._process.pid).cpu_times()
        except psutil.Error:
            return 0.0
        return times.user + times.system

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                try:
                    stream.close()
                except OSError:
                    continue  # what was not sent need not be
        self._log.close()

    def _last_words(self) -> str:
        self._log.seek(0)
        lines = self._log.read().decode(errors="replace").strip().splitlines()
        return lines[-1][:300] if lines else "no word"


@contextlib.contextmanager
def _confined(cores: int) -> Iterator[None]:
    """Keep this thread, and so what it starts, on the first few cores."""
    if not cores or not hasattr(os, "sched_setaffinity"):
        yield
        return
    every = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(every)[:cores])
    try:
        yield
    finally:
        os.sched_setaffinity(0, every)


def environment(*, module: str, cores: int, backend: str) -> dict[str, str]:
    """Set which devices a competitor finds.

    Args:
      module: of `experiments.shared.peers`.
      cores: accelerators that it may use, the first of those that this process sees; 0 for all.
      backend: 'cpu' or another.
    """
    if backend != "cpu":
        visible = [name for name in os.environ.get(VISIBLE, "").split(",") if name.strip()]
        chosen = visible[:cores] or [str(number) for number in range(cores)]
        return {VISIBLE: ",".join(chosen)} if cores else {}
    if module.startswith("flax"):
        return {"JAX_NUM_CPU_DEVICES": "1"}  # as it is where nobody says otherwise
    return {}
