"""Every small program answers as without the recorder, and its trace equals the kernel's view.

SPDX-License-Identifier: MIT
"""
import platform
import re
import unittest

from harness import TraceTest, main, program

PROGRAMS = [
    ["brk"], ["shm"], ["snap"], ["seed_fixed"], ["seed_hint"], ["every_call"],
    ["threads", "1", "200"], ["threads", "8", "500"], ["dlopen", program("plugin.so")],
    ["signals", "timer"], ["signals", "stack"], ["signals", "jump"], ["signals", "segv"],
]


class Programs(TraceTest):
    def test_same_answers_and_a_trace_that_verifies(self):
        for name, *args in PROGRAMS:
            with self.subTest(program=name, args=args):
                for old in self.traces():
                    old.path.unlink()
                self.record_and_compare([program(name), *args])
                self.assert_verified(self.only_trace(name))

    def test_all_flags_and_counters_at_every_snapshot(self):
        for name, *args in PROGRAMS:
            with self.subTest(program=name, args=args):
                for old in self.traces():
                    old.path.unlink()
                self.record([program(name), *args], "--smaps=yes", "--snapshot-every=50")
                trace = self.only_trace(name)
                self.assert_verified(trace)
                # what calls did that a handler jumped out of is in doubt, at times at every snapshot
                if args != ["jump"]:
                    self.assertGreater(trace.counts_compared(), 0)

    def test_what_libc_does_is_found_by_snapshots_where_only_symbols_are_seen(self):
        self.record_and_compare([program("threads"), "4", "300"], "--capture=symbols")
        self.assertGreater(self.assert_verified(self.only_trace("threads"))["unseen"], 0)

    def test_without_stacks_and_with_a_small_ring(self):
        for options in (["--stacks=no"], ["--ring=256"]):
            with self.subTest(options=options):
                for old in self.traces():
                    old.path.unlink()
                self.record_and_compare([program("threads"), "4", "300"], *options)
                self.assert_verified(self.only_trace("threads"))

    def test_snapshot_asked_for_by_the_program_itself(self):
        self.record_and_compare([program("snap")])
        self.assert_verified(self.only_trace("snap"), least_snapshots=3)

    def test_snapshots_at_intervals(self):
        self.record_and_compare([program("threads"), "1", "200"], "--snapshot-every=50")
        self.assert_verified(self.only_trace("threads"), least_snapshots=10)

    def test_maps_at_the_end_is_what_the_kernel_showed_last(self):
        recorded = self.record([program("end_maps")])
        self.assertEqual(recorded.returncode, 0, recorded.stderr)
        self.assertEqual(self.only_trace("end_maps").text("maps", "--at", "end"),
                         recorded.stdout)

    @unittest.skipUnless(platform.machine() == "x86_64", "sites are redirected on x86-64 only")
    def test_system_call_instructions_of_the_program_itself(self):
        self.record_and_compare([program("inline")])
        trace = self.only_trace("inline")
        calls = [(e["call"], e["args"][1] // 4096) for e in trace.events()
                 if e["call"] != "exit_group"]
        self.assertEqual(calls, [("mmap", 1), ("mbind", 1), ("munmap", 1), ("munmap", 1),
                                 ("mmap", 3), ("munmap", 3), ("mmap", 5), ("munmap", 5),
                                 ("mmap", 7), ("munmap", 7), ("mmap", 8), ("munmap", 8),
                                 ("mmap", 12), ("munmap", 12), ("mmap", 10), ("munmap", 10),
                                 ("mmap", 11), ("munmap", 10), ("munmap", 1), ("munmap", 9)])
        self.assertIn("mmap: left alone: a branch may land inside it", trace.text("report", "--capture"))
        stacks = trace.text("dump", "--stacks", "--call=mmap")
        self.assertRegex(stacks, r"#0 +map_leaf.*\n +#1 +(__libc_start|libc\.so)")
        self.assert_verified(trace)

    def test_system_call_instructions_are_not_looked_for_if_so_asked(self):
        self.record_and_compare([program("inline")], "--inline=no")
        events = self.only_trace("inline").events("--call=mmap,munmap")
        self.assertEqual([e["args"][1] for e in events], [4096, 9 * 4096])

    def test_the_unwinder_does_not_take_the_programs_errno_for_its_own(self):
        self.record_and_compare([program("uncharted")])
        self.assert_verified(self.only_trace("uncharted"))

    def test_stacks_through_code_that_took_the_place_of_other_code(self):
        self.record_and_compare([program("reload"), program("framed4.so"), program("framed8.so")])
        stacks = self.only_trace("reload").text("dump", "--stacks", "--call=mmap")
        found = re.findall(r"#\d+ +framed.*\n +#\d+ +(\w+)", stacks)
        self.assertEqual(found, ["main", "main"])

    def test_every_thread_has_its_name_and_calls(self):
        self.record([program("threads"), "4", "50"])
        dump = self.only_trace("threads").events()
        tids = {event["tid"] for event in dump}
        self.assertGreaterEqual(len(tids), 5)
        report = self.only_trace("threads").text("report")
        self.assertIn("threads", report)


if __name__ == "__main__":
    main()
