"""The command's contract: exit statuses, refusals, bad usage.

SPDX-License-Identifier: MIT
"""
import os
import pathlib
import shutil
import struct
import subprocess
import unittest

from harness import VMTRAIL, TraceTest, environment, main, program, run


class Command(TraceTest):
    def assert_refused(self, result):
        self.assertEqual(result.returncode, 2, result.stderr)
        self.assertEqual(result.stdout, "")
        self.assertEqual(len(result.stderr.splitlines()), 1, result.stderr)
        self.assertTrue(result.stderr.startswith("vmtrail"), result.stderr)

    def test_exit_status_is_the_programs(self):
        for script, status in (("exit 0", 0), ("exit 3", 3), ("exit 255", 255)):
            with self.subTest(script=script):
                self.assertEqual(self.record(["sh", "-c", script]).returncode, status)

    def test_program_killed_by_a_signal_gives_the_shells_status_or_the_signal(self):
        for name, number in (("TERM", 15), ("SEGV", 11), ("KILL", 9)):
            with self.subTest(signal=name):
                result = self.record(["sh", "-c", f"kill -{name} $$"])
                self.assertIn(result.returncode, (-number, 128 + number))

    def test_standard_streams_are_the_programs(self):
        result = self.record(["cat"], input="in and out\n")
        self.assertEqual((result.stdout, result.stderr), ("in and out\n", ""))

    def test_command_that_does_not_exist(self):
        result = self.record(["/no/such/command"])
        self.assertIn(result.returncode, (2, 127))
        self.assertEqual(len(result.stderr.splitlines()), 1, result.stderr)

    def test_static_program_is_refused(self):
        self.assert_refused(self.record([program("seed_static")]))

    @unittest.skipUnless(os.geteuid() == 0, "needs root to make a set-user-ID program of another")
    def test_set_user_id_program_is_refused(self):
        copy = self.dir / "setuid"
        shutil.copy(program("brk"), copy)
        os.chown(copy, 65534, 65534)
        copy.chmod(0o4755)
        self.assert_refused(self.record([copy]))

    def test_program_of_another_architecture_is_refused(self):
        for machine in (183, 3):  # aarch64, i386
            copy = self.dir / f"machine-{machine}"
            image = bytearray(pathlib.Path(program("brk")).read_bytes())
            image[18:20] = struct.pack("<H", machine)
            copy.write_bytes(image)
            copy.chmod(0o755)
            with self.subTest(machine=machine):
                self.assert_refused(self.record([copy]))

    def test_senseless_option_values_are_refused_before_the_program_starts(self):
        touched = self.dir / "touched"
        for option in ("--stacks=many", "--stacks=65", "--stacks=-1", "--stacks=", "--ring=100",
                       "--ring=0", "--ring=1000000", "--children=maybe", "--capture=none",
                       "--snapshot-every=x", "--snapshot-every=99999999999999999999",
                       "--smaps=2", "--no-such-option", "--output="):
            with self.subTest(option=option):
                result = self.record(["touch", touched], option)
                self.assertEqual(result.returncode, 2, result.stderr)
                self.assertGreaterEqual(len(result.stderr.splitlines()), 1)
                self.assertFalse(touched.exists())

    def test_senseless_environment_values_are_refused(self):
        for name, value in (("VMTRAIL_STACKS", "many"), ("VMTRAIL_RING", "3"),
                            ("VMTRAIL_CHILDREN", "perhaps")):
            with self.subTest(name=name):
                result = self.record(["true"], env=environment(**{name: value}))
                self.assert_refused(result)

    def test_output_pattern_with_an_unknown_conversion_is_refused(self):
        result = run([VMTRAIL, "record", "-o", self.dir / "%x.vmt", "--", "true"])
        self.assert_refused(result)

    def test_bad_usage(self):
        for argv in ([], ["nonsense"], ["dump"], ["dump", "a", "b"], ["record"], ["record", "--"],
                     ["maps", "--at"], ["why", "x.vmt"]):
            with self.subTest(argv=argv):
                result = run([VMTRAIL, *argv])
                self.assertEqual(result.returncode, 2, result.stderr)
                self.assertNotEqual(result.stderr, "")
                self.assertEqual(result.stdout, "")

    def test_help_and_version(self):
        for argv in (["--help"], ["--version"], ["record", "--help"]):
            with self.subTest(argv=argv):
                result = run([VMTRAIL, *argv])
                self.assertEqual(result.returncode, 0)
                self.assertNotEqual(result.stdout, "")

    def test_files_that_are_no_traces(self):
        cases = {"empty": b"", "text": b"hello\n" * 1000, "zeros": bytes(100000),
                 "magic": b"VMTRAIL\n"}
        for name, data in cases.items():
            path = self.dir / name
            path.write_bytes(data)
            for command in ("dump", "maps", "report", "verify"):
                with self.subTest(name=name, command=command):
                    result = run([VMTRAIL, command, path])
                    self.assert_refused(result)
                    self.assertIn(str(path), result.stderr)
        self.assert_refused(run([VMTRAIL, "dump", self.dir / "missing"]))
        self.assert_refused(run([VMTRAIL, "dump", self.dir]))

    def test_times_and_addresses_that_make_no_sense(self):
        self.record([program("brk")])
        trace = self.only_trace("brk")
        for command, *args in (("maps", "--at", "yesterday"), ("why", "nowhere"), ("why", "0x"),
                               ("dump", "--format=poem")):
            with self.subTest(command=command, args=args):
                self.assert_refused(trace.command(command, *args))

    def test_output_that_cannot_be_written_is_an_error(self):
        self.record([program("brk")])
        with open("/dev/full", "w", encoding="ascii") as full:
            done = subprocess.run([VMTRAIL, "dump", str(self.only_trace("brk").path)],
                                  stdout=full, stderr=subprocess.PIPE, text=True, check=False)
        self.assertEqual(done.returncode, 2, done.stderr)


if __name__ == "__main__":
    main()
