"""Each malformed sequence of frames of RFC 9113, sections 3.4 to 8, and what the RFC asks for.

A case sends something and returns the stream that it is about, whose end is waited for unless it says that it `rests`; 0: the
connection; None: the server's settings leave nothing to send.
"""

import struct

from expect import anything, answered, connection, ignored, malformed, served, stream
from talk import (ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, HAS_PRIORITY, HEADERS, PADDED, PING, PREFACE,
                  PRIORITY, PUSH_PROMISE, RST_STREAM, SETTINGS, WINDOW_UPDATE)

ALL = []
CANCEL = struct.pack(">I", 8)
UNKNOWN = 0xF7


class Case:
    def __init__(self, section, name, expected, play, begins):
        self.section, self.name, self.expected, self.play, self.begins = section, name, expected, play, begins


def case(section, name, expected, begins=True):
    def add(play):
        ALL.append(Case(section, name, expected, play, begins))
        return play
    return add


def one(section, name, expected, *frame, stream=0):
    """A case of one frame, after which nothing else is sent."""
    def play(talk):
        talk.frame(*frame)
        return stream
    case(section, name, expected)(play)


def of_request(section, name, expected, end=True, **named):
    """A case of one HEADERS."""
    def play(talk):
        talk.headers(1, end=end, **named)
        return 1
    case(section, name, expected)(play)


def u32(value):
    return struct.pack(">I", value)


def setting(number, value):
    return struct.pack(">HI", number, value)


PROTOCOL, SIZE, CLOSED = "PROTOCOL_ERROR", "FRAME_SIZE_ERROR", "STREAM_CLOSED"
FLOW, COMPRESSION = "FLOW_CONTROL_ERROR", "COMPRESSION_ERROR"

# --- 3.4: how a connection begins


