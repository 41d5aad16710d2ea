"""Several processes, on one machine or many, that train the waves of one run.

Members need nothing of each other, so a wave never spans processes: each trains waves of its own on
its own devices, as if it were alone, and the bits of a wave depend on its number and plan only.
What the processes do need is to find each other and to share what must be the same in all.

`meeting` does the first. From then on each is to JAX a process of its own, and they are joined by a
TCP connection of each with the first, which ends the moment its process does.
"""

import contextlib
import json
import os
import queue
import socket
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax

from catdog_jax.population.meeting import leave_given_up, meet, meeting

GRACE_SECONDS = 15  # in which a process ends by itself when another one is lost
SAVING_SECONDS = 100  # instead, where it is likely to be saving; job files grant 120
_HOW = "the same command goes on, also with another number of processes"


class ProcessLost(RuntimeError):
    """Another process of the run has ended; the message is one line for a person."""


class Group:
    """The processes of a run, as one of them sees them; this one is alone.

    Attributes:
      index: the number of this process, 0 for the first.
      count: how many there are.
      sharers: how many of them are on this machine.
    """

    index = 0
    count = 1
    sharers = 1

    @property
    def first(self) -> bool:
        """Whether this is the one that holds the run folder and prints the results."""
        return self.index == 0

    @property
    def name(self) -> str:
        """What to call this process, '' for one that is alone."""
        return "" if self.count == 1 else f"process {self.index} of {self.count}"

    def gather(self, value: Any) -> list[Any] | None:
        """Give the first process a JSON-ready value of each; blocks only there.

        Returns:
          The values in the order of the processes; None in all but the first.

        Raises:
          ProcessLost: another process has ended.
        """
        return [value]

    def broadcast(self, value: Any = None) -> Any:
        """Give all processes the JSON-ready value of the first; blocks in all others.

        Raises:
          ProcessLost: another process has ended.
        """
        return value

    def check(self) -> None:
        """Raise where another process has ended before its time.

        Raises:
          ProcessLost: see above.
        """

    def release(self) -> None:
        """From here on the first process needs no other one."""

    def leave(self, status: int, message: str = "") -> None:
        """Tell the others how this process ends.

        Args:
          status: its exit status.
          message: one line on what went wrong.
        """

    def wait_for_first(self) -> None:
        """Wait until the first process has ended well.

        Raises:
          ProcessLost: it ended otherwise.
        """


class _Peers(Group):
    """Several processes: every one but the first has a connection with the first."""

    def __init__(self, index: int, links: Mapping[int, socket.socket], count: int):
        self.index, self.count = index, count
        self._links = dict(links)
        self._values: dict[int, queue.SimpleQueue] = {i: queue.SimpleQueue() for i in links}
        self._ended: dict[int, int] = {}
        self._lost: str | None = None
        self._timer: threading.Timer | None = None
        self._released = self._left = False
        self._change = threading.Condition()
        self._sending = threading.Lock()
        for peer, link in self._links.items():
            threading.Thread(target=self._listen, args=(peer, link), daemon=True).start()

    def gather(self, value: Any) -> list[Any] | None:
        if not self.first:
            self._send(0, {"value": value})
            return None
        return [value, *(self._receive(peer) for peer in sorted(self._links))]

    def broadcast(self, value: Any = None) -> Any:
        if not self.first:
            return self._receive(0)
        for peer in self._links:
            self._send(peer, {"value": value})
        return value

    def check(self) -> None:
        if self._lost is not None:
            self._end_within(SAVING_SECONDS)  # it knows now, and may save first
            raise ProcessLost(self._lost)

    def release(self) -> None:
        self._released = True

    def wait_for_first(self) -> None:
        with self._change:
            while 0 not in self._ended and self._lost is None:
                self._change.wait(0.5)  # and not longer: a signal is only answered between waits
        self.check()

    def leave(self, status: int, message: str = "") -> None:
        with self._change:
            if self._left:
                return
            self._left = True
        for peer, link in self._links.items():
            self._send(peer, {"end": status, "message": message})
            with contextlib.suppress(OSError):
                link.shutdown(socket.SHUT_RDWR)  # what was sent still arrives

    def _receive(self, peer: int) -> Any:
        while True:
            lost = self._lost is not None  # before looking: what is said before an end still counts
            try:
                return self._values[peer].get(timeout=0 if lost else 0.5)
            except queue.Empty:
                if lost:
                    self.check()

    def _send(self, peer: int, message: Any) -> None:
        # The listener meets the same end as a failed sending, and says it.
        with contextlib.suppress(OSError), self._sending:
            self._links[peer].sendall(json.dumps(message).encode() + b"\n")

    def _listen(self, peer: int, link: socket.socket) -> None:
        """Read what a process says until its connection ends."""
        try:
            with link, link.makefile("rb") as lines:
                for line in lines:
                    said = json.loads(line)
                    if "value" in said:
                        self._values[peer].put(said["value"])
                    elif "end" in said:
                        return self._note_end(peer, said["end"], said["message"])
                    else:
                        return self._note_loss(said["lost"], said["seconds"])
        except (OSError, ValueError):  # the last line of a killed process may be half a line
            pass
        what = "was killed, or its machine is gone"
        self._note_loss(f"process {peer} of {self.count} {what}; {_HOW}", GRACE_SECONDS)

    def _note_end(self, peer: int, status: int, message: str) -> None:
        if status == 0 and peer == 0:
            with self._change:
                self._ended[0] = status
                self._change.notify_all()
            return
        why = message.removesuffix("; the same command goes on")
        words = f"process {peer} of {self.count} has ended ({why or f'exit status {status}'})"
        if status >= 128:  # by a signal, that may have reached this process too
            self._note_loss(f"{words}; {_HOW}", SAVING_SECONDS)
        else:  # by a fault: what it said tells whether the same command may go on
            self._note_loss(words, GRACE_SECONDS)

    def _note_loss(self, words: str, seconds: int) -> None:
        with self._change:
            if self._lost is not None or self._released or self._left or 0 in self._ended:
                return
            self._lost = words
            self._end_within(seconds)
            self._change.notify_all()
        if self.first:
            for peer in self._links:
                self._send(peer, {"lost": words, "seconds": seconds})

    def _end_within(self, seconds: int) -> None:
        """Set or move the time at which this process is ended."""
        with self._change:
            if self._timer is not None:
                self._timer.cancel()
            self._timer = threading.Timer(seconds, self._exit)
            self._timer.daemon = True
            self._timer.start()

    def _exit(self) -> None:
        """End a process that is deep in a compilation or a long read; files stay whole."""
        if not (self._left or self._released):
            print(f"error: {self._lost}", file=sys.stderr, flush=True)
            os._exit(1)


