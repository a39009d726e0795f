"""Logs of strace become traces: call by call what the log says, whatever strace was asked to print.

SPDX-License-Identifier: MIT
"""
import json
import random
import re
import shutil
import unittest

import strace_log
from harness import PYTHON, VMTRAIL, Trace, TraceTest, environment, main, program, run

MAPPED = "mmap(NULL, 8192, PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0)"


class ImportTest(TraceTest):
    def import_text(self, text, *options, output=None, name="strace.log"):
        log = self.dir / name
        log.write_text(text)
        return self.import_log(log, *options, output=output)

    def import_log(self, log, *options, output=None):
        """(trace, result); the trace exists if the import went well."""
        output = output or self.dir / "imported.vmt"
        done = run([VMTRAIL, "import", "strace", log, "-o", output, *options])
        return Trace(output), done

    def imported(self, text, *options, **kwargs):
        trace, done = self.import_text(text, *options, **kwargs)
        self.assertEqual((done.returncode, done.stderr), (0, ""), done.stdout)
        return trace

    def lines(self, trace):
        return [line.split(maxsplit=2)[2] for line in trace.text("dump").splitlines()]


class Grammar(ImportTest):
    def test_every_form_of_a_line_is_the_same_call(self):
        for prefix, suffix in [("", ""), ("77 ", ""), ("[pid 77] ", ""), ("77<name> ", ""),
                               ("12:34:56 ", ""), ("77  12:34:56.000123 ", " <0.000012>"),
                               ("1700000000.123456 ", ""), ("1700000000 ", ""),
                               ("77 1700000000.123456789 ", ""), ("     0.000123 ", ""),
                               ("77 12:34:56.123456 (+     0.000017) ", " <0.000009>"),
                               ("77 1700000000.123456 [00007f8b27e5bca3] ", ""),
                               ("[????????????????] ", "")]:
            with self.subTest(prefix=prefix):
                trace = self.imported(f"{prefix}{MAPPED} = 0x7f0000001000{suffix}\n")
                self.assertEqual(self.lines(trace), [f"{MAPPED} = 0x7f0000001000"])

    def test_times_and_durations_are_kept(self):
        trace = self.imported(f"7 100000000.000000 {MAPPED} = 0x7f0000001000 <0.000064>\n"
                              f"7 100000000.000128 munmap(0x7f0000001000, 8192) = 0 <0.000032>\n")
        first, second = trace.events()
        self.assertAlmostEqual(second["time"] - first["time"], 128e-6, delta=1e-7)
        self.assertEqual((first["duration"], second["duration"]), (64e-6, 32e-6))

    def test_midnight_passes(self):
        trace = self.imported(f"7 23:59:59.9 {MAPPED} = 0x7f0000001000\n"
                              f"7 00:00:00.1 munmap(0x7f0000001000, 8192) = 0\n")
        first, second = trace.events()
        self.assertAlmostEqual(second["time"] - first["time"], 0.2, delta=1e-7)

    def test_release_stands_where_it_began(self):
        trace = self.imported(
            f"1 {MAPPED} = 0x7f0000001000\n"
            f"1 munmap(0x7f0000001000, 8192 <unfinished ...>\n"
            f"2 {MAPPED} = 0x7f0000001000\n"
            f"1 <... munmap resumed>) = 0\n")
        self.assertEqual([e["call"] for e in trace.events()], ["mmap", "munmap", "mmap"])
        self.assertIn("7f0000001000-7f0000003000", trace.text("maps"))

    def test_taking_stands_where_it_ended(self):
        trace = self.imported(
            f"1 {MAPPED[:-1]} <unfinished ...>\n"
            f"2 {MAPPED} = 0x7f0000001000\n"
            f"2 munmap(0x7f0000001000, 8192) = 0\n"
            f"1 <... mmap resumed> ) = 0x7f0000001000\n")
        self.assertEqual([(e["tid"], e["call"]) for e in trace.events()],
                         [(2, "mmap"), (2, "munmap"), (1, "mmap")])

    def test_call_that_never_came_back_is_undone(self):
        trace = self.imported(f"1 {MAPPED} = 0x7f0000001000\n"
                              f"1 munmap(0x7f0000001000, 8192 <unfinished ...>\n")
        self.assertEqual([e.get("undone", False) for e in trace.events()], [False, True])

    def test_thread_that_ended_in_a_call_holds_nobody_up(self):
        trace = self.imported(f"1 {MAPPED} = 0x7f0000001000\n"
                              f"2 munmap(0x7f0000001000, 8192 <unfinished ...>\n"
                              f"2 +++ killed by SIGKILL +++\n"
                              f"1 munmap(0x7f0000001000, 8192) = 0\n1 +++ exited with 0 +++\n")
        self.assertEqual([(e["tid"], e.get("undone", False)) for e in trace.events()],
                         [(1, False), (2, True), (1, False)])

    def test_stacks_follow_their_calls(self):
        trace = self.imported(
            f"1 {MAPPED} = 0x7f0000001000\n"
            " > /lib/x86_64-linux-gnu/libc.so.6(mmap64+0x17) [0x1053f7]\n"
            " > /opt/app/bin/app(grow(std::string (*)[3], int)+0x2c) [0x11c8]\n"
            " > /opt/app/bin/app() [0x1f00]\n"
            "1 read(0, \"\", 1) = 0\n"
            " > /lib/x86_64-linux-gnu/libc.so.6(__read+0x4d) [0xf83ed]\n"
            f"1 munmap(0x7f0000001000, 8192) = 0\n"
            " > unexpected_backtracing_error [0x3]\n")
        stacks = [[f.get("function") for f in e["stack"]] for e in
                  map(json.loads, trace.text("dump", "--stacks",
                                             "--format=json").splitlines())]
        self.assertEqual(stacks, [["mmap64", "grow(std::string (*)[3], int)", None], [None]])

    def test_foreign_flags_and_sizes(self):
        trace = self.imported(
            "1 mmap(NULL, 70000, PROT_READ|PROT_EXEC|PROT_BTI, MAP_PRIVATE|0x10000000, 3, 0x10000)"
            " = 0xffff80000000\n"
            "1 mmap(NULL, 2097152, PROT_NONE, MAP_PRIVATE|MAP_ANONYMOUS|MAP_HUGETLB|"
            "21<<MAP_HUGE_SHIFT, -1, 0) = 0xffff90000000\n"
            "1 munmap(0xffff80000000, 65537) = 0\n", "--page-size=65536")
        first, huge, unmap = trace.events()
        self.assertEqual(first["args"][1:3], [131072, 0x15])
        self.assertEqual(huge["args"][3], 0x22 | 0x40000 | 21 << 26)
        self.assertEqual(unmap["args"][1], 131072)

    def test_files_are_known_from_y_and_from_open(self):
        for opened, fd in [("", "3</lib/libfoo.so>"),
                           ('openat(AT_FDCWD, "/lib/libfoo.so", O_RDONLY) = 3\n', "3"),
                           ('open("/lib/libfoo.so", O_RDONLY) = 9\ndup2(9, 3) = 3\nclose(9) = 0\n',
                            "3")]:
            with self.subTest(opened=opened):
                trace = self.imported(f"{opened}mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, {fd}, 0)"
                                      f" = 0x7f0000001000\n")
                self.assertIn("/lib/libfoo.so", trace.text("maps"))

    def test_fatal_signal_is_the_last_event(self):
        trace = self.imported(
            f"1 {MAPPED} = 0x7f0000001000\n"
            "1 --- SIGSEGV {si_signo=SIGSEGV, si_code=SEGV_MAPERR, si_addr=0x10} ---\n"
            "1 +++ killed by SIGSEGV (core dumped) +++\n")
        self.assertIn("SIGSEGV", self.lines(trace)[-1])
        self.assertIn("0x10", self.lines(trace)[-1])

    def test_signal_that_a_handler_took_is_no_fault(self):
        trace = self.imported(
            "1 --- SIGSEGV {si_signo=SIGSEGV, si_code=SEGV_ACCERR, si_addr=0x10} ---\n"
            f"1 {MAPPED} = 0x7f0000001000\n1 +++ exited with 0 +++\n")
        self.assertEqual([e["call"] for e in trace.events()], ["mmap"])


