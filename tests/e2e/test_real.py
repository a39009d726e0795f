"""Real programs, recorded: the same answers, and every trace equals the kernel's own view.

  test_real.py python3|node|java|redis|git|gcc

Each long-running program gets a snapshot on demand in its middle; the others take one every few
events.

SPDX-License-Identifier: MIT
"""
import json
import os
import pathlib
import shutil
import sys

from harness import PYTHON, VMTRAIL, main
from real_programs import HERE, RealPrograms, needs


class Real(RealPrograms):
    def compare_conversation(self, argv):
        """Recorded with a snapshot in the middle, the program says the same."""
        exe = pathlib.Path(os.path.realpath(shutil.which(argv[0]))).name
        plain = self.converse(argv)
        self.assertEqual(plain.returncode, 0, plain.stderr)
        recorded = self.converse(
            [VMTRAIL, "record", "-o", self.traces_dir, "--", *argv],
            lambda: self.ask_for_snapshot(exe))
        self.assert_same(plain, recorded)
        counts = self.assert_verified(self.traces(exe)[0], least_snapshots=3)
        print(f"{exe}: {counts}")
        self.verify_all()

    def assert_places_explained(self, trace):
        """Where the kernel put things is predicted, or it is known why it is not."""
        places = json.loads(trace.text("report", "--placement", "--format=json"))
        self.assertEqual(places["missed"]["unexplained"], 0,
                         trace.text("report", "--placement"))

    def verify_all(self, least=1):
        """Every trace of the run is sound; prints their sum."""
        traces = self.traces()
        self.assertGreaterEqual(len(traces), least)
        total = {}
        for trace in traces:
            with self.subTest(trace=trace):
                for key, n in self.assert_verified(trace, least_snapshots=1).items():
                    total[key] = total.get(key, 0) + n
                self.assert_places_explained(trace)
        print(f"{len(traces)} traces: {total}")
        return traces

    @needs("python3")
    def test_python3(self):
        self.compare_conversation([PYTHON, HERE / "work.py"])

    @needs("node")
    def test_node(self):
        self.compare_conversation(["node", HERE / "work.js"])

    @needs("java")
    def test_java(self):
        self.compare_conversation(["java", HERE / "Work.java"])

    @needs("redis-server", "redis-cli", "redis-benchmark")
    def test_redis(self):
        plain = self.serve(self.dir / "plain", [], lambda: lambda: None)
        recorded = self.serve(self.dir / "recorded",
                              [VMTRAIL, "record", "-o", self.traces_dir, "--"],
                              lambda: self.ask_for_snapshot("redis-*"))
        self.assert_same(plain, recorded)
        self.assertEqual(recorded.returncode, 0)
        self.verify_all(least=2)  # the server, the child that saves
        counts = [trace.verdict()[1]["snapshots"] for trace in self.traces()]
        self.assertGreaterEqual(max(counts), 3)

    def compare_scripts(self, run_one):
        """The same work plain and recorded, with a snapshot every few calls."""
        plain = run_one([], self.dir / "plain")
        recorded = run_one([VMTRAIL, "record", "-o", self.traces_dir, "--snapshot-every=20", "--"],
                           self.dir / "recorded")
        self.assert_same(plain, recorded)
        self.assertEqual(plain.returncode, 0, plain.stderr)

    @needs("git")
    def test_git(self):
        self.compare_scripts(self.run_git)
        self.verify_all(least=20)

    @needs("gcc", "g++")
    def test_gcc(self):
        self.compare_scripts(self.run_gcc)
        self.verify_all(least=10)


if __name__ == "__main__":
    if len(sys.argv) == 2 and hasattr(Real, f"test_{sys.argv[1]}"):
        sys.argv[1] = f"Real.test_{sys.argv[1]}"
    main()
