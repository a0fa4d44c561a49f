"""Cores and RAM under container limits, on made-up proc and sys trees."""

import os
from pathlib import Path

import psutil
import pytest

from advisor.hardware.processor import read_processor
from advisor.units import GIB, MIB

CPUINFO = "processor : 0\nmodel name\t: Intel(R) Xeon(R) Gold 6338\nflags\t\t: fpu sse2 avx2 fma avx512f amx_bf16\n"


@pytest.fixture
def plenty(monkeypatch):
    """A machine of 64 cores and 256 GiB."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(64)), raising=False)
    found = psutil.virtual_memory()._replace(total=256 * GIB, available=200 * GIB)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: found)


def tree(root: Path, **files: str) -> Path:
    for name, content in {"proc/cpuinfo": CPUINFO, **files}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content)
    return root


def test_without_limits_the_machine_is_ours(plenty, tmp_path):
    found = read_processor(tree(tmp_path, **{"proc/self/cgroup": "0::/user.slice\n"}))
    assert (found.num_cores, found.ram_total_bytes, found.ram_available_bytes) == (64, 256 * GIB, 200 * GIB)
    assert found.name == "Intel(R) Xeon(R) Gold 6338"
    assert found.instruction_sets == ("avx2", "fma", "avx512f", "amx_bf16")
    assert not found.in_container


def test_limits_of_version_2(plenty, tmp_path):
    group = "sys/fs/cgroup/pod"
    root = tree(
        tmp_path,
        **{
            "proc/self/cgroup": "0::/pod\n",
            f"{group}/cpu.max": "350000 100000\n",
            f"{group}/memory.max": f"{8 * GIB}\n",
            f"{group}/memory.current": f"{5 * GIB}\n",
            f"{group}/memory.stat": f"anon 1\ninactive_file {2 * GIB}\n",
            ".dockerenv": "",
        },
    )
    found = read_processor(root)
    assert found.num_cores == 3
    assert (found.ram_total_bytes, found.ram_available_bytes) == (8 * GIB, 5 * GIB)  # file cache is given back
    assert found.in_container


def test_a_limit_of_a_group_above_binds_too(plenty, tmp_path):
    root = tree(
        tmp_path,
        **{
            "proc/self/cgroup": "0::/a/b\n",
            "sys/fs/cgroup/a/cpu.max": "200000 100000\n",
            "sys/fs/cgroup/a/b/cpu.max": "max 100000\n",
            "sys/fs/cgroup/a/memory.max": f"{4 * GIB}\n",
            "sys/fs/cgroup/a/b/memory.max": "max\n",
        },
    )
    found = read_processor(root)
    assert (found.num_cores, found.ram_total_bytes) == (2, 4 * GIB)


def test_limits_of_version_1(plenty, tmp_path):
    root = tree(
        tmp_path,
        **{
            "proc/self/cgroup": "5:memory:/docker/x\n4:cpu,cpuacct:/docker/x\n",
            "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "150000\n",  # inside, the mount is the container's own part
            "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000\n",
            "sys/fs/cgroup/memory/memory.limit_in_bytes": f"{512 * MIB}\n",
            "sys/fs/cgroup/memory/memory.usage_in_bytes": f"{128 * MIB}\n",
        },
    )
    found = read_processor(root)
    assert (found.num_cores, found.ram_total_bytes, found.ram_available_bytes) == (1, 512 * MIB, 384 * MIB)


def test_no_limit_in_version_1_is_a_huge_number(plenty, tmp_path):
    root = tree(
        tmp_path,
        **{
            "proc/self/cgroup": "5:memory:/\n4:cpu:/\n",
            "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n",
            "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
        },
    )
    found = read_processor(root)
    assert (found.num_cores, found.ram_total_bytes) == (64, 256 * GIB)


def test_less_than_one_core_is_one(plenty, tmp_path):
    root = tree(tmp_path, **{"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "50000 100000\n"})
    assert read_processor(root).num_cores == 1


def test_more_held_than_allowed_leaves_nothing(plenty, tmp_path):
    root = tree(
        tmp_path,
        **{
            "proc/self/cgroup": "0::/\n",
            "sys/fs/cgroup/memory.max": f"{GIB}\n",
            "sys/fs/cgroup/memory.current": f"{GIB + MIB}\n",
        },
    )
    assert read_processor(root).ram_available_bytes == 0


def test_this_machine():
    found = read_processor()
    assert 1 <= found.num_cores <= (os.cpu_count() or 1)
    assert 0 < found.ram_available_bytes <= found.ram_total_bytes <= psutil.virtual_memory().total
