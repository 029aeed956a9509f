"""`pypicache status`, `ls`, `purge` and `gc` on the directory of a daemon that is stopped, in this process."""

from __future__ import annotations

import json
import os
import time

import pytest

from twisted_pypi.commands import main
from twisted_pypi.commands.reaching import ADDRESS, running_at
from twisted_pypi.config import load_some
from twisted_pypi.storage.limits import Limits
from unit.storage_doubles import KEY, PAGE, Disk, Page, content, meta, now, put_file

OTHER = "https://files.example/packages/aa/bb/cc/acme_one-1.0-py3-none-any.whl"
EVIL = "https://files.example/packages/evil%1B%5B2J-1.0.whl"


def named(index, key):
    end = key.rstrip("/").rpartition("/")[2]
    return "\x1b[2Jevil" if "evil" in end else end.partition("-")[0].replace("_", "-")


@pytest.fixture(autouse=True)
def environment(monkeypatch, tmp_path):
    for name in [name for name in os.environ if name.startswith("PYPICACHE_")] + ["CACHE_DIRECTORY"]:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "nowhere"))


@pytest.fixture
def disk(tmp_path):
    return Disk(str(tmp_path / "cache"), Limits(min_free=0, inactive=None))


@pytest.fixture
def cache(disk):
    """Two projects, one of them with a page."""
    disk.clock.advance(time.time() - disk.clock.seconds())
    store = disk.start()
    store.use_names(named)
    now(store.pages.put(meta(fetched_at=time.time()), Page(), ("json",)))
    now(store.facts.set_owner("flask", "main"))
    put_file(store, b"x" * 5000)
    put_file(store, b"y" * 300, key=OTHER, index="other")
    now(store.stop())
    return disk.path


def done(capsys, *arguments, status=0):
    assert main([*map(str, arguments)]) == status
    captured = capsys.readouterr()
    return captured.out if status == 0 else captured.err


def test_status(cache, capsys):
    lines = done(capsys, "status", "--cache-dir", cache).splitlines()
    assert lines[0] == f"cache at {cache}"
    figures = dict(line.rsplit(None, 1) for line in lines[2:])
    assert {key: figures[key] for key in ("entries", "names", "pages", "files", "limit")} == {
        "entries": "3",
        "names": "2",
        "pages": "1",
        "files": "2",
        "limit": "50G",
    }
    assert json.loads(done(capsys, "status", "--json", "--cache-dir", cache))["daemon"] == "not running"


def test_ls_has_a_line_for_each_name(cache, capsys):
    assert main(["ls", "--cache-dir", cache, "--sort=-size"]) == 0
    captured = capsys.readouterr()
    heads, *lines = captured.out.splitlines()
    assert heads.split() == ["SIZE", "PAGES", "FILES", "STORED", "USED", "NAME"]
    assert [line.split()[-1] for line in lines] == ["acme-one", "flask"]
    assert lines[0].split()[:3] == ["300", "0", "1"]
    assert captured.err.startswith("2 names, 1 pages, 2 files, ")


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        (["--long", "acme-*"], ["acme_one-1.0-py3-none-any.whl"]),
        (["--long", "--kind", "page"], [PAGE]),
        (["--long", "--index", "main", "--sort", "size", "--limit", "1"], ["flask-3.0-py3-none-any.whl"]),
        (["FLA"], ["flask"]),
    ],
)
def test_ls_of_what_is_wanted(cache, capsys, arguments, names):
    lines = done(capsys, "ls", "--cache-dir", cache, *arguments).splitlines()[1:]
    assert [line.split()[-1] for line in lines] == names


def test_ls_as_json_is_a_document_on_each_line(cache, capsys):
    rows = [json.loads(line) for line in done(capsys, "ls", "--json", "-l", "--cache-dir", cache).splitlines()]
    assert [row["kind"] for row in rows] == ["file", "page", "file"]
    assert rows[1]["url"] == PAGE


def test_ls_goes_on_for_more_than_one_answer(cache, capsys, monkeypatch):
    monkeypatch.setattr("twisted_pypi.commands.stopped.MOST", 1)
    assert len(done(capsys, "ls", "--cache-dir", cache).splitlines()) == 3
    assert len(done(capsys, "ls", "-l", "--json", "--cache-dir", cache).splitlines()) == 3
    assert len(done(capsys, "ls", "-l", "--json", "--limit", 2, "--cache-dir", cache).splitlines()) == 2


