"""An object store over HTTP on loopback, with one bucket."""

import contextlib
from collections.abc import Iterator

import httpx
from moto.server import ThreadedMotoServer


@contextlib.contextmanager
def serving() -> Iterator[dict[str, str]]:
    """Run the store until the block ends; give the environment that reaches its bucket, ``s3://bucket``."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    url = f"http://{host}:{port}"
    httpx.put(f"{url}/bucket", trust_env=False).raise_for_status()
    try:
        yield {
            "AWS_ENDPOINT_URL": url,
            "AWS_ACCESS_KEY_ID": "key",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_REGION": "us-east-1",
            "AWS_ALLOW_HTTP": "true",
        }
    finally:
        server.stop()
