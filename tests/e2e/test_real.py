"""Real programs, recorded: the same answers, and every trace equals the kernel's own view.

  test_real.py python3|node|java|redis|git|gcc

Each long-running program gets a snapshot on demand in its middle; the others take one every few
events.

SPDX-License-Identifier: MIT
"""
import os
import pathlib
import shutil
import subprocess
import sys
import time
import unittest

from harness import (PYTHON, TIMEOUT, VMTRAIL, Trace, TraceTest, environment, main, run, start,
                     stop, wait_until)

HERE = pathlib.Path(__file__).parent / "real"


def needs(*commands):
    missing = [c for c in commands if not shutil.which(c)]
    return unittest.skipIf(missing, f"not installed: {', '.join(missing)}")


class Real(TraceTest):
    def converse(self, argv, in_the_middle=lambda: lambda: None, **kwargs):
        """Run a program that says "ready" and goes on at a line of input.

        in_the_middle is called between; what it returns is called at the end.
        """
        process = start(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                        stderr=subprocess.PIPE, **kwargs)
        self.addCleanup(stop, process)
        first = process.stdout.readline()
        finish = in_the_middle()
        out, err = process.communicate("go on\n", timeout=TIMEOUT)
        finish()
        return subprocess.CompletedProcess(argv, process.returncode, first + out, err)

    def ask_for_snapshot(self, exe):
        """Ask; the process answers at its next memory call. Returns what waits for the answer."""
        trace = wait_until(lambda: self.traces(exe))[0]
        asking = start([VMTRAIL, "snapshot", trace.path])
        self.addCleanup(stop, asking)

        def finish():
            self.assertEqual(asking.wait(TIMEOUT), 0, "no snapshot on demand")

        return finish

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

    def verify_all(self, least=1):
        """Every trace of the run is sound; prints their sum."""
        traces = self.traces()
        self.assertGreaterEqual(len(traces), least)
        total = {}
        for trace in traces:
            with self.subTest(trace=trace):
                for key, n in self.assert_verified(trace, least_snapshots=1).items():
                    total[key] = total.get(key, 0) + n
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

    def serve(self, directory, prefix, in_the_middle):
        """redis-server under load, with a save in the background; what its clients saw."""
        directory.mkdir()
        socket = directory / "socket"
        cli = ["redis-cli", "-s", socket]
        server = start([*prefix, "redis-server", "--port", "0", "--unixsocket", socket, "--dir",
                        directory, "--save", "", "--logfile", directory / "log",
                        "--daemonize", "no"],
                       stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.addCleanup(stop, server)
        wait_until(lambda: run([*cli, "ping"]).stdout == "PONG\n")
        said = []

        def load(*args):
            done = run(["redis-benchmark", "-s", socket, "-q", "-c", "20", "-n", "20000", *args])
            self.assertEqual(done.returncode, 0, done.stderr)

        def ask(*args):
            said.append(run([*cli, *args]).stdout)

        load("-t", "set,get,lpush,mset", "-d", "200")
        ask("eval", "for i = 1, 20000 do redis.call('set', 'key:' .. i, i * 12345678) end", "0")
        finish = in_the_middle()
        ask("bgsave")
        load("-t", "set,sadd", "-r", "1000")
        finish()
        wait_until(lambda: "rdb_bgsave_in_progress:0" in run([*cli, "info", "persistence"]).stdout)
        ask("exists", "key:1", "key:20000", "key:20001")
        ask("llen", "mylist")
        ask("flushall")
        ask("dbsize")
        run([*cli, "shutdown", "nosave"])
        out, err = server.communicate(timeout=TIMEOUT)
        size = (directory / "dump.rdb").stat().st_size
        return subprocess.CompletedProcess([], server.returncode, out + "".join(said),
                                           err + f"saved {size > 200000}")

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

    def compare_script(self, script, **env):
        """The same script plain and recorded, with a snapshot every few calls."""
        results = []
        for name, prefix in (("plain", []), ("recorded", [
                VMTRAIL, "record", "-o", self.traces_dir, "--snapshot-every=20", "--"])):
            home = self.dir / name
            home.mkdir()
            done = run([*prefix, "sh", HERE / script, home],
                       env=environment(HOME=str(home), **env))
            results.append(subprocess.CompletedProcess(
                done.args, done.returncode, done.stdout.replace(str(home), "."),
                done.stderr.replace(str(home), ".")))
        self.assert_same(*results)
        self.assertEqual(results[0].returncode, 0, results[0].stderr)

    @needs("git")
    def test_git(self):
        who = {f"GIT_{role}_{what}": value for role in ("AUTHOR", "COMMITTER")
               for what, value in (("NAME", "Nobody"), ("EMAIL", "nobody@example.org"),
                                   ("DATE", "2020-01-01T00:00:00Z"))}
        self.compare_script("work_git.sh", GIT_CONFIG_NOSYSTEM="1", **who)
        self.verify_all(least=20)

    @needs("gcc", "g++")
    def test_gcc(self):
        self.compare_script("work_gcc.sh")
        self.verify_all(least=10)


if __name__ == "__main__":
    if len(sys.argv) == 2 and hasattr(Real, f"test_{sys.argv[1]}"):
        sys.argv[1] = f"Real.test_{sys.argv[1]}"
    main()
