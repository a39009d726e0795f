"""Each call fails as it would without the recorder, and what it left behind is followed.

SPDX-License-Identifier: MIT
"""
import os
import pathlib
import re
import unittest

from harness import TraceTest, main, program

ROOT = os.geteuid() == 0
LEAST_VERDICTS = 500
LIMIT_OF_A_CHILD = 123 * 4096
MAX_AREAS = int(pathlib.Path("/proc/sys/vm/max_map_count").read_text(encoding="ascii"))


class Errors(TraceTest):
    def compare(self, user, snapshot_every=8):
        """The same verdicts, and a model that agrees with the kernel after every eighth event."""
        done = self.record_and_compare([program("errors"), user],
                                       f"--snapshot-every={snapshot_every}")
        self.assertEqual(done.returncode, 0, done.stderr)
        verdicts = sum(int(n) for n in re.findall(r"^(\d+) verdicts$", done.stdout, re.MULTILINE))
        print(f"{user}: {verdicts} verdicts")
        self.assertNotIn("errno changed", done.stdout)
        for trace in self.traces("errors"):
            counts = self.assert_verified(trace)
            self.assertEqual(counts["unseen"], 0, trace)
            limits = [e["args"][1] for e in trace.events() if e["call"] == "setrlimit"]
            self.assertNotIn(LIMIT_OF_A_CHILD, limits)
        return verdicts

    def test_the_same_verdicts(self):
        self.assertGreaterEqual(self.compare("root"), LEAST_VERDICTS)

    @unittest.skipUnless(ROOT, "needs root to become nobody")
    def test_the_same_verdicts_without_privileges(self):
        self.assertGreaterEqual(self.compare("nobody"), LEAST_VERDICTS)

    @unittest.skipUnless(ROOT, "needs root to become nobody")
    def test_the_same_verdicts_under_small_limits(self):
        self.assertGreaterEqual(self.compare("limits"), 50)

    @unittest.skipIf(MAX_AREAS > 1 << 17, "too many areas to fill up")
    def test_the_same_verdicts_with_as_many_areas_as_there_may_be(self):
        self.assertGreaterEqual(self.compare("count", snapshot_every=0), 14)


if __name__ == "__main__":
    main()
