"""What merged, what split, and what stayed apart adds up, and names the call site.

SPDX-License-Identifier: MIT
"""
import json

from harness import TraceTest, main, program, record_argv, run

# boundaries that each case of vma_merge closes
CLOSED = (0, 2, 1, 1, 1, 1, 2, 1, 1)


class Merges(TraceTest):
    def merges(self, *argv):
        done = run(record_argv(self.traces_dir, [program(argv[0]), *argv[1:]]))
        self.assertEqual(done.returncode, 0, done.stderr)
        trace = self.only_trace(argv[0])
        m = json.loads(trace.text("merges", "--format=json", "--top=100000"))
        self.assert_adds_up(m, trace)
        return m

    def assert_adds_up(self, m, trace):
        # an area that grows where it is asks, too, and had no boundary there
        grown = sum(e["call"] == "mremap" and e["ret"] == e["args"][0] and e["args"][2] > e["args"][1]
                    for e in trace.events())
        self.assertEqual(m["merges"] + grown, sum(n * c for n, c in zip(m["cases"], CLOSED)))
        self.assertEqual(m["splits"], sum(m["splits_by"].values()))
        for i, n in enumerate(m["cases"]):
            self.assertEqual(n, sum(s["cases"][i] for s in m["sites"]))
        for key in ("merges", "splits"):
            self.assertEqual(m[key], sum(s[key] for s in m["sites"]))
        self.assertEqual(sum(m["why_apart"].values()), sum(s["apart"] for s in m["sites"]))

    def test_pages_of_another_protection_split_and_stay_apart(self):
        m = self.merges("hungry", "areas", 0, 300)
        self.assertEqual(m["merges"], 0)
        # a hundred of each: both edges of a page in the middle
        self.assertEqual(m["splits_by"], {"mmap": 200, "munmap": 200, "mprotect": 200})
        self.assertEqual(m["why_apart"], {"flags": 200})
        apart = [s for s in m["sites"] if s["apart"]]
        self.assertEqual([s["call"] for s in apart], ["mmap"])
        self.assertTrue(apart[0]["site"]["source"].endswith("hungry.c"))
        self.assertGreater(m["most_vmas"], 500)
        # read-only pages between pages without access
        chains = [c for c in m["chains"] if c["site"]]
        self.assertEqual({(c["vmas"], *c["flags"]) for c in chains}, {(3, "READ")})
        self.assertEqual(len(chains), 100)

    def test_places_that_the_kernel_chooses_merge(self):
        m = self.merges("placer", "2000")
        self.assertTrue(all(m["cases"][2:4]), m["cases"])


if __name__ == "__main__":
    main()
