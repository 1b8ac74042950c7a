"""One connection of HTTP/2, on which anything can be sent, and what comes back."""

import socket
import ssl
import struct
import time

import h2.connection
import hpack
import hyperframe.exceptions
from hyperframe import frame as frames

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
ACK = END_STREAM = 0x1
END_HEADERS = 0x4
PADDED = 0x8
HAS_PRIORITY = 0x20
CODES = ["NO_ERROR", "PROTOCOL_ERROR", "INTERNAL_ERROR", "FLOW_CONTROL_ERROR", "SETTINGS_TIMEOUT", "STREAM_CLOSED",
         "FRAME_SIZE_ERROR", "REFUSED_STREAM", "CANCEL", "COMPRESSION_ERROR", "CONNECT_ERROR", "ENHANCE_YOUR_CALM",
         "INADEQUATE_SECURITY", "HTTP_1_1_REQUIRED"]
# Streams that tell whether the connection still works: above all that cases use.
PROBE = 4001
# So many seconds an answer may take.
PATIENCE = 4.0


def name_of(code):
    return CODES[code] if code < len(CODES) else f"code {code}"


class Place:
    """Where the server is, and what it answers to."""

    def __init__(self, host, port, authority, authorities=None):
        self.host, self.port, self.authority, self.authorities = host, port, authority, authorities

    def connect(self):
        plain = socket.create_connection((self.host, self.port), timeout=PATIENCE)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self.authorities is None:
            return plain
        context = ssl.create_default_context(cafile=self.authorities)
        context.set_alpn_protocols(["h2"])
        stream = context.wrap_socket(plain, server_hostname=self.authority)
        if stream.selected_alpn_protocol() != "h2":
            raise ConnectionError("the server does not agree on HTTP/2")
        return stream

    @property
    def scheme(self):
        return "http" if self.authorities is None else "https"


