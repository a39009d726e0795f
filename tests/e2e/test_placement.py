"""Where the kernel puts mappings is predicted: in both layouts, with and without randomisation.

SPDX-License-Identifier: MIT
"""
import json
import shutil
import unittest

from harness import TraceTest, main, program, record_argv, run


@unittest.skipUnless(shutil.which("setarch"), "not installed: setarch")
class Placement(TraceTest):
    def places(self, *setarch):
        done = run([*setarch, *record_argv(self.traces_dir, [program("placer"), "2000"])])
        self.assertEqual(done.returncode, 0, done.stderr)
        trace = self.only_trace()
        self.assert_verified(trace)
        return json.loads(trace.text("report", "--placement", "--format=json")), trace

    def assert_all_predicted(self, *setarch):
        places, trace = self.places(*setarch)
        self.assertGreater(places["chosen"], 1000)
        self.assertEqual(places["predicted"], places["chosen"],
                         trace.text("report", "--placement"))

    def test_top_down(self):
        self.assert_all_predicted()

    def test_bottom_up(self):
        self.assert_all_predicted("setarch", "-L")

    def test_top_down_below_2_gb_too(self):
        self.assert_all_predicted("setarch", "-R")

    def test_bottom_up_below_2_gb_too(self):
        self.assert_all_predicted("setarch", "-R", "-L")

    def test_why_names_the_gap_and_who_opened_it(self):
        _, trace = self.places()
        events = {e["seq"]: e for e in trace.events()}
        chosen = [e for e in events.values() if e["call"] == "mmap" and not e["own"] and
                  not e["args"][0] and e["args"][2] == 3]
        opened = 0
        for event in chosen[-12:]:
            story = json.loads(trace.text("why", hex(event["ret"]), "--at", str(event["seq"]),
                                          "--format=json"))
            gap = story["history"][-1]["placement"]
            lo, hi = event["ret"], event["ret"] + event["args"][1]
            self.assertLessEqual(int(gap["gap_start"], 16), lo)
            self.assertGreaterEqual(int(gap["gap_end"], 16), hi)
            self.assertEqual(int(gap["expected"], 16), lo)
            opener = events.get(gap["opened_by"])
            if opener:
                opened += 1
                self.assertIn(opener["call"], ("munmap", "mremap"))
                self.assertLess(opener["args"][0], hi)
                self.assertGreater(opener["args"][0] + opener["args"][1], lo)
                self.assertIn(f"opened by #{opener['seq']}", story["verdict"][-1])
        self.assertGreater(opened, 3)


if __name__ == "__main__":
    main()