class Findings(ImportTest):
    # FEX-Emu #3253 as it was reported: four lines, no stacks.
    LINES = [f"[pid 269497] mmap(NULL, 16777216, PROT_READ|PROT_WRITE|PROT_EXEC, "
             f"MAP_PRIVATE|MAP_ANONYMOUS, -1, 0) = 0x7fffde1ff000",
             "[pid 269497] munmap(0x7fffde1ff000, 16777216) = 0",
             "[pid 268982] mmap(NULL, 16777216, PROT_READ|PROT_WRITE|PROT_EXEC, "
             "MAP_PRIVATE|MAP_ANONYMOUS, -1, 0) = 0x7fffde1ff000",
             "[pid 269497] munmap(0x7fffde1ff000, 16777216) = 0"]

    def reuse(self, lines, *options):
        trace = self.imported("\n".join(lines) + "\n")
        done = trace.command("reuse", "--format=json", *options)
        self.assertEqual(done.stderr, "")
        return done.returncode, [json.loads(line) for line in done.stdout.splitlines()]

    def test_fex_3253(self):
        status, (finding,) = self.reuse(self.LINES)
        self.assertEqual((status, finding["kind"], finding["severity"], finding["seq"]),
                         (1, "double-unmap", "warning", 4))
        self.assertEqual(finding["victims"][0]["birth"], 3)

    def test_fex_3253_with_the_crash_is_an_error(self):
        status, (finding,) = self.reuse(self.LINES + [
            "[pid 268982] --- SIGSEGV {si_signo=SIGSEGV, si_code=SEGV_MAPERR, "
            "si_addr=0x7fffde1ff040} ---", "[pid 268982] +++ killed by SIGSEGV +++"])
        self.assertEqual((finding["kind"], finding["severity"]), ("double-unmap", "error"))
        self.assertIn("0x7fffde1ff040", finding["proof"])

    def test_blocks_that_go_from_hand_to_hand_are_no_double_unmap(self):
        handed = ["[pid 268982] mmap(NULL, 4096, PROT_READ, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0) "
                  "= 0x7f0000001000", "[pid 269497] munmap(0x7f0000001000, 4096) = 0"]
        self.assertEqual(self.reuse(handed + self.LINES), (0, []))

    @unittest.skipUnless(shutil.which("strace"), "strace is not installed")
    def test_healthy_python_is_told_nothing(self):
        log = self.dir / "py.log"
        code = ("import threading, ssl, json, sqlite3\n"
                "t = [threading.Thread(target=lambda: [bytearray(300000) for _ in range(20)])\n"
                "     for _ in range(8)]\n[x.start() for x in t]; [x.join() for x in t]")
        run(["strace", "-f", "-o", log, PYTHON, "-c", code], env=environment())
        trace, done = self.import_log(log)
        self.assertEqual(done.returncode, 0, done.stderr)
        found = trace.command("reuse")
        self.assertEqual(found.returncode, 0, found.stdout)


