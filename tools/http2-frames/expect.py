"""What RFC 9113 asks for, and whether what came is that."""


class Seen:
    """What became of a case."""

    def __init__(self, talk, stream):
        self.works = talk.works()
        self.reset = talk.resets.get(stream)
        self.status = talk.statuses.get(stream)
        self.goaway = talk.goaway if talk.goaway != "NO_ERROR" else None
        self.closed = talk.closed
        self.http1 = talk.http1

    def __str__(self):
        said = []
        if self.http1:
            said.append(self.http1)
        if self.goaway:
            said.append(f"GOAWAY {self.goaway}")
        elif self.closed:
            said.append("closed")
        if self.reset:
            said.append(f"RST_STREAM {self.reset}")
        if self.status:
            said.append(str(self.status))
        if self.works and not self.reset and not self.status:
            said.append("nothing")
        return ", ".join(said) or "silence"

    @property
    def is_over(self):
        """Whether the connection has ended in an error."""
        return bool(self.goaway or self.closed or self.http1)


class Expected:
    def __init__(self, said, is_met, is_over=False):
        self.said, self.is_met = said, is_met
        # Whether it is enough to wait for the connection's end.
        self.is_over = is_over

    def __or__(self, other):
        return Expected(f"{self.said}; or {other.said}", lambda seen: self.is_met(seen) or other.is_met(seen))


def connection(*codes):
    """An error of the connection. GOAWAY should be sent, and need not (5.4.1)."""
    return Expected(f"connection: {' or '.join(codes)}",
                    lambda seen: seen.is_over and (seen.goaway is None or seen.goaway in codes), True)


def stream(*codes):
    """An error of the stream, which may be made one of the connection (5.4)."""
    by_connection = connection(*codes)
    return Expected(f"stream: {' or '.join(codes)}", lambda seen: by_connection.is_met(seen) or (
        seen.reset in codes and seen.works))


# A malformed request: an error of the stream, before which there may be an answer (8.1.1).
_malformed = stream("PROTOCOL_ERROR")
malformed = Expected("malformed", lambda seen: _malformed.is_met(seen) or (
    seen.works and seen.status is not None and 400 <= seen.status < 502 and seen.status != 500))
# As if it had not been sent.
ignored = Expected("ignored", lambda seen: seen.works and seen.reset is None)
answered = Expected("answered", lambda seen: seen.works and seen.status == 200 and seen.reset in (None, "NO_ERROR"))
# The request is; the connection may have ended after it.
served = Expected("answered", lambda seen: seen.status == 200)
# Nothing is asked for but that others on the connection, or another connection, go on.
anything = Expected("anything", lambda seen: seen.works or seen.is_over)
