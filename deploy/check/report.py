"""What a check is, and how checks are printed and counted."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Check:
    """One thing that was checked; `problem` is empty if it is as it should be."""

    what: str
    problem: str = ""


def equal(what, actual, expected):
    return Check(what, "" if actual == expected else f"expected {expected!r}, found {actual!r}")


def holds(what, condition, problem):
    return Check(what, "" if condition else problem)


def dig(value, path):
    """The value at a path like `spec.containers.0.image`, or None."""
    for step in path.split("."):
        if isinstance(value, dict):
            value = value.get(step)
        elif isinstance(value, list) and step.isdigit() and int(step) < len(value):
            value = value[int(step)]
        else:
            return None
    return value


def seconds(duration):
    """The number in a duration like `30s`, which is how all of deploy/ writes them, or as a plain number."""
    return int(str(duration).removesuffix("s"))


def bytes_in(size):
    """The number in a size like `512M`, of 1024 * 1024 bytes each, as Compose and systemd count; 0 where there is none."""
    return int(size.removesuffix("M")) << 20 if size else 0


def run(subjects):
    """Prints each check of each (name, generator) and the totals; answers whether all passed."""
    passed = failed = 0
    for name, checks in subjects:
        for check in _with_crashes(checks):
            if check.problem:
                failed += 1
                print(f"FAIL {name}: {check.what}: {check.problem}", flush=True)
            else:
                passed += 1
                print(f"ok   {name}: {check.what}", flush=True)
    print(f"{passed} passed, {failed} failed", flush=True)
    return failed == 0 and passed > 0


def _with_crashes(checks):
    """A check that cannot be made has failed; those of its subject behind it are lost with it."""
    try:
        yield from checks
    except Exception as error:  # noqa: BLE001 - whatever it was, it is reported
        trace = error.__traceback__
        while trace.tb_next:
            trace = trace.tb_next
        place = f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}"
        yield Check("can be checked to its end", f"{type(error).__name__}: {error} ({place})")
