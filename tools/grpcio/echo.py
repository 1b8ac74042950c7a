"""test.Echo by grpcio: its server, and a client that makes each kind of call and checks what comes back.

Usage: echo.py server              prints the port, and serves until it is killed
       echo.py client HOST:PORT    ends well if all calls were as they should be
       echo.py quiet HOST:PORT     the same of a call on which nothing is said for a minute
"""

import sys
import threading
import time
from concurrent import futures

import grpc

LARGE = 20 << 20
# In which a server closes a connection on which it is asked by a ping each ten seconds.
QUIET = 65
OPTIONS = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]


def raw(message):
    return message


def say(context):
    """Sends back what metadata came, both before and behind the answer."""
    words = [(name, value) for name, value in context.invocation_metadata() if name.startswith("x-")]
    context.send_initial_metadata(words)
    context.set_trailing_metadata([("x-end-bin", b"\x00\xff")])


def unary(message, context):
    say(context)
    if message == b"fail":
        context.abort(grpc.StatusCode.NOT_FOUND, "nicht gefunden: \u00e4")
    return message


def server(message, context):
    say(context)
    for _ in range(3):
        yield message


def quiet(message, context):
    yield message
    time.sleep(QUIET)
    yield message


def client(messages, context):
    say(context)
    return b"".join(messages)


def both(messages, context):
    say(context)
    yield from messages


def serve():
    handlers = {
        "Unary": grpc.unary_unary_rpc_method_handler(unary, raw, raw),
        "Server": grpc.unary_stream_rpc_method_handler(server, raw, raw),
        "Quiet": grpc.unary_stream_rpc_method_handler(quiet, raw, raw),
        "Client": grpc.stream_unary_rpc_method_handler(client, raw, raw),
        "Both": grpc.stream_stream_rpc_method_handler(both, raw, raw),
    }
    running = grpc.server(futures.ThreadPoolExecutor(16), options=OPTIONS)
    running.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test.Echo", handlers),))
    port = running.add_insecure_port("127.0.0.1:0")
    running.start()
    print(port, flush=True)
    running.wait_for_termination()


def call(address):
    with grpc.insecure_channel(address, options=OPTIONS) as channel:
        method = lambda kind, name: kind(f"/test.Echo/{name}", raw, raw)
        one = method(channel.unary_unary, "Unary")
        words = [("x-word", "there"), ("x-data-bin", b"\x00\x01\xfe\xff")]
        for message in (b"", b"m", b"x" * (64 << 10), b"y" * LARGE):
            answer, rpc = one.with_call(message, metadata=words, timeout=60)
            assert answer == message, len(answer)
            begin, end = dict(rpc.initial_metadata()), dict(rpc.trailing_metadata())
            assert begin["x-word"] == "there" and begin["x-data-bin"] == b"\x00\x01\xfe\xff", begin
            assert end["x-end-bin"] == b"\x00\xff", end
        assert list(method(channel.unary_stream, "Server")(b"s", timeout=30)) == [b"s"] * 3
        assert method(channel.stream_unary, "Client")(iter([b"a", b"b"]), timeout=30) == b"ab"
        talk(method(channel.stream_stream, "Both"))
        packed = one(b"z" * 10_000, compression=grpc.Compression.Gzip, timeout=30)
        assert packed == b"z" * 10_000
        refuse(one, b"fail", grpc.StatusCode.NOT_FOUND, "nicht gefunden: \u00e4")
        refuse(method(channel.unary_unary, "None"), b"m", grpc.StatusCode.UNIMPLEMENTED, None)
        nowhere = channel.unary_unary("/test.Nowhere/Unary", raw, raw)
        refuse(nowhere, b"m", grpc.StatusCode.UNIMPLEMENTED, None)
        for length in (100 << 10, 1 << 20):
            too_long = lambda message, timeout: one(message, metadata=[("x-long", "x" * length)], timeout=timeout)
            refuse(too_long, b"m", grpc.StatusCode.RESOURCE_EXHAUSTED, None)
        leave(method(channel.stream_stream, "Both"))
        assert one(b"last", timeout=30) == b"last"


def wait_quietly(address):
    with grpc.insecure_channel(address, options=OPTIONS) as channel:
        method = channel.unary_stream("/test.Echo/Quiet", raw, raw)
        assert list(method(b"q", timeout=2 * QUIET)) == [b"q"] * 2


def talk(method):
    """A hundred messages, each of which waits for its answer."""
    heard = threading.Semaphore(1)

    def messages():
        for number in range(100):
            heard.acquire()
            yield b"%d" % number

    answers = []
    for answer in method(messages(), timeout=60):
        answers.append(answer)
        heard.release()
    assert answers == [b"%d" % number for number in range(100)], answers


def refuse(method, message, code, details):
    try:
        method(message, timeout=30)
    except grpc.RpcError as error:
        assert error.code() == code, error
        assert details is None or error.details() == details, error.details()
    else:
        raise AssertionError("the call has ended well")


def leave(method):
    """A call whose time is over while both sides are silent, and one that is cancelled."""
    silence = threading.Event()

    def messages():
        yield b"m"
        silence.wait(60)

    try:
        for _ in method(messages(), timeout=0.5):
            pass
    except grpc.RpcError as error:
        assert error.code() == grpc.StatusCode.DEADLINE_EXCEEDED, error
    answers = method(messages(), timeout=30)
    assert next(answers) == b"m"
    answers.cancel()
    assert answers.code() == grpc.StatusCode.CANCELLED, answers.code()
    silence.set()


if sys.argv[1:] == ["server"]:
    serve()
elif sys.argv[1] == "quiet":
    wait_quietly(sys.argv[2])
else:
    call(sys.argv[2])
