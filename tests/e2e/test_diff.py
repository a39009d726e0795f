"""Two runs of a program compared: what is the same is not told, what differs is.

SPDX-License-Identifier: MIT
"""
import json

from harness import VMTRAIL, TraceTest, main, program, run


class Diff(TraceTest):
    def recorded(self, *argv):
        before = {t.path for t in self.traces()}
        self.record(argv)
        return next(t.path for t in self.traces() if t.path not in before)

    def diff(self, a, b, *options):
        return run([VMTRAIL, "diff", a, b, *options])

    def test_a_run_is_as_another_of_the_same_program(self):
        done = self.diff(self.recorded(program("seed_hint")), self.recorded(program("seed_hint")))
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertIn("No call site differs", done.stdout)

    def test_what_one_run_does_more_is_told_by_site(self):
        a, b = self.recorded(program("deep"), "3", "10"), self.recorded(program("deep"), "3", "25")
        told = json.loads(self.diff(a, b, "--format=json").stdout)
        calls = told["totals"]["calls"]
        self.assertEqual(sum(s["calls"]["b"] - s["calls"]["a"] for s in told["sites"]),
                         calls["b"] - calls["a"])
        self.assertGreater(calls["b"], calls["a"])
        self.assertIn("deep", told["sites"][0]["site"])

    def test_finding_of_one_run_makes_it_fail(self):
        a, b = self.recorded(program("seed_hint")), self.recorded(program("seed_hint"), "fixed")
        done = self.diff(a, b)
        self.assertEqual(done.returncode, 1, done.stdout + done.stderr)
        self.assertRegex(done.stdout, r"fixed-clobber +only in B")

    def test_what_cannot_be_read_is_refused(self):
        a = self.recorded(program("seed_hint"))
        for b in (self.dir / "missing", "/etc/passwd"):
            done = self.diff(a, b)
            self.assertEqual((done.returncode, done.stdout), (2, ""))
            self.assertEqual(len(done.stderr.splitlines()), 1)


if __name__ == "__main__":
    main()
