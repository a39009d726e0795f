"""Healthy programs: nobody is accused of anything, and warnings are rare.

  test_healthy.py NAME...

No error in any trace of the run, and at most one distinct warning a million events. TEST_TIMES says
how many times as long the allocators' and Java's churn runs are: 50 makes most a million events.

SPDX-License-Identifier: MIT
"""
import json
import os
import pathlib
import shutil
import subprocess
import sys
import unittest

from harness import PYTHON, TraceTest, environment, main, record_argv, run

CASES = pathlib.Path(os.environ.get("TEST_CASES", "."))
HERE = pathlib.Path(__file__).parent / "healthy"
REAL = pathlib.Path(__file__).parent.parent / "e2e" / "real"
NOBODY = 65534
TIMES = int(os.environ.get("TEST_TIMES", "1"))
# a malloc of libc's that maps and gives back whatever is not small
BY_MAPPING = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}


def needs(*commands):
    missing = [c for c in commands if not shutil.which(c)]
    return unittest.skipIf(missing, f"not installed: {', '.join(missing)}")


class Healthy(TraceTest):
    def healthy(self, argv, input_text=None, **kwargs):
        """Record the program, and judge every trace that came of it."""
        work = self.dir / "work"
        work.mkdir()
        kwargs.setdefault("cwd", work)
        done = run(record_argv(self.traces_dir, argv), timeout=200 * TIMES, input=input_text,
                   **kwargs)
        self.assertEqual(done.returncode, 0, done.stdout[-2000:] + done.stderr[-2000:])
        self.judge()

    def judge(self):
        events, distinct = 0, set()
        traces = self.traces()
        self.assertGreaterEqual(len(traces), 1)
        for trace in traces:
            result = trace.command("reuse", "--format=json", "--severity=warning")
            self.assertIn(result.returncode, (0, 1), result.stderr)
            self.assertEqual(result.stderr, "", trace)
            for line in result.stdout.splitlines():
                finding = json.loads(line)
                self.assertNotEqual(finding["severity"], "error", f"{trace}: {finding}")
                distinct.add((finding["kind"], finding["owner"]))
            report = json.loads(trace.command("report", "--format=json").stdout)
            events += report["events"]
        print(f"{len(traces)} traces, {events} events, warnings: {sorted(distinct)}")
        self.assertLessEqual(len(distinct), max(1, events // 1000000))

    def java(self, collector):
        flag = f"-XX:+Use{collector}"
        if run(["java", flag, "-version"]).returncode:
            self.skipTest(f"this java has no {collector}")
        self.healthy(["java", flag, "-Xmx256m", REAL / "Work.java"], "go on\n")

    @needs("java")
    def test_java_g1(self):
        self.java("G1GC")

    @needs("java")
    def test_java_serial(self):
        self.java("SerialGC")

    @needs("java")
    def test_java_z(self):
        self.java("ZGC")

    @needs("java")
    def test_java_shenandoah(self):
        self.java("ShenandoahGC")

    @needs("node")
    def test_node(self):
        self.healthy(["node", "--expose-gc", REAL / "work.js"], "go on\n")

    def test_python3(self):
        self.healthy([PYTHON, REAL / "work.py"], "go on\n")

    @needs("redis-server", "redis-cli", "redis-benchmark")
    def test_redis(self):
        self.healthy(["sh", HERE / "redis.sh"])

    def test_postgres(self):
        found = sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin/initdb"))
        if not found or not (found[-1].parent / "pgbench").exists():
            self.skipTest("not installed: postgresql")
        kwargs = {}
        if os.geteuid() == 0:
            os.chmod(self.dir, 0o777)
            os.chmod(self.traces_dir, 0o777)
            kwargs = {"user": NOBODY, "group": NOBODY, "extra_groups": []}
        work = self.dir / "db"
        work.mkdir()
        os.chmod(work, 0o777)
        self.healthy(["sh", HERE / "postgres.sh", found[-1].parent], cwd=work, **kwargs)

    @needs("chromium")
    def test_chromium(self):
        page = ("data:text/html,<script>let a=[];for(let i=0;i<2e5;i++)a.push({i});"
                "document.write(a.length)</script>")
        self.healthy(["chromium", "--headless", "--no-sandbox", "--disable-gpu",
                      f"--user-data-dir={self.dir}/profile", "--dump-dom", page])

    @needs("go", "gcc")
    def test_go(self):
        exe = self.dir / "program"
        built = run(["go", "build", "-o", exe, HERE / "main.go"], timeout=200,
                    env=environment(HOME=str(self.dir), CGO_ENABLED="1", GOFLAGS="-mod=mod"))
        self.assertEqual(built.returncode, 0, built.stderr)
        self.healthy([exe])

    @needs("java")
    def test_java_churn(self):
        self.healthy(["java", "-XX:+UseG1GC", "-Xmx128m", HERE / "Churn.java", 2 * TIMES],
                     env=environment(**BY_MAPPING))

    def allocator(self, library, **settings):
        """Under another malloc; the loader knows the library or it is not there."""
        env = environment(LD_PRELOAD=library, **settings)
        probe = subprocess.run(["/bin/true"], env=env, capture_output=True, text=True, check=False)
        if probe.stderr:
            self.skipTest(f"not installed: {library}")
        self.healthy([CASES / "healthy_malloc", 10 * TIMES, 16, 1500 if settings else 200],
                     env=env)
        for trace in self.traces():
            self.assert_verified(trace)

    def test_jemalloc(self):
        self.allocator("libjemalloc.so.2")

    def test_jemalloc_that_gives_back_at_once(self):
        self.allocator("libjemalloc.so.2", MALLOC_CONF="dirty_decay_ms:0,muzzy_decay_ms:0")

    def test_tcmalloc_that_gives_back_at_once(self):
        self.allocator("libtcmalloc_minimal.so.4", TCMALLOC_AGGRESSIVE_DECOMMIT="1")

    def test_mimalloc_that_gives_back_at_once(self):
        self.allocator("libmimalloc.so.2", MIMALLOC_PURGE_DELAY="0")

    def test_malloc_that_gives_back_at_once(self):
        self.allocator("", **BY_MAPPING)

    def test_tcmalloc(self):
        self.allocator("libtcmalloc_minimal.so.4")

    def test_mimalloc(self):
        self.allocator("libmimalloc.so.2")

    def test_malloc(self):
        self.healthy([CASES / "healthy_malloc", 10, 16, 200])

    def test_address_sanitizer(self):
        if not (CASES / "healthy_malloc_asan").exists():
            self.skipTest("no address sanitizer here")
        self.healthy([CASES / "healthy_malloc_asan", 5, 16, 200])

    def test_ten_thousand_threads(self):
        self.healthy([CASES / "healthy_malloc", 100 * TIMES, 100, 2])


if __name__ == "__main__":
    sys.argv[1:] = [f"Healthy.test_{name}" for name in sys.argv[1:]]
    main()
