"""Several processes of one run: how they find each other, and what they tell each other.

Members need nothing of each other, so a wave never spans processes: each trains waves of its own on
its own devices, as if it were alone, and the bits of a wave depend on its number and plan only.

`jax.distributed` finds the others, and its key-value store, in process 0, stays: what each has to
say, a sign of life among it, and keys that can be set once, which make a wave one's own. A process
that is gone costs its unfinished segment, since the others take over its waves; when process 0 is
gone, JAX ends the others.
"""

import itertools
import json
import os
import secrets
import socket
import sys
import threading
import time
from pathlib import Path
from typing import Any

import jax

from catdog_jax import interrupt
from catdog_jax.population.launchers import find_others

MEETING_SECONDS = 300  # batch systems start their tasks minutes apart
BEAT_SECONDS = 2  # between two signs of life
SILENCE_SECONDS = 15  # without one, after which a process counts as gone
SAVING_SECONDS = 100  # that process 0 gives the others to save; job files grant 120
POLL_SECONDS = 0.1


class ProcessEnded(RuntimeError):
    """Another process has ended, and this one with it; the message is one line for a person.

    Attributes:
      status: exit status of this process: 128 + signal where process 0 was interrupted, else 1.
    """

    def __init__(self, message: str, status: int = 1):
        super().__init__(message)
        self.status = status


class _Store:
    """The key-value store of a process that is alone, with those calls of JAX's that are used."""

    def __init__(self) -> None:
        self._values: dict[str, str] = {}

    def key_value_set(self, key: str, value: str, allow_overwrite: bool = False) -> None:
        if key in self._values and not allow_overwrite:
            raise RuntimeError(f"ALREADY_EXISTS: {key}")
        self._values[key] = value

    def key_value_try_get(self, key: str) -> str:
        if key not in self._values:
            raise RuntimeError(f"NOT_FOUND: {key}")
        return self._values[key]


