"""`meson install` puts everything in its place, and the installed command finds its library.

SPDX-License-Identifier: MIT
"""
import os
import pathlib
import re
import shutil
import unittest

from harness import Trace, TraceTest, environment, main, program, run

BUILD = os.environ.get("TEST_BUILD", "build")
EXPECTED = [r"/bin/vmtrail$", r"/libvmtrail\.so$", r"/include/vmtrail/format\.h$",
            r"/pkgconfig/vmtrail\.pc$", r"/man1/vmtrail\.1$", r"/man5/vmtrail-trace\.5$"]


@unittest.skipUnless(shutil.which("meson"), "meson is not in PATH")
class Install(TraceTest):
    def setUp(self):
        super().setUp()
        self.root = self.dir / "root"
        done = run(["meson", "install", "-C", BUILD, "--no-rebuild", "--destdir", self.root])
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.files = [p for p in self.root.rglob("*") if p.is_file()]

    def installed(self, pattern):
        found = [p for p in self.files if re.search(pattern, str(p))]
        self.assertEqual(len(found), 1, f"{pattern}: {found}")
        return found[0]

    def test_every_piece_is_installed(self):
        for pattern in EXPECTED:
            with self.subTest(pattern=pattern):
                self.installed(pattern)

    def test_nothing_of_the_tests_is_installed(self):
        self.assertEqual([p for p in self.files if "test" in p.name or "seed" in p.name], [])

    def test_installed_command_finds_its_library(self):
        vmtrail, output = self.installed(EXPECTED[0]), self.dir / "one.vmt"
        recorded = run([vmtrail, "record", "-o", output, "--", program("seed_fixed")])
        self.assert_same(run([program("seed_fixed")]), recorded)
        self.assert_verified(Trace(output))

    def test_pkg_config_tells_where_the_library_is(self):
        pc = self.installed(EXPECTED[3])
        done = run(["pkg-config", "--modversion", "vmtrail"],
                   env=environment(PKG_CONFIG_PATH=str(pc.parent)))
        self.assertRegex(done.stdout, r"^\d+\.\d+")
        self.assertIn("libvmtrail", pathlib.Path(pc).read_text())


if __name__ == "__main__":
    main()
