"""Record a command with vmtrail and look at what came of it: what all e2e tests share.

meson says where things are: TEST_VMTRAIL the command, TEST_LIBRARY the preload, TEST_PROGRAMS the
directory of the small traced programs. With TEST_KEEP set, traces are kept, and the tests say where.

SPDX-License-Identifier: MIT
"""
import json
import os
import pathlib
import re
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
import unittest

VMTRAIL = os.environ.get("TEST_VMTRAIL", "vmtrail")
LIBRARY = os.environ.get("TEST_LIBRARY", "libvmtrail.so")
PROGRAMS = pathlib.Path(os.environ.get("TEST_PROGRAMS", "."))
# The interpreter itself, not a shim that starts it.
PYTHON = sys.executable
TIMEOUT = 60

# The head of a trace as its manual page has it: up to the process's id and the time of its start.
HEADER = struct.Struct("<8sIIQQQIIIIQ")

VERDICT = re.compile(
    r"snapshots (?P<snapshots>\d+), VMAs (?P<vmas>\d+), byte mismatches (?P<bytes>\d+), "
    r"boundary mismatches (?P<boundaries>\d+), undetermined (?P<undetermined>\d+), "
    r"unseen changes (?P<unseen>\d+)$")

COUNTS = re.compile(r"^counts compared at (?P<compared>\d+) snapshots, mismatches \d+$", re.M)


def program(name):
    return str(PROGRAMS / name)


def environment(**more):
    """This process's environment without a recorder's settings."""
    env = {k: v for k, v in os.environ.items()
           if not k.startswith("VMTRAIL_") and k != "LD_PRELOAD"}
    env.update(LC_ALL="C.UTF-8", **more)
    return env


def preloaded(output, **more):
    """The environment that records without the command."""
    return environment(LD_PRELOAD=LIBRARY, VMTRAIL_OUTPUT=str(output), **more)


def start(argv, **kwargs):
    kwargs.setdefault("env", environment())
    kwargs.setdefault("stdin", subprocess.DEVNULL)
    return subprocess.Popen([str(a) for a in argv], text=True, errors="replace", **kwargs)


def run(argv, **kwargs):
    """Run to the end; the result has returncode, stdout and stderr."""
    timeout = kwargs.pop("timeout", TIMEOUT)
    text = kwargs.pop("input", None)
    if text is not None:
        kwargs["stdin"] = subprocess.PIPE
    kwargs.setdefault("start_new_session", True)
    process = start(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **kwargs)
    try:
        out, err = process.communicate(text, timeout=timeout)
    except subprocess.TimeoutExpired:
        # its children, too, which hold the pipes
        os.killpg(process.pid, signal.SIGKILL)
        out, err = process.communicate()
        raise AssertionError(f"{argv}: still running after {timeout} s\n{out}\n{err}") from None
    return subprocess.CompletedProcess(argv, process.returncode, out, err)


def record_argv(output, argv, *options):
    # What others have found in libraries shall not decide what is tested.
    return [VMTRAIL, "record", "--cache=no", "-o", output, *options, "--", *argv]


def wait_until(what, seconds=60):
    """Call what() until it gives something true, which is returned."""
    end = time.monotonic() + seconds
    while True:
        value = what()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"waited {seconds} s for {getattr(what, '__name__', what)}")
        time.sleep(0.01)


def stop(process):
    """End a process that a test has started, if it still runs."""
    if process.poll() is None:
        process.send_signal(signal.SIGKILL)
    process.wait()
    for stream in (process.stdin, process.stdout, process.stderr):
        if stream:
            stream.close()


def number(value):
    """A number that JSON holds as a hex string where it is an address."""
    return int(value, 16) if isinstance(value, str) else value