class Damage(ImportTest):
    def test_lines_that_cannot_be_read_are_counted_and_shown(self):
        trace, done = self.import_text(f"7 {MAPPED} = 0x7f0000001000\n"
                                       "7 munmap(0x7f00, oops) = 0\n"
                                       "7 munmap(0x7f0000001000, 8192) = 0\n"
                                       "Segmentation fault\n")
        self.assertEqual(done.returncode, 0)
        self.assertEqual(len(trace.events()), 2)
        self.assertIn(":2: cannot be read: 7 munmap(0x7f00, oops) = 0", done.stderr)
        self.assertIn("2 lines could not be read", done.stdout)

    def test_what_is_no_log_is_refused(self):
        for text in ["", "\0" * 5000, "hello\n" * 20, "7 read(0, 1) = 1\n", "(((((\n<... \n--- \n"]:
            with self.subTest(text=text[:20]):
                trace, done = self.import_text(text)
                self.assertEqual(done.returncode, 2)
                self.assertFalse(trace.path.exists())

    def test_every_cut_of_a_log_is_read_or_refused(self):
        log = (f"1 1.0 clone(child_stack=NULL, flags=CLONE_VM|CLONE_THREAD <unfinished ...>\n"
               f"2 1.1 {MAPPED} = 0x7f0000001000 <0.1>\n1 1.2 <... clone resumed>) = 2\n"
               "2 1.3 mmap(NULL, 4096, PROT_READ, MAP_SHARED, 3</a>, 0) = -1 EBADF (Bad)\n"
               "1 1.4 execve(\"/bin/x\", [\"x\", \"\\303\"], 0x7ff) = 0\n > /bin/x(main+0x1) [0x2]\n"
               "1 +++ killed by SIGBUS +++\n")
        for n in range(0, len(log), 3):
            _, done = self.import_text(log[:n])
            self.assertIn(done.returncode, (0, 2), (n, done.stderr))

    def test_changed_logs_end_cleanly(self):
        whole = Processes.LOG + "\n".join(Findings.LINES) + "\n"
        rng = random.Random(7)
        for n in range(150):
            text = list(whole)
            for _ in range(rng.randrange(1, 30)):
                at = rng.randrange(len(text))
                piece = rng.choice(["(", ")", "{", '"', "<", ">", "\\", "\n", " = ", ",", "-1",
                                    str(2**64 - 1), "0x" + "f" * 16, whole[at:at + 40]])
                text[at:at + rng.randrange(20)] = piece
            for output in (None, self.traces_dir):
                _, done = self.import_text("".join(text), output=output)
                self.assertIn(done.returncode, (0, 2), f"log {n}: {done.stderr}")

    def test_exec_after_a_call_that_never_came_back(self):
        trace, done = self.import_text('1 execve("/bin/a", ["a"], 0x1) = 0\n'
                                       f"1 {MAPPED} = 0x7f0000001000\n"
                                       "1 munmap(0x7f0000001000, 4096 <unfinished ...>\n"
                                       '1 execve("/bin/b", ["b"], 0x1) = 0\n'
                                       "1 <... munmap resumed>) = 0\n"
                                       f"1 {MAPPED} = 0x7f0000005000\n")
        self.assertIn(":5: cannot be read", done.stderr)
        self.assertEqual([e["ret"] for e in trace.events()], [0x7f0000005000])

    def test_output_that_is_no_trace_stays(self):
        precious = self.dir / "precious"
        precious.write_text("mine")
        _, done = self.import_text(f"{MAPPED} = 0x7f0000001000\n", output=precious)
        self.assertEqual((done.returncode, precious.read_text()), (2, "mine"))


