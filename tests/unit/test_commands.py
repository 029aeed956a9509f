"""The command `pypicache`, in this process: what it prints, and its exit status."""

from __future__ import annotations

import io

import pytest

from twisted_pypi.commands import main
from twisted_pypi.commands.progress import INTERVAL, Lines, progress_on
from unit.storage_doubles import Disk, now, put_file

FILE = "files/files.example/packages/aa/bb/cc/flask-3.0-py3-none-any.whl"


@pytest.fixture
def cache(tmp_path):
    disk = Disk(str(tmp_path / "cache"))
    put_file(disk.start())
    now(disk.store.stop())
    return tmp_path / "cache"


@pytest.fixture(autouse=True)
def environment(monkeypatch, tmp_path):
    for name in ("CACHE_DIRECTORY", "PYPICACHE_CACHE_DIR", "PYPICACHE_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "nowhere"))


def test_all_right_is_status_0(cache, capsys):
    assert main(["verify", "--cache-dir", str(cache)]) == 0
    out = capsys.readouterr().out
    assert f"{cache}: 1 files and 0 pages are right, 5, in 0 s" in out
    assert out.endswith("all right\n")


def test_damage_is_status_1_and_repaired(cache, capsys):
    (cache / FILE).write_bytes(b"wheeX")
    (cache / "notes").write_bytes(b"")
    assert main(["verify", "--cache-dir", str(cache)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert f"damaged: {FILE}: its digest is not the recorded one" in lines
    assert "foreign: notes: left alone" in lines
    assert "1 damaged and dropped" in lines
    assert lines[-1] == "not all was right"
    assert main(["verify", "--cache-dir", str(cache)]) == 0


@pytest.mark.parametrize("name", ["missing", "empty", "file"])
def test_what_is_no_cache_is_status_2_and_stays_as_it_is(name, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_bytes(b"")
    assert main(["verify", "--cache-dir", str(tmp_path / name)]) == 2
    assert capsys.readouterr().err == f"pypicache: --cache-dir: {tmp_path / name} holds no cache\n"
    assert not (tmp_path / "missing").exists()
    assert list((tmp_path / "empty").iterdir()) == []


def test_a_running_daemon_is_status_2(tmp_path, capsys):
    disk = Disk(str(tmp_path / "cache"))
    disk.start()
    assert main(["verify", "--cache-dir", disk.path]) == 2
    error = capsys.readouterr().err
    assert "in use by another pypicache (pid" in error
    assert error.count("\n") == 1
    now(disk.store.stop())


def test_a_break_is_status_2(cache, capsys, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("twisted_pypi.storage.verify.fault_of", interrupted)
    assert main(["verify", "--cache-dir", str(cache)]) == 2
    assert capsys.readouterr().err == "pypicache: broken off\n"


@pytest.mark.parametrize("arguments", [[], ["verify", "--no-such-option"], ["no-such-command"]])
def test_a_bad_command_line_is_status_2(arguments):
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2


@pytest.mark.parametrize("arguments", [["--help"], ["verify", "--help"], ["--version"]])
def test_help_is_status_0(arguments, capsys):
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 0
    assert max(map(len, capsys.readouterr().out.splitlines())) <= 80


@pytest.mark.parametrize("source", ["variable", "file", "systemd", "default"])
def test_the_directory_is_found_as_the_daemon_finds_it(source, cache, capsys, monkeypatch, tmp_path):
    arguments = ["verify"]
    if source == "variable":
        monkeypatch.setenv("PYPICACHE_CACHE_DIR", str(cache))
    elif source == "file":
        # Credentials that only the daemon can read are none of the check's business.
        text = f'cache-dir = "{cache}"\nindex-url = "https://i.example/simple/"\npassword-file = "/nonexistent"\n'
        (tmp_path / "config.toml").write_text(text)
        arguments += ["--config", str(tmp_path / "config.toml")]
    elif source == "systemd":
        monkeypatch.setenv("CACHE_DIRECTORY", str(cache))
    else:
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
        cache.rename(tmp_path / "pypicache")
    assert main(arguments) == 0
    assert "1 files" in capsys.readouterr().out


def test_a_bad_file_is_status_2(tmp_path, capsys):
    (tmp_path / "config.toml").write_text("cache_dir = 1")
    assert main(["verify", "--config", str(tmp_path / "config.toml")]) == 2
    assert "config.toml" in capsys.readouterr().err


# Progress


class Terminal(io.StringIO):
    """A stream that is a terminal."""

    def isatty(self) -> bool:
        return True


def test_a_terminal_gets_a_bar(capsys):
    stream = Terminal()
    with progress_on(stream) as progress:
        progress.begin(2 << 20)
        progress.step(1 << 20)
        progress.write("a finding")
        progress.step(1 << 20)
    assert "%" in stream.getvalue()
    assert capsys.readouterr().out == "a finding\n"


def test_elsewhere_there_is_a_line_now_and_then(capsys):
    stream, time = io.StringIO(), [0.0]
    lines = Lines(stream, lambda: time[0])
    lines.begin(4 << 20)
    for time[0] in (1, INTERVAL - 1, INTERVAL, INTERVAL + 1, 2 * INTERVAL):
        lines.step(1 << 20)
    lines.write("a finding")
    assert stream.getvalue() == "checked 3M of 4M\nchecked 5M of 4M\n"
    assert capsys.readouterr().out == "a finding\n"


def test_quiet_is_quiet():
    stream = Terminal()
    with progress_on(stream, quiet=True) as progress:
        progress.begin(1)
        progress.step(1)
    assert stream.getvalue() == ""
