"""The zoo: each program that has a bug is told its bug, and the healthy ones are told nothing.

SPDX-License-Identifier: MIT
"""
import json
import os
import pathlib
import shutil
import unittest

from harness import PYTHON, TraceTest, environment, main, program, run

CASES = pathlib.Path(os.environ.get("TEST_CASES", "."))
FIELDS = {"kind", "severity", "seq", "addr", "length", "tid", "stack", "victims", "history"}
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
            self.assertLessEqual(FIELDS, finding.keys())
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