class Processes(ImportTest):
    LOG = (f'10 execve("/bin/a", ["a"], 0x1) = 0\n10 {MAPPED} = 0x7f0000001000\n'
           "10 clone(child_stack=NULL, flags=CLONE_CHILD_CLEARTID|SIGCHLD <unfinished ...>\n"
           "11 munmap(0x7f0000001000, 4096) = 0\n"
           "10 <... clone resumed>, child_tidptr=0x1) = 11\n"
           f"10 vfork( <unfinished ...>\n12 {MAPPED} = 0x7f0000005000\n"
           f'12 execve("/bin/b", ["b", "-x"], 0x1) = 0\n10 <... vfork resumed>) = 12\n'
           f"12 {MAPPED} = 0x7f0000009000\n12 +++ exited with 3 +++\n"
           "11 +++ exited with 0 +++\n10 exit_group(0) = ?\n10 +++ exited with 0 +++\n")

    def maps(self, trace):
        return re.findall(r"^([0-9a-f]+)-", trace.text("maps"), re.M)

    def test_first_process_alone(self):
        trace = self.imported(self.LOG)
        self.assertEqual([(e["tid"], e["call"]) for e in trace.events()],
                         [(10, "mmap"), (10, "clone"), (12, "mmap"), (10, "vfork"),
                          (10, "exit_group")])
        self.assertEqual(self.maps(trace), ["7f0000001000", "7f0000005000"])

    def test_forked_child_begins_with_what_its_parent_had(self):
        trace = self.imported(self.LOG, "--pid=11")
        self.assertEqual(self.maps(trace), ["7f0000002000"])

    def test_child_that_execs_has_its_own_space(self):
        trace = self.imported(self.LOG, "--pid=12")
        self.assertEqual(self.maps(trace), ["7f0000009000"])
        self.assertIn("b -x", trace.text("report"))

    def test_directory_takes_them_all(self):
        self.imported(self.LOG, output=self.traces_dir)
        self.assertEqual(sorted(p.name for p in self.traces_dir.iterdir()),
                         ["vmtrail.a.10.vmt", "vmtrail.a.11.vmt", "vmtrail.b.12.vmt"])

    def test_process_that_is_not_there(self):
        _, done = self.import_text(self.LOG, "--pid=99")
        self.assertEqual(done.returncode, 2)
        self.assertIn("99", done.stderr)