class Group:
    """The processes of a run, as one of them sees them.

    Values are JSON-ready, and None is no value.

    Attributes:
      index: the number of this process, 0 for the first.
      count: how many there are.
      sharers: how many of them are on this machine.
    """

    def __init__(self, index: int = 0, count: int = 1, client: Any = None):
        """Join.

        Args:
          index, count: see above.
          client: of JAX's coordination service; None for a process that is alone.
        """
        self.index, self.count, self.sharers = index, count, 1
        self.runs = itertools.count()  # all processes train their runs in one order
        self._client: Any = client or _Store()
        # A process that is started again has the number of the one before, and another incarnation.
        self._incarnation = secrets.token_hex(8)
        self._beats: dict[int, tuple[Any, float]] = {}  # the last one seen, since when
        self._missed: set[int] = set()
        self._left = threading.Event()
        self._beating = threading.Thread(target=self._beat, daemon=True)
        if count > 1:
            self._beating.start()

    @property
    def first(self) -> bool:
        """Whether this is the one that holds the run folder and prints the results."""
        return self.index == 0

    @property
    def name(self) -> str:
        """What to call this process, '' for one that is alone."""
        return "" if self.count == 1 else f"process {self.index} of {self.count}"

    def tell(self, key: str, value: Any) -> None:
        """Let all processes know a value, in place of an earlier one."""
        self._client.key_value_set(key, json.dumps(value), allow_overwrite=True)

    def told(self, key: str) -> Any:
        """Return what was told under a key, None if nothing was."""
        try:
            return json.loads(self._client.key_value_try_get(key))
        except RuntimeError as error:
            if "NOT_FOUND" not in str(error):
                raise
            return None

    def gather(self, key: str, value: Any) -> dict[int, Any]:
        """Tell a value, and wait for what every process tells under the same key.

        Returns:
          Number of the process -> its value, of all that are not gone.

        Raises:
          ProcessEnded: process 0 has ended, or another one for a wrong input.
        """
        self.tell(f"{key}/{self.index}", value)
        found = {index: self.wait_for(f"{key}/{index}", index) for index in range(self.count)}
        return {index: told for index, told in found.items() if told is not None}

    def wait_for(self, key: str, index: int = 0) -> Any:
        """Wait for what a process tells; None where it is gone.

        Raises:
          ProcessEnded: process 0 has ended, or this one for a wrong input.
        """
        while (told := self.told(key)) is None and not self._is_gone(index):
            interrupt.check()
            time.sleep(POLL_SECONDS)
        return told

    def claim(self, work: str) -> bool:
        """Take a piece of work that nobody has, or whose taker is gone.

        Args:
          work: its name.

        Returns:
          Whether it is this process's from now on; False also where it was before.
        """
        mine, attempt = [self.index, self._incarnation], 0
        while True:
            try:
                self._client.key_value_set(f"{work}/{attempt}", json.dumps(mine))
                return True
            except RuntimeError as error:
                if "ALREADY_EXISTS" not in str(error):
                    raise
            taker = self.told(f"{work}/{attempt}")
            if taker == mine or not self._is_gone(*taker):
                return False
            attempt += 1

    def check(self) -> None:
        """Raise where process 0 has ended: all end with it.

        Raises:
          ProcessEnded: see above.
        """
        self._is_gone(0)

    def leave(self, status: int, message: str = "") -> None:
        """Tell the others how this process ends; the first one waits until they have saved.

        Args:
          status: its exit status.
          message: one line on what went wrong.
        """
        if self.count == 1:
            return
        self._left.set()
        self._beating.join()
        self.tell(f"ended/{self.index}", [self._incarnation, status, message])
        if self.first:
            # It answers when no other process is connected any more, for none of them asks it.
            everyone = [list(range(self.count))]
            live = threading.Thread(target=self._client.get_live_nodes, args=everyone, daemon=True)
            live.start()
            live.join(SAVING_SECONDS)
        self._client.shutdown()

    def _beat(self) -> None:
        for beat in itertools.count():
            self.tell(f"alive/{self.index}", [self._incarnation, beat])
            if self._left.wait(BEAT_SECONDS):
                return

    def _is_gone(self, index: int, incarnation: str | None = None) -> bool:
        """Return whether a process has ended or was killed; say so once.

        Raises:
          ProcessEnded: it is process 0, or has ended for a wrong input.
        """
        ended, status, message = self.told(f"ended/{index}") or (None, 0, "")
        words = f"process {index} of {self.count} has ended ({message or f'exit status {status}'})"
        if ended is not None and (index == 0 or status == 2):
            raise ProcessEnded(words, status if status >= 128 else 1)
        if index == 0:
            return False
        beat = self.told(f"alive/{index}")
        now = time.monotonic()
        if self._beats.setdefault(index, (beat, now))[0] != beat:
            self._beats[index] = beat, now
        who = incarnation or (beat and beat[0])
        has_ended = ended is not None and ended == who
        replaced = beat is not None and beat[0] != who
        if not (has_ended or replaced or now - self._beats[index][1] > SILENCE_SECONDS):
            return False
        if index not in self._missed:
            self._missed.add(index)
            if not has_ended:
                words = f"process {index} of {self.count} was killed, or its machine is gone"
            print(f"{words}; the others go on", file=sys.stderr, flush=True)
        return True


_current = [Group()]
_waiting: list[threading.Thread] = []  # a thread that meets the other processes


def current() -> Group:
    """Return the processes of this run."""
    return _current[0]


def join(
    coordinator: str = "", num_processes: int | None = None, process_id: int | None = None
) -> Group:
    """Meet the other processes of this run, if there are any; before any device is touched.

    Processes on one machine that may use the same cores share them out, and its GPUs one each.

    Args:
      coordinator: host:port of process 0; '' to ask the launcher; 'none' to be alone.
      num_processes: how many there are, where a coordinator is given; None to ask the launcher.
      process_id: the number of this one, from 0; None to ask the launcher.

    Raises:
      InputError: these do not go together.
      RuntimeError: the others did not come within MEETING_SECONDS, or the address is in use.
    """
    found = find_others(coordinator, num_processes, process_id, os.environ)
    group = _current[0] = Group()
    if found is not None and found[1] > 1:
        address, count, index = found
        group = _current[0] = Group(index, count, _connect(address, count, index))
        _share_machine(group)
    return group


