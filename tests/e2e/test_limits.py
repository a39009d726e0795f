"""Where a process may have no more, nothing of its trace is lost, and it gets what it gets alone.

SPDX-License-Identifier: MIT
"""
import json
import re

from harness import TraceTest, main, program, run

# Areas that the recorder has in a process: its library's segments, and five of its own.
OURS = 12
MADE = re.compile(r"^made (\d+)", re.M)


class Brim(TraceTest):
    def assert_complete(self, trace):
        """Nothing lost, closed, true, and every command can read it."""
        report = json.loads(trace.text("report", "--format=json"))
        self.assertEqual(report["lost"], 0)
        self.assertIn(report["end_reason"], ("exit", "exec"))
        self.assert_verified(trace)
        result = trace.command("reuse")
        self.assertEqual((result.returncode > 1, result.stderr), (False, ""))
        return report

    def at_the_brim(self, *args):
        """The program's traces, and how many areas fewer it could make than without the recorder."""
        argv = [program("brim"), *args]
        plain, recorded = run(argv), self.record(argv)
        self.assertEqual((recorded.returncode, recorded.stderr), (plain.returncode, ""))
        self.assertEqual(MADE.sub("", recorded.stdout), MADE.sub("", plain.stdout))
        made = [int(MADE.search(done.stdout)[1]) for done in (plain, recorded)]
        traces = self.traces("brim")
        self.assertEqual(len(traces), 5 if "exec" not in args else 6)
        return made[0] - made[1], [(trace, self.assert_complete(trace)) for trace in traces]

    def test_areas_exhausted(self):
        fewer, _ = self.at_the_brim("1", "exec")
        self.assertIn(fewer, range(1, OURS + 1))

    def test_areas_exhausted_by_threads(self):
        fewer, _ = self.at_the_brim("8", "_exit")
        self.assertIn(fewer, range(1, OURS + 1))

    def test_no_byte_of_address_space_left(self):
        self.at_the_brim("1", "return", "address")

    def test_no_byte_of_data_left(self):
        """Also of 57,000 shared objects, which are told when they can no longer be remembered."""
        _, found = self.at_the_brim("1", "return", "data")
        notes = {note["key"] for _, report in found for note in report["notes"]}
        self.assertLessEqual({"model", "stacks"}, notes)


if __name__ == "__main__":
    main()