ALONE = Group()
_current: list[Group] = [ALONE]


def current() -> Group:
    """Give the processes of this run."""
    return _current[-1]


def join(
    coordinator: str = "", num_processes: int | None = None, process_id: int | None = None
) -> Group:
    """Meet the other processes of this run, if there are any; before any device is touched.

    Processes on one machine that may use the same cores share them out, and its GPUs one each.

    Args:
      coordinator: host:port of the first process; '' to ask the launcher; 'none' to be alone.
      num_processes: how many there are, where a coordinator is given; None to ask the launcher.
      process_id: the number of this one, from 0; None to ask the launcher.

    Raises:
      InputError: these do not go together.
      RuntimeError: the others did not come within MEETING_SECONDS.
    """
    arguments = meeting(coordinator, num_processes, process_id, os.environ)
    if arguments is None:
        return ALONE
    index, count, links = meet(arguments)
    if count == 1:
        return ALONE
    group = _Peers(index, links, count)
    _share_machine(group)
    _current.append(group)
    return group


def leave(status: int, message: str = "") -> None:
    """Tell the others of this run, if there are any, how this process ends; see `Group.leave`."""
    leave_given_up(status)
    group = current()
    group.leave(status, message)
    if group is not ALONE:
        _current.remove(group)


def _share_machine(group: Group) -> None:
    """Share cores and GPUs with the other processes of this machine."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        boot = ""
    affinity = getattr(os, "sched_getaffinity", None)
    cores = sorted(affinity(0)) if affinity else list(range(os.cpu_count() or 1))
    mine = [f"{socket.gethostname()} {boot}", cores, os.environ.get("CUDA_VISIBLE_DEVICES")]
    everyone = group.broadcast(group.gather(mine))
    here = [index for index, found in enumerate(everyone) if found[0] == mine[0]]
    group.sharers = len(here)
    # Devices, not the cores that threads may use: the bits of a product depend on those.
    sharing = sum(everyone[index][1] == cores for index in here)
    if sharing > 1 and "JAX_NUM_CPU_DEVICES" not in os.environ:
        jax.config.update("jax_num_cpu_devices", max(1, len(cores) // sharing))
    alike = [index for index in here if everyone[index][2] == mine[2]]
    # A launcher that gives each task GPUs of its own may call them all 0.
    listed = mine[2] is None or len(str(mine[2]).split(",")) >= len(alike)
    if len(alike) > 1 and listed and jax.config.values["jax_cuda_visible_devices"] == "all":
        jax.config.update("jax_cuda_visible_devices", str(alike.index(group.index)))
