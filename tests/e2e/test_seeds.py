"""The two programs that started it all: an address used twice, by force and by a hint.

SPDX-License-Identifier: MIT
"""
from harness import TraceTest, main, program

ADDRESS = "0x20000000"


class Seeds(TraceTest):
    def why(self, *argv):
        self.record_and_compare([program(argv[0]), *argv[1:]])
        trace = self.only_trace()
        self.assert_verified(trace)
        return trace.text("why", ADDRESS)

    def test_forced_mapping_replaces_the_first_page_of_the_one_before(self):
        story = self.why("seed_fixed")
        self.assertIn("819200", story.replace("800 KiB", "819200"))
        self.assertIn("replaced", story)

    def test_hint_that_is_taken_moves_the_second_mapping_elsewhere(self):
        story = self.why("seed_hint")
        self.assertIn("elsewhere", story)
        self.assertNotIn("replaced", story)

    def test_forced_second_mapping_replaces_a_page_of_the_first(self):
        story = self.why("seed_hint", "fixed")
        self.assertIn("replaced", story)


if __name__ == "__main__":
    main()
