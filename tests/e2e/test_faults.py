"""A process that dies of a fault leaves it as its last event, and dies as it would have.

SPDX-License-Identifier: MIT
"""
import json
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
# Modes of oneshot that die in the end, and the signal that is then the last event, None where its
# own handler is interrupted by it, or a seccomp filter has come.
ONESHOTS = [
    ("plain", signal.SIGSEGV), ("siginfo", signal.SIGSEGV), ("nodefer", signal.SIGSEGV),
    ("onstack", signal.SIGSEGV), ("mask", signal.SIGSEGV), ("sysv", signal.SIGSEGV),
    ("registers", signal.SIGSEGV), ("frames", signal.SIGSEGV), ("again", signal.SIGSEGV),
    ("inside", None), ("jump", signal.SIGSEGV), ("threads", signal.SIGSEGV),
    ("vfork", signal.SIGSEGV), ("raise", signal.SIGSEGV), ("abort", signal.SIGABRT),
    ("confined", None),
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


class FaultTest(TraceTest):
    def forget_traces(self):
        for old in self.traces():
            old.path.unlink()

    def set_core_pattern(self, pattern):
        before = CORE_PATTERN.read_text()
        CORE_PATTERN.write_text(pattern)
        self.addCleanup(CORE_PATTERN.write_text, before)


def allow_cores():
    resource.setrlimit(resource.RLIMIT_CORE, (resource.RLIM_INFINITY,) * 2)


class Oneshot(FaultTest):
    """Handlers set with SA_RESETHAND: the kernel puts back SIG_DFL, and we stand there."""

    def test_handler_sees_what_it_would_and_the_next_fault_is_the_last_event(self):
        for mode, number in ONESHOTS:
            with self.subTest(mode=mode):
                self.forget_traces()
                died = self.record_and_compare([program("oneshot"), mode])
                self.assertLess(died.returncode, 0)
                last = self.only_trace("oneshot").events()[-1]
                if number:
                    self.assertEqual((last["call"], last["args"][1]), ("fault", number))
                else:
                    self.assertNotEqual(last["call"], "fault")

    def test_thread_that_faults_after_another_one_is_in_the_handler(self):
        self.record([program("oneshot"), "threads"])
        trace = self.only_trace("oneshot")
        last = trace.events("--stacks")[-1]
        self.assertEqual(last["tid"], trace.pid_and_start()[0])
        functions = [frame.get("function") for frame in last["stack"]]
        self.assertEqual((functions[0], "main" in functions), ("touch", True))

    def test_of_threads_that_fault_together_one_has_the_handler(self):
        ran = self.record_and_compare([program("oneshot"), "together"], "--children=no")
        self.assertEqual(ran.stdout, "both handlers ran: 0\n")

    def test_forked_child_and_parent_each_have_one(self):
        self.record_and_compare([program("oneshot"), "fork"])
        lasts = [trace.events()[-1] for trace in self.traces()]
        self.assertEqual([last["call"] for last in lasts], ["fault", "fault"])

    def test_answers_are_those_of_the_kernel(self):
        self.record_and_compare([program("oneshot"), "answers"])

    def test_signal_while_another_thread_sets_the_handler_meets_one(self):
        for _ in range(3):
            self.record_and_compare([program("oneshot"), "race"])

    def test_next_image_has_no_handler(self):
        self.record_and_compare([program("oneshot"), "exec"])
        lasts = [trace.events()[-1] for trace in self.traces()]
        self.assertEqual(sorted(last["call"] for last in lasts), ["execve", "fault"])


class Ending(FaultTest):
    """What the parent was told, where nothing in the process could say it."""

    def ending(self, trace):
        report = json.loads(trace.text("report", "--format=json"))
        return {key: value for key, value in report.items() if key.startswith("end_")}

    def test_signal_that_no_handler_could_tell(self):
        for name, mode, likely, why in (
                ("faults", "overflow", "stack-overflow", "likely a stack that overflowed"),
                ("faults", "blocked", None, "the signal was blocked"),
                ("oneshot", "inside", None, "while the program's own handler runs")):
            with self.subTest(mode=mode):
                self.forget_traces()
                self.record([program(name), mode])
                trace = self.only_trace(name)
                self.assertEqual(self.ending(trace), {
                    "end_reason": "killed", "end_signal": 11, "end_signal_name": "SIGSEGV",
                    "end_core": False, "end_likely": likely})
                *_, before, last = trace.events()
                self.assertEqual((last["call"], last["args"], last["ret"], last["seq"]),
                                 ("killed", [11, False], None, before["seq"] + 1))
                self.assertGreater(last["time"], before["time"])
                line = trace.text("dump").splitlines()[-1]
                self.assertRegex(line, fr"^{last['tid']} +[0-9.]+ \+\+\+ killed by SIGSEGV \+\+\+$")
                self.assertIn(why, " ".join(trace.text("report").split()))
                self.assertIn(why, " ".join(trace.text("reuse").split()))
                told = trace.command("why", "--fault")
                self.assertEqual((told.returncode, told.stdout), (2, ""))
                self.assertRegex(told.stderr, f"^vmtrail: .*ended by SIGSEGV.*{why}.*\n$")

    def test_a_fault_of_its_own_is_not_told_twice(self):
        self.record(faults("null"))
        trace = self.only_trace("faults")
        self.assertEqual(self.ending(trace)["end_likely"], None)
        self.assertEqual([e["call"] for e in trace.events()].count("killed"), 0)
        self.assertIn("+++ killed by SIGSEGV +++", trace.text("dump"))
        self.assertNotIn("No handler could run", trace.text("report") + trace.text("reuse"))
        self.assertNotIn("overflowed", trace.text("why", "--fault"))

    def test_nothing_is_concluded_where_faults_are_not_recorded(self):
        self.record(faults("overflow"), "--faults=no")
        self.assertIsNone(self.ending(self.only_trace())["end_likely"])

    def test_killed(self):
        self.record(["sh", "-c", "kill -9 $$"])
        trace = self.only_trace()
        self.assertEqual(self.ending(trace)["end_signal_name"], "SIGKILL")
        self.assertIn("by SIGKILL, as its parent was told", trace.text("report"))
        self.assertIn("ended by SIGKILL", trace.command("why", "--fault").stderr)

    def test_exit_that_nobody_saw(self):
        recorded = self.record_and_compare(faults("quiet"))
        if os.uname().machine == "x86_64":
            self.assertEqual(recorded.returncode, 7)
            self.assertEqual(self.ending(self.only_trace()),
                             {"end_reason": "exit", "end_status": 7})

    @unittest.skipUnless(os.geteuid() == 0, "for root")
    def test_core_file(self):
        self.set_core_pattern("core")
        self.record(faults("overflow"), cwd=self.dir, preexec_fn=allow_cores)
        trace = self.only_trace()
        self.assertTrue(self.ending(trace)["end_core"])
        self.assertIn("+++ killed by SIGSEGV (core dumped) +++", trace.text("dump"))


class Overflow(FaultTest):
    """--faults=overflow: an alternate signal stack for each thread that has none."""

    def died_of(self, trace):
        last = trace.events("--stacks")[-1]
        self.assertEqual((last["call"], last["args"][1]), ("fault", signal.SIGSEGV))
        self.assertEqual({frame.get("function") for frame in last["stack"]}, {"deeper"})
        return last

    def test_overflow_is_the_last_event(self):
        for mode in ("main", "thread", "early"):
            with self.subTest(mode=mode):
                self.forget_traces()
                died = self.record_and_compare([program("overflow"), mode], "--faults=overflow")
                self.assertEqual(died.returncode, -signal.SIGSEGV)
                trace = self.only_trace()
                self.assert_verified(trace, least_snapshots=1)
                last = self.died_of(trace)
                self.assertEqual(last["tid"] != trace.pid_and_start()[0], mode != "main")
                place = trace.pieces("--roles")
                held = [p for p in place if p["start"] <= last["args"][0] < p["end"]]
                # below the main stack there is nothing, below a thread's its guard
                self.assertEqual([p["perms"] for p in held], [] if mode == "main" else ["---p"])
                self.assertIn("it overflowed", " ".join(trace.text("why", "--fault").split()))

    def test_forked_child(self):
        self.record_and_compare([program("overflow"), "forked"], "--faults=overflow")
        _, child = sorted(self.traces(), key=lambda t: t.pid_and_start()[1])
        self.died_of(child)

    def test_sigaltstack_answers_as_without(self):
        for mode in ("answers", "handler", "own", "apart", "jump"):
            with self.subTest(mode=mode):
                self.record_and_compare([program("overflow"), mode], "--faults=overflow")

    def test_stacks_of_threads_that_are_gone_are_used_again(self):
        self.record_and_compare([program("overflow"), "many", "200"], "--faults=overflow")
        trace = self.only_trace()
        made = [e for e in trace.events("--own") if e["own"] and e["call"] == "mmap"
                and e["args"][1] == (64 << 10) + 4096]
        self.assertGreaterEqual(len(made), 9)
        self.assertLess(len(made), 20)
        self.assert_verified(trace)

    def test_without_the_option_there_is_none(self):
        self.record([program("overflow"), "handler"])
        self.assertNotIn("sigaltstack", self.only_trace().text("report", "--capture"))

    @unittest.skipUnless(os.geteuid() == 0 and os.uname().machine == "x86_64", "for root")
    def test_core_file_shows_the_overflow(self):
        self.set_core_pattern("core")
        place = self.dir / "core"
        place.mkdir()
        self.record([program("overflow"), "main"], "--faults=overflow", cwd=place,
                    preexec_fn=allow_cores)
        core, = place.iterdir()
        found = notes(core)
        number, code, address = struct.unpack_from("<i4xi4xQ", found[NT_SIGINFO])
        self.assertEqual([address, number, code], self.died_of(self.only_trace())["args"])
        stack_pointer, = struct.unpack_from("<Q", found[NT_PRSTATUS], 112 + 19 * 8)
        self.assertLess(abs(stack_pointer - address), 8192)


class Faults(FaultTest):
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
                self.forget_traces()
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
                self.forget_traces()
                self.die(mode)
                events = self.only_trace("faults").events()
                self.assertEqual([e for e in events if e["call"] == "fault"], [])

    def test_without_faults(self):
        recorded = self.record(faults("null"), "--faults=no")
        self.assertEqual(recorded.returncode, -signal.SIGSEGV)
        self.assertNotEqual(self.only_trace("faults").events()[-1]["call"], "fault")

    def test_actions_are_told_as_without_the_recorder(self):
        self.record_and_compare(faults("actions"))

    def core_of(self, argv, env):
        place = self.dir / env["CORE_OF"]
        place.mkdir()
        run(["setarch", "-R", *argv], env=env, cwd=place, preexec_fn=allow_cores)
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
        for argv in (faults("null"), faults("abort"), [program("oneshot"), "plain"]):
            mode = argv[1]
            with self.subTest(mode=mode):
                same_size["CORE_OF"] = f"straight{mode}"
                recorded["CORE_OF"] = f"recorded{mode}"
                plain, ours = self.core_of(argv, same_size), self.core_of(argv, recorded)
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
                    elif mode != "abort" or name in ("rax", "cs", "rsp", "ss"):
                        self.assertEqual(hex(ours[name]), hex(value), name)


if __name__ == "__main__":
    main()
