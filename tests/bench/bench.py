#!/usr/bin/env python3
"""What recording costs, beside what other tools cost, measured in one run on one machine.

  bench.py [--runs N] [--quick] [loop] [threads] [bytes] [memory] [start] [programs] [redis]
           [findings]

loop      nanoseconds a call of mmap, mprotect, madvise, munmap at a call depth of 12, by the
          program's own clock, and the ratio to native
threads   the same loop in eight threads at once
bytes     bytes of trace an event, for a Node program
memory    KiB that the recorder's own areas hold in a process, once its ring is full
start     milliseconds that a process takes longer to start and end
programs  wall time and processor time of whole programs, and the ratios to native: the work that
          the tests record, in which starting and ending counts, and then for about a second
redis     wall time of redis-benchmark against a server, and the ratio to native
findings  events a second of a trace of ten million, replayed and searched for findings, and memory

Every number is the median of runs that take turns, so that what disturbs the machine disturbs all
alike. A tool that is not there, or may not trace here, is skipped with a word.

SPDX-License-Identifier: MIT
"""
import argparse
import os
import pathlib
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

VMTRAIL = os.environ.get("TEST_VMTRAIL", "vmtrail")
LIBRARY = os.environ.get("TEST_LIBRARY", "libvmtrail.so")
PROGRAMS = pathlib.Path(os.environ.get("TEST_PROGRAMS", "."))
REAL = pathlib.Path(__file__).resolve().parent.parent / "e2e" / "real"
MAKE_LOAD = os.environ.get("TEST_MAKE_LOAD", "make_load")
PYTHON = sys.executable


