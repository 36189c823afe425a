"""`pintail load` from an S3 store and from web servers: each object once, by ranges, without a secret in any message."""

import functools
import http.server
import threading
from pathlib import Path

import boto3
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
from conftest import query, run
from moto.server import ThreadedMotoServer

SECRET = "a-secret-that-nobody-prints"


class Store:
    """A bucket of an S3 server on this machine, and the environment that leads to it."""

    def __init__(self):
        self.server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
        self.server.start()
        host, port = self.server.get_host_and_port()
        endpoint = f"http://{host}:{port}"
        self.env = {
            "AWS_ACCESS_KEY_ID": "key",
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": endpoint,
            "AWS_ALLOW_HTTP": "true",
        }
        self.client = boto3.client(
            "s3",
            endpoint_url=endpoint,
            region_name="us-east-1",
            aws_access_key_id="key",
            aws_secret_access_key=SECRET,
        )
        self.client.create_bucket(Bucket="bucket")

    def put(self, key: str, content: bytes) -> None:
        self.client.put_object(Bucket="bucket", Key=key, Body=content)

    def load(self, server, *arguments, check=True):
        done = run("load", *arguments, "--server", server.uri, env=self.env, check=check)
        assert SECRET not in done.stdout + done.stderr
        return done


@pytest.fixture
def store():
    store = Store()
    yield store
    store.server.stop()


def as_parquet(table: pa.Table, **options) -> bytes:
    sink = pa.BufferOutputStream()
    parquet.write_table(table, sink, **options)
    return sink.getvalue().to_pybytes()


def ids(server, table: str) -> list:
    return query(server.client(), f"SELECT * FROM {table} ORDER BY ALL").to_pylist()


def test_a_prefix_is_a_folder(server, store):
    """Partitions are columns, hidden names no data, and what was loaded is loaded once."""
    for day in (1, 2):
        part = pa.table({"id": pa.array([day * 10, day * 10 + 1], pa.int64())})
        store.put(f"sales/day={day}/part-0.parquet", as_parquet(part))
    store.put("sales/_SUCCESS", b"")
    store.put("sales/_temporary/0.parquet", b"unfinished")
    expected = [{"id": day * 10 + n, "day": day} for day in (1, 2) for n in (0, 1)]
    for url in ("s3://bucket/sales/", "s3://bucket/sales", "s3://bucket/sales/*/*.parquet"):
        store.load(server, url, "--table", "sales")
        assert ids(server, "sales") == expected, url
    store.put("sales/day=3/part-0.parquet", as_parquet(pa.table({"id": pa.array([30], pa.int64())})))
    store.load(server, "s3://bucket/sales/", "--table", "sales")
    assert ids(server, "sales") == [*expected, {"id": 30, "day": 3}]


def test_an_object_that_grows_adds_its_new_records(server, store):
    store.put("log.csv", b"id,word\n1,a\n2,\n")
    store.load(server, "s3://bucket/log.csv", "--table", "log")
    store.put("log.csv", b"id,word\n1,a\n2,\n3,c\n")
    store.load(server, "s3://bucket/log.csv", "--table", "log")
    expected = [{"id": 1, "word": "a"}, {"id": 2, "word": None}, {"id": 3, "word": "c"}]
    assert ids(server, "log") == expected


def test_what_is_not_there_is_named(server, store):
    for url in ("s3://bucket/none/*.parquet", "s3://bucket/none", "s3://nowhere/x.csv"):
        done = store.load(server, url, "--table", "t", check=False)
        assert done.returncode == 1 and url in done.stderr, done.stderr


class Web(http.server.SimpleHTTPRequestHandler):
    """Serves a folder, by ranges when it `ranges`."""

    ranges = True

    def do_GET(self):  # noqa: N802
        wanted = self.headers.get("Range")
        self.server.asked.append(wanted)
        file = Path(self.translate_path(self.path))
        if not (wanted and self.ranges and file.exists()):
            return super().do_GET()
        content = file.read_bytes()
        first, last = (int(end) for end in wanted.removeprefix("bytes=").split("-"))
        part = content[first : last + 1]
        self.send_response(206)
        self.send_header("Content-Range", f"bytes {first}-{first + len(part) - 1}/{len(content)}")
        self.send_header("Content-Length", str(len(part)))
        self.end_headers()
        self.server.sent += len(part)
        return self.wfile.write(part)

    def log_message(self, *_):
        pass


class WholeFiles(Web):
    ranges = False


@pytest.fixture
def web(tmp_path, request):
    folder = tmp_path / "web"
    folder.mkdir()
    handler = functools.partial(getattr(request, "param", Web), directory=str(folder))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.asked, server.sent = [], 0
    server.folder, server.url = folder, f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def test_a_link_is_read_by_ranges(server, web):
    """Signed links may change; the file is the same one, and no signature is printed."""
    table = pa.table({"id": pa.array(range(300_000), pa.int64())})
    (web.folder / "a b.parquet").write_bytes(as_parquet(table, row_group_size=50_000))
    for signature in ("first", "second"):
        link = f"{web.url}/a%20b.parquet?X-Amz-Signature={signature}-{SECRET}"
        done = run("load", link, "--table", "t", "--server", server.uri)
        assert SECRET not in done.stdout + done.stderr
        found = query(server.client(), "SELECT count(*) AS n, sum(id) AS s FROM t").to_pylist()
        assert found == [{"n": 300_000, "s": 299_999 * 150_000}]
    assert web.asked and None not in web.asked
    done = run("load", f"{web.url}/none.csv?sig={SECRET}", "--table", "t", "--server", server.uri, check=False)
    assert done.returncode == 1 and f"{web.url}/none.csv" in done.stderr and SECRET not in done.stderr, done.stderr


@pytest.mark.parametrize("web", [WholeFiles], indirect=True)
def test_a_server_without_ranges_is_refused(server, web):
    (web.folder / "t.csv").write_bytes(b"id\n1\n")
    done = run("load", f"{web.url}/t.csv", "--table", "t", "--server", server.uri, check=False)
    assert done.returncode == 1 and "whole files only" in done.stderr and "download" in done.stderr, done.stderr
