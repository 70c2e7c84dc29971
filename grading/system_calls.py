"""System calls that a notebook never needs and the sandbox refuses, as a filter for the kernel.

Memory that belongs to no process (memfd, System V shared memory) would escape the watch over
memory, other processors would be taken from a classmate's notebook, and the rest would widen what
of the kernel can be reached. Sockets of another family than FAMILIES may reach the machine's host
past the network that the sandbox has not (vsock). They fail with EPERM.
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
    "sched_setaffinity": (203, 122),
}
SOCKET = (41, 198)
FAMILIES = (1, 2, 10, 16)  # unix, IPv4, IPv6, netlink
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
    left = len(numbers) + len(FAMILIES) + 2  # instructions from here to the last but one, REFUSE
    program = [
        (LOAD, 0, 0, 4),  # the architecture
        (EQUAL, 1, 0, architecture),
        (RETURN, 0, 0, KILL),
        (LOAD, 0, 0, 0),  # the number of the call
        (AT_LEAST, left, 0, 0x40000000),  # x32, a second way into x86-64's
    ]
    program += [(EQUAL, left - at, 0, number) for at, number in enumerate(numbers, 1)]
    program.append((EQUAL, 0, len(FAMILIES) + 2, SOCKET[column]))
    program.append((LOAD, 0, 0, 16))  # its first argument
    program += [(EQUAL, len(FAMILIES) - at, 0, family) for at, family in enumerate(FAMILIES)]
    program += [(RETURN, 0, 0, REFUSE), (RETURN, 0, 0, ALLOW)]
    return b"".join(struct.pack("HBBI", *one) for one in program)
