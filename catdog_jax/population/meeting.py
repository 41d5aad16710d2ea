"""How processes find each other: by hand, or through the launchers that `jax.distributed` knows.

They leave `jax.distributed` at once, before any device is touched, because it ends the others of a
lost process by an abort, at a loss of all since the last checkpoint and with a page of C++. This is
the only file that knows it.
"""

import importlib.util
import json
import os
import secrets
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

import jax

from catdog_jax.types import InputError

MEETING_SECONDS = 300  # batch systems start their tasks minutes apart
SILENCE_SECONDS = 15  # after which a machine that does not answer counts as lost
_SLURM = (  # as jax.distributed asks for them: a step of srun, not the script around it
    "SLURM_JOB_ID",
    "SLURM_STEP_NODELIST",
    "SLURM_NTASKS",
    "SLURM_PROCID",
    "SLURM_LOCALID",
)
_waiting: list[str] = []  # not empty while a meeting has been begun and has not ended


class _TooLate(RuntimeError):
    """MEETING_SECONDS are over."""


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
    """Return whether a launcher has started several tasks, and what it leaves unsaid of them."""
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
    """Return whether this is a Cloud TPU machine, which may be one of several of a slice."""
    if environ.get("JAX_PLATFORMS", "tpu") != "tpu" or "TPU_SKIP_MDS_QUERY" in environ:
        return False
    from jax._src import cloud_tpu_init

    return bool(cloud_tpu_init.running_in_cloud_tpu_vm)


def meet(arguments: Mapping[str, Any]) -> tuple[int, int, dict[int, socket.socket]]:
    """Find the others through jax.distributed, connect with them, and leave it.

    Args:
      arguments: see `meeting`.

    Returns:
      The number of this process, how many there are, and connections: of the first process with
      all others, of each of those with the first.

    Raises:
      RuntimeError: the others did not come within MEETING_SECONDS.
    """
    from jax._src import distributed  # its key-value store has no public name

    _waiting.append("meeting")
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
            found = _answering(state.client.blocking_key_value_get, "catdog_jax/first", wait)
            port, token = json.loads(found)
            links = {0: _connected(host, port, token, index)}
    _answering(jax.distributed.shutdown)
    _waiting.clear()
    # What is left in it would make this process a part of a larger one to every backend.
    vars(state).clear()
    if threading.current_thread() is threading.main_thread():
        # jax.distributed has put a handler of its own under that of Python.
        signal.signal(signal.SIGTERM, signal.getsignal(signal.SIGTERM))
    return index, count, links


def leave_given_up(status: int) -> None:
    """End this process at once where it has given a meeting up.

    At a regular end jax.distributed writes a page about it.
    """
    if _waiting:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _initialize(arguments: Mapping[str, Any]) -> None:
    """Call jax.distributed.initialize."""
    try:
        # No device ids: it would take one GPU per process, also where there is one process per
        # machine. Twice the time: at its end jax aborts.
        _answering(
            jax.distributed.initialize,
            local_device_ids=[],
            initialization_timeout=2 * MEETING_SECONDS,
            **arguments,
        )
    except _TooLate:
        who = arguments.get("num_processes", "all")
        where = arguments.get("coordinator_address", "the address that the launcher names")
        raise RuntimeError(
            f"after {MEETING_SECONDS} s not all of {who} processes have met at {where}; start "
            "them together, where each can reach that address, or give --coordinator=none"
        ) from None
    except Exception as error:  # of whatever kind: it is one line for a person
        _waiting.clear()
        line = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise RuntimeError(
            f"the processes cannot meet: {line}; give --coordinator=host:port, or none"
        ) from error


def _answering(work: Callable[..., Any], *args: Any, **options: Any) -> Any:
    """Call a function that waits in C++, in a thread, so that signals are answered meanwhile.

    Raises:
      _TooLate: it takes longer than MEETING_SECONDS.
    """
    made: list[Any] = []
    failed: list[Exception] = []

    def call() -> None:
        try:
            made.append(work(*args, **options))
        except Exception as error:  # of whatever kind, it is told by the thread that waits
            failed.append(error)

    thread = threading.Thread(target=call, daemon=True)
    end = time.monotonic() + MEETING_SECONDS
    thread.start()
    while thread.is_alive():
        thread.join(0.2)
        if thread.is_alive() and time.monotonic() > end:
            raise _TooLate(
                f"after {MEETING_SECONDS} s the processes have not met; start them again"
            )
    if failed:
        raise failed[0]
    return made[0]


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
