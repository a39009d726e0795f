"""Memory calls as strace saw them, and as traces hold them, in one comparable form.

A call is (name, arguments, result): numbers only, results as the kernel gave them (-errno). Where
the two show an argument differently by nature (a pointer to a structure, a descriptor's upper half)
it is left out.

SPDX-License-Identifier: MIT
"""
import collections
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

# What makes a process or another image of it, and what ends it.
EXECS = ("execve", "execveat")
FORKS = ("fork", "vfork", "clone", "clone3")
EXITS = ("exit", "exit_group")

_NAMES = ",".join("?" + name for name in COMPARED)
# With a filter of its own strace stops a thread only at the calls that are asked for.
STRACE_OPTIONS = ["-f", "-i", "-ttt", "--seccomp-bpf", "-e", "raw=" + _NAMES, "-e", "signal=none",
                  "-e", "trace=" + ",".join([_NAMES, *EXECS, *FORKS, *EXITS])]
PR_SET_VMA, PR_SET_MM = 0x53564d41, 35
MADV_POPULATE_WRITE = 23
UFFDIO_REGISTER, UFFDIO_UNREGISTER = 0xc020aa00, 0x8010aa01
RLIMITS = (resource.RLIMIT_AS, resource.RLIMIT_DATA, resource.RLIMIT_STACK,
           resource.RLIMIT_MEMLOCK)

LINE = re.compile(r"^(\d+) +([\d.]+) \[(\S+)\] (\w+)\((.*)\) += (.*)$")
UNFINISHED = re.compile(r"^(\d+) +([\d.]+) \[(\S+)\] (\w+)\((.*?),? <unfinished \.\.\.>$")
RESUMED = re.compile(r"^(\d+) +([\d.]+) \[(\S+)\] <\.\.\. (\w+) resumed>(.*)\) += (.*)$")
FLAGS = re.compile(r"flags=([\w|]+)")


class Image:
    """One program in one process: from its exec, or its fork, to its end."""

    def __init__(self, pid, exe, begin, forked):
        self.pid, self.exe, self.begin, self.forked = pid, exe, begin, forked
        self.calls = {}  # tid: [(call, (time, instruction pointer))]
        self.exited = set()  # threads that ended themselves; any other was killed

    def __repr__(self):
        return f"{self.exe or 'fork'} {self.pid}"

    def add(self, tid, call, where):
        if not is_nobodys(call):
            append(self.calls.setdefault(tid, []), call, where)


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


def append(calls, call, more=None):
    """One call more; a run of process_madvise is one, for there is an event for each range."""
    last = calls[-1] if calls else None
    if last and call[0] == "process_madvise" and last[0][:2] == call[:2]:
        call = (*call[:2], calls.pop()[0][2] + call[2])
    calls.append((call, more))


def read_lines(path):
    """(tid, time, instruction pointer, name, arguments' text, result's text; "?": it never came)."""
    pending = {}
    with open(path, encoding="utf-8", errors="replace") as log:
        for line in log:
            match = UNFINISHED.match(line)
            if match:
                pending[match[1]] = match.groups()
                continue
            match = RESUMED.match(line)
            if match:
                begun = pending.pop(match[1])
                yield *begun[:4], begun[4] + match[5], match[6]
                continue
            match = LINE.match(line)
            if match:
                yield match.groups()
    for begun in pending.values():
        yield *begun, "?"


def read_births(lines):
    """{child's tid: (parent's tid, flags)}; a child may speak before its parent's call returns."""
    births = {}
    for tid, _, _, name, args, ret in lines:
        if name in FORKS and ret[0].isdigit():
            flags = FLAGS.search(args)
            flags = {"CLONE_VM", "CLONE_VFORK"} if name == "vfork" else set(flags[1].split("|"))
            births[int(ret.split()[0])] = int(tid), flags
    return births


def read_strace(path):
    """The images of all processes, in the order of their beginning."""
    lines = list(read_lines(path))
    births = read_births(lines)
    images, of_tid = [], {}

    def begin(pid, exe, time=0.0, forked=False):
        of_tid[pid] = Image(pid, exe, time, forked)
        images.append(of_tid[pid])

    def image_of(tid):
        if tid not in of_tid:
            parent, flags = births[tid]
            if "CLONE_VM" in flags:  # a thread, or a child that borrows the memory
                of_tid[tid] = image_of(parent)
            else:
                begin(tid, image_of(parent).exe, forked=True)
        return of_tid[tid]

    for tid, time, where, name, args, ret in lines:
        tid = int(tid)
        if name in EXECS:
            if ret == "0":
                begin(tid, re.search(r'"(.*?)"', args)[1], float(time))
            continue
        if name in EXITS:
            image_of(tid).exited.add(tid)
        if name not in COMPARED:
            image_of(tid)
            continue
        values = [number(a) for a in args.split(",") if a.strip()]
        if concerns_memory(name, values) and not ret.startswith("?"):
            image_of(tid).add(tid, compared(name, values, result(ret)),
                              (float(time), where))
    return images


