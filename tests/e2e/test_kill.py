"""A program that maps and unmaps for ever, killed at random instants: no completed call is lost.

Runs: TEST_KILLS (48). The seed of the instants is printed; TEST_SEED repeats them.

SPDX-License-Identifier: MIT
"""
import collections
import os
import pathlib
import random
import signal
import struct
import time

from harness import (LIBRARY, Trace, TraceTest, environment, main, program, record_argv, run, start,
                     wait_until)

KILLS = int(os.environ.get("TEST_KILLS", "48"))
PAGE = 4096
PRIVATE_ANONYMOUS = 0x22
# Arguments of the counter: threads, calls of each until it exits, mappings between two children.
VARIANTS = [
    ([8], []),
    ([8], ["--ring=256"]),
    ([8, 0, 50], []),
    ([8, 0, 30], ["--ring=256", "--stacks=no"]),
    ([1], ["--ring=256"]),
    ([8, 400], []),
    ([8], ["--snapshot-every=200"]),
    ([1, 60, 10], []),
]


def counted_calls(path):
    """{tid: completed calls} as the program itself counted them."""
    data = path.read_bytes() if path.exists() else b""
    lines = (struct.unpack_from("<QQ", data, at) for at in range(0, len(data), 64))
    return {tid: calls for tid, calls in lines if tid}


def loop_calls(events):
    """{tid: [(call, pages, completed)]} of the program's loop, in order.

    A call announced as undone may have lasted so long that the recorder went on without it; then
    it is entered once more, as late, when it is done: one call.
    """
    calls = collections.defaultdict(list)
    for event in events:
        if event["own"] or event["inner"] or event["call"] not in ("mmap", "munmap"):
            continue
        if event["call"] == "mmap" and event["args"][3] != PRIVATE_ANONYMOUS:
            continue
        mine, call = calls[event["tid"]], (event["call"], event["args"][1] // PAGE)
        if event["late"] and mine and mine[-1] == (*call, False):
            mine.pop()
        mine.append((*call, not event["undone"]))
    return calls


def group_lives(pgid):
    """Whether a killed group still has a member that runs; zombies may wait for their reaper."""
    for stat in pathlib.Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, group = stat.read_text().rpartition(")")[2].split()[:3]
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(group) == pgid and state not in "ZX":
            return True
    return False


def expected_call(n):
    return ("munmap" if n % 2 else "mmap", 1 + n // 2 % 100)


class Kill(TraceTest):
    def kill_once(self, number, args, options, delay):
        """Record the counter, kill it after delay seconds, and compare; the calls counted."""
        counts, output = self.dir / f"counts.{number}", self.traces_dir / f"{number}.vmt"
        argv = record_argv(output, [program("counter"), counts, *args], *options)
        process = start(argv, start_new_session=True)
        time.sleep(delay)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        wait_until(lambda: not group_lives(process.pid))
        counted = counted_calls(counts)
        if not output.exists():
            self.assertEqual(sum(counted.values()), 0, "calls were counted, but no trace is there")
            return 0
        trace = Trace(output)
        self.compare(counted, loop_calls(trace.events()))
        if number % 10 == 0:
            self.assert_sealing_changes_nothing(trace)
        for path in sorted(self.traces_dir.iterdir()):
            if path != output:
                self.children += 1
                Trace(path).text("dump")
            path.unlink()
        counts.unlink(missing_ok=True)
        return sum(counted.values())

    def compare(self, counted, recorded):
        for tid, calls in counted.items():
            seen = recorded.get(tid, [])
            self.assertEqual([c[:2] for c in seen], [expected_call(n) for n in range(len(seen))])
            completed = sum(done for _, _, done in seen)
            self.assertGreaterEqual(completed, calls, f"thread {tid}: calls lost")
            # one that was not yet counted, one announced
            self.assertLessEqual(len(seen), calls + 2, f"thread {tid}: calls invented")

    def assert_sealing_changes_nothing(self, trace):
        before = trace.text("dump")
        self.assert_verified(trace, least_snapshots=1)
        # killed, but perhaps not yet gone
        wait_until(lambda: trace.command("seal").returncode == 0)
        self.assertEqual(trace.text("dump"), before)
        self.assert_verified(trace, least_snapshots=1)

    def test_no_completed_call_is_lost(self):
        seed = int(os.environ.get("TEST_SEED", random.randrange(1 << 32)))
        chance = random.Random(seed)
        print(f"TEST_SEED={seed}")
        spread = collections.Counter()
        self.children = 0
        for number in range(KILLS):
            args, options = VARIANTS[number % len(VARIANTS)]
            delay = chance.uniform(0, 0.12)
            with self.subTest(number=number, args=args, options=options, delay=delay):
                calls = self.kill_once(number, args, options, delay)
                spread[len(str(calls)) if calls else 0] += 1
        self.assertLess(spread[0], KILLS / 2, "most runs were killed before their first call")
        for digits in sorted(spread):
            most = 10 ** digits - 1 if digits else 0
            print(f"{spread[digits]:4} runs had counted up to {most} calls")
        print(f"{self.children} traces of children")


class Steps(TraceTest):
    def test_at_every_instruction_the_file_holds_what_has_been_committed(self):
        output = self.dir / "steps.vmt"
        result = run([program("steps"), output, 100, LIBRARY],
                     env=environment(VMTRAIL_RING="256", VMTRAIL_STACKS="no"), timeout=120)
        self.assertEqual(result.returncode, 0, result.stderr)
        print(result.stdout)
        self.assert_verified(Trace(output), least_snapshots=1)


if __name__ == "__main__":
    main()
