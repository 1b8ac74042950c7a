"""What is behind the servers: answers every request of HTTP/1.1 with 200 when it has come whole. Prints its address."""

import http.server


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self):
        if "chunked" in self.headers.get("transfer-encoding", ""):
            while (length := int(self.rfile.readline().split(b";")[0] or b"0", 16)):
                self.rfile.read(length + 2)
            while self.rfile.readline().strip():
                pass
        else:
            self.rfile.read(int(self.headers.get("content-length", 0)))
        self.send_response(200)
        self.send_header("content-length", "5")
        self.end_headers()
        self.wfile.write(b"hello")

    do_GET = do_POST = do_OPTIONS = answer

    def log_message(self, *_):
        pass


class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 512

    def handle_error(self, *_):
        """A server that gives up a request breaks its connection."""


with Server(("127.0.0.1", 0), Handler) as server:
    print("%s:%d" % server.server_address, flush=True)
    server.serve_forever()
