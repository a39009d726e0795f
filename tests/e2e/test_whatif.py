"""What would fail under other limits is the very call that fails when the program runs under them.

Programs are recorded without limits and run again, without the recorder, under the limit. Limits of
the whole machine are set and restored here, for a moment and far above what anybody else needs.

SPDX-License-Identifier: MIT
"""
import ctypes
import errno
import json
import os
import pathlib
import resource
import shutil
import unittest

from harness import Trace, TraceTest, main, program, record_argv, run

K, M, G = 1 << 10, 1 << 20, 1 << 30
SYSCTL = pathlib.Path("/proc/sys/vm")
CAP_IPC_LOCK = 14
PR_CAPBSET_DROP = 24


def meminfo(key):
    for line in pathlib.Path("/proc/meminfo").read_text().splitlines():
        if line.startswith(key + ":"):
            return int(line.split()[1]) * K
    raise KeyError(key)


def without_ipc_lock():
    """For a child, before it execs: RLIMIT_MEMLOCK binds it, though it may be root's."""
    ctypes.CDLL(None).prctl(PR_CAPBSET_DROP, CAP_IPC_LOCK, 0, 0, 0)


class Hungry(TraceTest):
    def record_hungry(self, what, step, count, **kwargs):
        argv = [program("hungry"), what, step, count]
        done = run(record_argv(self.traces_dir, argv), **kwargs)
        self.assertEqual((done.returncode, done.stdout), (0, "none\n"), done.stderr)
        self.trace = self.only_trace()
        events = self.trace.events()
        marker = next(e["seq"] for e in events
                      if e["call"] == "madvise" and e["args"][:2] == [0, 0])
        self.calls = [e["seq"] for e in events if e["seq"] > marker and not e["own"]]
        return argv

    def whatif(self, *options):
        """(exit status, answer) of whatif --format=json."""
        result = self.trace.command("whatif", "--format=json", *options)
        self.assertIn(result.returncode, (0, 1), result.stderr)
        return result.returncode, json.loads(result.stdout)

    def predicted(self, *options):
        """What hungry would say, and the rule that says no."""
        status, answer = self.whatif(*options)
        if status == 0:
            self.assertIsNone(answer["first"])
            return "none\n", None
        first = answer["first"]
        number = getattr(errno, first["would_fail_with"])
        return f"{self.calls.index(first['seq'])} {number}\n", first["rule"]

    def limited(self, argv, which, limit, preexec=lambda: None):
        """What hungry says under a resource limit."""
        def limited():
            resource.setrlimit(which, (limit, limit))
            preexec()
        return run(argv, preexec_fn=limited).stdout

    def assert_names_the_call(self, said, *options, rules):
        expected, rule = self.predicted(*options)
        self.assertEqual(expected, said, self.trace.command("whatif", *options).stdout)
        self.assertIn(rule, rules)

class Limits(Hungry):
    def test_rlimit_as(self):
        argv = self.record_hungry("as", 1 * M, 40)
        for limit in (20 * M, 33 * M + 4096, 40 * M):
            with self.subTest(limit=limit):
                said = self.limited(argv, resource.RLIMIT_AS, limit)
                self.assert_names_the_call(said, f"--rlimit-as={limit}", rules=["may_expand_vm"])

    def test_rlimit_data(self):
        argv = self.record_hungry("data", 256 * K, 40)
        for limit in (2 * M, 5 * M, 3 * M + 700 * K):
            with self.subTest(limit=limit):
                said = self.limited(argv, resource.RLIMIT_DATA, limit)
                self.assert_names_the_call(said, f"--rlimit-data={limit}",
                                           rules=["may_expand_vm", "check_data_rlimit"])

    def test_rlimit_memlock(self):
        argv = self.record_hungry("lock", 64 * K, 60, preexec_fn=lambda: (
            resource.setrlimit(resource.RLIMIT_MEMLOCK, (8 * M, 8 * M)), without_ipc_lock()))
        for limit, rules in ((0, ["can_do_mlock"]), (1 * M, ["mlock_future_ok"]),
                             (2 * M + 60 * K, ["mlock_future_ok"])):
            with self.subTest(limit=limit):
                said = self.limited(argv, resource.RLIMIT_MEMLOCK, limit, without_ipc_lock)
                self.assert_names_the_call(said, f"--rlimit-memlock={limit}", rules=rules)

    def test_enough_is_enough(self):
        self.record_hungry("as", 1 * M, 10)
        self.assertEqual(self.predicted("--rlimit-as=1G", "--max-map-count=65530",
                                        "--rlimit-stack=8M"), ("none\n", None))

    def test_state_names_the_holder(self):
        self.record_hungry("as", 1 * M, 40)
        _, answer = self.whatif("--rlimit-as=30M")
        self.assertEqual(answer["first"]["limited_by"], "RLIMIT_AS")
        self.assertGreater(answer["would_fail"], 1)
        first = answer["first"]
        self.assertLessEqual(first["held"], first["allowed"])
        self.assertGreater(first["held"] + first["asked"], first["allowed"])
        self.assertEqual(answer["state"]["mapped"], first["held"])
        holders = {h["site"]["source"].rsplit("/", 1)[-1]: h["bytes"]
                   for h in answer["holders"] if h["site"]}
        self.assertIn("hungry.c", holders)
        self.assertEqual(sum(h["bytes"] for h in answer["holders"]), first["held"])