class Bench:
    def __init__(self, runs, directory):
        self.runs = runs
        self.dir = directory

    def recording(self, **settings):
        """The environment that records, and nothing else."""
        env = dict(os.environ, LD_PRELOAD=LIBRARY, VMTRAIL_OUTPUT=str(self.dir / "%e.%p.%n.vmt"),
                   VMTRAIL_CACHE=str(self.dir / "code"))
        env.update(settings)
        return env

    def clean(self):
        for trace in self.dir.glob("*.vmt"):
            trace.unlink()

    def run(self, argv, env=None, text="go on\n"):
        """(seconds, stdout) of one run."""
        begin = time.perf_counter()
        done = subprocess.run([str(a) for a in argv], env=env, input=text, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
        seconds = time.perf_counter() - begin
        if done.returncode:
            raise RuntimeError(f"{argv[0]}: exit status {done.returncode}: {done.stderr[-300:]}")
        return seconds, done.stdout

    def values_in_turns(self, variants, measure):
        """{name: [measure(variant), ...]}, after one round that does not count."""
        values = {name: [] for name in variants}
        for turn in range(self.runs + 1):
            for name, variant in variants.items():
                value = measure(variant)
                self.clean()
                if turn:
                    values[name].append(value)
        return values

    def in_turns(self, variants, measure):
        """{name: median of measure(variant)}, likewise."""
        return {name: statistics.median(v)
                for name, v in self.values_in_turns(variants, measure).items()}


def works(argv):
    """Whether a tool is there and may trace."""
    if not shutil.which(argv[0]):
        return False
    done = subprocess.run([*argv, "true"], capture_output=True, check=False)
    return done.returncode == 0


def bench_loop(bench, quick):
    deep = PROGRAMS / "deep"
    log = bench.dir / "log"
    scale = 1 if quick else 4
    variants = {
        "native": ([deep, 25000 * scale], None),
        "recorded without stacks": ([deep, 25000 * scale], bench.recording(VMTRAIL_STACKS="no")),
        "recorded with stacks": ([deep, 25000 * scale], bench.recording()),
    }
    for name, tool, rounds in (("strace -f", ["strace", "-f", "-o", log], 500 * scale),
                               ("strace -k", ["strace", "-k", "-o", log], 15 * scale),
                               ("perf trace", ["perf", "trace", "-o", log], 1000 * scale)):
        if works(tool):
            variants[name] = ([*tool, deep, rounds], None)
        else:
            print(f"  {name}: not there or not allowed, skipped")
    medians = bench.in_turns(variants, lambda v: float(bench.run(*v)[1]))
    print("loop: mmap, mprotect, madvise, munmap at depth 12")
    print(f"  {'':26}{'ns a call':>12}{'ratio':>9}")
    for name, ns in medians.items():
        print(f"  {name:26}{ns:12.0f}{ns / medians['native']:9.2f}")


def bench_threads(bench, quick):
    argv = [PROGRAMS / "deep", 5000 if quick else 20000, 8]
    medians = bench.in_turns({"native": None, "recorded": bench.recording()},
                             lambda env: float(bench.run(argv, env)[1]))
    print(f"threads: eight, {medians['native']:.0f} ns a call, recorded "
          f"{medians['recorded']:.0f}, ratio {medians['recorded'] / medians['native']:.2f}")


# Enough calls to go round the ring several times, with few areas left.
FILL = """
import mmap, sys
for _ in range(30000):
    mmap.mmap(-1, 8192, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS).close()
print("ready", flush=True)
sys.stdin.readline()
"""


def resident_of_recorder(pid, directory):
    """KiB of the library, the trace's windows, and the areas that are kept out of core dumps."""
    total, name, library, rss = 0, "", False, 0
    for line in pathlib.Path(f"/proc/{pid}/smaps").read_text().splitlines():
        words = line.split()
        if "-" in words[0]:
            behind_library, name = library, " ".join(words[5:])
            library = name == str(pathlib.Path(LIBRARY).resolve())
        elif words[0] == "Rss:":
            rss = int(words[1])
        elif words[0] == "VmFlags:":
            own = library or name.startswith(str(directory)) or \
                not name and ("dd" in words or behind_library)
            total += rss if own else 0
    return total


def bench_memory(bench, _quick):
    with subprocess.Popen([PYTHON, "-c", FILL], env=bench.recording(), text=True,
                          stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        print(f"memory: {resident_of_recorder(process.pid, bench.dir)} KiB of the recorder's")
        process.communicate("go on\n")
    bench.clean()


def bench_bytes(bench, _quick):
    output = bench.dir / "node.vmt"
    bench.run(["node", REAL / "work.js", 8], bench.recording(VMTRAIL_OUTPUT=str(output)))
    events = bench.run([VMTRAIL, "dump", output])[1].count("\n")
    size = output.stat().st_size
    print(f"bytes: {size} bytes for {events} events of a Node program: "
          f"{size / events:.2f} bytes an event")
    bench.clean()


def bench_start(bench, quick):
    variants = {"native": None, "recorded": bench.recording()}
    count = 10 if quick else 40

    def start_many(env):
        return statistics.median(bench.run(["/bin/true"], env)[0] for _ in range(count))

    medians = bench.in_turns(variants, start_many)
    print(f"start: true takes {medians['native'] * 1e3:.2f} ms, recorded "
          f"{(medians['recorded'] - medians['native']) * 1e3:.2f} ms more")


def times(bench, argv, env):
    """(wall seconds, processor seconds) of one run, with all its children."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    wall = bench.run(argv, env)[0]
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def bench_programs(bench, _quick):
    print("programs: wall time, processor time")
    print(f"  {'':22}{'native':>10}{'recorded':>10}{'ratio':>9}{'ratio of':>12}")
    print(f"  {'':51}{'processor':>12}")
    for name, argv in (("python3, short", [PYTHON, REAL / "work.py"]),
                       ("python3, 8 times", [PYTHON, REAL / "work.py", 8]),
                       ("node, short", ["node", REAL / "work.js"]),
                       ("node, 12 times", ["node", REAL / "work.js", 12]),
                       ("java", ["java", REAL / "Work.java"])):
        if not shutil.which(argv[0]):
            print(f"  {name}: not installed, skipped")
            continue
        values = bench.values_in_turns({"native": None, "recorded": bench.recording()},
                                       lambda env, argv=argv: times(bench, argv, env))
        (native, native_cpu), (recorded, recorded_cpu) = (
            [statistics.median(v) for v in zip(*values[which])] for which in ("native", "recorded"))
        print(f"  {name:22}{native:9.3f}s{recorded:9.3f}s{recorded / native:9.3f}"
              f"{recorded_cpu / native_cpu:12.3f}")


def cost(argv):
    """(seconds of processor time in user mode, kilobytes at most) of one run."""
    pid = os.fork()
    if not pid:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        os.execv(argv[0], [str(a) for a in argv])
    _, status, used = os.wait4(pid, 0)
    if os.waitstatus_to_exitcode(status):
        raise RuntimeError(f"{argv}: exit status {os.waitstatus_to_exitcode(status)}")
    return used.ru_utime, used.ru_maxrss


def bench_findings(bench, quick):
    events = 1000000 if quick else 10000000
    print(f"findings: {events} events of 16 threads")
    print(f"  {'live':>8}{'replay':>12}{'findings':>12}  million events a second")
    for live in (1000, 65000):
        trace = bench.dir / "load.vmt"
        subprocess.run([MAKE_LOAD, trace, str(events), str(live)], check=True)
        runs = [(cost([VMTRAIL, "verify", trace]), cost([VMTRAIL, "reuse", trace]))
                for _ in range(bench.runs)]
        replay, findings = (statistics.median(events / 1e6 / r[i][0] for r in runs) for i in (0, 1))
        print(f"  {live:8}{replay:12.2f}{findings:12.2f}  {max(r[1][1] for r in runs) // 1024} MiB")
        bench.clean()


def wait_for_server(ping):
    for _ in range(500):
        if subprocess.run(ping, capture_output=True, check=False).stdout == b"PONG\n":
            return
        time.sleep(0.01)
    raise RuntimeError("redis-server does not answer")


def load_redis(bench, env, requests):
    """Seconds that redis-benchmark takes against a server of that environment."""
    socket = bench.dir / "redis.sock"
    argv = ["redis-server", "--port", "0", "--unixsocket", socket, "--save", "", "--dir", bench.dir]
    with subprocess.Popen([str(a) for a in argv], env=env, stdout=subprocess.DEVNULL) as server:
        try:
            wait_for_server(["redis-cli", "-s", str(socket), "ping"])
            return bench.run(["redis-benchmark", "-s", socket, "-q", "-n", requests, "-d", 4000,
                              "-r", 20000, "-t", "set,get,lpush"])[0]
        finally:
            server.terminate()


def bench_redis(bench, quick):
    if not shutil.which("redis-server") or not shutil.which("redis-benchmark"):
        print("redis: not installed, skipped")
        return
    requests = 10000 if quick else 100000
    medians = bench.in_turns({"native": None, "recorded": bench.recording()},
                             lambda env: load_redis(bench, env, requests))
    native, recorded = medians["native"], medians["recorded"]
    print(f"redis: {native:.3f} s, recorded {recorded:.3f} s, ratio {recorded / native:.3f}")


PARTS = {"loop": bench_loop, "threads": bench_threads, "bytes": bench_bytes,
         "memory": bench_memory, "start": bench_start, "programs": bench_programs,
         "redis": bench_redis, "findings": bench_findings}


def main():
    parser = argparse.ArgumentParser(description="What recording costs, beside other tools.")
    parser.add_argument("--runs", type=int, default=5, help="runs that count (default 5)")
    parser.add_argument("--quick", action="store_true", help="fewer iterations")
    parser.add_argument("part", nargs="*", metavar="PART", help=", ".join(PARTS))
    options = parser.parse_args()
    unknown = [p for p in options.part if p not in PARTS]
    if unknown or options.runs < 1:
        parser.error(f"no such part: {unknown[0]}" if unknown else "--runs must be at least 1")
    with tempfile.TemporaryDirectory(prefix="vmtrail-bench-") as directory:
        bench = Bench(options.runs, pathlib.Path(directory))
        for part in options.part or PARTS:
            PARTS[part](bench, options.quick)
            sys.stdout.flush()


if __name__ == "__main__":
    main()
