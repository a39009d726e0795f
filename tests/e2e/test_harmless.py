"""Where a trace cannot be written, or the program is rough: the program goes on as without us.

SPDX-License-Identifier: MIT
"""
import ctypes
import json
import os
import pathlib
import resource
import subprocess
import unittest

from harness import PYTHON, Trace, TraceTest, environment, main, preloaded, program, run


def mount_small_disk(path, size):
    """A file system of that size, or None where we may not make one."""
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(path)],
                          capture_output=True, check=False)
    return done.returncode == 0


def unpacked(data):
    """A trace's bytes, and what its zstd frames unpack to."""
    zstd = ctypes.CDLL("libzstd.so.1")
    for name in ("ZSTD_findFrameCompressedSize", "ZSTD_decompress"):
        getattr(zstd, name).restype = ctypes.c_size_t
    room, whole, at = ctypes.create_string_buffer(16 << 20), bytearray(data), 0
    while (at := data.find(b"\x28\xb5\x2f\xfd", at)) >= 0:
        frame = data[at:]
        size = zstd.ZSTD_findFrameCompressedSize(frame, ctypes.c_size_t(len(frame)))
        if not zstd.ZSTD_isError(ctypes.c_size_t(size)):
            n = zstd.ZSTD_decompress(room, ctypes.c_size_t(len(room)), frame, ctypes.c_size_t(size))
            whole += room[:n] if not zstd.ZSTD_isError(ctypes.c_size_t(n)) else b""
        at += 4
    return bytes(whole)


# What `threads 2 20000` calls: each thread as often, three calls a time.
CALLS = 2 * 20000 * 3