class Talk:
    """A connection. What the server has said of it is in the attributes."""

    def __init__(self, place, begins=True):
        self.place = place
        self.stream = place.connect()
        self.decoder = hpack.Decoder()
        self.bytes = b""
        self.settings = {}      # of the server
        self.has_settings = False
        self.settings_acks = 0
        self.pongs = []
        self.goaway = None      # the code's name
        self.closed = False
        self.http1 = None       # the answer's first line, if it is one of HTTP/1
        self.statuses = {}      # by stream
        self.data = {}          # by stream: how many bytes of body
        self.resets = {}        # by stream: the code's name
        self.ended = set()      # streams whose answer came to its end
        self.rests = False      # whether nothing more comes on the case's stream
        if begins:
            self.send(PREFACE + frames.SettingsFrame(0).serialize())
            self.until(lambda: self.settings_acks and self.has_settings)

    # --- what is sent

    def send(self, data):
        try:
            self.stream.sendall(data)
        except OSError:
            # What came before is still to be read.
            pass

    def raw(self, kind, flags, stream, payload=b"", length=None):
        """A frame of whatever kind, with whatever length it says it has."""
        length = len(payload) if length is None else length
        return struct.pack(">I", length)[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload

    def frame(self, kind, flags, stream, payload=b"", length=None):
        self.send(self.raw(kind, flags, stream, payload, length))

    def fields(self, method="GET", path="/", more=(), without=()):
        named = [(":method", method), (":scheme", self.place.scheme), (":authority", self.place.authority),
                 (":path", path)]
        return [field for field in named if field[0] not in without] + list(more)

    def block(self, fields):
        """Literals without index and without Huffman, so that what is no field can be said as well, and no state is kept."""
        block = b""
        for name, value in fields:
            name, value = (text if isinstance(text, bytes) else text.encode() for text in (name, value))
            block += b"\x00" + self.text(name) + self.text(value)
        return block

    @staticmethod
    def text(text):
        length = len(text)
        if length < 127:
            return bytes([length]) + text
        head, length = b"\x7f", length - 127
        while length >= 128:
            head, length = head + bytes([length % 128 + 128]), length // 128
        return head + bytes([length]) + text

    def headers(self, stream, fields=None, end=True, flags=0, **named):
        fields = self.fields(**named) if fields is None else fields
        self.frame(HEADERS, END_HEADERS | (END_STREAM if end else 0) | flags, stream, self.block(fields))

    def request(self, stream=1):
        """An honest one, and its answer."""
        self.headers(stream)
        self.until(lambda: self.is_over(stream))

    # --- what comes

    def is_over(self, stream):
        return stream in self.ended or stream in self.resets

    def until(self, is_done, patience=PATIENCE):
        """Reads until that is so, or nothing more can come."""
        end = time.monotonic() + patience
        while not is_done() and not self.closed:
            left = end - time.monotonic()
            if left <= 0:
                return
            self.stream.settimeout(left)
            try:
                read = self.stream.recv(1 << 16)
            except TimeoutError:
                return
            except OSError:
                read = b""
            if not read:
                self.closed = True
            self.take(read)

    def take(self, read):
        self.bytes += read
        if self.bytes.startswith(b"HTTP/1."):
            self.http1 = self.bytes.split(b"\r\n", 1)[0].decode("latin-1")
            return
        while len(self.bytes) >= 9:
            try:
                frame, length = frames.Frame.parse_frame_header(memoryview(self.bytes[:9]))
            except hyperframe.exceptions.HyperframeError as error:
                raise ConnectionError(f"the server sends no frame: {error}") from error
            if len(self.bytes) < 9 + length:
                return
            frame.parse_body(memoryview(self.bytes[9:9 + length]))
            self.bytes = self.bytes[9 + length:]
            self.came(frame)

    def came(self, frame):
        stream, flags = frame.stream_id, frame.flags
        if isinstance(frame, frames.SettingsFrame):
            if "ACK" in flags:
                self.settings_acks += 1
            else:
                self.settings.update(frame.settings)
                self.has_settings = True
                self.frame(SETTINGS, ACK, 0)
        elif isinstance(frame, frames.HeadersFrame):
            self.block_of, self.head_ends = frame.data, "END_STREAM" in flags
        elif isinstance(frame, frames.ContinuationFrame):
            self.block_of += frame.data
        elif isinstance(frame, frames.DataFrame):
            self.data[stream] = self.data.get(stream, 0) + len(frame.data)
            if "END_STREAM" in flags:
                self.ended.add(stream)
        elif isinstance(frame, frames.RstStreamFrame):
            self.resets.setdefault(stream, name_of(frame.error_code))
        elif isinstance(frame, frames.PingFrame) and "ACK" in flags:
            self.pongs.append(frame.opaque_data)
        elif isinstance(frame, frames.GoAwayFrame):
            code = name_of(frame.error_code)
            self.goaway = code if self.goaway in (None, "NO_ERROR") else self.goaway
        if isinstance(frame, (frames.HeadersFrame, frames.ContinuationFrame)) and "END_HEADERS" in flags:
            for name, value in self.decoder.decode(self.block_of):
                if name == ":status":
                    self.statuses[stream] = int(value)
            if self.head_ends:
                self.ended.add(stream)

    # --- whether it still works

    def works(self):
        """Whether a request is answered; of a server that has said that it ends the connection with an error, no."""
        if self.goaway not in (None, "NO_ERROR") or self.closed:
            return False
        self.headers(PROBE)
        self.until(lambda: self.is_over(PROBE) or self.goaway not in (None, "NO_ERROR"))
        return self.statuses.get(PROBE) == 200

    def close(self):
        self.stream.close()


def honest(place):
    """What a client that is somebody else's says to a request: the status, after a whole conversation."""
    connection = h2.connection.H2Connection()
    connection.initiate_connection()
    stream = place.connect()
    connection.send_headers(1, [(":method", "GET"), (":scheme", place.scheme), (":authority", place.authority),
                                (":path", "/")], end_stream=True)
    stream.sendall(connection.data_to_send())
    status = None
    with stream:
        while read := stream.recv(1 << 16):
            for event in connection.receive_data(read):
                if isinstance(event, h2.events.ResponseReceived):
                    status = int(dict(event.headers)[b":status"])
                if isinstance(event, h2.events.StreamEnded):
                    return status
            stream.sendall(connection.data_to_send())
    return status