class Seeds(TraceTest):
    """The table of a file larger than the machine: what mmap answers with 16 GB, no swap."""

    def answer(self, gigabytes, how):
        argv = [program("seed_commit"), gigabytes, how]
        said = self.record(argv, cwd=self.dir).stdout
        trace = self.only_trace("seed_commit")
        if (SYSCTL / "overcommit_memory").read_text() == "0\n":
            # as things are, whatif and the kernel agree
            real = trace.command("whatif", "--overcommit=0").returncode
            self.assertEqual(real, 0 if said == "mapped\n" else 1)
        result = trace.command("whatif", "--format=json", "--overcommit=0", "--ram=16G",
                               "--swap=0")
        trace.path.unlink()
        answer = json.loads(result.stdout)
        self.assertEqual(result.returncode, 1 if answer["first"] else 0)
        if not answer["first"]:
            return "mapped"
        self.assertEqual((answer["first"]["call"], answer["first"]["rule"]),
                         ("mmap", "__vm_enough_memory"))
        return answer["first"]["would_fail_with"]

    def test_table(self):
        for number, gigabytes, how, expected in (
                (1, 30, "private", "ENOMEM"), (2, 30, "noreserve", "mapped"),
                (3, 30, "shared", "mapped"), (4, 15, "private", "mapped"),
                (5, 15, "noreserve", "mapped"), (6, 15, "shared", "mapped")):
            # numbers 4 to 6 are two processes: each maps its own 15 GB
            for process in range(1 if gigabytes == 30 else 2):
                with self.subTest(number=number, process=process):
                    self.assertEqual(self.answer(gigabytes, how), expected)


@unittest.skipUnless(shutil.which("setarch"), "not installed: setarch")
class Layout(TraceTest):
    """The other layout's answer is what a recording in that layout shows."""

    def record_in(self, layout, *argv):
        options = {"topdown": ["-R"], "bottomup": ["-R", "-L"]}[layout]
        self.said = run(["setarch", *options, *record_argv(self.traces_dir, argv)]).stdout
        trace = self.only_trace()
        moved = trace.path.rename(self.dir / layout)
        return Trace(moved)

    def layout(self, trace, *options, status=0):
        result = trace.command("whatif", "--format=json", "--top=100000", *options)
        self.assertEqual((result.returncode, result.stderr), (status, ""), result.stdout)
        return json.loads(result.stdout)["layout"]

    def distances(self, places, key):
        """Where each mapping of the program lies, counted from the lowest."""
        heap = range(0x55 << 40, 0x57 << 40)  # stays where it is
        at = {p["birth"]: int(p[key], 16) for p in places
              if p["birth"] and int(p[key], 16) not in heap}
        return {birth: addr - min(at.values()) for birth, addr in at.items()}

    def assert_foretold(self, source, target):
        argv = [program("hungry"), "as", 1 * M, 24]
        recorded = self.layout(self.record_in(source, *argv), f"--layout={target}")
        real = self.layout(self.record_in(target, *argv), f"--layout={target}")
        self.assertEqual((recorded["recorded"]["layout"], recorded["there"]["layout"]),
                         (source, target))
        self.assertGreater(recorded["elsewhere"], 15)
        self.assertEqual(recorded["there"]["mmap_base"], real["recorded"]["mmap_base"])
        self.assertEqual(self.distances(recorded["places"], "there"),
                         self.distances(real["places"], "recorded"))

    def test_bottom_up_from_top_down(self):
        self.assert_foretold("topdown", "bottomup")

    def test_top_down_from_bottom_up(self):
        self.assert_foretold("bottomup", "topdown")

    def test_address_made_up_hits_in_the_other_layout(self):
        argv = [program("absolute"), "0x2aaaad000000"]
        trace = self.record_in("topdown", *argv)
        self.assertEqual(self.said, "kept\n")
        found = self.layout(trace, "--layout=bottomup", status=1)
        self.assertEqual([(c["what"], c["there"], c["bytes"]) for c in found["conflicts"]],
                         [("hits", "0x2aaaad000000", 4096)])
        self.assertEqual(found["conflicts"][0]["victim_site"]["function"], "map_anywhere")
        self.record_in("bottomup", *argv)
        self.assertEqual(self.said, "lost\n")

    def test_alignment_of_huge_pages(self):
        trace = self.record_in("topdown", program("hungry"), "as", 4 * M, 12)
        huge = {on: [int(p["there"], 16) % (2 * M) == 0
                     for p in self.layout(trace, f"--thp-align={on}")["places"]
                     if p["bytes"] == 4 * M]
                for on in ("on", "off")}
        self.assertTrue(any(huge["on"]))
        self.assertFalse(any(huge["off"]))
        # before 6.7 nothing was aligned
        self.assertEqual(self.layout(trace, "--kernel=6.6")["places"],
                         self.layout(trace, "--thp-align=off")["places"])


