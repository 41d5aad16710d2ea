"""What a container may use, read from files like the kernel's."""

import psutil
import pytest

from catdog_jax.host import host_memory
from catdog_jax.population import devices

MIB = 2**20
TOTAL = psutil.virtual_memory().total


def write(root, files):
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")


V1 = "9:cpu,cpuacct:/x\n4:memory:/docker/abc\n1:name=systemd:/x\n0::/"


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, TOTAL),
        ({"proc/self/cgroup": "0::/", "sys/fs/cgroup/memory.max": f"{64 * MIB}"}, 64 * MIB),
        ({"proc/self/cgroup": "0::/", "sys/fs/cgroup/memory.max": "max"}, TOTAL),
        (
            {
                "proc/self/cgroup": "0::/job/step",
                "sys/fs/cgroup/job/step/memory.max": "max",
                "sys/fs/cgroup/job/memory.max": f"{96 * MIB}",
            },
            96 * MIB,
        ),
        (
            {
                "proc/self/cgroup": V1,
                "sys/fs/cgroup/memory/docker/abc/memory.limit_in_bytes": f"{32 * MIB}",
                "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712",
            },
            32 * MIB,
        ),
        # Inside a container the group's path may not exist: its files lie at the top.
        (
            {"proc/self/cgroup": V1, "sys/fs/cgroup/memory/memory.limit_in_bytes": f"{48 * MIB}"},
            48 * MIB,
        ),
    ],
)
def test_the_smaller_of_machine_and_control_group_counts(files, expected, tmp_path):
    write(tmp_path, files)
    assert host_memory(tmp_path) == expected


def test_devices_of_the_host_share_what_it_may_use(monkeypatch):
    monkeypatch.setattr(devices, "host_memory", lambda: 9 * MIB)
    monkeypatch.setattr(devices.jax, "local_device_count", lambda: 4)
    assert devices.total_memory() == 2 * MIB


def test_memory_is_rounded_down_finely_where_it_is_fixed():
    v5e = int(15.75 * 2**30)
    assert devices.round_memory("cpu", v5e) == 8 * 2**30
    assert devices.round_memory("tpu", v5e) == 15 * 2**30
    assert devices.round_memory("gpu", 16 * 2**30) == 16 * 2**30
    assert devices.round_memory("gpu", 5 * MIB) == 5 * MIB