def leave(status: int, message: str = "") -> None:
    """End the part of this process in its run; see `Group.leave`.

    A process that still waits for the others ends here, at once: JAX would end it by an abort.
    """
    if _waiting:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    current().leave(status, message)
    _current[0] = Group()


def _connect(address: str, count: int, index: int) -> Any:
    """Connect with the coordination service of the processes; return its client.

    Raises:
      RuntimeError: see `join`.
    """
    from jax._src import distributed  # its client has no public name

    bind = os.environ.get("JAX_COORDINATOR_BIND_ADDRESS", address)
    if index == 0:
        _check_free(bind)
    jax.config.update("jax_enable_recoverability", True)
    jax.config.update("jax_enable_preemption_service", False)  # it takes SIGTERM for itself
    failed: list[Exception] = []

    def initialize() -> None:
        try:
            # No device ids: it would take one GPU a process. Twice the time: at its end JAX aborts.
            jax.distributed.initialize(
                address,
                count,
                index,
                local_device_ids=[],
                initialization_timeout=2 * MEETING_SECONDS,
                heartbeat_timeout_seconds=2 * SILENCE_SECONDS,
                coordinator_bind_address=bind,
            )
        except Exception as error:  # of whatever kind: it is raised by the thread that waits
            failed.append(error)

    # In a thread, because it waits in C++, where no signal is answered.
    _waiting.append(threading.Thread(target=initialize, daemon=True))
    _waiting[0].start()
    end = time.monotonic() + MEETING_SECONDS
    while _waiting[0].is_alive() and time.monotonic() < end:
        interrupt.check()
        _waiting[0].join(POLL_SECONDS)
    if _waiting[0].is_alive():
        raise RuntimeError(
            f"after {MEETING_SECONDS} s not all of {count} processes have met at {bind}; start "
            "them together, where each can reach that address, or give --coordinator=none"
        )
    _waiting.clear()
    if failed:
        line = (str(failed[0]).strip().splitlines() or [type(failed[0]).__name__])[0]
        raise RuntimeError(
            f"the processes cannot meet: {line}; give --coordinator=host:port, or none"
        )
    state: Any = distributed.global_state
    client = state.client
    # Before a device is touched: else every one waits for those of all processes.
    state.client, state.num_processes, state.process_id = None, 1, 0
    return client


def _check_free(address: str) -> None:
    """Raise where this process cannot listen at an address: JAX would share a port that is in use.

    Raises:
      RuntimeError: see above.
    """
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    try:
        family = socket.getaddrinfo(host, int(port), type=socket.SOCK_STREAM)[0][0]
        socket.create_server((host, int(port)), family=family).close()
    except OSError as error:
        raise RuntimeError(
            f"process 0 cannot listen at {address} ({error.strerror or error}); give another "
            "--coordinator=host:port, or its own address as JAX_COORDINATOR_BIND_ADDRESS"
        ) from None


def usable_cores() -> list[int]:
    """List the cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def _share_machine(group: Group) -> None:
    """Share cores and GPUs with the other processes of this machine."""
    boot = Path("/proc/sys/kernel/random/boot_id")
    machine = [socket.gethostname(), boot.read_text(encoding="ascii") if boot.exists() else ""]
    cores, gpus = usable_cores(), os.environ.get("CUDA_VISIBLE_DEVICES")
    mine = [machine, cores, gpus]
    everyone = group.gather("machine", mine)
    here = [index for index, found in everyone.items() if found[0] == mine[0]]
    group.sharers = len(here)
    # Devices, not the cores that threads may use: the bits of a product depend on those.
    sharing = sum(everyone[index][1] == cores for index in here)
    if sharing > 1 and "JAX_NUM_CPU_DEVICES" not in os.environ:
        jax.config.update("jax_num_cpu_devices", max(1, len(cores) // sharing))
    alike = [index for index in here if everyone[index][2] == gpus]
    # A launcher that gives each task GPUs of its own may call them all 0.
    listed = gpus is None or len(gpus.split(",")) >= len(alike)
    if len(alike) > 1 and listed and jax.config.values["jax_cuda_visible_devices"] == "all":
        jax.config.update("jax_cuda_visible_devices", str(alike.index(group.index)))
