"""Each mapping is shown with what it is for; the program itself says what is true.

SPDX-License-Identifier: MIT
"""
import json
import platform

from harness import TraceTest, main, program


def has_clone3():
    version = platform.libc_ver()[1].split(".")
    return [int(n) for n in version[:2]] >= [2, 34]


def piece_at(pieces, address):
    return next(p for p in pieces if p["start"] <= address < p["end"])


class Roles(TraceTest):
    def record_roles(self):
        done = self.record([program("roles"), program("plugin.so")])
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        truth = [line.split("\t") for line in done.stdout.splitlines()]
        return self.traces("roles")[0], [(t[0], int(t[1], 16), *t[2:]) for t in truth]

    def test_each_mapping_carries_its_role(self):
        trace, truth = self.record_roles()
        pieces = trace.pieces()
        self.assertGreater(len(truth), 20)
        for role, address, *_ in (t for t in truth if t[0] != "idle stack"):
            with self.subTest(role=role, address=hex(address)):
                self.assertEqual(piece_at(pieces, address)["role"], role)

    def test_thread_stacks_carry_their_threads(self):
        trace, truth = self.record_roles()
        pieces = trace.pieces()
        text = trace.text("maps", "--roles")
        stacks = [t for t in truth if t[0] == "thread stack"]
        self.assertEqual(len(stacks), 11)
        # The first one has ended, and another thread has its stack now.
        for _, address, tid, name in stacks[1:]:
            self.assertEqual(piece_at(pieces, address)["role_tid"], int(tid))
            self.assertIn(f"thread stack of {tid} ({name})", text)

    def test_stack_of_a_thread_that_makes_no_call(self):
        trace, truth = self.record_roles()
        _, address, tid = next(t for t in truth if t[0] == "idle stack")
        piece = piece_at(trace.pieces(), address)
        if piece["role_tid"] != int(tid) and not has_clone3():
            self.skipTest("this libc makes threads by clone")
        self.assertEqual((piece["role"], piece["role_tid"]), ("thread stack", int(tid)))

    def test_segments_carry_their_library(self):
        trace, truth = self.record_roles()
        pieces = trace.pieces()
        names = [piece_at(pieces, t[1])["role_name"] for t in truth if t[0] == "library segment"]
        self.assertEqual(names, ["plugin.so", "plugin.so"])
        names = [piece_at(pieces, t[1])["role_name"] for t in truth if t[0] == "program segment"]
        self.assertEqual(names, ["roles", "roles"])

    def test_calls_and_reports_carry_roles(self):
        trace, truth = self.record_roles()
        _, address, tid, name = next(t for t in truth if t[-1] == "worker-9")
        made = [e for e in trace.events("--roles") if e.get("role_tid") == int(tid)]
        self.assertEqual([e["call"] for e in made], ["mmap", "mprotect"])
        self.assertIn("posix_spawn stack", [e.get("role") for e in trace.events("--roles")])
        self.assertIn(f"/* thread stack of {tid} ({name}) */", trace.text("dump", "--roles"))
        why = " ".join(trace.text("why", hex(address)).split())
        self.assertIn(f"(thread stack of {tid} ({name}))", why)
        roles = {r["role"]: r for r in json.loads(trace.text("report", "--format=json"))["roles"]}
        self.assertEqual(roles["thread stack"]["mappings"], 11)
        self.assertEqual(roles["malloc heap"]["mappings"], 2)


if __name__ == "__main__":
    main()
