"""The zoo: each program that has a bug is told its bug, and the healthy ones are told nothing.

SPDX-License-Identifier: MIT
"""
import json
import os
import pathlib
import shutil
import unittest

from harness import PYTHON, TraceTest, environment, main, program, run
from schema import REUSE, complaints

CASES = pathlib.Path(os.environ.get("TEST_CASES", "."))
MIB = 1 << 20


class Cases(TraceTest):
    def findings(self, trace, status):
        """What reuse finds in a trace, as JSON; text says the same."""
        result = trace.command("reuse", "--format=json")
        self.assertEqual((result.returncode, result.stderr), (status, ""), result.stdout)
        found = [json.loads(line) for line in result.stdout.splitlines()]
        text = trace.command("reuse")
        self.assertEqual(text.returncode, status)
        for finding in found:
            self.assertEqual(complaints(finding, REUSE), [])
            self.assertIn(f"{finding['kind']}   #{finding['seq']}  ", text.stdout)
        return found

    def run_case(self, argv, status):
        done = self.record(argv)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        trace = self.only_trace()
        self.assert_verified(trace)
        return self.findings(trace, status)

    def one(self, name, kind, severity, calls, *argv):
        """The case has one finding; its history is these calls, the culprit marked by '>'."""
        path = CASES / name if (CASES / name).exists() else program(name)
        found = self.run_case([path, *argv], severity != "info")
        self.assertEqual([(f["kind"], f["severity"]) for f in found], [(kind, severity)])
        story = [(">" if e["seq"] == found[0]["seq"] else "") + e["call"]
                 for e in found[0]["history"]]
        self.assertEqual(story, calls.split())
        return found[0]

    def healthy(self, argv):
        self.assertEqual(self.run_case(argv, 0), [])

    def test_seed_fixed(self):
        finding = self.one("seed_fixed", "fixed-clobber", "warning", "mmap >mmap")
        self.assertEqual((finding["addr"], finding["length"]), ("0x20000000", 4096))
        self.assertEqual(finding["victims"][0]["birth"], finding["history"][0]["seq"])
        self.assertEqual(finding["victims"][0]["bytes"], 4096)

    def test_seed_hint(self):
        self.one("seed_hint", "hint-moved", "info", "mmap >mmap")

    def test_seed_hint_forced(self):
        self.one("seed_hint", "fixed-clobber", "warning", "mmap >mmap", "fixed")

    def test_fex_3253_second_unmap_kills_another_threads_mapping(self):
        finding = self.one("fex_3253", "double-unmap", "error", "mmap munmap mmap >munmap munmap")
        victim, history = finding["victims"][0], finding["history"]
        self.assertEqual(victim["birth"], history[2]["seq"])
        self.assertEqual(victim["tid"], history[2]["tid"])
        self.assertNotEqual(victim["tid"], finding["tid"])
        self.assertEqual(finding["proof_seq"], history[4]["seq"])

    def test_second_unmap_finds_nothing(self):
        self.one("unmap_nothing", "double-unmap", "error", "mmap munmap >munmap")

    def test_ltp_124_page_of_the_heap_unmapped(self):
        finding = self.one("ltp_124", "foreign-unmap", "error", "brk >munmap")
        self.assertEqual(finding["victims"][0]["role"], "malloc")
        self.assertEqual(finding["length"], 4096)

    def test_ucx_11786_hole_became_a_thread_stack(self):
        self.record([CASES / "ucx_11786"])  # whether it dies of that is up to chance
        finding = self.findings(self.only_trace(), 1)[0]
        self.assertEqual((finding["kind"], finding["severity"]), ("foreign-unmap", "error"))
        self.assertEqual([v["role"] for v in finding["victims"]], ["thread stack"])
        self.assertEqual(finding["length"], 64 * MIB)

    def test_half_of_a_librarys_mapping_unmapped(self):
        finding = self.one("borrower", "foreign-unmap", "error", "mmap >munmap", "half")
        self.assertEqual(finding["victims"][0]["owner"], "liblender.so")
        self.assertEqual(finding["owner"], "borrower")

    def test_healthy_library_maps_for_its_caller(self):
        self.healthy([CASES / "borrower"])

    def test_healthy_library_maps_what_its_caller_aligns(self):
        self.healthy([CASES / "borrower", "align"])

    def test_kona_162_grown_over_the_neighbour(self):
        finding = self.one("kona_162", "fixed-clobber", "error", "mmap mmap >mmap munmap")
        self.assertEqual(finding["victims"][1]["birth"], finding["history"][1]["seq"])
        self.assertEqual(finding["victims"][1]["bytes"], MIB // 2)

    def test_dynamorio_7192_another_thread_between_unmap_and_force(self):
        finding = self.one("dynamorio_7192", "fixed-clobber", "error",
                           "mmap munmap mmap >mmap munmap")
        self.assertEqual(finding["victims"][0]["birth"], finding["history"][2]["seq"])
        self.assertNotEqual(finding["victims"][0]["tid"], finding["tid"])

    def test_go_13256_forced_over_what_malloc_took_since_the_check(self):
        finding = self.one("go_13256", "fixed-clobber", "error", "mmap >mmap")
        self.assertEqual(finding["victims"][0]["role"], "malloc")

    def test_dmtcp_1197_hint_not_honoured_and_used(self):
        finding = self.one("dmtcp_1197", "hint-moved", "error", "mmap >mmap mprotect")
        self.assertEqual(finding["proof_seq"], finding["history"][2]["seq"])

    def test_stale_madvise_discards_anothers_block(self):
        finding = self.one("stale_madvise", "stale-range", "error", "mmap munmap mmap >madvise")
        self.assertEqual(finding["victims"][0]["birth"], finding["history"][2]["seq"])

    def test_fex_2013_malloc_took_the_range_that_was_found(self):
        finding = self.one("fex_2013", "fixed-clobber", "error", "mmap munmap mmap >mmap")
        self.assertEqual(finding["victims"][0]["birth"], finding["history"][2]["seq"])
        self.assertEqual(finding["victims"][0]["role"], "malloc")
        self.assertEqual(finding["alike"], 3)

    def test_llvm_102009_wrong_base_refused_and_the_mapping_stays(self):
        finding = self.one("llvm_102009", "failed-unmap", "warning", "mmap >munmap")
        self.assertEqual(finding["victims"][0]["birth"], finding["history"][0]["seq"])

    def test_memmap2_156_length_not_rounded_up_to_huge_pages(self):
        if run([CASES / "memmap2_156"]).returncode == 77:
            self.skipTest("no huge pages here")
        finding = self.one("memmap2_156", "failed-unmap", "warning", "mmap >munmap")
        self.assertEqual(finding["victims"][0]["bytes"], 4 * MIB)
        self.assertIn("to 4.0 MiB", finding["advice"])

    def exhausted(self, name, refused, maker):
        """The case runs out of areas in one of these calls, and this call had made most of them."""
        self.record([CASES / name], timeout=120)
        trace = self.only_trace()
        finding = self.findings(trace, 1)[0]
        self.assertEqual(json.loads(trace.text("report", "--format=json"))["lost"], 0)
        self.assertEqual((finding["kind"], finding["severity"]), ("map-count", "error"))
        self.assertGreater(finding["count"], finding["limit"] * 0.99)
        calls = {e["seq"]: e["call"] for e in finding["history"]}
        self.assertIn(calls[finding["seq"]], refused)
        self.assertIn(maker, [calls[m["seq"]] for m in finding["makers"]])
        self.assertGreater(max(m["areas"] for m in finding["makers"]), finding["limit"] // 2)

    def test_clickhouse_5369_areas_exhausted_by_guards(self):
        self.exhausted("clickhouse_5369", ("mmap", "mprotect"), "mmap")

    def test_memcached_512_areas_exhausted_by_blocks_of_malloc(self):
        self.exhausted("memcached_512", ("mmap", "madvise"), "mmap")

    def test_mps_304_mprotect_fails_at_the_limit(self):
        self.exhausted("mps_304", ("mprotect",), "mprotect")

    def test_near_the_limit_of_areas(self):
        self.record([CASES / "clickhouse_5369", 30000], timeout=120)
        finding = self.findings(self.only_trace(), 1)[0]
        self.assertEqual((finding["kind"], finding["severity"]), ("map-count", "warning"))

    def test_brk_blocked_by_a_mapping(self):
        finding = self.one("brk_blocked", "brk-blocked", "warning", "mmap >brk")
        self.assertEqual(finding["victims"][0]["birth"], finding["history"][0]["seq"])

    def test_decaf_424_the_hint_is_unmapped_and_not_what_was_got(self):
        finding = self.one("decaf_424", "foreign-unmap", "error", "mmap mmap >munmap")
        self.assertEqual(finding["victims"][0]["role"], "malloc")

    def test_larray_61_closed_array_given_back_once_more_by_the_collector(self):
        self.record([CASES / "larray_61"])
        finding = self.findings(self.only_trace(), 1)[0]
        self.assertEqual((finding["kind"], finding["severity"]), ("stale-range", "error"))
        history = finding["history"]
        self.assertEqual([e["call"] for e in history], "mmap munmap mmap munmap fault".split())
        self.assertEqual(finding["opened"], history[1]["seq"])
        self.assertNotEqual(history[3]["tid"], finding["tid"])

    def test_lind_1062_rounded_up_over_a_shared_segment(self):
        finding = self.one("lind_1062", "fixed-clobber", "warning", "mmap munmap shmat >mmap")
        self.assertEqual(finding["victims"][0]["birth"], finding["history"][2]["seq"])
        self.assertEqual(finding["victims"][0]["bytes"], 4096)

    def test_function_of_a_closed_library_called(self):
        self.record([CASES / "stale_function", CASES / "liblender.so"])
        trace = self.only_trace()
        finding = self.findings(trace, 1)[0]
        self.assertEqual((finding["kind"], finding["severity"]), ("stale-range", "error"))
        self.assertEqual([e["call"] for e in finding["history"]][-3:], ["munmap", "mmap", "fault"])
        told = json.loads(trace.text("why", "--fault", "--format=json"))
        self.assertEqual(told["findings"], [finding])
        self.assertEqual(told["history"][-1]["what"], ["died"])

    def file_used(self, way, kind):
        """Files must not lie in memory for what is said of them; the build directory does not."""
        name = CASES / f"file.{os.getpid()}"
        self.addCleanup(name.unlink, missing_ok=True)
        if kind:
            finding = self.one("files", kind[0], "info", kind[1], way, name)
            self.assertEqual(finding["path"], str(name))
        else:
            self.healthy([CASES / "files", way, name])

    def test_file_read_in_order_by_windows(self):
        self.file_used("windows", ("file-stream", "mmap >mmap"))

    def test_file_read_in_order_with_the_right_advice(self):
        self.file_used("sequential", None)

    def test_file_streamed_by_willneed(self):
        self.file_used("willneed", ("file-stream", "madvise >madvise"))

    def test_file_unmapped_without_msync(self):
        self.file_used("unsynced", ("unsynced", "mmap >munmap"))

    def test_file_unmapped_after_msync(self):
        self.file_used("synced", None)

    def test_private_file_populated(self):
        self.file_used("populate", ("file-populate", ">mmap"))

    def test_locking_more_than_allowed(self):
        finding = self.one("lock_limit", "lock-limit", "warning", ">mlock")
        self.assertEqual((finding["count"], finding["limit"]), (MIB - 4096, MIB))

    def test_why_tells_the_same_story(self):
        self.record([CASES / "fex_3253"])
        trace = self.only_trace()
        finding = self.findings(trace, 1)[0]
        where = f"{finding['addr']}+{finding['length']}"
        told = json.loads(trace.text("why", where, "--format=json"))
        self.assertEqual(told["findings"], [finding])
        seqs = [e["seq"] for e in finding["history"]]
        self.assertEqual([e["seq"] for e in told["history"]][-len(seqs):], seqs)
        self.assertEqual(told["history"][-1]["what"], ["nothing"])
        brief = json.loads(trace.text("report", "--format=json"))["findings"]
        self.assertEqual(brief, [{key: finding[key] for key in ("kind", "severity", "seq")}])
        text = trace.text("why", where)
        self.assertIn("<- error: double-unmap", text)
        self.assertIn(f"<- victim of #{finding['seq']}", text)
        before = json.loads(trace.text("why", where, "--format=json", f"--at={seqs[2]}"))
        self.assertEqual(before["findings"], [])

    def test_why_of_a_process_that_did_not_die(self):
        self.record([CASES / "window"])
        self.assertEqual(self.only_trace().command("why", "--fault").returncode, 2)

    def test_window(self):
        self.one("window", "unmap-remap-window", "info", "mmap munmap >mmap")

    def test_severity_hides_and_status_stays(self):
        self.record([CASES / "unmap_nothing"])
        trace = self.only_trace()
        self.assertEqual(trace.command("reuse", "--severity=error").returncode, 1)
        self.assertEqual(trace.command("reuse", "--severity=loud").returncode, 2)

    def test_healthy_allocator_that_reserves_and_commits(self):
        self.healthy([CASES / "healthy_reserve"])

    def test_healthy_ring_buffer_mapped_twice(self):
        self.healthy([CASES / "healthy_ring"])

    def test_healthy_blocks_freed_in_another_thread(self):
        self.healthy([CASES / "healthy_threads"])

    def test_healthy_dlopen_in_a_loop(self):
        self.healthy([program("dlopen"), program("plugin.so"), 50])

    def no_errors(self, argv, **kwargs):
        done = self.record(argv, **kwargs)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        traces = self.traces()
        self.assertGreaterEqual(len(traces), 1)
        for trace in traces:
            result = trace.command("reuse", "--format=json", "--severity=error")
            self.assertEqual((result.stdout, result.stderr), ("", ""), trace)

    def test_healthy_python3(self):
        work = ("import ctypes, json, mmap, sqlite3, threading\n"
                "def churn():\n"
                "    for i in range(200):\n"
                "        m = mmap.mmap(-1, 1 << 20); m[0] = 1; m.close()\n"
                "        json.loads(json.dumps(list(range(2000))))\n"
                "threads = [threading.Thread(target=churn) for _ in range(8)]\n"
                "[t.start() for t in threads]; [t.join() for t in threads]\n")
        self.no_errors([PYTHON, "-c", work])

    @unittest.skipUnless(shutil.which("node"), "not installed: node")
    def test_healthy_node_with_garbage_collection_forced(self):
        work = ("let keep = [];\n"
                "for (let i = 0; i < 40; i++) {\n"
                "  keep = []; for (let j = 0; j < 2e4; j++) keep.push({ j, s: 'x'.repeat(j % 50) });\n"
                "  new ArrayBuffer(1 << 24); gc();\n"
                "}\n")
        self.no_errors(["node", "--expose-gc", "-e", work])

    @unittest.skipUnless(shutil.which("git"), "not installed: git")
    def test_healthy_git(self):
        work = ("git init -q . && for i in 1 2 3; do seq $i 20000 > f$i; done && git add . && "
                "git -c user.name=N -c user.email=e@example.org commit -q -m x && git gc -q && "
                "git log --stat | cat > /dev/null")
        home = self.dir / "home"
        home.mkdir()
        self.no_errors(["sh", "-c", work], cwd=home, env=environment(HOME=str(home)))


if __name__ == "__main__":
    main()
