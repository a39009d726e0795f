"""New processes: each image and each forked child has a trace of its own.

SPDX-License-Identifier: MIT
"""
from harness import TraceTest, main, preloaded, program, run

PAGE = 4096


class Processes(TraceTest):
    def pages_mapped(self, trace):
        """Sizes in pages of the private anonymous mappings that the program made itself."""
        return [e["args"][1] // PAGE for e in trace.events()
                if e["call"] == "mmap" and not e["own"] and not e["inner"]]

    def record_forker(self, mode, traces, *options):
        self.record_and_compare([program("forker"), mode], *options)
        found = self.traces()
        self.assertEqual(len(found), traces, f"{found}")
        for trace in found:
            self.assert_verified(trace, least_snapshots=1)
        return [self.pages_mapped(trace) for trace in found]

    def assert_pages(self, lists, *expected):
        """Each expected list of sizes is what some trace holds."""
        left = [sorted(set(pages) & {11, 12, 21, 31, 41}) for pages in lists]
        self.assertCountEqual(left, list(expected))

    def test_fork(self):
        self.assert_pages(self.record_forker("fork", 2), [11, 12], [21])

    def test_nested_forks(self):
        self.assert_pages(self.record_forker("nested", 3), [11, 12], [21], [31])

    def test_fork_by_a_system_call_of_its_own(self):
        self.assert_pages(self.record_forker("raw", 2), [11, 12], [21])

    def test_vfork_child_belongs_to_the_parents_trace(self):
        self.assert_pages(self.record_forker("vfork", 1), [11, 12, 21])

    def test_spawned_image_has_its_own_trace(self):
        self.assert_pages(self.record_forker("spawn", 2), [11, 12], [41])

    def test_exec_seals_the_trace_and_the_new_image_starts_another(self):
        self.assert_pages(self.record_forker("exec", 2), [11, 12], [41])

    def test_without_children(self):
        self.assert_pages(self.record_forker("fork", 1, "--children=no"), [11, 12])

    def test_without_children_images_started_by_a_child_are_left_alone_too(self):
        self.record_and_compare(["sh", "-c", f"{program('brk')}; {program('brk')}; exit 0"],
                                "--children=no")
        self.assertEqual(len(self.traces()), 1)

    def test_forked_child_with_one_fixed_output_does_not_spoil_the_parents_trace(self):
        output = self.dir / "one.vmt"
        plain = run([program("forker"), "fork"])
        self.assert_same(plain, run([program("forker"), "fork"], env=preloaded(output)))
        self.assertTrue(output.exists())

    def test_many_short_lived_children(self):
        script = f"for i in 1 2 3 4 5 6 7 8 9 10; do {program('brk')} >/dev/null & done; wait"
        self.record_and_compare(["sh", "-c", script])
        traces = self.traces("brk")
        self.assertEqual(len(traces), 10)
        for trace in traces:
            self.assert_verified(trace)


if __name__ == "__main__":
    main()
