"""Sends each case to a server, or to several, and prints a table of what came back.

Usage: run.py [--accepted FILE] [--authorities PEM] [--only TEXT] AUTHORITY NAME=ADDRESS:PORT...

AUTHORITY is what the requests are for, such as shop.example.com; they ask for "/" with GET, POST and OPTIONS, and each has to be
answered with 200 as soon as it has come whole. With --authorities the servers speak TLS.

FILE names the cases in which the first server may do something else than RFC 9113 asks for, one a line, with the reason above
them. Exit status 1: it does so in others, or not in one of these.
"""

import argparse
import concurrent.futures
import pathlib
import sys

import cases
from expect import Seen
from talk import PATIENCE, PING, Place, Talk, honest

# At a time, of each server.
AT_ONCE = 8


def outcome(case, place):
    """What a server made of a case, and whether it may."""
    talk = Talk(place, begins=case.begins)
    try:
        stream = case.play(talk)
        if stream is None:
            return "-", True
        talk.frame(PING, 0, 0, b"at rest?")
        has_failed = lambda: talk.goaway not in (None, "NO_ERROR") or talk.http1
        talk.until(lambda: b"at rest?" in talk.pongs or has_failed())
        if stream and not talk.rests:
            talk.until(lambda: talk.is_over(stream) or has_failed())
        if case.expected.is_over:
            talk.until(lambda: talk.closed, PATIENCE / 4)
        seen = Seen(talk, stream)
        return str(seen), case.expected.is_met(seen)
    finally:
        talk.close()


def outcome_or_error(case, place):
    try:
        return outcome(case, place)
    except Exception as error:  # it is the case's outcome
        return f"{type(error).__name__}: {error}", False


def accepted(path):
    lines = pathlib.Path(path).read_text(encoding="utf-8").splitlines() if path else []
    return {line for line in lines if line and not line.startswith("#")}


def arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("--accepted")
    parser.add_argument("--authorities")
    parser.add_argument("--only", default="")
    parser.add_argument("authority")
    parser.add_argument("servers", nargs="+")
    return parser.parse_args()


def main():
    asked = arguments()
    servers = {}
    for server in asked.servers:
        name, address = server.split("=", 1)
        host, port = address.rsplit(":", 1)
        servers[name] = Place(host, int(port), asked.authority, asked.authorities)
    for name, place in servers.items():
        status = honest(place)
        if status != 200:
            sys.exit(f"{name} does not answer an honest request: {status}")
    chosen = [case for case in cases.ALL if asked.only in case.name]
    with concurrent.futures.ThreadPoolExecutor(AT_ONCE * len(servers)) as pool:
        found = {(case.name, name): pool.submit(outcome_or_error, case, place)
                 for case in chosen for name, place in servers.items()}
    print(f"| RFC 9113 | case | asked for | {' | '.join(servers)} |")
    print(f"|---|---|---|{'---|' * len(servers)}")
    for case in chosen:
        outcomes = [found[case.name, name].result() for name in servers]
        shown = [text if is_met else f"**{text}**" for text, is_met in outcomes]
        print(f"| {case.section} | {case.name} | {case.expected.said} | {' | '.join(shown)} |")
    for name in servers:
        print(f"{name}: {sum(found[case.name, name].result()[1] for case in chosen)} of {len(chosen)} as asked for")
    first, excused = next(iter(servers)), accepted(asked.accepted)
    differ = {case.name for case in chosen if not found[case.name, first].result()[1]}
    wrong = [f"{first} differs: {name}" for name in sorted(differ - excused)]
    if not asked.only:
        wrong += [f"accepted, but {first} does not differ: {name}" for name in sorted(excused - differ)]
    for line in wrong:
        print(line, file=sys.stderr)
    return 1 if wrong else 0


sys.exit(main())
