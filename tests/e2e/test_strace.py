"""What the trace says the program called is what strace saw, call by call, from the start on.

SPDX-License-Identifier: MIT
"""
import pathlib
import shutil

import strace_log
from harness import LIBRARY, PYTHON, TraceTest, environment, main, program, run

MARK = ("munmap", (0xbad1, 1), -22)
MADV_POPULATE_WRITE = 23
# In a forked child two threads and the main thread map by turns.
FORK_AND_THREADS = """
import mmap, os, threading
def work():
    for _ in range(50):
        mmap.mmap(-1, 8192).close()
pid = os.fork()
work()
if not pid:
    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
        work()
    for thread in threads:
        thread.join()
    work()
else:
    os.waitpid(pid, 0)
"""
FAR = 1 << 40  # above what these programs populate


def why_not():
    """What stops strace from working here, or None."""
    if not shutil.which("strace"):
        return "strace is not installed"
    done = run(["strace", "-o", "/dev/null", "true"])
    return None if done.returncode == 0 else f"strace does not work here: {done.stderr.strip()}"


def program_calls(calls, recorded):
    """Without the recorder's own calls, those that it records and those that fill its pages."""
    own = [call for call, event in recorded if event["own"]]
    rest = []
    for call in calls:
        if call in own:
            own.remove(call)
        elif call[0] != "madvise" or call[1][2] != MADV_POPULATE_WRITE or call[1][0] < FAR:
            rest.append(call)
    return rest


class Strace(TraceTest):
    def setUp(self):
        super().setUp()
        problem = why_not()
        if problem:
            self.skipTest(problem)

    def trace_both(self, argv, capture="all"):
        """Run once, under strace and recorded; ({tid: calls by strace}, {tid: calls recorded})."""
        log = self.dir / "strace.log"
        load = [f"-ELD_PRELOAD={LIBRARY}", f"-EVMTRAIL_CAPTURE={capture}",
                f"-EVMTRAIL_OUTPUT={self.traces_dir}/vmtrail.%e.%p.vmt"]
        done = run(["strace", "-o", log, *strace_log.STRACE_OPTIONS, *load, *argv],
                   env=environment())
        self.assertEqual(done.returncode, 0, done.stderr)
        seen, recorded = {}, {}
        for image in strace_log.read_strace(log):
            for tid, calls in image.calls.items():
                seen.setdefault(tid, []).extend(call for call, _ in calls)
        for trace in self.traces(pathlib.Path(argv[0]).name):
            recorded.update(strace_log.read_trace(trace))
        return seen, recorded

    def between_marks(self, calls):
        first = calls.index(MARK)
        return calls[first + 1:calls.index(MARK, first + 1)]

    def assert_calls_equal(self, seen, recorded):
        for at, (expected, got) in enumerate(zip(seen, recorded)):
            self.assertEqual(got, expected, f"call {at}")
        self.assertEqual(recorded[len(seen):], [], "invented")
        self.assertEqual(seen[len(recorded):], [], "missing")

    def assert_marked_part_equal(self, argv, capture="all"):
        """Between its two marks the program's main thread made the calls that were recorded."""
        seen, recorded = self.trace_both(argv, capture)
        tid = next(t for t, calls in seen.items() if MARK in calls)
        mine = [call for call, event in recorded[tid] if not event["own"]]
        calls = program_calls(self.between_marks(seen[tid]), recorded[tid])
        self.assert_calls_equal(calls, self.between_marks(mine))
        print(len(calls), "calls")

    def test_every_call_with_arguments_and_result(self):
        self.assert_marked_part_equal([program("every_call"), self.dir / "scratch"])

    def test_every_call_that_fails(self):
        self.assert_marked_part_equal([program("errors"), "root"])

    def test_every_call_by_exported_functions_alone(self):
        self.assert_marked_part_equal([program("every_call"), self.dir / "scratch"], "symbols")

    def assert_nothing_escapes(self, argv, in_order=True):
        """From the first recorded call on, each thread's calls are strace's to the last."""
        log = self.dir / "strace.log"
        done = run(["strace", "-o", log, *strace_log.STRACE_OPTIONS, f"-ELD_PRELOAD={LIBRARY}",
                    f"-EVMTRAIL_OUTPUT={self.traces_dir}", *argv], env=environment())
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        pairs, left = strace_log.match(strace_log.read_strace(log), self.traces())
        self.assertEqual(left, [])
        for image, trace in pairs:
            self.assertIsNotNone(trace, image)
            one = strace_log.Comparison(image, trace)
            self.assertEqual((one.missing, one.invented), ([], []))
            if in_order:
                self.assertEqual(one.disorder, 0)
            self.assertGreater(one.calls, 50)
        return pairs

    def test_nothing_escapes_from_threads(self):
        self.assert_nothing_escapes([program("threads"), "4", "200"])

    def test_nothing_escapes_from_the_loader(self):
        self.assert_nothing_escapes([program("dlopen"), program("plugin.so"), "20"])

    def test_nothing_escapes_from_signal_handlers(self):
        # A handler that runs between a call and its entry stands before it in the trace.
        self.assert_nothing_escapes([program("signals"), "timer", "500", "5000"], in_order=False)

    def test_nothing_escapes_from_a_forked_childs_threads(self):
        # The main thread's record came along from the parent: no other thread may take it.
        pairs = self.assert_nothing_escapes([PYTHON, "-c", FORK_AND_THREADS])
        self.assertEqual([image.forked for image, _ in pairs], [False, True])


if __name__ == "__main__":
    main()
