"""New processes: each image and each forked child has a trace of its own.

SPDX-License-Identifier: MIT
"""
import os

from harness import LIBRARY, TraceTest, environment, main, preloaded, program, run

PAGE = 4096
CHILDREN = int(os.environ.get("TEST_CHILDREN", "300"))


class Processes(TraceTest):
    def pages_mapped(self, trace):
        """Sizes in pages of the private anonymous mappings that the program made itself."""
        return [e["args"][1] // PAGE for e in trace.events()
                if e["call"] == "mmap" and not e["own"] and not e["inner"]]

    def record_forker(self, mode, traces, *options, arguments=(), **kwargs):
        self.record_and_compare([program("forker"), mode, *arguments], *options, **kwargs)
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

    def process_events(self, trace):
        return [e for e in trace.events() if e["call"] in ("fork", "vfork", "clone", "execve")]

    def test_every_new_process_is_an_event_of_its_parent(self):
        for mode, call in (("fork", "clone"), ("vfork", "vfork"), ("spawn", "clone"),
                           ("raw", "clone"), ("clone3", "clone")):
            with self.subTest(mode=mode):
                for old in self.traces():
                    old.path.unlink()
                self.record_and_compare([program("forker"), mode])
                parent = next(t for t in self.traces() if 12 in self.pages_mapped(t))
                pids = [e["ret"] for e in self.process_events(parent) if e["call"] == call]
                self.assertEqual(len(pids), 1)
                others = [t for t in self.traces() if t.path != parent.path]
                self.assertEqual([f"{pids[0]}" in t.path.name for t in others],
                                 [True] if mode != "vfork" else [])

    def test_spawned_child_executes_in_its_parents_memory(self):
        self.record_forker("spawn", 2)
        parent = next(t for t in self.traces() if 12 in self.pages_mapped(t))
        image, child = self.process_events(parent)
        self.assertEqual((image["call"], image["file"], image["ret"], image["shared_vm"]),
                         ("execve", program("forker"), 0, True))
        self.assertEqual(image["tid"], child["ret"])
        self.assertNotEqual(image["tid"], child["tid"])

    def test_exec_is_the_last_event_and_names_the_image(self):
        self.record_forker("exec", 2)
        before = next(t for t in self.traces() if 12 in self.pages_mapped(t))
        last = before.events()[-1]
        self.assertEqual((last["call"], last["file"], last["undone"]),
                         ("execve", program("forker"), True))
        self.assertIn(f'execve("{program("forker")}", ...)', before.text("dump"))

    def test_exec_that_fails_is_an_event_and_recording_goes_on(self):
        self.record_and_compare([program("forker"), "empty"])
        before = next(t for t in self.traces() if 12 in self.pages_mapped(t))
        failed = [e for e in self.process_events(before) if not e["undone"]]
        self.assertEqual([(e.get("file"), e["errno"]) for e in failed],
                         [("/nonexistent/program", "ENOENT"), (None, "EFAULT"),
                          (program("forker"), "EFAULT"), (program("forker"), "EFAULT")])

    def test_forks_by_system_calls_that_nobody_sees(self):
        self.assert_pages(self.record_forker("asm", 2), [11, 12], [21])
        for old in self.traces():
            old.path.unlink()
        self.assert_pages(self.record_forker("clone3", 2), [11, 12], [21])

    def test_commands_of_the_shell(self):
        for mode in ("system", "popen"):
            with self.subTest(mode=mode):
                for old in self.traces():
                    old.path.unlink()
                self.assert_pages(self.record_forker(mode, 3), [11, 12], [41], [])

    def test_daemon_that_forks_twice_and_closes_everything(self):
        self.assert_pages(self.record_forker("daemon", 3), [11, 12], [], [21])

    def own_calls(self, trace, pages):
        return [e for e in trace.events() if e["call"] in ("mmap", "munmap") and not e["own"]
                and e["args"][1] == pages * PAGE]

    def test_task_that_shares_the_memory_records_into_its_parents_trace(self):
        for mode, calls in (("shared", 1000), ("outlive", 400)):
            with self.subTest(mode=mode):
                for old in self.traces():
                    old.path.unlink()
                self.record_forker(mode, 1)
                trace = self.only_trace("forker")
                theirs = self.own_calls(trace, 21)
                child = next(e["ret"] for e in self.process_events(trace))
                self.assertEqual(len(theirs), calls)
                self.assertEqual({(e["tid"], e["shared_vm"]) for e in theirs}, {(child, True)})
                if mode == "shared":
                    ours = self.own_calls(trace, 13)
                    self.assertEqual(len(ours), 1000)
                    self.assertFalse(any(e["shared_vm"] or e["undone"] for e in ours))

    def test_snapshots_of_memory_that_two_tasks_share(self):
        self.record_forker("shared", 1, "--snapshot-every=5", "--smaps=yes", timeout=30)

    def test_child_that_is_killed_while_it_writes_the_trace_holds_nobody_up(self):
        plain = run([program("forker"), "killed", 8])
        recorded = self.record([program("forker"), "killed", 8],
                               "--snapshot-every=3", "--smaps=yes", timeout=30)
        self.assert_same(plain, recorded)
        found = self.traces()
        again = [t for t in found if "died while it wrote" in t.text("report", "--capture")]
        self.assertGreater(len(again), 0)
        self.assertEqual(len(found), len(again) + 1)
        for trace in found:
            self.assert_verified(trace, least_snapshots=1)
        self.assertEqual(sum(12 in self.pages_mapped(trace) for trace in found), 1)

    def test_children_killed_wherever_they_are(self):
        self.record_and_compare([program("forker"), "killed", 40])
        for trace in self.traces():
            self.assert_verified(trace, least_snapshots=1)

    def test_task_that_outlives_the_process_whose_memory_it_shares(self):
        self.record_forker("survive", 1)
        trace = self.only_trace("forker")
        self.assertIn(len(self.own_calls(trace, 21)), range(2, 400))
        self.assertIn("lives on in this memory", trace.text("report", "--capture"))

    def test_fork_in_a_handler_that_interrupts_a_call(self):
        for capture in ("all", "symbols"):  # forks that are seen, and forks that are not
            with self.subTest(capture=capture):
                for old in self.traces():
                    old.path.unlink()
                lists = self.record_forker("handler", 21, f"--capture={capture}")
                self.assertEqual(sum(21 in pages for pages in lists), 20)

    def test_forks_while_other_threads_map(self):
        lists = self.record_forker("threads", 25)
        self.assertEqual(sum(21 in pages for pages in lists), 24)

    def test_forks_in_the_middle_of_writing_the_trace(self):
        result = run([program("torn"), self.traces_dir / "vmtrail.%e.%p.vmt", 60, 499, LIBRARY],
                     env=environment())
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        found = self.traces()
        self.assertEqual(len(found), 61)
        for trace in found:
            self.assertEqual(self.assert_verified(trace, least_snapshots=1)["unseen"], 0)

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

    def test_hundreds_of_children_fifty_at_a_time(self):
        self.record_forker("many", CHILDREN + 1, arguments=[str(CHILDREN), "50"])

    def test_many_short_lived_children(self):
        script = f"for i in 1 2 3 4 5 6 7 8 9 10; do {program('brk')} >/dev/null & done; wait"
        self.record_and_compare(["sh", "-c", script])
        traces = self.traces("brk")
        self.assertEqual(len(traces), 10)
        for trace in traces:
            self.assert_verified(trace)


if __name__ == "__main__":
    main()
