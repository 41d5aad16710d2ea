"""Who the processes of a run are: told by hand, or by what has started them."""

from collections.abc import Mapping

from catdog_jax.types import InputError

ADDRESS_SECONDS = 300  # for the name of process 0's machine to be known
LAUNCHED = (  # where launchers say how many processes there are, and which one this is
    ("SLURM_NTASKS", "SLURM_PROCID"),
    ("OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK"),
    ("", "JOB_COMPLETION_INDEX"),  # Kubernetes tells its pods no number of them
)


def find_others(
    coordinator: str, num_processes: int | None, process_id: int | None, environ: Mapping[str, str]
) -> tuple[str, int, int] | None:
    """Decide who the processes of this run are, from flags or from what started this one.

    Args:
      coordinator, num_processes, process_id: see `distributed.join`.
      environ: environment variables, those of the launchers among them.

    Returns:
      (address of process 0, how many there are, number of this one), or None if it is alone.

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
        return _ask_launcher(environ) if address == "" else None
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise InputError(
            f"--coordinator={address} is no address; give host:port of process 0, or none"
        )
    size, rank = next((names for names in LAUNCHED if names[1] in environ), ("", ""))
    if num_processes is None and size in environ:
        num_processes = int(environ[size])
    if process_id is None and rank in environ:
        process_id = int(environ[rank])
    if num_processes is None or process_id is None or not 0 <= process_id < num_processes:
        raise InputError(
            f"--coordinator={address} needs --num_processes, the same for every process, and "
            f"--process_id, its own from 0 to one less; not {num_processes} and {process_id}"
        )
    return address, num_processes, process_id


def _ask_launcher(environ: Mapping[str, str]) -> tuple[str, int, int] | None:
    """Ask the launchers that JAX knows, but Kubernetes, whose pods may be alone."""
    from jax._src.clusters import ClusterEnv  # `initialize` asks it too, but tells no address

    for launcher in ClusterEnv._cluster_types:
        asked = not launcher.opt_in_only_method and launcher.__name__ != "K8sCluster"
        if not asked or not launcher.is_env_present():
            continue
        count = launcher.get_process_count()
        if count == 1 or environ.get("SLURM_STEP_NUM_TASKS") == "1":  # the shell of salloc
            return None
        address = launcher.get_coordinator_address(
            timeout_secs=ADDRESS_SECONDS, override_coordinator_port=None
        )
        return address, count, launcher.get_process_id()
    if environ.get("OMPI_COMM_WORLD_SIZE", "1") != "1":
        raise InputError(
            "this Open MPI does not tell its tasks where the first one is; give "
            "--coordinator=host:port of the first one's machine"
        )
    return None
