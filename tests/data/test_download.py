import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from kdbench.data.download import DownloadError, download
from kdbench.errors import UsageError


class Host(BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/nothing":
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", "1000" if self.path == "/short" else "5")
        self.end_headers()
        self.wfile.write(b"whole")

    def log_message(self, *_):
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = False  # leaving the server waits for its connections


@pytest.fixture(scope="module")
def host():
    with Server(("127.0.0.1", 0), Host) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def approve(_path):
    pass


def test_a_file_comes_whole_and_is_checked_before_it_has_its_name(host, tmp_path):
    path, seen = tmp_path / "new" / "x", []

    def check(scratch):
        seen.append((scratch.read_bytes(), path.exists()))

    download(f"{host}/x", path, check)
    assert seen == [(b"whole", False)]
    assert path.read_bytes() == b"whole"
    assert list(path.parent.iterdir()) == [path]


def refuse(scratch):
    raise UsageError(f"{scratch} is not it")


@pytest.mark.parametrize(
    ("what", "check", "message"),
    [
        ("/nothing", approve, "HTTP Error 404: Not Found"),
        ("/short", approve, "it broke off after 5 of 1000 bytes"),
        ("/x", refuse, "^what came is not it$"),
    ],
)
def test_nothing_stays_of_a_download_that_failed(host, tmp_path, what, check, message):
    with pytest.raises(DownloadError, match=message):
        download(host + what, tmp_path / "x", check)
    assert list(tmp_path.iterdir()) == []


def test_a_host_that_is_not_there_and_a_folder_that_cannot_be_written(host, tmp_path):
    with pytest.raises(DownloadError, match=r"^\[Errno 111\] Connection refused$"):
        download("http://127.0.0.1:1/x", tmp_path / "x", approve)
    (tmp_path / "file").touch()
    with pytest.raises(DownloadError, match="File exists"):
        download(f"{host}/x", tmp_path / "file" / "x", approve)
