"""Areas that a userfaultfd watches, and changes that no call tells of.

SPDX-License-Identifier: MIT
"""
import re

from harness import TraceTest, main, program


class Userfault(TraceTest):
    def record_or_skip(self, argv, *options):
        recorded = self.record_and_compare(argv, *options)
        if recorded.returncode == 77:
            self.skipTest(recorded.stdout.strip())
        self.assertEqual(recorded.returncode, 0, recorded.stderr)
        return recorded

    def test_a_handler_that_makes_calls_while_a_call_waits_for_it(self):
        self.record_or_skip([program("userfault")])
        trace = self.only_trace("userfault")
        counts = self.assert_verified(trace)
        self.assertEqual(counts["unseen"], 0)
        calls = [event["call"] for event in trace.events()]
        self.assertGreaterEqual(calls.count("ioctl"), 7)
        self.assertGreaterEqual(calls.count("mprotect"), 1000)

    def test_the_same_with_a_ring_that_runs_full(self):
        self.record_or_skip([program("userfault")], "--ring=256")
        self.assert_verified(self.only_trace("userfault"))

    def test_areas_that_change_without_a_call_are_found(self):
        for how, most in (("close", 2), ("uring", 2)):
            with self.subTest(how=how):
                for old in self.traces():
                    old.path.unlink()
                self.record_or_skip([program("unseen"), how], "--smaps=yes")
                trace = self.only_trace("unseen")
                counts = self.assert_verified(trace)
                self.assertIn(counts["unseen"], range(1, most + 1))
                found = [e for e in trace.events() if e["call"] == "unseen_area"]
                self.assertEqual(len(found), counts["unseen"])
                report = trace.text("report")
                self.assertTrue(re.search(r"changed +flags that maps does not show", report),
                                report)

    def test_calls_that_another_process_makes_here_are_found(self):
        self.record_or_skip([program("unseen"), "inject"])
        found = [e for trace in self.traces("unseen") for e in trace.events()
                 if e["call"].startswith("unseen")]
        for trace in self.traces("unseen"):
            self.assert_verified(trace)
        # What was mapped and what not, and where mprotect went before it met the hole.
        self.assertEqual(sorted(e["call"] for e in found),
                         ["unseen_map", "unseen_map", "unseen_unmap"])
        self.assertEqual([e["args"][1] for e in found if e["call"] == "unseen_unmap"], [4096])


if __name__ == "__main__":
    main()