class Trace:
    """A trace file, seen through the command's output."""

    def __init__(self, path):
        self.path = pathlib.Path(path)


    def __repr__(self):
        return self.path.name

    def pid_and_start(self):
        """The process, and when its recording began, in seconds since the epoch."""
        with open(self.path, "rb") as file:
            pid, start_ns = HEADER.unpack(file.read(HEADER.size))[-2:]
        return pid, start_ns / 1e9

    def command(self, name, *args):
        return run([VMTRAIL, name, self.path, *args])

    def text(self, name, *args):
        """The output of a subcommand that must find the trace in order."""
        result = self.command(name, *args)
        if result.returncode != 0 or result.stderr:
            raise AssertionError(f"vmtrail {name} {self.path} {args}: exit status "
                                 f"{result.returncode}\n{result.stdout}{result.stderr}")
        return result.stdout

    def events(self, *args):
        """The calls as dump's JSON has them, with arguments in order and addresses as numbers."""
        events = [json.loads(line)
                  for line in self.text("dump", "--format=json", *args).splitlines()]
        for event in events:
            event["args"] = [number(value) for value in event["args"].values()]
            event["ret"] = number(event["ret"])
        return events

    def counts_compared(self):
        """At how many snapshots verify compared the kernel's counters with the model's."""
        match = COUNTS.search(self.command("verify").stdout)
        return int(match["compared"])

    def pieces(self, *args):
        """The pieces of the address space as maps' JSON has them, with addresses as numbers."""
        pieces = [json.loads(line)
                  for line in self.text("maps", "--format=json", *args).splitlines()]
        for piece in pieces:
            piece["start"], piece["end"] = number(piece["start"]), number(piece["end"])
        return pieces

    def verdict(self):
        """The counts of verify's last line; (exit status, counts, whole text)."""
        result = self.command("verify")
        lines = result.stdout.splitlines()
        match = VERDICT.search(lines[-1]) if lines else None
        if not match:
            raise AssertionError(f"verify {self.path}: no verdict, exit status "
                                 f"{result.returncode}\n{result.stdout}{result.stderr}")
        counts = {k: int(v) for k, v in match.groupdict().items()}
        return result.returncode, counts, result.stdout + result.stderr


class TraceTest(unittest.TestCase):
    """A test with a directory of its own for traces."""

    maxDiff = 4000

    def setUp(self):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="vmtrail-test-"))
        if "TEST_KEEP" in os.environ:
            print(f"{self.id()}: {self.dir}")
        else:
            self.addCleanup(shutil.rmtree, self.dir, ignore_errors=True)
        self.traces_dir = self.dir / "traces"
        self.traces_dir.mkdir()

    def traces(self, exe=None):
        """The traces in the order of their making, of one executable if named."""
        pattern = f"vmtrail.{exe or '*'}.*.vmt*"
        paths = sorted(self.traces_dir.glob(pattern), key=lambda p: p.stat().st_mtime_ns)
        return [Trace(p) for p in paths]

    def only_trace(self, exe=None):
        traces = self.traces(exe)
        self.assertEqual(len(traces), 1, f"one trace: {traces}")
        return traces[0]

    def record(self, argv, *options, **kwargs):
        """Record into this test's directory."""
        return run(record_argv(self.traces_dir, argv, *options), **kwargs)

    def start_recording(self, argv, *options, **kwargs):
        process = start(record_argv(self.traces_dir, argv, *options), **kwargs)
        self.addCleanup(stop, process)
        return process

    def assert_same(self, plain, recorded):
        """The program answered as without the recorder."""
        self.assertEqual((recorded.returncode, recorded.stderr), (plain.returncode, plain.stderr))
        self.assertEqual(recorded.stdout, plain.stdout)

    def record_and_compare(self, argv, *options, **kwargs):
        plain = run(argv, **kwargs)
        recorded = self.record(argv, *options, **kwargs)
        self.assert_same(plain, recorded)
        return recorded

    def assert_verified(self, trace, least_snapshots=2):
        """The replay equals the kernel's own view at every snapshot."""
        status, counts, text = trace.verdict()
        self.assertEqual(counts["bytes"], 0, text)
        self.assertEqual(counts["boundaries"], 0, text)
        self.assertEqual(status, 0, text)
        self.assertGreaterEqual(counts["snapshots"], least_snapshots, text)
        return counts


def main():
    """Run the tests of the calling module; exit status 77 when every one of them was skipped."""
    result = unittest.main(verbosity=2, exit=False).result
    if not result.wasSuccessful():
        sys.exit(1)
    sys.exit(77 if result.testsRun and len(result.skipped) == result.testsRun else 0)
