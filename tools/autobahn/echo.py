"""Sends every message of a WebSocket back, for tools/autobahn.sh. Usage: echo.py PORT

What it does does not depend on how the bytes come in pieces: each message has been sent back before the next frame is looked
at. So the suite finds the same each time, unless somebody between the two changes something.
"""

import asyncio
import sys

from wsproto import ConnectionState, ConnectionType, WSConnection
from wsproto.events import AcceptConnection, CloseConnection, Message, Ping, Request
from wsproto.extensions import PerMessageDeflate


class Echo:
    def __init__(self):
        self.connection = WSConnection(ConnectionType.SERVER)
        self.pieces = []

    def answers(self, data):
        """What is to be sent for these bytes; of none more come."""
        self.connection.receive_data(data)
        for event in self.connection.events():
            answer = self.answer(event)
            if answer is not None and self.connection.state is not ConnectionState.CLOSED:
                yield self.connection.send(answer)

    def answer(self, event):
        if isinstance(event, Request):
            return AcceptConnection(extensions=[PerMessageDeflate()])
        if isinstance(event, (Ping, CloseConnection)):
            return event.response()
        if isinstance(event, Message):
            self.pieces.append(event.data)
            if event.message_finished:
                whole = type(event.data)().join(self.pieces)
                self.pieces.clear()
                return type(event)(data=whole)
        return None


async def serve(reader, writer):
    echo = Echo()
    try:
        while data := await reader.read(65536):
            if echo.connection.state in (ConnectionState.CLOSED, ConnectionState.LOCAL_CLOSING):
                continue  # Nothing is left to be said. What comes is read, so that nothing that was sent is lost.
            for answer in echo.answers(data):
                writer.write(answer)
                await writer.drain()
            if echo.connection.state in (ConnectionState.CLOSED, ConnectionState.LOCAL_CLOSING):
                writer.write_eof()
    except OSError:
        pass
    writer.close()


async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", int(sys.argv[1]))
    await server.serve_forever()


asyncio.run(main())
