#!/usr/bin/env python3
"""Adds up the reports of a test run and prints one line: N passed, N failed, N skipped.

totals.py NAME:EXIT:REPORT... where a report is JUnit XML, or the log of `cargo test` when it ends in .log.
A part that ended badly without a failed test of its own (it did not compile, or it crashed) counts as one failure.
"""

import re
import sys
import xml.etree.ElementTree as xml
from pathlib import Path

CARGO_RESULT = re.compile(r"^test result: .*? (\d+) passed; (\d+) failed; (\d+) ignored", re.MULTILINE)


def junit(path):
    passed = failed = skipped = 0
    for case in xml.parse(path).iter("testcase"):
        outcomes = {child.tag for child in case}
        if outcomes & {"failure", "error"}:
            failed += 1
        elif "skipped" in outcomes:
            skipped += 1
        else:
            passed += 1
    return passed, failed, skipped


def cargo(path):
    counts = [tuple(map(int, found)) for found in CARGO_RESULT.findall(path.read_text(errors="replace"))]
    return tuple(map(sum, zip(*counts))) if counts else (0, 0, 0)


def read(path):
    if not path.exists():
        return None
    if path.suffix == ".log":
        return cargo(path)
    try:
        return junit(path)
    except xml.ParseError:
        return None


def main(parts):
    totals = [0, 0, 0]
    for part in parts:
        name, status, report = part.split(":", 2)
        counts = read(Path(report))
        passed, failed, skipped = counts or (0, 0, 0)
        if counts is None or (status != "0" and failed == 0):
            print(f"{name}: ended with status {status}" + ("" if counts else " and left no report"), file=sys.stderr)
            failed += 1
        print(f"{name}: {passed} passed, {failed} failed, {skipped} skipped", file=sys.stderr)
        totals = [total + count for total, count in zip(totals, (passed, failed, skipped))]
    print("{} passed, {} failed, {} skipped".format(*totals), flush=True)
    return 1 if totals[1] or not totals[0] else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
