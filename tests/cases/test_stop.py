"""--stop-on: the process stops in the culprit's thread, at its line, before the damage is done.

SPDX-License-Identifier: MIT
"""
import os
import pathlib
import re
import shutil
import signal
import unittest

from harness import LIBRARY, VMTRAIL, PYTHON, TraceTest, environment, main, program, run

CASES = pathlib.Path(os.environ.get("TEST_CASES", "."))
SOURCE = pathlib.Path(__file__).resolve().parent
KINDS = "fixed-clobber,foreign-unmap,double-unmap"
BUGS = [("fex_3253", "double-unmap"), ("ucx_11786", "foreign-unmap"),
        ("ltp_124", "foreign-unmap"), ("kona_162", "fixed-clobber"),
        ("dynamorio_7192", "fixed-clobber"), ("fex_2013", "fixed-clobber")]


class Stop(TraceTest):
    def record(self, argv, *options, **kwargs):
        return super().record(argv, f"--stop-on={KINDS}", *options, **kwargs)

    @unittest.skipUnless(shutil.which("gdb"), "gdb is not installed")
    def test_debugger_stands_on_the_bug(self):
        for name, kind in BUGS:
            with self.subTest(bug=name):
                settings = {"LD_PRELOAD": LIBRARY, "VMTRAIL_STOP_ON": kind,
                            "VMTRAIL_OUTPUT": f"{self.dir}/{name}.vmt"}
                commands = [f"set environment {k} {v}" for k, v in settings.items()]
                commands += ["set startup-with-shell off", "run", "bt", "kill"]
                done = run(["gdb", "-q", "-nx", "-batch",
                            *[w for c in commands for w in ("-ex", c)], CASES / name],
                           env=environment())
                self.assertIn("SIGTRAP", done.stdout, done.stderr)
                frame = re.search(rf"^#\d+ .* at \S*{name}\.c:(\d+)$", done.stdout, re.M)
                self.assertTrue(frame, done.stdout)
                line = (SOURCE / f"{name}.c").read_text().splitlines()[int(frame[1]) - 1]
                self.assertRegex(line, r"\bm(un|re)?map|map_", f"{name}.c:{frame[1]}: {line}")

    def test_trace_ends_with_the_finding(self):
        for name, kind in BUGS:
            with self.subTest(bug=name):
                done = self.record([CASES / name])
                self.assertEqual(done.returncode, -signal.SIGTRAP, done.stderr)
                trace = self.only_trace(name)
                *_, last, end = trace.events()
                self.assertEqual((last["undone"], end["call"]), (True, "killed"))
                self.assertRegex(trace.text("report", "--capture"),
                                 rf"stopped +{kind} by #{last['seq']} in thread {last['tid']}\b")
                self.assertRegex(trace.text("report"), rf"stopped +{kind} by #{last['seq']}")

    def test_only_what_was_asked_for_stops(self):
        done = run([VMTRAIL, "record", "-o", self.traces_dir, "--stop-on=fixed-clobber", "--",
                    CASES / "unmap_nothing"])
        self.assertEqual(done.returncode, 0, done.stderr)

    def test_program_that_handles_the_signal_goes_on(self):
        code = ("import ctypes, mmap, signal\n"
                "signal.signal(signal.SIGTRAP, lambda *a: print('trapped'))\n"
                "libc = ctypes.CDLL(None); libc.mmap.restype = ctypes.c_void_p\n"
                "libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]\n"
                "p = libc.mmap(None, 8192, 3, 0x22, -1, 0)\n"
                "print(libc.munmap(p, 8192), libc.munmap(p, 8192))\n")
        done = self.record([PYTHON, "-c", code])
        self.assertEqual((done.returncode, done.stdout), (0, "trapped\n0 0\n"), done.stderr)

    def test_healthy_programs_are_not_stopped(self):
        for argv in ([CASES / "healthy_ring"], [CASES / "healthy_reserve"],
                     [CASES / "borrower", "align"], [program("deep")],
                     [PYTHON, "-c", "import threading, ssl, json, ctypes"]):
            with self.subTest(argv=argv):
                done = self.record(argv)
                self.assertEqual(done.returncode, 0, done.stderr)

    def test_unknown_finding_is_refused(self):
        for text in ("fixed", "fixed-clobber,", ",", "double-unmap,stale-range"):
            done = run([VMTRAIL, "record", f"--stop-on={text}", "--", "true"])
            self.assertEqual(done.returncode, 2)
            self.assertEqual(len(done.stderr.splitlines()), 1)


if __name__ == "__main__":
    main()