class Harmless(TraceTest):
    def assert_untouched(self, argv, output, **kwargs):
        plain = run(argv, **kwargs)
        recorded = run(argv, env=preloaded(output), **kwargs)
        self.assert_same(plain, recorded)

    def test_directory_that_is_not_there(self):
        self.assert_untouched([program("threads"), "2", "100"], self.dir / "no/such/x.vmt")

    def test_directory_that_is_not_writable(self):
        self.assert_untouched([program("threads"), "2", "100"], "/proc/x.vmt")

    def test_small_file_size_limit(self):
        def limit():
            resource.setrlimit(resource.RLIMIT_FSIZE, (64 << 10, 64 << 10))

        self.assert_untouched([program("threads"), "2", "3000"], self.dir / "x.vmt",
                              preexec_fn=limit)

    def test_file_size_limit_that_ends_the_trace(self):
        def limit():
            resource.setrlimit(resource.RLIMIT_FSIZE, (300 << 10, 300 << 10))

        self.assert_untouched([program("threads"), "2", "20000"], self.dir / "x.vmt",
                              preexec_fn=limit)
        self.assertTrue(self.look_at_short_trace(self.dir / "x.vmt"))
        numbers = [e["seq"] for e in Trace(self.dir / "x.vmt").events("--own")]
        self.assertEqual(numbers, list(range(1, len(numbers) + 1)))  # frames, then the live region

    def test_file_size_limit_that_ends_the_trace_among_new_files(self):
        def limit():
            resource.setrlimit(resource.RLIMIT_FSIZE, (600 << 10, 600 << 10))

        text = "import mmap\nfor _ in range(60000): mmap.mmap(-1, 4096).close()"
        self.assert_untouched([PYTHON, "-S", "-c", text], self.dir / "x.vmt", preexec_fn=limit)
        self.assertTrue(self.look_at_short_trace(self.dir / "x.vmt", 120000))

    def test_file_size_limit_of_nothing(self):
        def limit():
            resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))

        self.assert_untouched([program("brk")], self.dir / "x.vmt", preexec_fn=limit,
                              stdin=subprocess.DEVNULL)

    @unittest.skipUnless(os.geteuid() == 0, "needs root to mount a small disk")
    def test_disk_that_fills_up(self):
        for size in ("4k", "128k", "700k", "3m"):
            with self.subTest(size=size):
                disk = self.dir / f"disk-{size}"
                disk.mkdir()
                if not mount_small_disk(disk, size):
                    self.skipTest("no mounting here")
                try:
                    self.assert_untouched([program("threads"), "2", "20000"], disk / "x.vmt")
                    self.look_at_short_trace(disk / "x.vmt")
                finally:
                    subprocess.run(["umount", str(disk)], check=False)

    def look_at_short_trace(self, path, calls=CALLS):
        """What fitted is read and true; if it is not all, what is missing is counted."""
        if not path.exists():
            return False
        trace = Trace(path)
        report = json.loads(trace.text("report", "--format=json"))
        self.assertNotEqual(report["closed"], report["lost"] > 0)
        self.assertGreaterEqual(report["events"] + report["lost"], calls)
        self.assert_verified(trace, least_snapshots=1)
        self.assertLessEqual(trace.command("reuse").returncode, 1)
        return True

    def test_no_descriptors_left(self):
        def limit():
            resource.setrlimit(resource.RLIMIT_NOFILE, (4, 4))

        self.assert_untouched([program("brk")], self.dir / "x.vmt", preexec_fn=limit)

    def test_small_address_space(self):
        def limit():
            resource.setrlimit(resource.RLIMIT_AS, (64 << 20, 64 << 20))

        self.assert_untouched([program("seed_hint")], self.dir / "x.vmt", preexec_fn=limit)

    def test_little_locked_memory_and_data(self):
        def limit():
            resource.setrlimit(resource.RLIMIT_MEMLOCK, (0, 0))
            resource.setrlimit(resource.RLIMIT_DATA, (8 << 20, 8 << 20))

        self.assert_untouched([program("brk")], self.dir / "x.vmt", preexec_fn=limit)

    def test_program_that_closes_every_descriptor(self):
        for mode in ("list", "range", "loop", "dup"):
            with self.subTest(mode=mode):
                for old in self.traces():
                    old.path.unlink()
                self.record_and_compare([program("closer"), mode])
                self.assert_verified(self.only_trace("closer"))

    def test_no_descriptor_of_ours_is_met_while_the_kernels_view_is_read(self):
        self.record_and_compare([program("closer"), "lowest"], "--snapshot-every=50")
        self.assert_verified(self.only_trace("closer"), least_snapshots=10)

    def confine(self, *args):
        """Record a program that takes rights away from itself; its trace."""
        for old in self.traces():
            old.path.unlink()
        self.record_and_compare([program("confined"), *args])
        return self.only_trace("confined")

    @unittest.skipUnless(os.geteuid() == 0, "needs root to change the root and the user")
    def test_program_that_changes_its_root(self):
        jail = self.dir / "jail"
        jail.mkdir()
        trace = self.confine("chroot", jail)
        self.assert_verified(trace, least_snapshots=1)
        self.assertIn("/proc/self/maps cannot be opened", trace.text("report", "--capture"))

    @unittest.skipUnless(os.geteuid() == 0, "needs root to change the root and the user")
    def test_program_that_becomes_another_user(self):
        self.assert_verified(self.confine("nobody"))

    def test_program_that_sets_itself_small_limits(self):
        for resource_name in ("address", "files", "descriptors"):
            with self.subTest(resource_name):
                self.assert_verified(self.confine(resource_name))
        with self.subTest("no descriptor at all"):
            trace = self.confine("none")
            self.assert_verified(trace, least_snapshots=1)
            self.assertIn("/proc/self/maps cannot be opened", trace.text("report", "--capture"))

    def test_seccomp_filter_that_forbids_open(self):
        for mode in ("no-open", "killed-at-open"):
            with self.subTest(mode=mode):
                trace = self.confine(mode)
                self.assert_verified(trace)
                calls = [e for e in trace.events() if e["call"] == "munmap"]
                self.assertGreaterEqual(len(calls), 10000)  # before the filter, and under it

    def test_program_that_confines_itself_as_browsers_do(self):
        trace = self.confine("browser")
        self.assert_verified(trace)
        calls = [e for e in trace.events() if e["call"] == "munmap"]
        self.assertGreaterEqual(len(calls), 55000)  # 45,000 of them under the filter
        self.assertNotIn("ends before it", trace.text("report", "--capture"))

    def test_children_under_a_seccomp_filter_that_kills_who_asks(self):
        trace = self.confine("no-questions")
        self.assert_verified(trace, least_snapshots=1)
        self.assertIn("no child or new image is recorded", trace.text("report", "--capture"))
        self.assertEqual(sum(e["call"] == "clone" for e in trace.events()), 2)

    def test_seccomp_filter_that_forbids_recording(self):
        trace = self.confine("memory-only")
        self.assert_verified(trace)
        self.assertIn("forbids rt_sigprocmask was set: the recording ends before it",
                      trace.text("report", "--capture"))

    def test_library_unloaded_while_others_map_and_program_that_executes_itself(self):
        self.record_and_compare([program("unload"), program("plugin.so"), "100"])
        traces = self.traces("unload")
        self.assertEqual(len(traces), 2)
        for trace in traces:
            self.assert_verified(trace)

    def test_io_uring(self):
        if self.record_and_compare([program("uring")]).returncode == 77:
            self.skipTest("no io_uring here")
        self.assert_verified(self.only_trace("uring"))

    def test_no_environment_and_no_memory_contents_in_the_trace(self):
        secret = "correcthorsebatterystaple"
        self.record([program("brk")], env=environment(SECRET_VARIABLE=secret))
        data = unpacked(self.only_trace("brk").path.read_bytes())
        self.assertIn(b"[stack]", data)  # a snapshot, unpacked
        self.assertNotIn(secret.encode(), data)

    @unittest.skipUnless(os.geteuid() == 0, "needs root to make a set-user-ID program of another")
    def test_set_user_id_program_records_nothing(self):
        copy = self.dir / "brk"
        copy.write_bytes(pathlib.Path(program("brk")).read_bytes())
        os.chown(copy, 65534, 65534)
        copy.chmod(0o4755)
        self.dir.chmod(0o777)
        self.assert_untouched([copy], self.dir / "x.vmt")
        self.assertFalse((self.dir / "x.vmt").exists())


if __name__ == "__main__":
    main()
