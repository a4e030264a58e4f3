"""A server for tests, on this machine, that speaks S3."""

from contextlib import contextmanager
from urllib.request import Request, urlopen

import fsspec
import pytest


@contextmanager
def s3_server(monkeypatch):
    """Start an empty server, which s3:// addresses lead to, and give a client of it."""
    server = pytest.importorskip("moto.server").ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    urlopen(Request(f"http://{host}:{port}/moto-api/reset", method="POST")).close()  # all servers share one state
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    import boto3

    client = boto3.client("s3")
    yield client
    client.close()
    server.stop()
    fsspec.get_filesystem_class("s3").clear_instance_cache()