def test_a_look_changes_nothing_in_the_directory(cache, capsys):
    def state():
        return {name: os.stat(os.path.join(cache, name)).st_mtime_ns for name in os.listdir(cache)}

    before = state()
    for command in (["status"], ["ls"], ["ls", "-l"]):
        done(capsys, *command, "--cache-dir", cache)
    assert state() == before


def test_names_steer_no_terminal(disk, cache, capsys):
    store = disk.start()
    store.use_names(named)
    put_file(store, key=EVIL, index="\x1b[31m")
    now(store.stop())
    for arguments in (["ls"], ["ls", "-l"], ["ls", "--json"], ["purge", "*evil", "--files"]):
        assert "\x1b" not in done(capsys, *arguments, "--cache-dir", cache)
    assert main(["ls", "\x1b[2J", "--cache-dir", cache]) == 1
    assert capsys.readouterr().err == "pypicache: nothing is stored that fits \\x1b[2J\n"


@pytest.mark.parametrize("arguments", [["ls", "none"], ["purge", "none"], ["purge", "none-*"], ["purge", "fla"]])
def test_what_is_not_there_is_status_1(cache, capsys, arguments):
    error = done(capsys, *arguments, "--cache-dir", cache, status=1)
    assert error.startswith("pypicache: nothing is stored ")


def test_a_purge_expires_the_page_and_forgets_the_owner(disk, cache, capsys):
    assert done(capsys, "purge", "Flask", "--cache-dir", cache) == "1 name: 1 page expired, 0 files deleted (0)\n"
    store = disk.start()
    page = now(store.pages.get(PAGE))
    assert page.validated_at == pytest.approx(time.time() - 301, abs=60)
    assert now(store.facts.owner("flask")) is None
    assert now(store.files.get(KEY)) is not None
    now(store.stop())


@pytest.mark.parametrize("name", ["acme-one", "acme*"])
def test_a_purge_of_pages_where_files_alone_are_stored(cache, capsys, name):
    assert done(capsys, "purge", name, "--cache-dir", cache) == "0 names: 0 pages expired, 0 files deleted (0)\n"
    done(capsys, "purge", name, "--index", "main", "--cache-dir", cache, status=1)


def test_a_purge_counts_with_the_longest_freshness_of_all_indexes(disk, cache, capsys, tmp_path):
    # Credentials that only the daemon can read are none of the command's business.
    index = '[[index]]\nname = "x"\nurl = "https://x.example/simple/"\nttl = "2h"\npassword-file = "/nonexistent"\n'
    (tmp_path / "config.toml").write_text(f'cache-dir = "{cache}"\n{index}')
    done(capsys, "purge", "flask", "--config", tmp_path / "config.toml")
    store = disk.start()
    assert now(store.pages.get(PAGE)).validated_at == pytest.approx(time.time() - 7201, abs=60)
    now(store.stop())


@pytest.mark.parametrize(("pattern", "kept"), [("*", []), ("acme*", [KEY]), ("FLASK", [OTHER])])
def test_a_purge_with_files(disk, cache, capsys, pattern, kept):
    assert json.loads(done(capsys, "purge", pattern, "--files", "--json", "--cache-dir", cache))["files"] == 2 - len(
        kept
    )
    store = disk.start()
    assert now(store.files.held([KEY, OTHER])) == set(kept)
    for key in kept:
        assert content(store, now(store.files.get(key)))
    now(store.stop())
    assert disk.events == []


def test_a_purge_of_one_index_alone(disk, cache, capsys):
    done(capsys, "purge", "*", "--files", "--index", "other", "--cache-dir", cache)
    store = disk.start()
    assert now(store.files.held([KEY, OTHER])) == {KEY}
    assert now(store.facts.owner("flask")) == "main"
    now(store.stop())


@pytest.mark.parametrize("command", [["status"], ["ls"], ["purge", "flask"]])
def test_a_catalogue_that_cannot_be_read(cache, capsys, command):
    with open(f"{cache}/catalogue.sqlite", "r+b") as file:
        file.write(b"nonsense" * 64)
    assert main([*command, "--cache-dir", cache]) in (1, 2)
    error = capsys.readouterr().err
    assert (error.startswith("pypicache: "), error.count("\n")) == (True, 1)


# gc


