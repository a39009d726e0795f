"""vmtrail report DIRECTORY: the processes of one run as a tree.

SPDX-License-Identifier: MIT
"""
import json
import os
import shutil
import signal

from harness import VMTRAIL, TraceTest, main, program, record_argv, run, wait_until

FORKER, FAULTS = program("forker"), program("faults")


class Tree(TraceTest):
    def report(self, *args):
        return run([VMTRAIL, "report", self.traces_dir, *args])

    def tree(self):
        """The processes by trace name."""
        result = self.report("--format=json")
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        return json.loads(result.stdout)["processes"]

    def chain(self, processes, last):
        """How a process came about, from the first one on: made_by of each."""
        by_name = {p["trace"]: p for p in processes}
        chain = []
        while last:
            chain.insert(0, last["made_by"])
            last = by_name.get(last["parent"])
        return chain

    def test_parents_ends_and_counts(self):
        script = (f"{FORKER} nested; {FORKER} spawn; {FORKER} asm; {FAULTS} child; "
                  f"{FORKER} vfork; exit 3")
        self.assertEqual(self.record(["sh", "-c", script]).returncode, 3)
        processes = self.tree()
        self.assertEqual(len(processes), 11)
        root = processes[0]
        self.assertEqual((root["parent"], root["end"], root["status"]), (None, "exit", 3))
        self.assertIn("forker", root["command"])
        for p in processes:
            self.assertEqual((p["damage"], p["unseen"], p["byte_mismatches"], p["lost"]),
                             (None, 0, 0, 0))
            self.assertGreater(p["peak_mapped"], 1 << 20)
        grandchild = next(p for p in processes if len(self.chain(processes, p)) == 4)
        self.assertEqual(self.chain(processes, grandchild)[2:], ["clone", "clone"])
        unseen = next(p for p in processes if p["made_by"] == "ppid")
        self.assertIn("asm", unseen["command"])
        died = [p for p in processes if p["end"] == "signal"]
        self.assertEqual([(p["signal_name"], p["signal"]) for p in died], [("SIGSEGV", 11)])
        text = self.report()
        self.assertEqual((text.returncode, len(text.stdout.splitlines())), (0, 12))
        self.assertIn("SIGSEGV", text.stdout)

    def test_images_of_one_process_follow_each_other(self):
        self.record([FORKER, "exec"])
        first, second = self.tree()
        self.assertEqual((first["end"], first["image"]), ("exec", FORKER))
        self.assertEqual((second["parent"], second["made_by"]), (first["trace"], "execve"))
        self.assertEqual((second["end"], second["pid"]), ("exit", first["pid"]))
        self.assertNotEqual(second["trace"], first["trace"])

    def test_daemon_is_its_makers_child_whoever_took_it_over(self):
        self.record([FORKER, "daemon"])
        processes = self.tree()
        self.assertEqual([p["made_by"] for p in processes], [None, "clone", "clone"])

    def test_killed_and_running(self):
        process = self.start_recording([program("threads"), "1", "1000000000"])
        wait_until(lambda: self.traces("threads"))
        running = wait_until(lambda: [p for p in self.tree() if p["events"] > 100])
        self.assertEqual([p["end"] for p in running], ["running"])
        os.kill(running[0]["pid"], signal.SIGKILL)
        process.wait()
        self.assertEqual([(p["end"], p["signal_name"]) for p in self.tree()],
                         [("signal", "SIGKILL")])

    def test_killed_child_of_a_process_that_is_recorded(self):
        self.record(["sh", "-c", f"{program('signals')} segv 20000 & sleep 0.5; kill -9 $!; wait"])
        ends = {p["command"].split()[0].split("/")[-1]: p["end"] for p in self.tree()}
        self.assertEqual((ends["sh"], ends["signals"]), ("exit", "killed"))

    def test_names_with_pid_executable_and_counter(self):
        for pattern in ("t.%p.vmt", "t.%e.vmt", "t.%n.vmt", "t.%e.%n.vmt", "one"):
            with self.subTest(pattern=pattern):
                shutil.rmtree(self.traces_dir)
                self.traces_dir.mkdir()
                for mode in ("exec", "nested"):
                    run(record_argv(self.traces_dir / pattern, [FORKER, mode]))
                processes = self.tree()
                # a fixed name's old trace makes room for the new one
                room = "%p" not in pattern and "%n" not in pattern
                self.assertEqual(len(processes), 4 if room else 5, processes)

    def test_damaged_traces_are_listed_and_told(self):
        self.record([FORKER, "nested"])
        whole = self.traces()[0].path
        (self.traces_dir / "empty.vmt").touch()
        cut = self.traces_dir / "cut.vmt"
        cut.write_bytes(whole.read_bytes()[:-200])
        (self.traces_dir / "notes.txt").write_text("no trace")
        result = self.report()
        self.assertEqual(result.returncode, 2)
        self.assertRegex(result.stderr, r"^vmtrail: .*: 2 of 5 traces damaged\n$")
        self.assertIn("empty.vmt", result.stdout)
        self.assertIn("cut.vmt", result.stdout)
        self.assertEqual(len([line for line in result.stdout.splitlines() if "nested" in line]), 4)
        damage = {p["trace"]: p["damage"]
                  for p in json.loads(self.report("--format=json").stdout)["processes"]}
        self.assertEqual({name for name, what in damage.items() if what},
                         {"empty.vmt", "cut.vmt"})

    def test_usage(self):
        empty = self.report()
        self.assertEqual((empty.returncode, empty.stdout), (2, ""))
        self.assertRegex(empty.stderr, r"^vmtrail: .*: no traces in this directory\n$")
        self.assertEqual(self.report("--capture").returncode, 2)

    def test_a_directory_is_made_where_the_output_ends_in_a_slash(self):
        self.record_and_compare([FORKER, "fork"])
        place = self.dir / "new"
        run([VMTRAIL, "record", "-o", f"{place}/", "--", FORKER, "fork"])
        self.assertEqual(len(list(place.iterdir())), 2)

    def test_without_children_the_first_process_alone_and_its_images(self):
        self.record(["sh", "-c", f"{FORKER} fork; {FORKER} spawn; exec {FORKER} exec"],
                    "--children=no")
        processes = self.tree()
        self.assertEqual(len({p["pid"] for p in processes}), 1)
        self.assertEqual([p["made_by"] for p in processes], [None, "execve", "execve"])
        self.assertEqual([p["end"] for p in processes], ["exec", "exec", "exit"])


if __name__ == "__main__":
    main()
