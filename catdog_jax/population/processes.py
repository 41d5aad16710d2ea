"""Several processes, on one machine or many, that train the waves of one run.

Members need nothing of each other, so a wave never spans processes: each trains waves of its own on
its own devices, as if it were alone, and the bits of a wave depend on its number and plan only.
What the processes do need is to find each other and to share what must be the same in all.

`jax.distributed` does the first: it knows the launchers (SLURM, Open MPI, Kubernetes, Cloud TPU).
They leave it at once, before any device is touched, because it ends the others of a lost process by
an abort, at a loss of all since the last checkpoint and with a page of C++. From then on each is to
JAX a process of its own, and they are joined by a TCP connection of each with the first, that ends
the moment its process does.
"""

import contextlib
import importlib.util
import json
import os
import queue
import secrets
import signal
import socket
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax

from catdog_jax.types import InputError

MEETING_SECONDS = 300  # batch systems start their tasks minutes apart
SILENCE_SECONDS = 15  # after which a machine that does not answer counts as lost
GRACE_SECONDS = 15  # in which a process ends by itself when another one is lost
_HOW = "the same command goes on, also with another number of processes"
_SLURM = (  # as jax.distributed asks for them: a step of srun, not the script around it
    "SLURM_JOB_ID",
    "SLURM_STEP_NODELIST",
    "SLURM_NTASKS",
    "SLURM_PROCID",
    "SLURM_LOCALID",
)


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
            self.check()
            try:
                return self._values[peer].get(timeout=0.5)
            except queue.Empty:
                continue

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
                        return self._note_loss(said["lost"])
        except OSError:
            pass
        what = "was killed, or its machine is gone"
        self._note_loss(f"process {peer} of {self.count} {what}; {_HOW}")

    def _note_end(self, peer: int, status: int, message: str) -> None:
        if status == 0 and peer == 0:
            with self._change:
                self._ended[0] = status
                self._change.notify_all()
            return
        why = message.removesuffix("; the same command goes on")
        words = f"process {peer} of {self.count} has ended ({why or f'exit status {status}'})"
        self._note_loss(f"{words}; {_HOW}")

    def _note_loss(self, words: str) -> None:
        with self._change:
            if self._lost is not None or self._released or self._left or 0 in self._ended:
                return
            self._lost = words
            self._change.notify_all()
        if self.first:
            for peer in self._links:
                self._send(peer, {"lost": words})
        timer = threading.Timer(GRACE_SECONDS, self._exit)
        timer.daemon = True
        timer.start()

    def _exit(self) -> None:
        """End a process that is deep in a compilation or a long read; files stay whole."""
        if not (self._left or self._released):
            print(f"error: {self._lost}", file=sys.stderr, flush=True)
            os._exit(1)


ALONE = Group()
_current: list[Group] = [ALONE]
_waiting: list[str] = []  # not empty while a meeting has been begun and has not ended


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
    group = _meet(arguments)
    _current.append(group)
    return group


def leave(status: int, message: str = "") -> None:
    """Tell the others of this run, if there are any, how this process ends; see `Group.leave`."""
    if _waiting:
        # A meeting that was given up: at a regular end jax.distributed writes a page about it.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    group = current()
    group.leave(status, message)
    if group is not ALONE:
        _current.remove(group)


def meeting(
    coordinator: str,
    num_processes: int | None,
    process_id: int | None,
    environ: Mapping[str, str],
) -> dict[str, Any] | None:
    """Decide how a process finds the others.

    Args:
      coordinator, num_processes, process_id: see `join`.
      environ: environment variables, those of the launchers among them.

    Returns:
      Arguments of `jax.distributed.initialize`, none where that asks the launcher itself; or None
      for a process that is alone.

    Raises:
      InputError: the arguments do not go together.
    """
    address = coordinator or environ.get("JAX_COORDINATOR_ADDRESS", "")
    if address in ("", "none"):
        if num_processes is not None or process_id is not None:
            raise InputError(
                "--num_processes and --process_id need --coordinator=host:port, the address of "
                "process 0"
            )
        return _launcher(environ) if address == "" else None
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise InputError(
            f"--coordinator={address} is no address; give host:port of process 0, or none"
        )
    told = _told(environ)
    count = told[0] if num_processes is None else num_processes
    index = told[1] if process_id is None else process_id
    if count is None or index is None:
        missing = "num_processes" if count is None else "process_id"
        raise InputError(
            f"--coordinator={address} needs --{missing} too; give every process the same "
            "--num_processes, and a --process_id of its own from 0"
        )
    if not 0 <= index < count:
        raise InputError(
            f"--process_id={index} is out of range; with --num_processes={count} give a number "
            f"from 0 to {count - 1}"
        )
    if count == 1:
        return None
    return {"coordinator_address": address, "num_processes": count, "process_id": index}


