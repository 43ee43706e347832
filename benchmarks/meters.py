"""The CPU that processes use, as the system knows it, read before and after."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path

Reading = Mapping[str, float]
Meter = Callable[[], Reading]

TICK = 1000 / os.sysconf("SC_CLK_TCK")
"""Milliseconds: the kernel tells no less."""


def cpu(**roots: int) -> Meter:
    """Read the milliseconds of CPU that each of these processes has used so far, its descendants included.

    Raises:
        SystemExit: there is no /proc to read it from.
    """
    if not Path("/proc/self/stat").exists():
        raise SystemExit("CPU is read from /proc: run this on Linux, or in a container")

    def read() -> Reading:
        parents, used = _processes()
        return {
            name: sum(used.get(pid, 0.0) for pid in _family(root, parents)) for name, root in roots.items()
        }

    return read


def _processes() -> tuple[dict[int, int], dict[int, float]]:
    """Return each process's parent, and the CPU that it and those of its children that are gone have used."""
    parents, used = {}, {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            stat = (entry / "stat").read_text()
        except OSError:
            continue  # gone meanwhile
        fields = stat.rpartition(")")[2].split()
        parents[int(entry.name)] = int(fields[1])
        used[int(entry.name)] = sum(map(int, fields[11:15])) * TICK  # proc_pid_stat(5): 14 to 17
    return parents, used


def _family(root: int, parents: Mapping[int, int]) -> list[int]:
    found = [root]
    for pid in found:  # it grows meanwhile
        found += [child for child, parent in parents.items() if parent == pid]
    return found
