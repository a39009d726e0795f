"""Traces that earlier versions wrote still read the same: old/*.vmt, each with what `dump` said of
it when it was made.

SPDX-License-Identifier: MIT
"""
import pathlib

from harness import VMTRAIL, TraceTest, main, run

OLD = pathlib.Path(__file__).resolve().parent / "old"


class Old(TraceTest):
    def test_old_traces_say_what_they_said(self):
        traces = sorted(OLD.glob("*.vmt"))
        self.assertTrue(traces)
        for trace in traces:
            with self.subTest(trace=trace.name):
                dump = run([VMTRAIL, "dump", trace])
                self.assertEqual(dump.returncode, 0, dump.stderr)
                self.assertEqual(dump.stdout, trace.with_suffix(".txt").read_text())
                verify = run([VMTRAIL, "verify", trace])
                self.assertEqual(verify.returncode, 0, verify.stdout)


if __name__ == "__main__":
    main()
