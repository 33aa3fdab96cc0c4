from __future__ import annotations

import hashlib
import tarfile
import threading
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path

import pytest

from cimsim.errors import CimsimError
from cimsim.training.data import cifar10, load_data
from cimsim.training.data.download import download

CONTENT = bytes(range(256)) * 5000
CHECKSUM = hashlib.sha256(CONTENT).hexdigest()


class Handler(BaseHTTPRequestHandler):
    """Serves CONTENT as /whole, its first half as /half, a page as /page, else 404.

    Asked as a proxy, it answers with the page as well.
    """

    def do_GET(self) -> None:
        body = {"/whole": CONTENT, "/half": CONTENT[: len(CONTENT) // 2], "/page": b"<html>"}
        if self.path.startswith("http:"):
            self.path = "/page"
        if self.path not in body:
            self.send_error(404)
            return
        self.send_response(200)
        announced = CONTENT if self.path == "/half" else body[self.path]
        self.send_header("Content-Length", str(len(announced)))
        self.end_headers()
        self.wfile.write(body[self.path])

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{http.server_port}"
        http.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(urllib.request, "_opener", None)  # it remembers the proxies it first saw
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)


def test_a_file_comes_whole(server: str, tmp_path: Path) -> None:
    download(f"{server}/whole", CHECKSUM, tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == CONTENT
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize(
    ("page", "told"),
    [
        ("half", "did not return the published file"),
        ("page", "did not return the published file"),
        ("nothing", "cannot download .*: Not Found"),
    ],
)
def test_anything_else_leaves_nothing(server: str, tmp_path: Path, page: str, told: str) -> None:
    with pytest.raises(CimsimError, match=told) as error:
        download(f"{server}/{page}", CHECKSUM, tmp_path / "file")
    assert f"{server}/{page}" in str(error.value)
    assert "--data-dir" in str(error.value)
    assert list(tmp_path.iterdir()) == []


def test_what_was_there_stays_when_the_download_fails(server: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("old")
    with pytest.raises(CimsimError):
        download(f"{server}/half", CHECKSUM, tmp_path / "file")
    assert (tmp_path / "file").read_text() == "old"


def test_no_server(tmp_path: Path) -> None:
    with pytest.raises(CimsimError, match=r"cannot download .*: .*refused"):
        download("http://127.0.0.1:9/file", CHECKSUM, tmp_path / "file")
    assert list(tmp_path.iterdir()) == []


def test_an_interrupt_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Interrupted(BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            if self.tell():
                assert list(tmp_path.iterdir()), "nothing was written before the interrupt"
                raise KeyboardInterrupt
            return super().read(1000)

    monkeypatch.setattr(urllib.request, "urlopen", lambda *args, **kwargs: Interrupted(CONTENT))
    with pytest.raises(KeyboardInterrupt):
        download("http://example.org/file", CHECKSUM, tmp_path / "file")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CimsimError, match=r"cannot create the folder .*file/MNIST/raw"):
        load_data("mnist", tmp_path / "file", download=True)


def test_only_what_is_missing_is_asked_for(
    server: str, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", server)
    whole = load_data("mnist", data_dir, download=True)
    assert len(whole.train_x) == 20
    (data_dir / "MNIST").rename(data_dir / "FashionMNIST")
    (data_dir / "FashionMNIST" / "raw" / "t10k-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(CimsimError, match=r"amazonaws.com/t10k-labels-idx1-ubyte.gz did not ret"):
        load_data("fashion-mnist", data_dir, download=True)


def test_the_cifar10_archive_is_unpacked_and_dropped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The batches come out of the archive; the bytes inside are judged when they are read."""

    def deliver(url: str, sha256: str, target: Path) -> None:
        assert url.startswith("https://www.cs.toronto.edu/")
        with tarfile.open(target, "w:gz") as tar:
            for stem in cifar10.CHECKSUMS:
                member = tarfile.TarInfo(f"cifar-10-batches-py/{stem}")
                member.size = len(stem)
                tar.addfile(member, BytesIO(stem.encode()))

    monkeypatch.setattr(cifar10, "download_file", deliver)
    with pytest.raises(CimsimError, match=r"data_batch_1 .* not the published"):
        load_data("cifar10", tmp_path, download=True)
    folder = tmp_path / "cifar-10-batches-py"
    assert {path.name: path.read_text() for path in folder.iterdir()} == {
        stem: stem for stem in cifar10.CHECKSUMS
    }