def read_trace(trace):
    """{tid: [(call, event)]} in the order of each thread, the recorder's own calls with them."""
    calls = {}
    for event in trace.events("--own"):
        name = event["call"]
        if name not in COMPARED or event["undone"]:
            continue
        args = event["args"] + [0] * (6 - len(event["args"]))
        call = compared(name, args, event["ret"], TOLD.get(name))
        append(calls.setdefault(event["tid"], []), call, event)
    return calls


def match(images, traces):
    """[(image, its trace or None)], and the traces that are left over.

    A trace belongs to the image of its process that had begun when the trace did.
    """
    of_image, left = {}, []
    begun = sorted((trace.pid_and_start(), str(trace), trace) for trace in traces)
    for (pid, start), _, trace in begun:
        mine = [i for i in images if i.pid == pid and i.begin <= start]
        if mine and mine[-1] not in of_image:
            of_image[mine[-1]] = trace
        else:
            left.append(trace)
    return [(image, of_image.get(image)) for image in images], left


class Comparison:
    """What strace saw of an image against its trace, from the first recorded event on.

    What the recorder does to memory that it had before that (fill its pages, cover them at the end)
    is no change to record, nor are its questions: brk(0), personality(-1). A thread that is killed
    may not have come back from its last call, and one that runs on while another one exits is not
    recorded any more.
    """

    def __init__(self, image, trace):
        self.image, self.trace = image, trace
        self.calls, self.missing, self.invented, self.disorder = 0, [], [], 0
        self.own = [(piece["start"], piece["end"]) for piece in trace.pieces("--at", "start")
                    if piece.get("role") == "recorder"]
        exits = trace.events("--call=exit_group")
        self.end = trace.pid_and_start()[1] + exits[-1]["time"] if exits else float("inf")
        recorded = read_trace(trace)
        # A task of the recorder's makes some of its calls, for the thread that the trace names.
        self.own_calls = {call for calls in recorded.values() for call, event in calls
                          if event["own"]}
        for tid in {*image.calls, *recorded}:
            self.compare_thread(tid, [call for call, _ in recorded.get(tid, [])])

    def is_own(self, call):
        name, args, ret = call
        if call in self.own_calls:
            return True
        if name in ("brk", "personality"):
            return args[0] in (0, 0xffffffff)
        if name == "madvise" and args[2] == MADV_POPULATE_WRITE:
            return True
        places = [ret] if name in ("mmap", "mremap") else args[:1]
        return any(start <= place < end for start, end in self.own for place in places)

    def from_first(self, seen, recorded):
        """Where in what strace saw the recording begins, for the first thread of an image.

        A handler may have made the first recorded call, and have interrupted the one before it.
        """
        calls = [call for call, _ in seen]
        at = len(calls) - len(recorded)
        if at >= 0 and collections.Counter(calls[at:]) == collections.Counter(recorded):
            return at
        return calls.index(recorded[0]) if recorded[0] in calls else 0

    def compare_thread(self, tid, recorded):
        seen = [(call, where) for call, where in self.image.calls.get(tid, [])
                if not self.is_own(call)]
        recorded = [call for call in recorded if not self.is_own(call)]
        if tid == self.image.pid and not self.image.forked:
            seen = seen[self.from_first(seen, recorded):] if recorded else []
        self.calls += len(recorded)
        left = collections.Counter(recorded)
        missing = []
        for call, where in seen:
            if left[call]:
                left[call] -= 1
            else:
                missing.append((tid, where, call))
        if tid not in self.image.exited:
            missing = [m for m in missing if m[1][0] < self.end]
            if missing and seen[-1] == (missing[-1][2], missing[-1][1]):
                missing.pop()
        invented = [(tid, call) for call in left.elements()]
        if not missing and not invented:
            self.disorder += [call for call, _ in seen] != recorded
        self.missing += missing
        self.invented += invented


def text_of(call):
    name, args, ret = call
    return f"{name}({', '.join(hex(a) for a in args)}) = {hex(ret) if ret > 0 else ret}"
