"""The command `pypicache`, in this process: what it prints, and its exit status."""

from __future__ import annotations

import io
import socket
import threading

import pytest

from twisted_pypi.commands import main
from twisted_pypi.commands.progress import INTERVAL, Lines, progress_on
from twisted_pypi.config import PUBLIC_FILES, PUBLIC_INDEX
from twisted_pypi.options import FILE_OPTIONS, OPTIONS
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


# -- check-config ------------------------------------------------------------------------------------------------------

CONFIG = """
index-ttl = "10m"
admin-token = "hunter2"
extra-index-url = ["https://ci:hunter2@extra.example/simple"]

[[index]]
name = "internal"
url = "https://internal.example/simple/"
token = "hunter2"
routes = ["acme-*", "tool"]
mirrors = ["https://ci:hunter2@mirror.example/simple/"]
proxy = "http://ci:hunter2@proxy.example:3128"
absent-status = [403, 404]
insecure = true

[[index]]
name = "wheels"
path = "."
metadata = false
"""


@pytest.fixture
def configured(tmp_path, monkeypatch):
    """The file's path; the environment says nothing."""
    for option in OPTIONS:
        monkeypatch.delenv(option.variable, raising=False)
    for variable in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(variable, raising=False)
        monkeypatch.delenv(variable.upper(), raising=False)
    monkeypatch.setenv("NETRC", "/dev/null")
    path = tmp_path / "pypicache.toml"
    path.write_text(CONFIG)
    path.chmod(0o600)
    return path


def checked(capsys, *arguments):
    """Status, lines of stdout, stderr."""
    status = main(["check-config", *map(str, arguments)])
    said = capsys.readouterr()
    assert "hunter2" not in said.out + said.err
    return status, said.out.splitlines(), said.err


def test_every_value_is_shown_with_its_source(configured, capsys, monkeypatch):
    monkeypatch.setenv("PYPICACHE_MEMORY", "1G")
    status, lines, problems = checked(capsys, "--config", configured, "--port", 81, "--allow=::1", "--allow=10.0.0.1")
    assert (status, problems) == (0, "")
    assert [line.partition(" = ")[0] for line in lines[: len(FILE_OPTIONS)]] == [option.name for option in FILE_OPTIONS]
    for line in (
        "port = 81  # --port",
        "allow = ::1 10.0.0.1  # --allow",
        "memory = 1G  # PYPICACHE_MEMORY",
        f"index-ttl = 10m  # {configured}: index-ttl",
        f"admin-token = ***  # {configured}: admin-token",
        f"extra-index-url = https://extra.example/simple  # {configured}: extra-index-url",
        "cache-size = 50G  # default",
        "max-stale = unlimited  # default",
        "min-free = 1G, or 5 % of the disk if that is less  # default",
    ):
        assert line in lines


def test_a_proxy_of_the_environment_is_shown_where_it_holds(configured, capsys, monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", "http://ci:hunter2@proxy.example:3128")
    monkeypatch.setenv("no_proxy", "extra.example")
    indexes = checked(capsys, "--config", configured)[1][len(FILE_OPTIONS) :]
    assert ["proxy http://proxy.example:3128 (environment)" in index for index in indexes] == [
        False,
        False,
        False,
        True,
    ]


def test_indexes_are_shown_in_asking_order(configured, capsys):
    indexes = checked(capsys, "--config", configured)[1][len(FILE_OPTIONS) :]
    assert indexes == [
        "index 1: https://extra.example/simple/, any name that no other claims, ttl 600 s, not-found-ttl 60 s, "
        "files from https://extra.example/, absent 404 410, username and password ***  "
        f"# {configured}: extra-index-url",
        "index 2 internal: https://internal.example/simple/, only acme-* tool, ttl 600 s, not-found-ttl 60 s, "
        "files from https://internal.example/, absent 403 404, token ***, "
        "mirrors https://mirror.example/simple/ (username and password ***), "
        "proxy http://proxy.example:3128/ (username and password ***), insecure  # [[index]] internal",
        f"index 3 wheels: {configured.parent}, any name that no other claims, ttl 2 s, not-found-ttl 60 s, "
        "no metadata made  # [[index]] wheels",
        f"index 4: {PUBLIC_INDEX}, any name that no other claims, ttl 600 s, not-found-ttl 60 s, "
        f"files only from {PUBLIC_FILES}, absent 404 410  # default",
    ]


def test_warnings_are_on_stderr_and_no_error(configured, capsys):
    configured.chmod(0o644)
    status, _, problems = checked(capsys, "--config", configured)
    assert (status, problems) == (
        0,
        f"warning: {configured} holds secrets and others can read it: chmod 600 {configured}\n",
    )


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("prot = 1", "prot: unknown key; is it port?"),
        ("[[index]]\nname = 'a'\npath = 'none'", "[[index]] a: path: "),
        ("[[index]]\nname = 'a'\nurl = 'https://a.example/'\nca-file = 'none'", "[[index]] a: ca-file: "),
        ("access-log = '/none/log'", "--access-log: there is no directory /none"),
    ],
)
def test_what_would_not_start_is_one_line_and_status_1(text, problem, configured, capsys):
    configured.write_text(text)
    status, lines, problems = checked(capsys, "--config", configured)
    assert (status, lines) == (1, [])
    assert problems.startswith("pypicache: ")
    assert problem in problems
    assert problems.count("\n") == 1


def test_what_several_processes_cant_share_is_status_1(capsys):
    status, lines, problems = checked(capsys, "--workers", 2, "--listen", "unix:/run/pypicache/socket")
    assert (status, lines) == (1, [])
    assert problems.startswith("pypicache: --workers: ")


def test_nothing_is_made_and_no_directory_is_taken_for_one(configured, tmp_path, capsys):
    assert checked(capsys, "--cache-dir", tmp_path / "new")[0] == 0
    assert not (tmp_path / "new").exists()
    assert checked(capsys, "--cache-dir", configured) == (
        1,
        [],
        f"pypicache: --cache-dir: {configured} is not a directory\n",
    )


def test_a_daemon_that_says_nothing_may_have_tls(capsys):
    def hang_up(server):
        connection, _ = server.accept()
        with connection:
            connection.recv(1 << 16)

    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=hang_up, args=(server,), daemon=True).start()
        assert main(["status", "--url", f"http://127.0.0.1:{server.getsockname()[1]}"]) == 2
    assert "if it has TLS, say --url https://" in capsys.readouterr().err
