"""Threads that call at once on ranges they share: the replay equals the kernel's view throughout.

Where calls overlapped in time the kernel's view decides, and the trace says so; nothing may be left
that no call explains. Runs: TEST_ROUNDS (16). The first seed is printed; TEST_SEED repeats it.

SPDX-License-Identifier: MIT
"""
import json
import os
import random

from harness import Trace, TraceTest, main, program, record_argv, run

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


if __name__ == "__main__":
    main()
