"""Data sets on the web: lists of them, and downloads from a server on this machine."""

import hashlib
import sys
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest

from fitrl import datasets
from fitrl.errors import DataError


class Handler(SimpleHTTPRequestHandler):
    """Serves a folder and notes what was asked for, in ``asked`` of its subclass."""

    def do_GET(self):
        self.asked.append(self.path)
        super().do_GET()

    def log_message(self, *args):
        pass


@pytest.fixture
def server(tmp_path, monkeypatch):
    """The address of a folder with one data set, what was asked for, and the folder."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    folder = tmp_path / "served"
    folder.mkdir()
    (folder / "two_step.csv").write_bytes(datasets.path("two_step").read_bytes())
    asked = []
    handler = type("Serving", (Handler,), {"asked": asked})
    running = ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=folder))
    thread = threading.Thread(target=running.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{running.server_port}", asked, folder
    running.shutdown()
    thread.join()
    running.server_close()


def registry(folder, url, **changes):
    """Write a list with one data set."""
    entry = {
        "url": url,
        "sha256": hashlib.sha256(datasets.path("two_step").read_bytes()).hexdigest(),
        "licence": "CC0",
        "citation": "Nobody et al.",
        "model": "two_step_split",
    } | changes
    path = folder / "registry.toml"
    lines = [f'{key} = "{value}"' for key, value in entry.items() if value is not None]
    path.write_text("\n".join(["[ours]", *lines, 'columns = {outcome = "outcome"}', ""]))
    return path


def test_a_file_is_downloaded_once_and_read(server, tmp_path):
    pytest.importorskip("pooch")
    url, asked, _ = server
    path = registry(tmp_path, f"{url}/two_step.csv")
    for _ in range(2):
        trials = datasets.fetch("ours", registry=path, folder=tmp_path / "kept")
        assert trials.data_hash == datasets.load("two_step").data_hash
    assert asked == ["/two_step.csv"]
    assert (tmp_path / "kept" / "ours.csv").is_file()


def test_a_file_that_has_changed_is_refused(server, tmp_path):
    pytest.importorskip("pooch")
    url, _, folder = server
    path = registry(tmp_path, f"{url}/two_step.csv")
    with (folder / "two_step.csv").open("a") as file:
        file.write("s99,1,1,1,1,1,.5,.5,.5,.5\n")
    with pytest.raises(DataError, match=r"is not the one that was registered as ours[\s\S]*Do not use it"):
        datasets.fetch("ours", registry=path, folder=tmp_path / "kept")
    assert not list((tmp_path / "kept").glob("ours*"))


def test_a_damaged_copy_is_downloaded_again(server, tmp_path):
    pytest.importorskip("pooch")
    url, asked, _ = server
    path = registry(tmp_path, f"{url}/two_step.csv")
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "ours.csv").write_text("half a fi")
    trials = datasets.fetch("ours", registry=path, folder=tmp_path / "kept")
    assert trials.n_subjects == 12
    assert len(asked) == 1


@pytest.mark.parametrize("path", ["/gone.csv", None])
def test_an_address_that_does_not_answer_is_reported(server, tmp_path, path):
    pytest.importorskip("pooch")
    url = f"{server[0]}{path}" if path else "http://127.0.0.1:9/nothing.csv"
    with pytest.raises(DataError, match=r"ours cannot be downloaded from http.*Is it reachable\?"):
        datasets.fetch("ours", registry=registry(tmp_path, url), folder=tmp_path / "kept")


def test_without_pooch_it_is_said_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pooch", None)  # as if it were not installed
    with pytest.raises(DataError, match="pip install pooch"):
        datasets.fetch("ours", registry=registry(tmp_path, "http://127.0.0.1:9/x.csv"), folder=tmp_path)


def test_the_list_that_comes_along_is_whole():
    for name, entry in datasets.registered().items():
        assert entry.name == name
        assert entry.licence


def test_a_list_of_ones_own(tmp_path):
    (entry,) = datasets.registered(registry(tmp_path, "https://example.org/a.tsv")).values()
    assert (entry.url, entry.model, entry.citation) == (
        "https://example.org/a.tsv",
        "two_step_split",
        "Nobody et al.",
    )
    assert entry.reading == {"columns": {"outcome": "outcome"}}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"licence": None}, "ours in registry.toml has no licence"),
        ({"sha256": "abc"}, "64 hexadecimal digits"),
        ({"url": "file:///etc/hosts"}, "starts with https://"),
        ({"licence": "CC0", "licens": "CC0"}, "has licens, which means nothing"),
    ],
)
def test_a_faulty_entry_is_refused(tmp_path, changes, words):
    changes = {"url": "https://example.org/a.csv"} | changes
    with pytest.raises(DataError, match=words):
        datasets.registered(registry(tmp_path, changes.pop("url"), **changes))


def test_lists_that_cannot_be_read(tmp_path):
    with pytest.raises(DataError, match=r"cannot be read \(No such file"):
        datasets.registered(tmp_path / "none.toml")
    (tmp_path / "bad.toml").write_text("[ours")
    with pytest.raises(DataError, match="is no TOML"):
        datasets.registered(tmp_path / "bad.toml")
    (tmp_path / "flat.toml").write_text('ours = "https://example.org"')
    with pytest.raises(DataError, match=r"expected \[ours\]"):
        datasets.registered(tmp_path / "flat.toml")


def test_an_unknown_name_is_refused_with_those_there_are(tmp_path):
    with pytest.raises(DataError, match=r'no data set "theirs"\. There are: ours'):
        datasets.fetch("theirs", registry=registry(tmp_path, "https://example.org/a.csv"))
