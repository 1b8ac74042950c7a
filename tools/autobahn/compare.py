"""Holds the suite's reports of several ways to a server against that of the first one, case by case, for tools/autobahn.sh.

Usage: compare.py DIRECTORY DIRECT THROUGH...   each of them a directory of reports, by the name of its agent

Exit status 0 if all end the same. The names of the cases that do not are in DIRECTORY/different.
"""

import collections
import json
import pathlib
import sys

# What the suite found, and all of the connection's end that does not depend on time.
COMPARED = ("behavior", "behaviorClose", "wasClean", "remoteCloseCode", "remoteCloseReason", "droppedByMe", "received")


def results(directory, name):
    """What is compared of each case."""
    index = json.loads((directory / name / "index.json").read_text())
    found = {}
    for case, entry in index[name].items():
        report = json.loads((directory / name / entry["reportfile"]).read_text())
        found[case] = {what: report[what] for what in COMPARED}
    return found


def by_number(case):
    return [int(number) for number in case.split(".")]


def main():
    directory, (direct, *through) = pathlib.Path(sys.argv[1]), sys.argv[2:]
    expected = results(directory, direct)
    behaviours = collections.Counter(case["behavior"] for case in expected.values())
    print(f"{direct}: {len(expected)} cases: {dict(behaviours)}")
    all_different = set()
    for name in through:
        found = results(directory, name)
        different = [case for case in expected.keys() | found.keys() if expected.get(case) != found.get(case)]
        for case in sorted(different, key=by_number):
            print(f"  {case}: {direct} {expected.get(case)}, {name} {found.get(case)}")
        print(f"{name}: {len(found)} cases, {len(different)} of them end otherwise (must be 0)")
        all_different.update(different)
    (directory / "different").write_text("".join(f"{case}\n" for case in sorted(all_different, key=by_number)))
    if not expected or all_different:
        sys.exit(1)


main()
