"""Threads that call at once on ranges they share: the replay equals the kernel's view throughout.

Where calls overlapped in time the kernel's view decides, and the trace says so; nothing may be left
that no call explains. Runs: TEST_ROUNDS (16). The first seed is printed; TEST_SEED repeats it.

SPDX-License-Identifier: MIT
"""
import json
import os
import random

from harness import Trace, TraceTest, main, program, record_argv, run

PAGE, MAP_FIXED = 4096, 0x10
ROUNDS = int(os.environ.get("TEST_ROUNDS", "16"))

ONE_PROCESSOR = ["taskset", "-c", str(max(os.sched_getaffinity(0)))]

# threads, calls of each, options, what it runs under
VARIANTS = [
    (16, 300, [], []),
    (16, 300, ["--ring=256", "--snapshot-every=500"], []),
    (16, 500, ["--snapshot-every=300", "--stacks=no"], ONE_PROCESSOR),
    (4, 2000, ["--snapshot-every=500"], []),
    (2, 2000, ["--snapshot-every=100", "--ring=256"], []),
    (16, 300, ["--snapshot-every=500"], ["chrt", "-b", "0"]),
    (8, 500, ["--snapshot-every=200"], [*ONE_PROCESSOR, "nice", "-n", "10"]),
    (16, 1000, ["--snapshot-every=2000"], []),
]


class Stress(TraceTest):
    def test_replay_equals_the_kernels_view(self):
        seed = int(os.environ.get("TEST_SEED", random.randrange(1 << 30)))
        print(f"TEST_SEED={seed}")
        clean = 0
        for number in range(ROUNDS):
            threads, calls, options, under = VARIANTS[number % len(VARIANTS)]
            output = self.dir / f"{number}.vmt"
            argv = [program("stress"), threads, calls, seed + number]
            with self.subTest(argv=argv[1:], options=options, under=under):
                result = run(under + record_argv(output, argv, *options))
                self.assertEqual(result.returncode, 0, result.stderr)
                trace = Trace(output)
                counts = self.assert_verified(trace)
                self.assertEqual(counts["unseen"], 0, trace.verdict()[2])
                self.assertEqual(json.loads(trace.text("report", "--format=json"))["lost"], 0)
                clean += 1
                output.unlink()
        print(f"{clean} of {ROUNDS} runs clean")


class Reuse(TraceTest):
    def test_a_reuse_never_stands_before_the_release_that_allowed_it(self):
        output = self.dir / "reuse.vmt"
        run(record_argv(output, [program("threads"), 8, 1500]))
        live, reused = {}, 0
        for event in Trace(output).events("--own"):
            taken = event["call"] == "mmap"
            if event["call"] not in ("mmap", "munmap") or (taken and event["ret"] < 0):
                continue
            start = event["ret"] if taken else event["args"][0]
            for page in range(start, start + event["args"][1], PAGE):
                if taken and not event["args"][3] & MAP_FIXED:
                    self.assertNotIn(live.get(page), ("mmap",), f"event {event['seq']}")
                    reused += page in live
                live[page] = event["call"]
        self.assertGreater(reused, 1000)


class Times(TraceTest):
    def test_a_thread_never_goes_back_in_time(self):
        output = self.dir / "times.vmt"
        run(record_argv(output, [program("threads"), 8, 1500]))
        last = {}
        for event in Trace(output).events():
            begin, end = event["time"], event["time"] + (event["duration"] or 0)
            if not event["call"].startswith("unseen"):
                self.assertGreaterEqual(begin, last.get(event["tid"], 0) - 2e-6, event["seq"])
                last[event["tid"]] = end

    def test_thousands_of_threads_cost_the_memory_of_those_that_live(self):
        output = self.dir / "many.vmt"
        run(record_argv(output, [program("many"), 3000]))
        trace = Trace(output)
        self.assert_verified(trace)
        own = [e for e in trace.events("--own") if e["own"]]
        taken = sum(e["args"][1] for e in own if e["call"] == "mmap")
        self.assertLess(taken - sum(e["args"][1] for e in own if e["call"] == "munmap"), 1 << 20)


class Stuck(TraceTest):
    """A call that stays in the kernel holds nobody up, and stands in the trace when it is back."""

    def record_stuck(self, mode, *options, args=()):
        output = self.dir / f"{mode}.vmt"
        argv = [program("stuck"), mode, *args]
        plain = run(argv)
        if plain.returncode == 77:
            self.skipTest("no userfaultfd")
        self.assert_same(plain, run(record_argv(output, argv, *options)))
        trace = Trace(output)
        self.assertEqual(self.assert_verified(trace)["unseen"], 0)
        return trace.events()

    def test_a_release_that_is_given_up_comes_late(self):
        for mode, call in (("unmap", "munmap"), ("move", "mremap")):
            with self.subTest(mode=mode):
                events = self.record_stuck(mode, "--ring=256")
                marks = [(e["call"], e["undone"], e["late"]) for e in events
                         if e["undone"] or e["late"]]
                self.assertEqual(marks, [(call, True, False), (call, False, True)])

    def test_with_room_enough_nothing_is_given_up(self):
        for mode in ("unmap", "move", "lock"):
            with self.subTest(mode=mode):
                events = self.record_stuck(mode)
                self.assertFalse([e for e in events if e["undone"] or e["late"]])

    def test_at_the_end_what_stands_behind_it_is_not_lost(self):
        events = self.record_stuck("unmap", args=(400, "leave"))
        self.assertEqual([e["call"] for e in events if e["undone"]], ["munmap"])
        self.assertEqual(sum(e["call"] == "mprotect" and not e["inner"] for e in events), 200)

    def test_who_is_back_after_the_end_of_the_process_writes_to_nowhere(self):
        for mode in ("unmap", "move", "lock"):
            with self.subTest(mode=mode):
                events = self.record_stuck(mode, args=(0, "share"))
                self.assertEqual(sum(e["undone"] for e in events), 1)

    def test_snapshots_while_a_call_is_away(self):
        for mode in ("unmap", "move", "lock"):
            with self.subTest(mode=mode):
                self.record_stuck(mode, "--snapshot-every=100", "--ring=256")


class Handlers(TraceTest):
    def test_a_snapshot_in_a_handler_knows_what_the_handler_has_interrupted(self):
        for mode in ("timer", "stack", "segv"):
            with self.subTest(mode=mode):
                output = self.dir / f"{mode}.vmt"
                run(record_argv(output, [program("signals"), mode, 400], "--snapshot-every=100"))
                self.assertEqual(self.assert_verified(Trace(output))["unseen"], 0)


if __name__ == "__main__":
    main()
