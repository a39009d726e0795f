"""Handlers that map into what they interrupt: no call lost, none invented, and the replay holds.

The program counts its calls itself.

SPDX-License-Identifier: MIT
"""
import json
import os

from harness import TraceTest, main, program

PAGE = 4096
MILLISECONDS = os.environ.get("TEST_SIGNALS_MS", "200")


class Signals(TraceTest):
    def count(self, mode, *options):
        """(counts of the program, calls in handlers, calls of the interrupted code)"""
        result = self.record([program("signals"), mode, MILLISECONDS, "100", "count"], *options)
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        trace = self.only_trace("signals")
        self.assert_verified(trace)
        self.assertEqual(json.loads(trace.text("report", "--format=json"))["lost"], 0)
        calls = [e for e in trace.events()
                 if e["call"] in ("mmap", "mprotect", "munmap") and not e["own"]]
        trace.path.unlink()
        handled, back, begun = map(int, result.stdout.split()[:3])
        self.assertGreater(handled, 20)
        return handled, back, begun, calls

    def of_length(self, calls, pages):
        return [e for e in calls if e["args"][1] == pages * PAGE and not e["inner"]]

    def test_ten_thousand_times_a_second(self):
        for mode, options in (("timer", []), ("timer", ["--ring=256"]), ("stack", []),
                              ("small", []), ("thread", []), ("thread", ["--stacks=no"])):
            with self.subTest(mode=mode, options=options):
                handled, back, begun, calls = self.count(mode, *options)
                inside, outside = self.of_length(calls, 3), self.of_length(calls, 2)
                self.assertEqual((len(inside), len(outside)), (3 * handled, back))
                self.assertEqual(back, begun)
                self.assertFalse([e for e in inside + outside if e["undone"]])

    def test_handlers_that_jump_out_of_the_call_they_interrupted(self):
        handled, back, begun, calls = self.count("jump")
        inside, outside = self.of_length(calls, 3), self.of_length(calls, 2)
        self.assertEqual(len(inside), 3 * handled)
        returned = [e for e in outside if not e["undone"]]
        self.assertGreaterEqual(len(returned), back)
        self.assertLessEqual(len(outside), begun)

    def test_write_barrier(self):
        handled, back, _, calls = self.count("segv")
        pages = [e["args"][1] // PAGE for e in calls if e["call"] == "mprotect"]
        self.assertEqual(pages.count(256), back)
        self.assertEqual(pages.count(1), handled)


if __name__ == "__main__":
    main()