@unittest.skipUnless(os.geteuid() == 0 and os.access(SYSCTL / "max_map_count", os.W_OK),
                     "not permitted: setting sysctls of the machine")
class Machine(Hungry):
    def under(self, sysctls, argv):
        """What argv says while the machine's sysctls, set in this order, are others."""
        before = [(SYSCTL / name, (SYSCTL / name).read_text()) for name in sysctls]
        # setting one of ratio and kbytes clears the other: the one that is set comes back last
        pair = [(SYSCTL / name, (SYSCTL / name).read_text())
                for name in ("overcommit_kbytes", "overcommit_ratio")]
        try:
            for name, value in sysctls.items():
                (SYSCTL / name).write_text(str(value))
            return run(argv).stdout
        finally:
            for path, value in reversed(before):
                path.write_text(value)
            for path, value in pair:
                if value != "0\n" and path.read_text() != value:
                    path.write_text(value)

    def test_max_map_count(self):
        argv = self.record_hungry("areas", 0, 38500)
        for limit in (60000, 60001, 63500):
            with self.subTest(limit=limit):
                said = self.under({"max_map_count": limit}, argv)
                self.assert_names_the_call(said, f"--max-map-count={limit}", rules=["map_count"])

    # What others are charged comes and goes: steps are as large as one call may ask for, limits
    # lie half-way between two of them, and a run in which the machine was not calm does not count.
    STEP = meminfo("MemTotal") * 2 // 3 // M * M

    def assert_commit(self, options):
        """options(limit) gives the sysctls by name; whatif takes them under the same names."""
        argv = self.record_hungry("commit", self.STEP, 14)
        for n in (2, 5, 9):
            for _ in range(10):
                _, answer = self.whatif("--overcommit=2")
                others = answer["limits"]["others_committed"]
                sysctls = options(others + n * self.STEP + self.STEP // 2)
                before = meminfo("Committed_AS")
                said = self.under({**sysctls, "overcommit_memory": 2}, argv)
                after = meminfo("Committed_AS")
                if all(abs(now - others) < self.STEP // 4 for now in (before, after)):
                    break
                self.trace.path.unlink()
                argv = self.record_hungry("commit", self.STEP, 14)
            with self.subTest(sysctls=sysctls):
                self.assert_names_the_call(
                    said, "--overcommit=2",
                    *(f"--{name.replace('_', '-')}={value}" for name, value in sysctls.items()),
                    rules=["__vm_enough_memory"])

    def test_overcommit_kbytes(self):
        self.assert_commit(lambda limit: {"overcommit_kbytes": limit // K})

    def test_overcommit_ratio(self):
        self.assert_commit(
            lambda limit: {"overcommit_ratio": limit * 100 // meminfo("MemTotal")})


if __name__ == "__main__":
    main()