@unittest.skipUnless(shutil.which("strace"), "strace is not installed")
class Real(ImportTest):
    """The log of a real run, read by the import and by the tests' own reader."""

    def strace(self, *options_and_argv):
        log = self.dir / "strace.log"
        done = run(["strace", "-o", log, *options_and_argv], env=environment())
        if done.returncode and "ptrace" in done.stderr:
            self.skipTest(done.stderr.strip())
        self.assertEqual(done.returncode, 0, done.stderr)
        trace, imported = self.import_log(log)
        self.assertEqual((imported.returncode, imported.stderr), (0, ""))
        return log, trace

    def test_calls_of_each_thread_are_those_of_the_log(self):
        log, trace = self.strace(*strace_log.STRACE_OPTIONS, program("threads"), "4", "100")
        expected, got = ({tid: [call for call, _ in calls] for tid, calls in of.items()}
                         for of in (strace_log.read_strace(log)[-1].calls,
                                    strace_log.read_trace(trace)))
        self.assertEqual(got, expected)
        self.assertGreater(sum(map(len, got.values())), 800)

    def test_no_call_is_lost_whatever_is_printed(self):
        names = "mmap|munmap|mprotect|mremap|madvise|brk"
        for options in [(), ("-tt", "-T"), ("-ttt", "-y"), ("-r",), ("-t", "--decode-pids=comm")]:
            with self.subTest(options=options):
                log, trace = self.strace("-f", *options, program("threads"), "4", "50")
                calls = re.findall(rf"^\d+[^(]*? (?:{names})\(", log.read_text(errors="replace"),
                                   re.M)
                events = [e for e in trace.events() if e["call"] in names.split("|")]
                self.assertEqual(len(events), len(calls))
                self.assertGreater(len(calls), 400)

    def test_what_python_maps_is_what_it_says(self):
        code = ("import threading, mmap\n"
                "t = [threading.Thread(target=lambda: bytearray(1 << 20)) for _ in range(9)]\n"
                "[x.start() for x in t]; [x.join() for x in t]\n"
                "print(open('/proc/self/maps').read())")
        log = self.dir / "py.log"
        done = run(["strace", "-f", "-o", log, PYTHON, "-c", code], env=environment())
        self.assertEqual(done.returncode, 0, done.stderr)
        trace, imported = self.import_log(log)
        self.assertEqual(imported.returncode, 0, imported.stderr)
        # The program printed its map; that it opened it is the log's mark.
        wanted = {line.split()[0]: line.split()[1] for line in done.stdout.splitlines()
                  if "-" in line and "[" not in line}
        seq = self.events_before(log, trace)
        got = {line.split()[0]: line.split()[1]
               for line in trace.text("maps", "--at", str(seq)).splitlines()}
        for area, prot in got.items():
            if area in wanted:
                self.assertEqual(prot, wanted[area], area)
        missing = [a for a in wanted if a not in got]
        # the executable's and the loader's own segments were mapped by the kernel
        self.assertLessEqual(len(missing), 12, missing)

    def events_before(self, log, trace):
        """How many memory calls were over when the program opened its own map."""
        names = "mmap|munmap|mprotect|mremap|madvise|brk"
        text = log.read_text(errors="replace")
        text = text[:text.index("/proc/self/maps")]
        return len(re.findall(rf"^\d+ +(?:{names})\(.*[^>]$|^\d+ +<\.\.\. (?:{names}) resumed",
                              text, re.M))


if __name__ == "__main__":
    main()