@case("3.4", "another preface", connection(PROTOCOL), begins=False)
def _(talk):
    talk.send(b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n" + talk.raw(SETTINGS, 0, 0))
    return 0


@case("3.4", "PING before SETTINGS", connection(PROTOCOL), begins=False)
def _(talk):
    talk.send(PREFACE + talk.raw(PING, 0, 0, bytes(8)))
    return 0


@case("3.4", "HEADERS before SETTINGS", connection(PROTOCOL), begins=False)
def _(talk):
    talk.send(PREFACE + talk.raw(HEADERS, END_HEADERS | END_STREAM, 1, talk.block(talk.fields())))
    return 0


@case("3.4", "SETTINGS in pieces after the preface in pieces", answered, begins=False)
def _(talk):
    for byte in PREFACE + talk.raw(SETTINGS, 0, 0, setting(4, 65535)):
        talk.send(bytes([byte]))
    talk.request()
    return 1


# --- 4.1: frames

one("4.1", "a frame of unknown type on the connection", ignored, UNKNOWN, 0, 0, b"what?")
one("4.1", "a frame of unknown type with all flags", ignored, UNKNOWN, 0xFF, 0, b"what?")
one("4.1", "a frame of unknown type on an idle stream", ignored, UNKNOWN, 0, 7, b"what?")
one("4.1", "PING with flags that nobody knows", ignored, PING, 0xFE, 0, bytes(8))
one("4.1", "SETTINGS with flags that nobody knows", ignored, SETTINGS, 0xFE, 0, b"")
one("4.1", "PING with the reserved bit of its stream", ignored, PING, 0, 0x80000000, bytes(8))
one("4.1", "WINDOW_UPDATE with the reserved bit of its increment", ignored, WINDOW_UPDATE, 0, 0, u32(0x80000001))


@case("4.1", "HEADERS with the reserved bit of its stream", answered)
def _(talk):
    talk.headers(0x80000001)
    return 1


@case("4.1", "HEADERS with flags that nobody knows", answered)
def _(talk):
    talk.headers(1, flags=0xD2)
    return 1


@case("4.1", "a frame of unknown type within a request", answered)
def _(talk):
    talk.headers(1, method="POST", end=False)
    talk.frame(UNKNOWN, 1, 1, b"what?")
    talk.frame(DATA, END_STREAM, 1, b"body")
    return 1


# --- 4.2: sizes


@case("4.2", "DATA as long as a frame may be", answered)
def _(talk):
    talk.headers(1, method="POST", end=False)
    talk.frame(DATA, END_STREAM, 1, bytes(16384))
    return 1


def too_long(talk):
    most = talk.settings.get(5, 16384)
    return most + 1 if most <= 1 << 20 else None


@case("4.2", "DATA that is too long", stream(SIZE))
def _(talk):
    if (length := too_long(talk)) is None:
        return None
    talk.headers(1, method="POST", end=False)
    talk.frame(DATA, 0, 1, bytes(length))
    return 1


@case("4.2", "HEADERS that are too long", connection(SIZE))
def _(talk):
    if (length := too_long(talk)) is None:
        return None
    block = talk.block(talk.fields())
    talk.frame(HEADERS, END_HEADERS | END_STREAM, 1, block + bytes(length - len(block)))
    return 0


@case("4.2", "SETTINGS that are too long", connection(SIZE))
def _(talk):
    if (length := too_long(talk)) is None:
        return None
    talk.frame(SETTINGS, 0, 0, setting(0xF000, 1) * (length // 6 + 1))
    return 0


@case("4.2", "a frame of unknown type that is too long", connection(SIZE))
def _(talk):
    if (length := too_long(talk)) is None:
        return None
    talk.frame(UNKNOWN, 0, 0, bytes(length))
    return 0


one("4.2", "SETTINGS of 7 bytes", connection(SIZE), SETTINGS, 0, 0, bytes(7))
one("4.2", "SETTINGS of 5 bytes", connection(SIZE), SETTINGS, 0, 0, bytes(5))
one("4.2", "PING of 7 bytes", connection(SIZE), PING, 0, 0, bytes(7))
one("4.2", "PING of 9 bytes", connection(SIZE), PING, 0, 0, bytes(9))
one("4.2", "PING of none", connection(SIZE), PING, 0, 0)
one("4.2", "GOAWAY of 7 bytes", connection(SIZE), GOAWAY, 0, 0, bytes(7))
one("4.2", "WINDOW_UPDATE of 3 bytes", connection(SIZE), WINDOW_UPDATE, 0, 0, bytes([0, 0, 1]))
one("4.2", "WINDOW_UPDATE of 5 bytes", connection(SIZE), WINDOW_UPDATE, 0, 0, bytes([0, 0, 1, 0, 0]))


def on_open(section, name, expected, *frame):
    """A frame on a stream whose request has not ended."""
    def play(talk):
        talk.headers(1, method="POST", end=False)
        talk.frame(*frame)
        return 1
    case(section, name, expected)(play)


on_open("4.2", "RST_STREAM of 3 bytes", connection(SIZE), RST_STREAM, 0, 1, bytes(3))
on_open("4.2", "RST_STREAM of 5 bytes", connection(SIZE), RST_STREAM, 0, 1, bytes(5))
on_open("4.2", "WINDOW_UPDATE of 3 bytes on a stream", connection(SIZE), WINDOW_UPDATE, 0, 1, bytes(3))
on_open("4.2", "PRIORITY of 4 bytes", stream(SIZE), PRIORITY, 0, 1, bytes(4))
on_open("4.2", "PRIORITY of 6 bytes", stream(SIZE), PRIORITY, 0, 1, bytes(6))
one("4.2", "HEADERS of 4 bytes that say they have a priority", connection(SIZE, PROTOCOL), HEADERS,
    END_HEADERS | END_STREAM | HAS_PRIORITY, 1, bytes(4))
one("4.2", "HEADERS of no byte that say they have padding", connection(SIZE, PROTOCOL), HEADERS,
    END_HEADERS | END_STREAM | PADDED, 1)

# --- 4.3: compression


def of_block(name, expected, block):
    """A case of a request's block, with its fields first."""
    def play(talk):
        talk.frame(HEADERS, END_HEADERS | END_STREAM, 1, block(talk.block(talk.fields())))
        return 1
    case("4.3", name, expected)(play)


of_block("an index that there is none of", connection(COMPRESSION), lambda fields: fields + b"\xff\x80\x01")
of_block("the index 0", connection(COMPRESSION), lambda fields: fields + b"\x80")
of_block("a name's index that there is none of", connection(COMPRESSION), lambda fields: fields + b"\x7f\x80\x01\x01a")
of_block("an index that is cut", connection(COMPRESSION), lambda fields: fields + b"\xff")
of_block("a text that is cut", connection(COMPRESSION), lambda fields: fields + b"\x00\x05ab")
of_block("a length above all numbers", connection(COMPRESSION), lambda fields: fields + b"\x00\x7f" + b"\xff" * 12)
of_block("Huffman's end of string", connection(COMPRESSION), lambda fields: fields + b"\x00\x01a\x84\xff\xff\xff\xff")
of_block("Huffman's padding of 8 bits", connection(COMPRESSION), lambda fields: fields + b"\x00\x01a\x82\x1f\xff")
of_block("Huffman's padding of zeros", connection(COMPRESSION), lambda fields: fields + b"\x00\x01a\x81\x18")
of_block("a table that grows beyond its bound", connection(COMPRESSION), lambda fields: b"\x3f\xe1\xff\xff\x07" + fields)
of_block("a table that changes after a field", connection(COMPRESSION), lambda fields: fields + b"\x20")
of_block("a table that is emptied", answered, lambda fields: b"\x20" + fields)
of_block("a table that is emptied and filled", answered, lambda fields: b"\x20\x3f\x81\x1f" + fields)
of_block("a field that is never to be indexed", answered, lambda fields: fields + b"\x10\x01a\x01b")


@case("4.3", "a field that the table has from the request before", answered)
def _(talk):
    talk.frame(HEADERS, END_HEADERS | END_STREAM, 1, talk.block(talk.fields()) + b"\x40\x01a\x01b")
    talk.frame(HEADERS, END_HEADERS | END_STREAM, 3, talk.block(talk.fields()) + b"\xbe")
    return 3


@case("4.3", "a field that a malformed request has put into the table", answered | connection(PROTOCOL))
def _(talk):
    malformed_fields = talk.fields(more=[("connection", "close")])
    talk.frame(HEADERS, END_HEADERS | END_STREAM, 1, talk.block(malformed_fields) + b"\x40\x01a\x01b")
    talk.frame(HEADERS, END_HEADERS | END_STREAM, 3, talk.block(talk.fields()) + b"\xbe")
    return 3


def between(name, *frame):
    """A frame between HEADERS and their CONTINUATION."""
    def play(talk):
        block = talk.block(talk.fields())
        talk.frame(HEADERS, END_STREAM, 1, block[:10])
        talk.frame(*frame)
        talk.frame(CONTINUATION, END_HEADERS, 1, block[10:])
        return 1
    case("4.3", f"{name} within a head", connection(PROTOCOL))(play)


between("DATA", DATA, 0, 1, b"body")
between("HEADERS of the same stream", HEADERS, END_HEADERS | END_STREAM, 1, b"\x82")
between("HEADERS of another stream", HEADERS, END_HEADERS | END_STREAM, 3, b"\x82")
between("PRIORITY", PRIORITY, 0, 1, bytes(5))
between("RST_STREAM", RST_STREAM, 0, 1, CANCEL)
between("SETTINGS", SETTINGS, 0, 0)
between("PING", PING, 0, 0, bytes(8))
between("GOAWAY", GOAWAY, 0, 0, bytes(8))
between("WINDOW_UPDATE", WINDOW_UPDATE, 0, 0, u32(1))
between("CONTINUATION of another stream", CONTINUATION, END_HEADERS, 3, b"\x82")
between("a frame of unknown type", UNKNOWN, 0, 1, b"what?")


@case("4.3", "a head in three frames, of which one is empty", answered)
def _(talk):
    block = talk.block(talk.fields())
    talk.frame(HEADERS, END_STREAM, 1, block[:10])
    talk.frame(CONTINUATION, 0, 1)
    talk.frame(CONTINUATION, END_HEADERS, 1, block[10:])
    return 1


# --- 5.1: states of a stream

one("5.1", "DATA on an idle stream", connection(PROTOCOL), DATA, END_STREAM, 1, b"body")
one("5.1", "RST_STREAM on an idle stream", connection(PROTOCOL), RST_STREAM, 0, 1, CANCEL)
one("5.1", "WINDOW_UPDATE on an idle stream", connection(PROTOCOL), WINDOW_UPDATE, 0, 1, u32(1))
one("5.1", "CONTINUATION on an idle stream", connection(PROTOCOL), CONTINUATION, END_HEADERS, 1, b"\x82")
one("5.1", "PRIORITY on an idle stream", ignored, PRIORITY, 0, 1, bytes(5))


def half_closed(name, expected, *frame):
    """A frame on a stream whose request has ended, before the answer."""
    def play(talk):
        request = talk.raw(HEADERS, END_HEADERS | END_STREAM, 1, talk.block(talk.fields()))
        talk.send(request + talk.raw(*frame))
        return 1
    case("5.1", f"{name} after the request's end", expected)(play)


half_closed("DATA", stream(CLOSED), DATA, END_STREAM, 1, b"body")
half_closed("HEADERS", stream(CLOSED), HEADERS, END_HEADERS | END_STREAM, 1, b"\x00\x01a\x01b")
half_closed("CONTINUATION", connection(PROTOCOL), CONTINUATION, END_HEADERS, 1, b"\x00\x01a\x01b")
half_closed("WINDOW_UPDATE", answered, WINDOW_UPDATE, 0, 1, u32(1))
half_closed("PRIORITY", answered, PRIORITY, 0, 1, bytes(5))
half_closed("RST_STREAM", ignored, RST_STREAM, 0, 1, CANCEL)


def closed(name, expected, *frame, is_reset=False):
    """A frame on a stream that was answered, or that the client has reset: nothing more comes on it but an error."""
    def play(talk):
        if is_reset:
            talk.headers(1, method="POST", end=False)
            talk.frame(RST_STREAM, 0, 1, CANCEL)
        else:
            talk.request()
        talk.frame(*frame)
        talk.rests = True
        return 1
    case("5.1", f"{name} after {'a reset' if is_reset else 'the answer'}", expected)(play)


closed("DATA", stream(CLOSED), DATA, END_STREAM, 1, b"body")
closed("HEADERS", stream(CLOSED) | connection(PROTOCOL), HEADERS, END_HEADERS | END_STREAM, 1, b"\x00\x01a\x01b")
closed("CONTINUATION", connection(PROTOCOL, CLOSED), CONTINUATION, END_HEADERS, 1, b"\x00\x01a\x01b")
closed("WINDOW_UPDATE", ignored | answered, WINDOW_UPDATE, 0, 1, u32(1))
closed("PRIORITY", ignored | answered, PRIORITY, 0, 1, bytes(5))
closed("RST_STREAM", ignored | answered, RST_STREAM, 0, 1, CANCEL)
closed("DATA", stream(CLOSED), DATA, END_STREAM, 1, b"body", is_reset=True)
closed("HEADERS", stream(CLOSED) | connection(PROTOCOL), HEADERS, END_HEADERS | END_STREAM, 1, b"\x00\x01a\x01b",
       is_reset=True)
closed("CONTINUATION", connection(PROTOCOL, CLOSED), CONTINUATION, END_HEADERS, 1, b"\x82", is_reset=True)
closed("PRIORITY", ignored, PRIORITY, 0, 1, bytes(5), is_reset=True)


@case("5.1.1", "a stream of an even number", connection(PROTOCOL))
def _(talk):
    talk.headers(2)
    return 0


@case("5.1.1", "a stream below one that was opened", connection(PROTOCOL))
def _(talk):
    talk.headers(5)
    talk.headers(3)
    return 0


@case("5.1.1", "DATA on a stream that was passed over", connection(PROTOCOL, CLOSED) | stream(CLOSED))
def _(talk):
    talk.headers(5)
    talk.frame(DATA, END_STREAM, 3, b"body")
    return 3


@case("5.1.2", "one stream more than there may be", stream("REFUSED_STREAM", PROTOCOL))
def _(talk):
    most = talk.settings.get(3)
    if most is None or most > 1000:
        return None
    last = 2 * most + 1
    for number in range(1, last + 1, 2):
        talk.headers(number, method="POST", end=False)
    talk.until(lambda: talk.is_over(last))
    for number in range(1, last, 2):
        talk.frame(RST_STREAM, 0, number, CANCEL)
    return last


# --- 6.1: DATA

one("6.1", "DATA on the connection", connection(PROTOCOL), DATA, 0, 0, b"body")
on_open("6.1", "DATA with more padding than there is", connection(PROTOCOL), DATA, PADDED, 1, b"\x05body")
on_open("6.1", "DATA of no byte that say they have padding", connection(PROTOCOL, SIZE), DATA, PADDED, 1)
on_open("6.1", "DATA with padding", answered, DATA, PADDED | END_STREAM, 1, b"\x03body\0\0\0")
on_open("6.1", "DATA that are all padding", answered, DATA, PADDED | END_STREAM, 1, b"\x03\0\0\0")
on_open("6.1", "DATA of no byte at the end", answered, DATA, END_STREAM, 1)

# --- 6.2: HEADERS

one("6.2", "HEADERS on the connection", connection(PROTOCOL), HEADERS, END_HEADERS | END_STREAM, 0, b"\x82")
one("6.2", "HEADERS with more padding than there is", connection(PROTOCOL), HEADERS,
    END_HEADERS | END_STREAM | PADDED, 1, b"\x09\x82")


@case("6.2", "HEADERS with padding and a priority", answered)
def _(talk):
    block = b"\x04" + u32(0) + b"\x10" + talk.block(talk.fields()) + bytes(4)
    talk.frame(HEADERS, END_HEADERS | END_STREAM | PADDED | HAS_PRIORITY, 1, block)
    return 1


# --- 6.3: PRIORITY, of which nothing is asked for any more but its form

one("6.3", "PRIORITY on the connection", connection(PROTOCOL), PRIORITY, 0, 0, bytes(5))


@case("6.3", "PRIORITY of a stream that depends on itself", anything)
def _(talk):
    talk.headers(1, method="POST", end=False)
    talk.frame(PRIORITY, 0, 1, u32(1) + b"\x10")
    talk.frame(DATA, END_STREAM, 1)
    return 1


@case("6.3", "HEADERS of a stream that depends on itself", anything)
def _(talk):
    talk.frame(HEADERS, END_HEADERS | END_STREAM | HAS_PRIORITY, 1, u32(1) + b"\x10" + talk.block(talk.fields()))
    return 1


# --- 6.4: RST_STREAM

one("6.4", "RST_STREAM on the connection", connection(PROTOCOL), RST_STREAM, 0, 0, CANCEL)


@case("6.4", "RST_STREAM with a code that nobody knows", ignored)
def _(talk):
    talk.headers(1, method="POST", end=False)
    talk.frame(RST_STREAM, 0, 1, u32(0xDEAD))
    talk.rests = True
    return 1


# --- 6.5: SETTINGS

one("6.5", "SETTINGS on a stream", connection(PROTOCOL), SETTINGS, 0, 1)
one("6.5", "SETTINGS that confirm and say something", connection(SIZE), SETTINGS, ACK, 0, setting(4, 65535))
one("6.5", "ENABLE_PUSH of 2", connection(PROTOCOL), SETTINGS, 0, 0, setting(2, 2))
one("6.5", "INITIAL_WINDOW_SIZE of 2^31", connection(FLOW), SETTINGS, 0, 0, setting(4, 1 << 31))
one("6.5", "MAX_FRAME_SIZE of 16383", connection(PROTOCOL), SETTINGS, 0, 0, setting(5, 16383))
one("6.5", "MAX_FRAME_SIZE of 2^24", connection(PROTOCOL), SETTINGS, 0, 0, setting(5, 1 << 24))
one("6.5", "a setting that nobody knows", ignored, SETTINGS, 0, 0, setting(0xF000, 7))
one("6.5", "HEADER_TABLE_SIZE of 0", ignored, SETTINGS, 0, 0, setting(1, 0))
one("6.5", "HEADER_TABLE_SIZE of 2^32-1", ignored, SETTINGS, 0, 0, setting(1, 0xFFFFFFFF))
one("6.5", "MAX_CONCURRENT_STREAMS of 0", ignored, SETTINGS, 0, 0, setting(3, 0))
one("6.5", "a setting twice", ignored, SETTINGS, 0, 0, setting(4, 1) + setting(4, 65535))


@case("6.5", "SETTINGS are confirmed, each", ignored)
def _(talk):
    before = talk.settings_acks
    for _ in range(3):
        talk.frame(SETTINGS, 0, 0)
    talk.until(lambda: talk.settings_acks == before + 3)
    if talk.settings_acks != before + 3:
        raise AssertionError(f"{talk.settings_acks - before} of 3 are confirmed")
    return 0


# --- 6.6: PUSH_PROMISE

one("6.6", "PUSH_PROMISE of a client", connection(PROTOCOL), PUSH_PROMISE, END_HEADERS, 1, u32(2) + b"\x82")
on_open("6.6", "PUSH_PROMISE of a client on an open stream", connection(PROTOCOL), PUSH_PROMISE, END_HEADERS, 1,
        u32(2) + b"\x82")

# --- 6.7: PING

one("6.7", "PING on a stream", connection(PROTOCOL), PING, 0, 1, bytes(8))
one("6.7", "an answer to no PING", ignored, PING, ACK, 0, b"answered")


@case("6.7", "PING is answered with what it says", ignored)
def _(talk):
    talk.frame(PING, 0, 0, b"question")
    talk.until(lambda: talk.pongs)
    if talk.pongs != [b"question"]:
        raise AssertionError(f"answered with {talk.pongs}")
    return 0


# --- 6.8: GOAWAY

one("6.8", "GOAWAY on a stream", connection(PROTOCOL), GOAWAY, 0, 1, bytes(8))


@case("6.8", "GOAWAY while a request is answered", served)
def _(talk):
    request = talk.raw(HEADERS, END_HEADERS | END_STREAM, 1, talk.block(talk.fields()))
    talk.send(request + talk.raw(GOAWAY, 0, 0, bytes(4) + u32(0xDEAD)))
    talk.until(lambda: talk.is_over(1))
    talk.rests = True
    return 1


# --- 6.9: windows

one("6.9", "WINDOW_UPDATE of 0 on the connection", connection(PROTOCOL), WINDOW_UPDATE, 0, 0, u32(0))
on_open("6.9", "WINDOW_UPDATE of 0 on a stream", stream(PROTOCOL), WINDOW_UPDATE, 0, 1, u32(0))
one("6.9", "a window of the connection above 2^31-1", connection(FLOW), WINDOW_UPDATE, 0, 0, u32(0x7FFFFFFF))
on_open("6.9", "a stream's window above 2^31-1", stream(FLOW), WINDOW_UPDATE, 0, 1, u32(0x7FFFFFFF))


@case("6.9", "INITIAL_WINDOW_SIZE that makes a stream's window too large", connection(FLOW))
def _(talk):
    talk.headers(1, method="POST", end=False)
    talk.frame(WINDOW_UPDATE, 0, 1, u32(1))
    talk.frame(SETTINGS, 0, 0, setting(4, 0x7FFFFFFF))
    return 0


@case("6.9", "an answer waits for its window, and is sent by the byte", answered)
def _(talk):
    acks = talk.settings_acks
    talk.frame(SETTINGS, 0, 0, setting(4, 0))
    talk.until(lambda: talk.settings_acks > acks)
    talk.headers(1)
    talk.until(lambda: 1 in talk.statuses)
    talk.until(lambda: False, 0.2)
    if talk.data.get(1):
        raise AssertionError(f"{talk.data[1]} bytes without a window")
    talk.frame(WINDOW_UPDATE, 0, 1, u32(1))
    talk.until(lambda: talk.data.get(1))
    talk.until(lambda: False, 0.2)
    if talk.data.get(1) != 1:
        raise AssertionError(f"{talk.data.get(1)} bytes for a window of one")
    talk.frame(SETTINGS, 0, 0, setting(4, 65535))
    return 1


# --- 6.10: CONTINUATION

one("6.10", "CONTINUATION on the connection", connection(PROTOCOL), CONTINUATION, END_HEADERS, 0, b"\x82")
on_open("6.10", "CONTINUATION after a head that is complete", connection(PROTOCOL), CONTINUATION, END_HEADERS, 1,
        b"\x00\x01a\x01b")


@case("6.10", "CONTINUATION after DATA", connection(PROTOCOL))
def _(talk):
    talk.headers(1, method="POST", end=False)
    talk.frame(DATA, 0, 1, b"body")
    talk.frame(CONTINUATION, END_HEADERS, 1, b"\x00\x01a\x01b")
    return 0


# --- 8.1: requests


def with_body(section, name, expected, bodies, more=(), trailers=None, **named):
    """A request with DATA, and perhaps trailers."""
    def play(talk):
        talk.headers(1, method="POST", end=False, more=more, **named)
        for number, body in enumerate(bodies, 1):
            talk.frame(DATA, END_STREAM if number == len(bodies) and trailers is None else 0, 1, body)
        if trailers is not None:
            talk.headers(1, fields=trailers)
        return 1
    case(section, name, expected)(play)


with_body("8.1", "trailers", answered, [b"body"], trailers=[("checksum", "7")])
with_body("8.1", "trailers with a pseudo-header", malformed, [b"body"], trailers=[(":path", "/")])
with_body("8.1", "trailers with a pseudo-header of answers", malformed, [b"body"], trailers=[(":status", "200")])
with_body("8.1", "trailers with a capital letter", malformed, [b"body"], trailers=[("Checksum", "7")])
with_body("8.1", "trailers with a field of the connection", malformed, [b"body"], trailers=[("connection", "close")])


@case("8.1", "trailers that are not the end", malformed)
def _(talk):
    talk.headers(1, method="POST", end=False)
    talk.frame(DATA, 0, 1, b"body")
    talk.headers(1, fields=[("checksum", "7")], end=False)
    talk.frame(DATA, END_STREAM, 1, b"more")
    return 1


with_body("8.1.1", "content-length of 1 with 4 bytes", malformed, [b"body"], more=[("content-length", "1")])
with_body("8.1.1", "content-length of 9 with 4 bytes", malformed, [b"body"], more=[("content-length", "9")])
with_body("8.1.1", "content-length of 5 with 4 bytes and 4", malformed, [b"body", b"body"],
          more=[("content-length", "5")])
with_body("8.1.1", "content-length of 9 with 4 bytes and trailers", malformed, [b"body"],
          more=[("content-length", "9")], trailers=[("checksum", "7")])
with_body("8.1.1", "content-length twice, with different numbers", malformed, [b"body"],
          more=[("content-length", "4"), ("content-length", "5")])
with_body("8.1.1", "content-length that is no number", malformed, [b"body"], more=[("content-length", "4x")])
with_body("8.1.1", "content-length with a sign", malformed, [b"body"], more=[("content-length", "+4")])
with_body("8.1.1", "content-length of 8 with 4 bytes and 4", answered, [b"body", b"body"],
          more=[("content-length", "8")])
of_request("8.1.1", "content-length of 4 without DATA", malformed, method="POST", more=[("content-length", "4")])
of_request("8.1.1", "content-length of 0 without DATA", answered, method="POST", more=[("content-length", "0")])

# --- 8.2: fields

for what, name in [("a capital letter", "Name"), ("a space", "na me"), ("a colon", "na:me"), ("a NUL", b"na\0me"),
                   ("a line's end", b"na\r\nme"), ("DEL", b"na\x7fme"), ("a byte above ASCII", b"na\xe9me"),
                   ("no byte", "")]:
    of_request("8.2.1", f"a name with {what}", malformed, more=[(name, "value")])
for what, value in [("NUL", b"a\0b"), ("CR", b"a\rb"), ("LF", b"a\nb")]:
    of_request("8.2.1", f"a value with {what}", malformed, more=[("name", value)])
for what, value in [("a space before it", " value"), ("a tab before it", "\tvalue"), ("a space after it", "value ")]:
    of_request("8.2.1", f"a value with {what}", malformed, more=[("name", value)])
of_request("8.2.1", "a value of no byte", answered, more=[("name", "")])
of_request("8.2.1", "a value with bytes above ASCII", answered, more=[("name", b"caf\xc3\xa9")])
for field in [("connection", "close"), ("proxy-connection", "close"), ("keep-alive", "timeout=5"),
              ("transfer-encoding", "chunked"), ("upgrade", "websocket"), ("te", "gzip"), ("te", "trailers, gzip")]:
    of_request("8.2.2", f"{field[0]}: {field[1]}", malformed, more=[field])
of_request("8.2.2", "te: trailers", answered, more=[("te", "trailers")])
of_request("8.2.3", "cookies in pieces", answered, more=[("cookie", "a=1"), ("cookie", "b=2")])

# --- 8.3: pseudo-headers

of_request("8.3", "a pseudo-header that nobody knows", malformed, more=[(":unknown", "1")])
of_request("8.3", "a pseudo-header of answers", malformed, more=[(":status", "200")])
of_request("8.3", "a pseudo-header of extended CONNECT with GET", malformed, more=[(":protocol", "websocket")])
for name, value in [(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "shop.example.com")]:
    of_request("8.3", f"{name} twice", malformed, more=[(name, value)])


def after(name):
    def play(talk):
        fields = talk.fields()
        late = [field for field in fields if field[0] == name]
        talk.headers(1, fields=[field for field in fields if field[0] != name] + [("name", "value")] + late)
        return 1
    case("8.3", f"{name} after a field", malformed)(play)


for name in [":method", ":scheme", ":path", ":authority"]:
    after(name)
for name in [":method", ":scheme", ":path"]:
    of_request("8.3.1", f"no {name}", malformed, without=[name])
of_request("8.3.1", "no pseudo-header", malformed, without=[":method", ":scheme", ":path", ":authority"])
of_request("8.3.1", "neither :authority nor host", malformed, without=[":authority"])
of_request("8.3.1", ":path of no byte", malformed, path="")
of_request("8.3.1", ":path without a slash", malformed, path="goods")
of_request("8.3.1", ":path with a space", malformed, path="/a b")
of_request("8.3.1", ":path with a line's end", malformed, path=b"/a\r\nb")
of_request("8.3.1", ":path with NUL", malformed, path=b"/a\0b")
of_request("8.3.1", ":method of no byte", malformed, method="")
of_request("8.3.1", ":method with a space", malformed, method="GE T")
of_request("8.3.1", ":method with a line's end", malformed, method=b"GET\r\n")


def with_authority(name, expected, authority, more=()):
    def play(talk):
        host = authority(talk.place.authority)
        talk.headers(1, without=[":authority"], fields=[
            (":authority", host) if field[0] == ":authority" else field for field in talk.fields(more=more)])
        return 1
    case("8.3.1", name, expected)(play)


with_authority(":authority with a user", malformed, lambda host: f"user@{host}")
with_authority(":authority with a line's end", malformed, lambda host: f"{host}\r\na: b")
with_authority(":authority with a space", malformed, lambda host: f"{host} b")
with_authority(":authority of no byte", malformed, lambda host: "")
with_authority(":authority and another host", malformed | answered, lambda host: host, [("host", "other.example.com")])
with_authority(":authority with a port", answered, lambda host: f"{host}:8443")


@case("8.3.1", "host in place of :authority", answered)
def _(talk):
    talk.headers(1, without=[":authority"], more=[("host", talk.place.authority)])
    return 1


of_request("8.3.2", "an answer in place of a request", malformed, without=[":method", ":scheme", ":path", ":authority"],
           more=[(":status", "200")])

# --- 8.5: CONNECT

of_request("8.5", "CONNECT with :path and :scheme", malformed, end=False, method="CONNECT")
of_request("8.5", "CONNECT without :authority", malformed, end=False, method="CONNECT",
           without=[":path", ":scheme", ":authority"])