def test_gc_drops_what_may_go(disk, cache, capsys, tmp_path):
    old = time.time() - 400 * 86400
    store = disk.start()
    store._engine.catalogue.used([(old, "file", OTHER)])
    now(store.stop())
    page = tmp_path / "cache" / "pages" / "index.example" / "simple" / "flask.page"
    page.rename(tmp_path / "away")
    (tmp_path / "cache" / "tmp" / "leftover").write_bytes(b"x" * 2048)
    out = done(capsys, "gc", "--cache-dir", cache, "--inactive", "30d")
    assert "1 entries unused or over the limit, 300\n" in out
    assert "1 entries whose file had gone\n" in out
    assert "1 partial files, 2K\n" in out
    assert not (tmp_path / "cache" / "tmp" / "leftover").exists()
    store = disk.start()
    assert now(store.files.held([KEY, OTHER])) == {KEY}
    now(store.stop())


def test_gc_keeps_to_the_limit(disk, cache, capsys):
    assert json.loads(done(capsys, "gc", "--cache-dir", cache, "--cache-size", "1K", "--json"))["entries"] == 3
    store = disk.start()
    assert store.usage() == (0, 0)
    now(store.stop())


def test_gc_records_what_the_catalogue_does_not_know(disk, cache, capsys):
    os.unlink(f"{cache}/catalogue.sqlite")
    done(capsys, "gc", "--cache-dir", cache)
    assert "2 files" in done(capsys, "verify", "--cache-dir", cache, "--quiet")


def test_gc_with_nothing_to_do(cache, capsys):
    done(capsys, "gc", "--cache-dir", cache)
    assert done(capsys, "gc", "--cache-dir", cache) == "nothing was to be dropped\n"


def test_gc_beside_a_daemon_is_refused(disk, cache, capsys):
    disk.start()
    error = done(capsys, "gc", "--cache-dir", cache, status=2)
    assert error.startswith(f"pypicache: a daemon uses {cache} and does this by itself")
    now(disk.store.stop())


# Finding the place


@pytest.mark.parametrize("command", [["status"], ["ls"], ["purge", "flask"]])
def test_neither_cache_nor_daemon(tmp_path, capsys, command, monkeypatch):
    monkeypatch.setenv("PYPICACHE_PORT", "1")
    error = done(capsys, *command, "--cache-dir", tmp_path / "none", status=2)
    wanted = f"there is no cache in {tmp_path / 'none'}, and no daemon answers at http://127.0.0.1:1"
    assert error == f"pypicache: {wanted}\n"
    assert not (tmp_path / "none").exists()


def test_a_daemon_that_listens_elsewhere(disk, cache, capsys, monkeypatch):
    monkeypatch.setenv("PYPICACHE_PORT", "1")
    disk.start()
    error = done(capsys, "ls", "--cache-dir", cache, status=2)
    assert f"a daemon uses {cache} (say with --url where it listens)" in error
    now(disk.store.stop())


@pytest.mark.parametrize(
    ("listen", "certificate", "url"),
    [
        ([], None, "http://127.0.0.1:8080/p"),
        ([], "chain.pem", "https://127.0.0.1:8080/p"),
        (["tcp:81:interface=127.0.0.1"], "chain.pem", "https://127.0.0.1:81/p"),
        (["ssl:82:interface=127.0.0.1"], None, "https://127.0.0.1:82/p"),
        (["unix:/s"], "chain.pem", "http://localhost/p"),
    ],
)
def test_a_daemon_with_tls_is_asked_by_https(listen, certificate, url):
    given = {"listen": listen, "tls-certificate": certificate, "prefix": "/p"}
    assert running_at(load_some(ADDRESS, {name: value for name, value in given.items() if value}, {})).url == url


def test_a_bad_address(capsys):
    assert "--url" in done(capsys, "ls", "--url", "nonsense", status=2)


@pytest.mark.parametrize("command", ["status", "ls", "purge", "gc"])
def test_help_fits_a_terminal(command, capsys):
    with pytest.raises(SystemExit) as ended:
        main([command, "--help"])
    assert ended.value.code == 0
    assert max(map(len, capsys.readouterr().out.splitlines())) <= 80


def test_gc_makes_the_catalogue_smaller(disk, cache, capsys):
    store = disk.start()
    for number in range(300):
        now(store.facts.mark("kind", f"{number}", "x" * 500, 1.0))
    now(store.stop())
    before = os.path.getsize(f"{cache}/catalogue.sqlite")
    said = json.loads(done(capsys, "gc", "--json", "--cache-dir", cache))
    assert (said["notes"], said["shrunk"]) == (300, before - os.path.getsize(f"{cache}/catalogue.sqlite"))
    assert said["shrunk"] > 100_000