def _told(environ: Mapping[str, str]) -> tuple[int | None, int | None]:
    """Read how many tasks a launcher has started, and which this one is; None where unsaid."""
    for count, index in (
        ("SLURM_NTASKS", "SLURM_PROCID"),
        ("OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK"),
        ("", "JOB_COMPLETION_INDEX"),  # Kubernetes tells its pods no number of them
    ):
        if environ.get(index, "").isdecimal():
            number = environ.get(count, "")
            return (int(number) if number.isdecimal() else None), int(environ[index])
    return None, None


def _launcher(environ: Mapping[str, str]) -> dict[str, Any] | None:
    """Tell whether a launcher has started several tasks, and what it leaves unsaid of them."""
    if all(name in environ for name in _SLURM):
        return {} if int(environ["SLURM_NTASKS"]) > 1 else None
    size = environ.get("OMPI_COMM_WORLD_SIZE", "1")
    if size != "1":
        if "OMPI_MCA_orte_hnp_uri" in environ:
            return {}
        if importlib.util.find_spec("mpi4py") is not None:
            return {"cluster_detection_method": "mpi4py"}
        # Open MPI 5 tells its tasks no address: one machine needs none, several do.
        if environ.get("OMPI_COMM_WORLD_LOCAL_SIZE") != size:
            raise InputError(
                "this Open MPI does not tell its tasks where the first one is; install mpi4py, or "
                "give --coordinator=host:port of the first one's machine"
            )
        job = environ.get("PMIX_NAMESPACE", str(os.getppid()))
        port = 61440 + sum(job.encode()) * 31 % 4096
        return {
            "coordinator_address": f"127.0.0.1:{port}",
            "num_processes": int(size),
            "process_id": int(environ["OMPI_COMM_WORLD_RANK"]),
        }
    if "KUBERNETES_SERVICE_HOST" in environ and "JOB_COMPLETION_INDEX" in environ:
        # jax asks the cluster for the rest, through a package that few images hold.
        return {} if importlib.util.find_spec("kubernetes") is not None else None
    if "," in environ.get("TPU_WORKER_HOSTNAMES", "") or _on_cloud_tpu(environ):
        return {}
    return None


def _on_cloud_tpu(environ: Mapping[str, str]) -> bool:
    """Tell whether this is a Cloud TPU machine, which may be one of several of a slice."""
    if environ.get("JAX_PLATFORMS", "tpu") != "tpu" or "TPU_SKIP_MDS_QUERY" in environ:
        return False
    from jax._src import cloud_tpu_init

    return bool(cloud_tpu_init.running_in_cloud_tpu_vm)


def _meet(arguments: Mapping[str, Any]) -> Group:
    """Find the others through jax.distributed, connect with them, and leave it."""
    from jax._src import distributed  # its key-value store has no public name

    _initialize(arguments)
    state: Any = distributed.global_state
    index, count = state.process_id, state.num_processes
    links: dict[int, socket.socket] = {}
    if count > 1:
        host = str(state.coordinator_address).rpartition(":")[0].strip("[]")
        wait = MEETING_SECONDS * 1000
        if index == 0:
            server, token = _server(), secrets.token_hex(16)
            port = server.getsockname()[1]
            state.client.key_value_set("catdog_jax/first", json.dumps([port, token]))
            links = _accepted(server, token, count)
        else:
            port, token = json.loads(state.client.blocking_key_value_get("catdog_jax/first", wait))
            links = {0: _connected(host, port, token, index)}
    jax.distributed.shutdown()
    # What is left in it would make this process a part of a larger one to every backend.
    vars(state).clear()
    if threading.current_thread() is threading.main_thread():
        # jax.distributed has put a handler of its own under that of Python.
        signal.signal(signal.SIGTERM, signal.getsignal(signal.SIGTERM))
    if count == 1:
        return ALONE
    group = _Peers(index, links, count)
    _share_machine(group)
    return group


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
    if len(alike) > 1 and jax.config.values["jax_cuda_visible_devices"] == "all":
        jax.config.update("jax_cuda_visible_devices", str(alike.index(group.index)))


