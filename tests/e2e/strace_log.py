"""Memory calls as strace saw them, and as a trace holds them, in one comparable form.

A call is (name, arguments, result): numbers only, results as the kernel gave them (-errno). Where
the two show an argument differently by nature (a pointer to a structure, a descriptor's upper half)
it is left out.

SPDX-License-Identifier: MIT
"""
import errno
import re
import resource

# Which arguments can be compared, by the kernel's name of the call.
COMPARED = {
    "mmap": (0, 1, 2, 3, 4, 5), "munmap": (0, 1), "mprotect": (0, 1, 2),
    "pkey_mprotect": (0, 1, 2, 3), "madvise": (0, 1, 2), "brk": (0,), "mremap": (0, 1, 2, 3, 4),
    "remap_file_pages": (0, 1, 2, 3, 4), "shmat": (0, 1, 2), "shmdt": (0,), "mlock": (0, 1),
    "mlock2": (0, 1, 2), "munlock": (0, 1), "mlockall": (0,), "munlockall": (), "msync": (0, 1, 2),
    "mbind": (0, 1, 2, 4, 5), "prctl": (0, 1, 2, 3), "personality": (0,),
    "process_madvise": (3,), "ioctl": (0, 1), "setrlimit": (0,), "prlimit64": (1,),
}  # not mseal: strace 6.1 has no name for it
# How a trace's JSON numbers the arguments where it holds others than the call's own.
TOLD = {"process_madvise": (2,)}
# Signed or 32 bits wide: only the lower half means anything.
INT_ARGS = {("mmap", 2), ("mmap", 3), ("mmap", 4), ("shmat", 0), ("shmat", 2), ("pkey_mprotect", 3),
            ("madvise", 2), ("personality", 0), ("mlockall", 0), ("prctl", 0), ("msync", 2),
            ("mlock2", 2), ("mbind", 2), ("mbind", 4), ("ioctl", 0), ("ioctl", 1), ("setrlimit", 0),
            ("prlimit64", 1), ("process_madvise", 3)}

STRACE_OPTIONS = ["-f", "-e", "raw=all", "-e", "signal=none", "-e",
                  "trace=" + ",".join("?" + name for name in COMPARED)]
PR_SET_VMA, PR_SET_MM = 0x53564d41, 35
UFFDIO_REGISTER, UFFDIO_UNREGISTER = 0xc020aa00, 0x8010aa01
RLIMITS = (resource.RLIMIT_AS, resource.RLIMIT_DATA, resource.RLIMIT_STACK,
           resource.RLIMIT_MEMLOCK)

LINE = re.compile(r"^(\d+) +(\w+)\((.*)\) += (.*)$")
UNFINISHED = re.compile(r"^(\d+) +(\w+)\((.*?)(?:,? <unfinished \.\.\.>)$")
RESUMED = re.compile(r"^(\d+) +<\.\.\. (\w+) resumed>(.*)\) += (.*)$")


def number(text):
    text = text.strip()
    return int(text, 0) & (1 << 64) - 1


def result(text):
    """0x7f..., 0, -1 ENOMEM (Cannot allocate memory)."""
    words = text.split()
    if words[0] == "-1" and len(words) > 1:
        return -getattr(errno, words[1])
    value = int(words[0], 0)
    return value - (1 << 64) if value >= 1 << 63 else value


def concerns_memory(name, args):
    """Some are many calls in one."""
    if name == "prctl":
        return args[0] in (PR_SET_VMA, PR_SET_MM)
    if name == "ioctl":
        return args[1] in (UFFDIO_REGISTER, UFFDIO_UNREGISTER)
    if name == "setrlimit":
        return args[0] in RLIMITS and args[1]
    if name == "prlimit64":
        return args[1] in RLIMITS and args[2]
    return name in COMPARED


def compared(name, args, ret, places=None):
    chosen = []
    for i, place in zip(COMPARED[name], places or COMPARED[name]):
        value = args[place] & (1 << 64) - 1
        chosen.append(value & 0xffffffff if (name, i) in INT_ARGS else value)
    if name == "prlimit64":
        name = "setrlimit"  # what libc makes of it
    if name == "mremap" and not chosen[3] & 6:
        chosen[4] = 0  # the fifth argument counts only with MREMAP_FIXED or MREMAP_DONTUNMAP
    return name, tuple(chosen), ret


def is_nobodys(call):
    """No call of this system's, or process_madvise on what is no living process."""
    if call[0] == "process_madvise" and call[2] in (-errno.EBADF, -errno.ESRCH):
        return True
    return call[2] == -errno.ENOSYS


def append(calls, call, event=None):
    """One call more; a run of process_madvise is one, for there is an event for each range."""
    last = calls[-1] if calls else None
    if last and call[0] == "process_madvise" and last[0][:2] == call[:2]:
        call = (*call[:2], calls.pop()[0][2] + call[2])
    calls.append((call, event))


def read_strace(path):
    """{tid: [call]} in the order of each thread."""
    calls, pending = {}, {}
    with open(path, encoding="utf-8", errors="replace") as log:
        for line in log:
            match = UNFINISHED.match(line)
            if match:
                pending[match[1]] = match[3]
                continue
            match = RESUMED.match(line)
            if match:
                tid, name, rest, ret = match.groups()
                args = pending.pop(tid) + rest
            else:
                match = LINE.match(line)
                if not match:
                    continue
                tid, name, args, ret = match.groups()
            values = [number(a) for a in args.split(",") if a.strip()]
            if concerns_memory(name, values) and not ret.startswith("?"):
                call = compared(name, values, result(ret))
                if not is_nobodys(call):
                    append(calls.setdefault(int(tid), []), call)
    return {tid: [call for call, _ in seen] for tid, seen in calls.items()}


def read_trace(trace):
    """{tid: [(call, event)]} in the order of each thread, the recorder's own calls with them."""
    calls = {}
    for event in trace.events("--own"):
        name = event["call"]
        if name not in COMPARED:
            continue
        args = event["args"] + [0] * (6 - len(event["args"]))
        call = compared(name, args, event["ret"], TOLD.get(name))
        append(calls.setdefault(event["tid"], []), call, event)
    return calls
