"""Libraries that make memory calls by instructions of their own: nothing of them is missed, whenever
they are loaded, and what searches found is used again.

SPDX-License-Identifier: MIT
"""
import platform
import re
import shutil
import unittest

from harness import PYTHON, TraceTest, VMTRAIL, environment, main, program, run

PAGE = 4096
# Pages that a plugin maps and unmaps: while it is loaded, by its function, while it is unloaded.
LOAD, CALL, UNLOAD, STEADY = 11, 7, 17, 13


# Sets a filter that allows everything, then loads a library and calls it.
FILTERED = """
import ctypes, struct, sys
libc = ctypes.CDLL(None)
rule = ctypes.create_string_buffer(struct.pack("HBBI", 6, 0, 0, 0x7fff0000))
program = ctypes.create_string_buffer(struct.pack("HxxxxxxQ", 1, ctypes.addressof(rule)))
print(libc.prctl(38, 1, 0, 0, 0), libc.prctl(22, 2, program, 0, 0))
library = ctypes.CDLL(sys.argv[1])
library.plugin_map.restype = ctypes.c_long
print(library.plugin_map(4096) > 0)
"""


def plugin(name):
    return program(f"inline_{name}.so")


@unittest.skipUnless(platform.machine() == "x86_64", "sites are redirected on x86-64 only")
class Loaded(TraceTest):
    def count(self, trace):
        """How often so many pages were mapped, and given back."""
        made = {}
        for event in trace.events("--call=mmap,munmap"):
            # A call that was given up for lack of room stands there again, marked late.
            if not event["undone"] and (event["call"] == "munmap" or event["args"][3] == 0x22):
                key = event["call"], event["args"][1] // PAGE
                made[key] = made.get(key, 0) + 1
        return made

    def record_plugin(self, name, rounds, threads, *options):
        for old in self.traces():
            old.path.unlink()
        steady = self.dir / "steady.so"
        shutil.copy(plugin("now"), steady)
        self.record_and_compare([program("later"), plugin(name), steady, rounds, threads],
                                *options)
        return self.only_trace("later")

    def assert_nothing_missed(self, trace, rounds):
        made = self.count(trace)
        for pages, times in ((LOAD, rounds + 1), (CALL, rounds), (UNLOAD, rounds + 1)):
            self.assertEqual([made.get((call, pages)) for call in ("mmap", "munmap")],
                             [times, times], f"{pages} pages")
        self.assertEqual(made.get(("mmap", STEADY)), made.get(("munmap", STEADY)))
        self.assertEqual(self.assert_verified(trace)["unseen"], 0)

    def test_every_layout_of_a_library_while_threads_call_another(self):
        for name in ("lazy", "now", "norelro", "joined", "large"):
            with self.subTest(plugin=name):
                trace = self.record_plugin(name, 20, 4)
                self.assert_nothing_missed(trace, 20)
                self.assertRegex(trace.text("report", "--capture"),
                                 rf"inline_{name}\.so\+0x\w+ mmap: redirected")

    def test_loaded_and_unloaded_a_thousand_times(self):
        trace = self.record_plugin("lazy", 1000, 0)
        self.assert_nothing_missed(trace, 1000)
        # The room of what is gone is used again: a page holds 32 stubs.
        pieces = [p for p in trace.pieces() if p["perms"] == "r-xp" and not p.get("path")]
        self.assertLessEqual(sum(p["end"] - p["start"] for p in pieces), 4 * PAGE)

    def test_bound_at_once(self):
        steady = self.dir / "steady.so"
        shutil.copy(plugin("now"), steady)
        self.record_and_compare([program("later"), plugin("lazy"), steady, 20, 2],
                                env=environment(LD_BIND_NOW="1"))
        self.assert_nothing_missed(self.only_trace("later"), 20)

    def test_code_that_is_still_to_be_relocated_is_left_alone(self):
        trace = self.record_plugin("textrel", 3, 0)
        self.assertIn("inline_textrel.so: left alone: its code is still to be relocated",
                      trace.text("report", "--capture"))
        self.assertNotIn(("mmap", CALL), self.count(trace))

    def test_under_a_filter_nothing_is_searched_and_that_is_told(self):
        recorded = self.record_and_compare([PYTHON, "-c", FILTERED, plugin("lazy")])
        self.assertEqual(recorded.stdout, "0 0\nTrue\n")
        trace = self.only_trace("python3*")
        self.assertIn("what is loaded under a seccomp filter is not searched",
                      trace.text("report", "--capture"))
        self.assert_verified(trace)

    def test_code_that_is_not_the_loaders_stays_as_it_is(self):
        recorded = self.record_and_compare([program("mapcode"), plugin("joined")])
        self.assertEqual(recorded.stdout, "as in its file\n")

    def test_a_large_text_does_not_become_resident(self):
        text = r"r-xp \S+ \S+ \S+ +\S+/inline_large\.so\n(?:.*\n)*?Rss: +(\d+) kB"
        env = environment(LD_PRELOAD=plugin("large"))
        recorded = self.record(["cat", "/proc/self/smaps"], env=env)
        # The kernel maps pages by up to 2 MiB at once; the text has 4.
        self.assertLess(int(re.search(text, recorded.stdout)[1]), 3072)

    def test_larger_texts_than_allowed_are_told(self):
        self.assertNotIn(("mmap", CALL),
                         self.count(self.record_plugin("lazy", 3, 0, "--inline=no")))

    def calls_at_exit(self, cache):
        """Of a large library that is there from the start: (seen, of how many)."""
        for old in self.traces():
            old.path.unlink()
        done = run([VMTRAIL, "record", f"--cache={cache}", "-o", self.traces_dir, "--", "true"],
                   env=environment(LD_PRELOAD=plugin("large")))
        self.assertEqual((done.returncode, done.stdout, done.stderr), (0, "", ""))
        return self.count(self.only_trace("true")).get(("mmap", UNLOAD), 0)

    def test_a_text_is_searched_once(self):
        cache = self.dir / "code"
        self.assertEqual(self.calls_at_exit(cache), 1)
        self.assertEqual(cache.stat().st_mode & 0o777, 0o600)
        found = cache.read_text()
        line = next(l for l in found.splitlines() if re.fullmatch(r"\w+ \w+ \w+ v\d+( \w+){3}", l))
        self.assertEqual(self.calls_at_exit(cache), 1)
        self.assertEqual(cache.read_text(), found)
        # It is what the next process goes by ...
        cache.write_text(re.sub(r" v6 .*", " v6", line) + "\n")
        self.assertEqual(self.calls_at_exit(cache), 0)
        # ... but only to know where to look.
        for wrong in (line + " 0 1 7fffffff ffffffff 123456789abcdef", line * 3, line[:-1] + "g",
                      "\n" * 70000, "v6 " * 30000, line.replace("v6", "v5"), ""):
            with self.subTest(cache=wrong[:200]):
                cache.write_text(wrong + "\n")
                self.assertEqual(self.calls_at_exit(cache), 1)
        shifted = [f"{int(word, 16) + 1:x}" for word in line.split()[4:]]
        cache.write_text(" ".join(line.split()[:4] + shifted) + "\n")
        self.assertEqual(self.calls_at_exit(cache), 0)

    def sites_of_libc(self, cache):
        for old in self.traces():
            old.path.unlink()
        done = run([VMTRAIL, "record", f"--cache={cache}", "-o", self.traces_dir, "--", "true"])
        self.assertEqual((done.returncode, done.stdout, done.stderr), (0, "", ""))
        return re.findall(r"(?:libc|ld-linux)\S*\+0x.*", self.only_trace("true").text("report", "--capture"))

    def test_libc_is_searched_once(self):
        cache = self.dir / "code"
        sites = self.sites_of_libc("no")
        self.assertGreater(len(sites), 20)
        self.assertEqual(self.sites_of_libc(cache), sites)
        found = cache.read_text()
        lines = re.findall(r"(?m)^\w+ \w+ \w+ v\d+ i\w+ .*$", found)
        self.assertEqual(len(lines), 2)
        self.assertEqual(self.sites_of_libc(cache), sites)
        self.assertEqual(cache.read_text(), found)
        # Where there is no site none is made, and for other calls than ours it is not believed.
        cache.write_text("\n".join(re.sub(r" \w+$", " 1 7 7fffffff", line) for line in lines) + "\n")
        self.assertEqual(len(self.sites_of_libc(cache)), len(sites) - 2)
        cache.write_text("\n".join(re.sub(r" i\w+ .*", " i0", line) for line in lines) + "\n")
        self.assertEqual(self.sites_of_libc(cache), sites)

    def test_what_searches_found_is_kept_where_caches_are(self):
        home = self.dir / "home"
        home.mkdir()
        for env, path in (({"HOME": str(home), "XDG_CACHE_HOME": ""}, home / ".cache"),
                          ({"XDG_CACHE_HOME": str(home / "other")}, home / "other")):
            done = run([VMTRAIL, "record", "-o", self.traces_dir, "--", "true"],
                       env=environment(LD_PRELOAD=plugin("large"), **env))
            self.assertEqual((done.returncode, done.stderr), (0, ""))
            self.assertRegex((path / "vmtrail" / "code").read_text(), "(?m) v6 ")
        done = run([VMTRAIL, "record", "--cache=", "-o", self.traces_dir, "--", "true"])
        self.assertEqual((done.returncode, done.stderr),
                         (2, "vmtrail: --cache=: expected a file name, or no\n"))


if __name__ == "__main__":
    main()