def _initialize(arguments: Mapping[str, Any]) -> None:
    """Call jax.distributed.initialize; in a thread, so that signals are answered meanwhile."""
    failed: list[Exception] = []

    def initialize() -> None:
        try:
            # No device ids: it would take one GPU per process, also where there is one process per
            # machine. Twice the time: at its end jax aborts.
            jax.distributed.initialize(
                local_device_ids=[], initialization_timeout=2 * MEETING_SECONDS, **arguments
            )
        except Exception as error:
            failed.append(error)

    thread = threading.Thread(target=initialize, daemon=True)
    begin = time.monotonic()
    _waiting.append("meeting")
    thread.start()
    while thread.is_alive():
        thread.join(0.2)
        if time.monotonic() - begin > MEETING_SECONDS:
            who = arguments.get("num_processes", "all")
            where = arguments.get("coordinator_address", "the address that the launcher names")
            raise RuntimeError(
                f"after {MEETING_SECONDS} s not all of {who} processes have met at {where}; start "
                "them together, where each can reach that address, or give --coordinator=none"
            )
    _waiting.clear()
    if failed:
        line = (str(failed[0]).strip().splitlines() or [type(failed[0]).__name__])[0]
        raise RuntimeError(
            f"the processes cannot meet: {line}; give --coordinator=host:port, or none"
        ) from failed[0]


def _server() -> socket.socket:
    """Listen on any port of all addresses."""
    try:
        return socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True)
    except (OSError, ValueError):  # no IPv6 here
        return socket.create_server(("", 0))


def _accepted(server: socket.socket, token: str, count: int) -> dict[int, socket.socket]:
    """Take the connections of the other processes, and of no stranger."""
    links: dict[int, socket.socket] = {}
    end = time.monotonic() + MEETING_SECONDS
    server.settimeout(0.5)
    with server:
        while len(links) < count - 1:
            try:
                link, _ = server.accept()
            except TimeoutError:
                if time.monotonic() > end:
                    missing = min(set(range(1, count)) - set(links))
                    raise RuntimeError(
                        f"process {missing} of {count} does not reach process 0 over TCP; let the "
                        "machines of a run reach each other on all ports"
                    ) from None
                continue
            link.settimeout(10)
            try:
                said = json.loads(link.recv(256))
                if not secrets.compare_digest(str(said[0]), token):
                    raise ValueError
                links[int(said[1])] = _kept_alive(link)
            except (OSError, ValueError, LookupError, TypeError):
                link.close()
    return links


def _connected(host: str, port: int, token: str, index: int) -> socket.socket:
    try:
        link = socket.create_connection((host, port), timeout=60)
        link.sendall(json.dumps([token, index]).encode())
    except OSError as error:
        raise RuntimeError(
            f"process {index} does not reach process 0 at {host}, port {port} ({error}); let the "
            "machines of a run reach each other on all ports"
        ) from None
    return _kept_alive(link)


def _kept_alive(link: socket.socket) -> socket.socket:
    """Let the system find out when the other machine is gone; a process that dies says it."""
    link.settimeout(None)
    link.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    third = SILENCE_SECONDS // 3
    for name, value in {
        "TCP_KEEPIDLE": third,
        "TCP_KEEPALIVE": third,  # the same on macOS
        "TCP_KEEPINTVL": third,
        "TCP_KEEPCNT": 2,
        "TCP_USER_TIMEOUT": SILENCE_SECONDS * 1000,
    }.items():
        if hasattr(socket, name):
            link.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
    return link
