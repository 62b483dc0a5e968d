"""Whether the system's out-of-memory killer was at work: its counters, before and after.

A process that ran out of memory looks like any other that got SIGKILL. Linux counts such kills, for the control
group of the victim and for the whole machine; a count that rose while a worker was killed says why, most probably.
Where nothing is counted (other systems, older kernels) nothing is said.
"""

from __future__ import annotations

from lightwork.workers.control_groups import lines, memberships

__all__ = ["kills"]

_GROUPS = "/sys/fs/cgroup"
_MEMBERSHIP = "/proc/self/cgroup"
_MACHINE = "/proc/vmstat"


def kills(groups: str = _GROUPS, membership: str = _MEMBERSHIP, machine: str = _MACHINE) -> int:
    """How many processes were killed for want of memory so far, of this control group or of the machine."""
    found = _count(machine)
    for unified, group in memberships(membership, "memory"):
        file = f"{group}/memory.events" if unified else f"/memory{group}/memory.oom_control"
        found = max(found, _count(f"{groups}{file}"))
    return found


def _count(path: str) -> int:
    for line in lines(path):
        name, _, number = line.partition(" ")
        if name == "oom_kill":
            return int(number)
    return 0
