"""The library without the command: LD_PRELOAD and the environment variables.

SPDX-License-Identifier: MIT
"""
import os
import stat

from harness import (LIBRARY, Trace, TraceTest, environment, main, preloaded, program, run)


class Preload(TraceTest):
    def assert_recorded(self, argv, output, path=None, **more):
        plain = run(argv)
        self.assert_same(plain, run(argv, env=preloaded(output, **more)))
        trace = Trace(path or output)
        self.assert_verified(trace)
        return trace

    def test_output_names_the_file(self):
        self.assert_recorded([program("seed_fixed")], self.dir / "one.vmt")

    def test_pattern_names_executable_pid_and_counter(self):
        argv = [program("seed_fixed")]
        run(argv, env=preloaded(self.dir / "%e-%p-%n-100%%.vmt"))
        names = [p.name for p in self.dir.glob("*.vmt")]
        self.assertEqual(len(names), 1, names)
        self.assertRegex(names[0], r"^seed_fixed-[0-9]+-[0-9]+-100%\.vmt$")

    def test_without_output_the_trace_lands_in_the_working_directory(self):
        result = run([program("seed_fixed")], env=environment(LD_PRELOAD=LIBRARY), cwd=self.dir)
        self.assertEqual(result.returncode, 0)
        names = [p.name for p in self.dir.glob("*.vmt")]
        self.assertEqual(len(names), 1, names)
        self.assertRegex(names[0], r"^vmtrail\.seed_fixed\.[0-9]+\.vmt$")

    def test_directory_takes_the_traces(self):
        run([program("seed_fixed")], env=preloaded(self.traces_dir))
        self.assert_verified(self.only_trace("seed_fixed"))

    def test_trace_is_for_its_owner_only(self):
        old = os.umask(0)
        self.addCleanup(os.umask, old)
        trace = self.assert_recorded([program("seed_fixed")], self.dir / "one.vmt")
        self.assertEqual(stat.S_IMODE(trace.path.stat().st_mode), 0o600)

    def test_existing_file_is_not_touched(self):
        path = self.dir / "precious.vmt"
        path.write_text("not a trace")
        plain = run([program("seed_fixed")])
        self.assert_same(plain, run([program("seed_fixed")], env=preloaded(path)))
        self.assertEqual(path.read_text(), "not a trace")

    def test_symbolic_link_is_not_followed(self):
        target = self.dir / "target"
        (self.dir / "link.vmt").symlink_to(target)
        plain = run([program("seed_fixed")])
        self.assert_same(plain, run([program("seed_fixed")],
                                    env=preloaded(self.dir / "link.vmt")))
        self.assertFalse(target.exists())

    def test_senseless_values_count_as_the_default_and_are_not_complained_about(self):
        self.assert_recorded([program("seed_fixed")], self.dir / "one.vmt",
                             VMTRAIL_STACKS="many", VMTRAIL_RING="-1", VMTRAIL_CAPTURE="",
                             VMTRAIL_SNAPSHOT_EVERY="99999999999999999999", VMTRAIL_NONSENSE="x")

    def test_options_by_environment(self):
        trace = self.assert_recorded([program("threads"), "2", "100"], self.dir / "one.vmt",
                                     VMTRAIL_STACKS="no", VMTRAIL_SNAPSHOT_EVERY="50",
                                     VMTRAIL_RING="256")
        self.assertGreaterEqual(trace.verdict()[1]["snapshots"], 5)


if __name__ == "__main__":
    main()
