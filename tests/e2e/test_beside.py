"""Beside what else a program brings along: small stacks, sanitizers, allocators.

SPDX-License-Identifier: MIT
"""
import ctypes.util
import itertools
import os
import shutil
import unittest

from harness import LIBRARY, PYTHON, TraceTest, environment, main, preloaded, program, run

# Bytes that a call may take of its caller's stack (preload/README.md): always, and when the stack
# and the file are known already.
MOST, USUAL = 2560, 1280

THREADS = """
import threading
def work():
    for _ in range(200):
        bytearray(300000)
threads = [threading.Thread(target=work) for _ in range(4)]
for t in threads: t.start()
for t in threads: t.join()
print("done")
"""


class Stacks(TraceTest):
    def test_a_call_takes_little_stack(self):
        plain, recorded = (
            dict(line.split() for line in run([program("paint")], env=env).stdout.splitlines()[1:])
            for env in (environment(), preloaded(self.traces_dir / "x.vmt")))
        self.assertEqual(plain.keys(), recorded.keys())
        for name, most in (("call", USUAL), ("calls", USUAL), ("place", USUAL), ("file", USUAL),
                           ("code", MOST)):
            with self.subTest(name):
                self.assertLessEqual(int(recorded[name]) - int(plain[name]), most)

    def test_a_stack_is_what_the_compilers_own_unwinder_sees(self):
        lines = self.record([program("frames")]).stdout.splitlines()
        expected = {int(n): [int(pc, 16) for pc in pcs]
                    for n, *pcs in (line.split() for line in lines)}
        self.assertGreaterEqual(len(expected), 8)
        seen = {}
        for event in self.only_trace("frames").events("--stacks"):
            length = event["args"][1] if event["call"] == "mmap" else 0
            if length in expected:
                # An inlined function is a frame of its own, at the same place.
                places = [pc for pc, _ in itertools.groupby(f["pc"] for f in event["stack"])]
                # The innermost is in the printing function itself.
                seen[length] = [int(pc, 16) for pc in places[1:]]
        self.assertEqual(seen, expected)

    def test_calls_from_small_stacks(self):
        for mode in ("thread", "signal", "fibre"):
            with self.subTest(mode):
                for old in self.traces():
                    old.path.unlink()
                self.record_and_compare([program("tight"), mode])
                trace = self.only_trace("tight")
                self.assert_verified(trace)
                mapped = [e for e in trace.events("--stacks") if e["call"] == "munmap"]
                self.assertGreaterEqual(len(mapped), 6000)
                self.assertFalse([e for e in mapped if not e["stack"] and not e["own"]][:1])


class Sanitizers(TraceTest):
    def checked(self, name):
        path = program("checked_" + name)
        if not os.path.exists(path):
            self.skipTest("the compiler has no such sanitizer")
        return path

    def test_program_under_a_sanitizer(self):
        for name in ("address", "thread", "undefined"):
            with self.subTest(name):
                path = self.checked(name)
                self.record_and_compare([path])
                trace = self.only_trace("checked_" + name)
                _, counts, text = trace.verdict()
                self.assertEqual(counts["bytes"], 0, text)
                if name != "thread":
                    # The runtime's own system call instructions are calls like any other.
                    self.assert_verified(trace)
                    self.assertEqual(counts["unseen"], 0)
                calls = [e for e in trace.events() if e["call"] == "munmap"]
                self.assertGreaterEqual(len(calls), 800)

    def test_program_that_starts_one(self):
        path = self.checked("address")
        self.record_and_compare(["/bin/sh", "-c", f"{path}; exit 3"])
        self.assertEqual(len(self.traces("checked_address")), 1)


class Allocators(TraceTest):
    def test_allocator_preloaded_beside_us_in_either_order(self):
        for name in ("jemalloc", "tcmalloc_minimal", "mimalloc"):
            library = ctypes.util.find_library(name)
            with self.subTest(name):
                if not library:
                    self.skipTest("not installed")
                plain = run([PYTHON, "-c", THREADS], env=environment(LD_PRELOAD=library))
                for order in ((LIBRARY, library), (library, LIBRARY)):
                    for old in self.traces():
                        old.path.unlink()
                    env = preloaded(self.traces_dir)
                    env["LD_PRELOAD"] = ":".join(order)
                    self.assert_same(plain, run([PYTHON, "-c", THREADS], env=env))
                    self.assertEqual(self.assert_verified(self.only_trace())["unseen"], 0)


class Static(TraceTest):
    @unittest.skipUnless(shutil.which("go"), "no Go here")
    def test_go_program_without_c_is_refused(self):
        source = self.dir / "hello.go"
        source.write_text('package main\nfunc main() { println("hello") }\n')
        built = run(["go", "build", "-o", self.dir / "hello", source],
                    env=environment(CGO_ENABLED="0", GOCACHE=str(self.dir / "cache"),
                                    GOFLAGS="-mod=mod", GO111MODULE="off"))
        self.assertEqual(built.returncode, 0, built.stderr)
        refused = self.record([self.dir / "hello"])
        self.assertEqual(refused.returncode, 2)
        self.assertEqual(refused.stderr, f"vmtrail: {self.dir}/hello: statically linked: nothing "
                                         "can be preloaded\n")


if __name__ == "__main__":
    main()
