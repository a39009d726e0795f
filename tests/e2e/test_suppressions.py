"""Rules keep findings quiet that they name, and no others.

SPDX-License-Identifier: MIT
"""
from harness import VMTRAIL, TraceTest, main, program, run


class Suppressions(TraceTest):
    def setUp(self):
        super().setUp()
        self.record([program("seed_fixed")])
        self.trace = self.only_trace()

    def reuse(self, *rules, options=()):
        path = self.dir / "rules"
        path.write_text("".join(rules))
        return run([VMTRAIL, "reuse", self.trace.path, f"--suppressions={path}", *options])

    def rule(self, *lines):
        return "# why\n{\n  known\n" + "".join(f"   {line}\n" for line in lines) + "}\n"

    def assert_quiet(self, *lines):
        done = self.reuse(self.rule(*lines))
        self.assertEqual((done.returncode, done.stderr), (0, ""), lines)
        self.assertRegex(done.stdout, r"errors 0, warnings 0, info \d+\nsuppressed 1\n$")

    def assert_told(self, *lines):
        done = self.reuse(self.rule(*lines))
        self.assertEqual(done.returncode, 1, (lines, done.stderr))
        self.assertIn("fixed-clobber", done.stdout)

    def test_rules_that_name_the_finding(self):
        for lines in [("vmtrail:*",), ("vmtrail:fixed-clobber",),
                      ("vmtrail:fixed-*", "fun:map_f?xed", "fun:main"),
                      ("vmtrail:fixed-clobber", "...", "fun:main"),
                      ("vmtrail:fixed-clobber", "...", "obj:*/seed_fixed", "..."),
                      ("vmtrail:fixed-clobber", "fun:map_fixed", "...", "fun:_start"),
                      ("vmtrail:fixed-clobber", "...", "...", "...")]:
            with self.subTest(lines=lines):
                self.assert_quiet(*lines)

    def test_rules_that_name_others(self):
        for lines in [("vmtrail:double-unmap",), ("vmtrail:fixed-clobber", "fun:main"),
                      ("vmtrail:fixed-clobber", "fun:map_fixed", "fun:_start"),
                      ("vmtrail:fixed-clobber", "...", "fun:main", "...", "fun:map_fixed"),
                      ("vmtrail:fixed-clobber", "obj:*libc*"),
                      ("vmtrail:fixed-clobber", "fun:map_fixe[d]")]:
            with self.subTest(lines=lines):
                self.assert_told(*lines)

    def test_generated_rules_name_what_they_were_made_of(self):
        made = run([VMTRAIL, "reuse", self.trace.path, "--gen-suppressions"])
        self.assertEqual((made.returncode, made.stderr), (1, ""))
        self.assertIn("fun:main", made.stdout)
        done = self.reuse(made.stdout)
        self.assertEqual((done.returncode, done.stderr), (0, ""))

    def test_rules_that_make_no_sense_are_refused(self):
        for text, line in [("fun:main\n", 1), ("{\n a\n fun:main\n}\n", 3),
                           ("{\n a\n vmtrail:x\n function:f\n}\n", 4), ("{\n a\n", 2)]:
            with self.subTest(text=text):
                done = self.reuse(text)
                self.assertEqual((done.returncode, done.stdout), (2, ""))
                self.assertIn(f"rules:{line}: ", done.stderr)
        done = run([VMTRAIL, "reuse", self.trace.path, "--suppressions=/no/such"])
        self.assertEqual(done.returncode, 2)

    def test_many_wildcards_take_no_time(self):
        done = self.reuse(self.rule("vmtrail:fixed-clobber", *["...", "fun:m*"] * 30))
        self.assertEqual(done.returncode, 1)


if __name__ == "__main__":
    main()
