"""Real programs, recorded and under strace in one run: the trace has what strace saw, to the last call.

  test_large.py python3|node|java|redis|postgres|git|gcc|chromium

Every process is compared thread by thread, with arguments and results; every process has a trace;
and every trace equals the kernel's own view.

SPDX-License-Identifier: MIT
"""
import pathlib
import shutil
import sys

import strace_log
from harness import LIBRARY, PYTHON, main
from real_programs import HERE, POSTGRES, RealPrograms, needs
from test_strace import why_not


class Large(RealPrograms):
    def setUp(self):
        super().setUp()
        problem = why_not()
        if problem:
            self.skipTest(problem)
        # Where every user can read it.
        self.library = self.dir / "libvmtrail.so"
        shutil.copy(LIBRARY, self.library)
        self.logs = []

    def strace(self, *settings):
        """The prefix of a command that is to run under strace, recorded."""
        log = self.dir / f"strace.{len(self.logs)}.log"
        log.touch()
        self.logs.append(log)
        return ["strace", "-o", log, *strace_log.STRACE_OPTIONS, f"-ELD_PRELOAD={self.library}",
                f"-EVMTRAIL_OUTPUT={self.traces_dir}", *(f"-E{s}" for s in settings)]

    def compare_one(self, image, trace):
        one = strace_log.Comparison(image, trace)
        self.assertEqual(
            [f"{tid} at {where[1]}: {strace_log.text_of(call)}"
             for tid, where, call in one.missing],
            [], "missing")
        self.assertEqual([f"{tid}: {strace_log.text_of(call)}" for tid, call in one.invented], [],
                         "invented")
        verdict = self.assert_verified(trace, least_snapshots=1)
        self.assertEqual(verdict["unseen"], 0)
        return one

    def assert_nothing_escapes(self, least_images, not_recorded=()):
        """All images of all processes; not_recorded: programs that cannot be (static ones)."""
        images = [image for log in self.logs for image in strace_log.read_strace(log)]
        pairs, left = strace_log.match(images, self.traces())
        self.assertEqual(left, [], "traces of no process")
        self.assertGreaterEqual(len(pairs), least_images)
        total = disorder = 0
        for image, trace in pairs:
            with self.subTest(image=image, trace=trace):
                if trace:
                    one = self.compare_one(image, trace)
                    total += one.calls
                    disorder += one.disorder
                elif pathlib.Path(image.exe).name not in not_recorded:
                    # A forked child may go on to exec without a memory call: but for the
                    # recorder's, which makes the new image's environment.
                    self.assertTrue(image.forked)
                    calls = [call for made in image.calls.values() for call, _ in made]
                    self.assertEqual([c for c in calls if c[1][2:4] != (3, 0x22)], [], "no trace")
                    self.assertLessEqual(len(calls), 1, "no trace")
        print(f"{len(pairs)} images, {total} calls: 0 missing, 0 invented; "
              f"{disorder} threads with signal handlers' calls in another order")

    def compare_conversation(self, argv):
        plain = self.converse(argv)
        recorded = self.converse([*self.strace(), *argv])
        self.assert_same(plain, recorded)
        self.assert_nothing_escapes(1)

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
        recorded = self.serve(self.dir / "recorded", self.strace(), lambda: lambda: None)
        self.assertEqual(recorded.returncode, 0)
        self.assert_nothing_escapes(2)

    @needs(POSTGRES / "postgres", "pgbench")
    def test_postgres(self):
        said = self.run_postgres(self.strace(), self.strace(), self.dir / "home")
        self.assertEqual(said, "1600|0\n")
        self.assert_nothing_escapes(15)

    @needs("git")
    def test_git(self):
        plain = self.run_git([], self.dir / "plain")
        self.assert_same(plain, self.run_git(self.strace(), self.dir / "recorded"))
        self.assert_nothing_escapes(20)

    @needs("gcc", "g++")
    def test_gcc(self):
        plain = self.run_gcc([], self.dir / "plain")
        self.assert_same(plain, self.run_gcc(self.strace(), self.dir / "recorded"))
        self.assert_nothing_escapes(10)

    @needs("chromium")
    def test_chromium(self):
        plain = self.run_chromium([], self.dir / "plain")
        # Its crash handler maps a signal stack by an instruction of its own, in 226 MiB of code.
        cache = self.dir / "code"
        self.assertEqual(self.run_chromium(self.strace(f"VMTRAIL_CACHE={cache}"),
                                           self.dir / "recorded"), plain)
        self.assertRegex(cache.read_text(), r"(?m)^[0-9a-f]{40} \w+ e\w{6} v6 \w+")
        self.assert_nothing_escapes(10)


if __name__ == "__main__":
    if len(sys.argv) == 2 and hasattr(Large, f"test_{sys.argv[1]}"):
        sys.argv[1] = f"Large.test_{sys.argv[1]}"
    main()
