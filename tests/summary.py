#!/usr/bin/env python3
"""The result of test runs in one line: summary.py TESTLOG.json...

Reads the logs of `meson test`, names what failed and what was skipped, and ends with the line
"N passed, M failed". Exit status 1 if anything failed, or if a log is missing or empty.

SPDX-License-Identifier: MIT
"""
import json
import sys

PASSED = {"OK", "EXPECTEDFAIL"}


def results(path):
    """Yield (name, result) of each test in the log."""
    with open(path, encoding="utf-8", errors="replace") as log:
        for line in log:
            test = json.loads(line)
            yield test["name"], test["result"]


def main(paths):
    passed = failed = 0
    for path in paths:
        try:
            tests = list(results(path))
        except OSError as error:
            tests = []
            print(f"no results: {error}")
        failed += not tests
        for name, result in tests:
            if result in PASSED:
                passed += 1
            elif result == "SKIP":
                print(f"skipped: {name}")
            else:
                failed += 1
                print(f"failed: {name} ({result.lower()})")
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
