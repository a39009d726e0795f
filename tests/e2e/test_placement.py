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


if __name__ == "__main__":
    main()
