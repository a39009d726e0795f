"""A process that dies of a fault leaves it as its last event, and dies as it would have.

SPDX-License-Identifier: MIT
"""
import os
import pathlib
import resource
import signal
import struct
import unittest

from harness import TraceTest, main, preloaded, program, run

DEATHS = [
    # mode, signal, si_code, function of the innermost frame; libc's own have one name with its
    # debugging symbols and another, or none, without
    ("null", signal.SIGSEGV, 1, "touch"),
    ("bus", signal.SIGBUS, 2, "touch"),
    ("abort", signal.SIGABRT, -6, ("__pthread_kill_implementation", None)),
    ("ill", signal.SIGILL, 2, "main"),
    ("fpe", signal.SIGFPE, 1, "main"),
    ("jump", signal.SIGSEGV, 1, None),
    ("thread", signal.SIGSEGV, 1, "touch"),
    ("kill", signal.SIGSEGV, 0, ("__GI_kill", "kill")),
    ("altstack", signal.SIGSEGV, 1, "touch"),
    ("reporter", signal.SIGSEGV, -6, "touch"),
    ("refault", signal.SIGSEGV, 1, "touch"),
]
CORE_PATTERN = pathlib.Path("/proc/sys/kernel/core_pattern")
NT_PRSTATUS, NT_SIGINFO = 1, 0x53494749


def faults(mode):
    return [program("faults"), mode]


def notes(core):
    """The notes of a core file: type to contents, of the thread that died."""
    data = core.read_bytes()
    offset, = struct.unpack_from("<Q", data, 32)
    size, count = struct.unpack_from("<HH", data, 54)
    found = {}
    for i in range(count):
        kind, _, at, _, _, length = struct.unpack_from("<IIQQQQ", data, offset + i * size)
        end = at + length
        while kind == 4 and at < end:
            name, desc, what = struct.unpack_from("<III", data, at)
            at += 12 + (name + 3) // 4 * 4
            found.setdefault(what, data[at:at + desc])
            at += (desc + 3) // 4 * 4
    return found


class Faults(TraceTest):
    def fault_of(self, trace):
        last = trace.events("--stacks")[-1]
        self.assertEqual(last["call"], "fault", last)
        return last

    def die(self, mode):
        """The program dies of the same signal and says the same, addresses apart."""
        plain, recorded = run(faults(mode)), self.record(faults(mode))
        self.assertLess(plain.returncode, 0)
        self.assertEqual(recorded.returncode, plain.returncode)
        self.assertEqual(recorded.stderr, plain.stderr)
        self.assertEqual([line for line in recorded.stdout.splitlines() if "0x7" not in line],
                         [line for line in plain.stdout.splitlines() if "0x7" not in line])
        return recorded

    def test_signal_address_thread_and_stack_are_the_last_event(self):
        for mode, number, code, function in DEATHS:
            with self.subTest(mode=mode):
                for old in self.traces():
                    old.path.unlink()
                died = self.die(mode)
                self.assertEqual(died.returncode, -number)
                trace = self.only_trace("faults")
                self.assert_verified(trace, least_snapshots=1)
                fault = self.fault_of(trace)
                address, signo, si_code = fault["args"]
                self.assertEqual((signo, si_code), (number, code))
                if "address" in died.stdout and code > 0:
                    self.assertEqual(hex(address), died.stdout.split()[1])
                if function:
                    self.assertIn(fault["stack"][0].get("function"),
                                  function if isinstance(function, tuple) else (function,))
                self.assertIn("main" if mode != "thread" else "in_thread",
                              [frame.get("function") for frame in fault["stack"]])
                pid = int(trace.path.name.split(".")[-2])
                self.assertEqual(fault["tid"] != pid, mode == "thread")

    def test_forked_child_that_made_no_call_before(self):
        self.record_and_compare(faults("child"))
        lasts = [trace.events()[-1] for trace in self.traces()]
        self.assertEqual(sorted(last["call"] for last in lasts), ["exit_group", "fault"])

    def test_a_fault_that_is_recovered_from_is_none(self):
        self.record_and_compare(faults("recover"))
        events = self.only_trace("faults").events()
        self.assertEqual([e for e in events if e["call"] == "fault"], [])
        self.assertEqual(sum(e["call"] == "mprotect" and not e["inner"] for e in events), 200)

    def test_what_no_handler_can_see_is_not_invented(self):
        for mode in ("overflow", "blocked"):
            with self.subTest(mode=mode):
                for old in self.traces():
                    old.path.unlink()
                self.die(mode)
                events = self.only_trace("faults").events()
                self.assertEqual([e for e in events if e["call"] == "fault"], [])

    def test_without_faults(self):
        recorded = self.record(faults("null"), "--faults=no")
        self.assertEqual(recorded.returncode, -signal.SIGSEGV)
        self.assertNotEqual(self.only_trace("faults").events()[-1]["call"], "fault")

    def test_actions_are_told_as_without_the_recorder(self):
        self.record_and_compare(faults("actions"))

    def set_core_pattern(self, pattern):
        before = CORE_PATTERN.read_text()
        CORE_PATTERN.write_text(pattern)
        self.addCleanup(CORE_PATTERN.write_text, before)

    def core_of(self, mode, env):
        place = self.dir / env["CORE_OF"]
        place.mkdir()

        def allow_cores():
            resource.setrlimit(resource.RLIMIT_CORE, (resource.RLIM_INFINITY,) * 2)

        run(["setarch", "-R", *faults(mode)], env=env, cwd=place, preexec_fn=allow_cores)
        cores = list(place.iterdir())
        self.assertEqual(len(cores), 1, cores)
        return notes(cores[0])

    @unittest.skipUnless(os.geteuid() == 0 and os.uname().machine == "x86_64", "for root")
    def test_core_file_shows_the_fault_as_without_the_recorder(self):
        self.set_core_pattern("core")
        recorded = preloaded(self.traces_dir, CORE_OF="recorded")
        # the stack lies where it lies with us
        same_size = {k.replace("LD_PRELOAD", "LD_PRELOAX").replace("VMTRAIL_", "XMTRAIL_"): v
                     for k, v in recorded.items()}
        same_size["CORE_OF"] = "straight"
        for mode in ("null", "abort"):
            with self.subTest(mode=mode):
                same_size["CORE_OF"] = f"straight{mode}"
                recorded["CORE_OF"] = f"recorded{mode}"
                plain, ours = self.core_of(mode, same_size), self.core_of(mode, recorded)
                number, code = struct.unpack_from("<i4xi", plain[NT_SIGINFO])
                self.assertEqual(struct.unpack_from("<i4xi", ours[NT_SIGINFO]), (number, code))
                if code > 0:
                    self.assertEqual(ours[NT_SIGINFO], plain[NT_SIGINFO])
                names = ("r15 r14 r13 r12 rbp rbx r11 r10 r9 r8 rax rcx rdx rsi rdi orig_rax rip cs "
                         "eflags rsp ss").split()
                plain, ours = (dict(zip(names, struct.unpack_from("<21Q", n[NT_PRSTATUS], 112)))
                               for n in (plain, ours))
                for name, value in plain.items():
                    # libraries lie elsewhere; what a system call leaves behind is gone after ours
                    if value >> 24 == 0x7ffff7:
                        self.assertEqual(ours[name] >> 24, 0x7ffff7, name)
                    elif mode == "null" or name in ("rax", "cs", "rsp", "ss"):
                        self.assertEqual(hex(ours[name]), hex(value), name)


if __name__ == "__main__":
    main()
