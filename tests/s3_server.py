"""A real S3 server for tests, as a process of its own: moto's, only its S3 part.

With ``--overwrites`` it is one of those that do not know conditional writes.

It prints its address when it listens, and ends when its standard input ends, which also happens when the tests are killed.

moto looks whether an object is there and writes it in two steps. S3 does so in one, and our exclusive creation rests on
that: here one request is answered at a time. moto asks for no credentials; here only one access key is known.
"""

from __future__ import annotations

import io
import logging
import os
import sys
import threading

from moto.moto_server.werkzeug_app import create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server

ACCESS_KEY = "AKIATESTSTESTSTESTST"  # of conftest.S3
_REFUSAL = (
    "<?xml version='1.0' encoding='UTF-8'?><Error><Code>{code}</Code><Message>{message}</Message>"
    "<AWSAccessKeyId>{key}</AWSAccessKeyId><Token-0>{token}</Token-0></Error>"
)


class OneAtATime:
    """The application, one request at a time, closed to strangers."""

    def __init__(self, application):
        self._application = application
        self._lock = threading.Lock()

    def __call__(self, environ, start_response):
        # Read to its end before the lock is taken: a client that dies or is stopped in the middle keeps nobody waiting.
        length = environ.get("CONTENT_LENGTH")
        stream = environ["wsgi.input"]
        environ["wsgi.input"] = io.BytesIO(stream.read(int(length)) if length else b"")
        key = environ.get("HTTP_AUTHORIZATION", "").partition("Credential=")[2].partition("/")[0]
        if "--overwrites" in sys.argv:
            environ.pop("HTTP_IF_NONE_MATCH", None)
        if key != ACCESS_KEY:
            return self._refuse(environ, start_response, key)
        with self._lock:
            return [b"".join(self._application(environ, start_response))]

    @staticmethod
    def _refuse(environ, start_response, key):
        """As AWS does it: with the access key and the session token in the answer."""
        token = environ.get("HTTP_X_AMZ_SECURITY_TOKEN", "")
        body = _REFUSAL.format(
            code="InvalidAccessKeyId", message="The access key does not exist in our records.", key=key, token=token
        ).encode()
        start_response("403 Forbidden", [("Content-Type", "application/xml"), ("Content-Length", str(len(body)))])
        return [body]


class Handler(WSGIRequestHandler):
    """Connections are kept open, as S3 keeps them."""

    protocol_version = "HTTP/1.1"
    timeout = 60


def main() -> None:
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    application = OneAtATime(create_backend_app("s3"))
    server = make_server("127.0.0.1", 0, application, threaded=True, request_handler=Handler)
    print(f"http://127.0.0.1:{server.server_port}", flush=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    sys.stdin.read()
    os._exit(0)


if __name__ == "__main__":
    main()
