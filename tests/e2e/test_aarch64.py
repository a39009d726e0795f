"""The whole project compiles for aarch64, and its library records a program there (by qemu).

Inner calls are redirected on x86-64 only; elsewhere the trace says so, and what they changed is
found by the snapshots.

SPDX-License-Identifier: MIT
"""
import pathlib
import shutil
import unittest

from harness import Trace, TraceTest, environment, main, run

SOURCE = pathlib.Path(__file__).resolve().parents[2]
COMPILER = "aarch64-linux-gnu-gcc"
QEMU = "qemu-aarch64-static"


@unittest.skipUnless(shutil.which(COMPILER) and shutil.which(QEMU),
                     "no cross compiler, or no emulator")
class Aarch64(TraceTest):
    def must(self, *argv, **kwargs):
        done = run(argv, timeout=400, **kwargs)
        self.assertEqual(done.returncode, 0, done.stdout[-4000:] + done.stderr)
        return done.stdout

    def build(self):
        build = self.dir / "build"
        self.must("meson", "setup", build, SOURCE, "--cross-file",
                  SOURCE / "tests/e2e/aarch64.ini", "-Dtests=false")
        self.must("ninja", "-C", build)
        return build / "preload" / "libvmtrail.so"

    def test_a_program_is_recorded(self):
        library = self.build()
        seed = self.dir / "seed_fixed"
        self.must(COMPILER, "-O1", "-D_GNU_SOURCE", "-o", seed,
                  SOURCE / "tests/programs/seed_fixed.c")
        plain = self.must(QEMU, seed, env=environment())
        recorded = self.must(QEMU, "-E", f"LD_PRELOAD={library}",
                             "-E", f"VMTRAIL_OUTPUT={self.traces_dir}/seed.vmt", seed,
                             env=environment())
        self.assertEqual(recorded, plain)

        trace = Trace(self.traces_dir / "seed.vmt")
        # the kernel counts the emulator's memory, too: only the areas can be compared
        _, counts, text = trace.verdict()
        self.assertEqual((counts["bytes"], counts["boundaries"]), (0, 0), text)
        self.assertEqual(counts["snapshots"], 2, text)
        sizes = [e["args"][1] for e in trace.events() if e["args"][:1] == [0x20000000]]
        self.assertEqual(sizes, [819200, 4096])
        self.assertIn("main", trace.text("dump", "--stacks"))
        self.assertIn("symbols only", trace.text("report", "--capture"))


if __name__ == "__main__":
    main()
