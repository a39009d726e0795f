"""The JSON of dump, reuse, why, whatif and merges is what vmtrail(1) says it is, and so are the page's examples.

SPDX-License-Identifier: MIT
"""
import json
import os
import pathlib
import re

from harness import TraceTest, main
from schema import DUMP, LAYOUT, MERGES, REUSE, SCHEMAS, WHATIF, WHY, complaints, fields

CASES = pathlib.Path(os.environ.get("TEST_CASES", "."))
PAGE = pathlib.Path(__file__).parents[2] / "analyzer" / "man" / "vmtrail.1"


def section(name):
    """A part of the page's chapter JSON, without the font's escapes."""
    text = PAGE.read_text(encoding="utf-8")
    chapter = text[text.index("\n.SH JSON"):text.index("\n.SH EXIT STATUS")]
    parts = re.split(r"^\.SS ", chapter, flags=re.M)
    part = next(p for p in parts if re.match(name + r"\b", p))
    return re.sub(r"\\f[BIPR]", "", part).replace("\\-", "-")


class Json(TraceTest):
    def check(self, lines, schema):
        values = [json.loads(line) for line in lines.splitlines()]
        self.assertTrue(values)
        wrong = [line for value in values for line in complaints(value, schema)]
        self.assertEqual(wrong[:5], [])
        return values

    def test_of_findings(self):
        for case in ("fex_3253", "decaf_424", "brk_blocked", "lock_limit", "window"):
            with self.subTest(case=case):
                self.record([CASES / case])
                trace = self.traces(case)[0]
                found = self.check(trace.command("reuse", "--format=json").stdout, REUSE)[0]
                self.check(trace.text("dump", "--format=json", "--stacks"), DUMP)
                where = f"{found['addr']}+{found['length']}"
                told = self.check(trace.text("why", where, "--format=json"), WHY)[0]
                self.assertEqual(told["findings"], [found])

    def test_of_many_areas(self):
        self.record([CASES / "clickhouse_5369", 30000], timeout=120)
        found = self.check(self.only_trace().command("reuse", "--format=json").stdout, REUSE)
        self.assertTrue(found[0]["makers"])

    def test_of_other_limits(self):
        self.record([CASES / "kona_162"])
        for limit in ("--rlimit-as=1M", "--rlimit-as=1T", "--max-map-count=10", "--overcommit=2"):
            with self.subTest(limit=limit):
                result = self.only_trace().command("whatif", limit, "--format=json")
                self.check(result.stdout, WHATIF)

        both = self.only_trace().command("whatif", "--rlimit-as=1T", "--layout=bottomup",
                                         "--format=json")
        self.assertIn("layout", self.check(both.stdout, WHATIF)[0])
        alone = self.only_trace().command("whatif", "--thp-align=off", "--format=json")
        self.check(alone.stdout, {"layout": LAYOUT})

    def test_of_merges(self):
        self.record([CASES / "window"])
        self.check(self.only_trace().text("merges", "--format=json"), MERGES)

    def test_a_wrong_value_is_found(self):
        good = {"seq": 1, "areas": 2, "splits": True}
        schema = REUSE["makers"][0]
        self.assertEqual(complaints(good, schema), [])
        for bad in ({**good, "seq": "1"}, {**good, "more": 1}, {"seq": 1, "areas": 2}):
            self.assertEqual(len(complaints(bad, schema)), 1, bad)

    def test_every_field_is_in_the_manual_page(self):
        everything = "".join(section(n) for n in ("dump", "maps", "Frames", "reuse", "why",
                                               "whatif", "merges"))
        for command, schema in SCHEMAS.items():
            missing = {f for f in fields(schema) if not re.search(rf"\b{f}\b", everything)}
            self.assertEqual(missing, set(), command)

    def test_examples_in_the_manual_page(self):
        for command, schema in SCHEMAS.items():
            example = re.search(r"^\.EX\n(\{.*?\})\n\.EE", section(command), re.S | re.M)
            self.assertTrue(example, command)
            value = json.loads(example[1].replace("\n", ""))
            self.assertEqual(complaints(value, schema, partial=True), [], command)


if __name__ == "__main__":
    main()
