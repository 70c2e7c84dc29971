"""System calls that a notebook never needs and the sandbox refuses, as a filter for the kernel.

Memory that belongs to no process (memfd, System V shared memory) would escape the watch over
memory, and the rest would widen what of the kernel can be reached. They fail with EPERM.
"""

import errno
import platform
import struct

# numbers on x86-64 and on arm64
REFUSED = {
    "memfd_create": (319, 279),
    "memfd_secret": (447, 447),
    "shmget": (29, 194),
    "msgget": (68, 186),
    "semget": (64, 190),
    "io_uring_setup": (425, 425),
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "keyctl": (250, 219),
    "add_key": (248, 217),
    "mount": (165, 40),
    "unshare": (272, 97),
    "setns": (308, 268),
}
MACHINES = {"x86_64": (0xC000003E, 0), "aarch64": (0xC00000B7, 1)}
LOAD, EQUAL, AT_LEAST, RETURN = 0x20, 0x15, 0x35, 0x06  # of classic BPF
KILL, ALLOW, REFUSE = 0x80000000, 0x7FFF0000, 0x00050000 | errno.EPERM


def refuse() -> bytes:
    """The filter, for bubblewrap's ``--seccomp``: `man 2 seccomp`.

    Raises RuntimeError on a machine whose numbers are not known.
    """
    machine = platform.machine()
    if machine not in MACHINES:
        raise RuntimeError(f"no system calls are known for {machine}; known: {', '.join(MACHINES)}")
    architecture, column = MACHINES[machine]
    numbers = [pair[column] for pair in REFUSED.values()]
    program = [
        (LOAD, 0, 0, 4),  # the architecture
        (EQUAL, 1, 0, architecture),
        (RETURN, 0, 0, KILL),
        (LOAD, 0, 0, 0),  # the number of the call
        (AT_LEAST, len(numbers) + 1, 0, 0x40000000),  # x32, a second way into x86-64's
    ]
    for left, number in zip(range(len(numbers), 0, -1), numbers, strict=True):
        program.append((EQUAL, left, 0, number))
    program += [(RETURN, 0, 0, ALLOW), (RETURN, 0, 0, REFUSE)]
    return b"".join(struct.pack("HBBI", *one) for one in program)
