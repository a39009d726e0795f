"""Threads that are cancelled in the middle of recorded calls end as they would, and hold up nobody.

SPDX-License-Identifier: MIT
"""
from harness import TraceTest, main, program

TWO_PAGES = 8192


class Cancel(TraceTest):
    def cancel(self, mode, capture):
        for old in self.traces():
            old.path.unlink()
        self.record_and_compare([program("cancel"), mode, "60"], f"--capture={capture}")
        trace = self.only_trace("cancel")
        self.assert_verified(trace)
        return trace

    def test_threads_end_where_they_would(self):
        for mode in ("msync", "deferred", "async"):
            for capture in ("all", "symbols"):
                with self.subTest(mode=mode, capture=capture):
                    events = self.cancel(mode, capture).events()
                    # What the handlers and the other threads did is all there.
                    two = [e["call"] for e in events
                           if e["call"] in ("mmap", "munmap") and e["args"][1] == TWO_PAGES
                           and not e["inner"] and not e["undone"]]
                    self.assertGreater(len(two), 0)
                    self.assertEqual(two.count("mmap"), two.count("munmap"))


if __name__ == "__main__":
    main()
