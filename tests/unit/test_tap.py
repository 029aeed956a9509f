"""The command line, the preflight and the plugin."""

from __future__ import annotations

import os
import re
import socket
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from twisted.application.service import IServiceMaker, Service
from twisted.scripts.twistd import ServerOptions
from zope.interface.verify import verifyObject

from twisted_pypi import __version__, preflight, tap
from twisted_pypi.errors import ConfigError
from twisted_pypi.options import OPTIONS
from twisted_pypi.settings import Loaded, Settings

ROOT = Path(__file__).parents[2]
TWISTD = os.path.join(os.path.dirname(sys.executable), "twistd")


def parse(*args: str) -> tap.Options:
    options = tap.Options()
    options.parseOptions(list(args))
    return options


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Settings, tuple[str, ...]]]:
    """What a stub of the service module was called with; the environment holds nothing of ours."""
    calls: list[tuple[Settings, tuple[str, ...]]] = []

    def make_service(loaded: Loaded, reread: Callable[[], Loaded]) -> Service:
        calls.append((loaded.settings, loaded.warnings))
        return Service()

    stub = ModuleType("twisted_pypi.service")
    stub.make_service = make_service  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "twisted_pypi.service", stub)
    for option in OPTIONS:
        monkeypatch.delenv(option.variable, raising=False)
    monkeypatch.setenv("NETRC", os.devnull)
    return calls


def test_what_was_not_given_is_none() -> None:
    assert set(parse().values()) == {None}
    assert set(parse()) == {option.name for option in OPTIONS}


def test_given_options_are_texts_and_repeatable_ones_collect() -> None:
    options = parse("--port", "81", "--offline", "--allow=10.0.0.0/8", "--allow", "::1")
    assert (options["port"], options["allow"], options["memory"]) == ("81", ["10.0.0.0/8", "::1"], None)
    assert options["offline"]
    assert parse()["allow"] is None


@pytest.mark.parametrize(
    ("args", "named"),
    [
        (["--nonsense"], "--nonsense"),
        (["--cache-sise", "5G"], "option --cache-sise not recognized; is it --cache-size?"),
        (["--htpaswd=x"], "option --htpaswd not recognized; is it --htpasswd?"),
        (["--port"], "--port"),
        (["--offline=1"], "--offline"),
        (["x:hunter2@y"], "--port"),
    ],
)
def test_usage_errors_are_one_line_and_status_1(args: list[str], named: str) -> None:
    with pytest.raises(SystemExit) as caught:
        parse(*args)
    message = caught.value.code
    assert isinstance(message, str)  # which Python prints on stderr, with status 1
    assert message.startswith("pypicache: ")
    assert named in message
    assert "\n" not in message
    assert "hunter2" not in message


def test_help_names_every_option_within_80_columns() -> None:
    lines = tap.Options().getUsage(80).splitlines()
    assert max(len(line) for line in lines) <= 80
    for option in OPTIONS:
        assert sum(line.split()[:1] == [f"--{option.name}"] for line in lines) == 1


def test_version_is_ours(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        parse("--version")
    assert caught.value.code == 0
    assert capsys.readouterr().out == f"twisted-pypi {__version__}\n"


def test_make_service_hands_over_settings_and_warnings(
    made: list[tuple[Settings, tuple[str, ...]]], tmp_path: Path
) -> None:
    file = tmp_path / "pypicache.toml"
    file.write_text('admin-token = "hunter2"\n')
    file.chmod(0o644)
    service = tap.makeService(parse("--config", str(file), "--cache-dir", str(tmp_path / "a/b"), "--port", "0"))
    assert isinstance(service, Service)
    ((settings, warnings),) = made
    assert (settings.port, settings.admin_token) == (0, "hunter2")
    assert warnings == (f"{file} holds secrets and others can read it: chmod 600 {file}",)
    assert stat.S_IMODE((tmp_path / "a/b").stat().st_mode) == 0o700


@pytest.mark.parametrize("args", [["--port=x"], ["--cache-dir=/dev/null"], ["--port=0", "--interface=192.0.2.1"]])
def test_what_can_t_be_used_ends_in_one_line_that_names_the_option(
    made: list[Any], tmp_path: Path, args: list[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        tap.makeService(parse("--cache-dir", str(tmp_path), *args))
    assert str(caught.value.code).startswith(f"pypicache: {args[-1].partition('=')[0]}: ")
    assert "\n" not in str(caught.value.code)
    assert made == []


def test_errors_of_the_service_end_in_one_line_too(
    made: list[Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def refuse(settings: Settings, warnings: tuple[str, ...]) -> Service:
        raise ConfigError("--listen", "no such endpoint")

    monkeypatch.setattr(sys.modules["twisted_pypi.service"], "make_service", refuse)
    with pytest.raises(SystemExit, match=r"^pypicache: --listen: no such endpoint$"):
        tap.makeService(parse("--cache-dir", str(tmp_path), "--port=0"))


def test_the_directory_goes_to_the_user_that_twistd_becomes(
    made: list[Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    owners: list[tuple[str, int, int]] = []
    monkeypatch.setattr(os, "chown", lambda path, uid, gid: owners.append((path, uid, gid)))
    options = parse("--cache-dir", str(tmp_path / "new"), "--port=0")
    options.parent = ServerOptions()
    options.parent.update(uid=1234, gid=None)
    tap.makeService(options)
    tap.makeService(options)
    assert owners == [(str(tmp_path / "new"), 1234, -1)]


def test_a_port_in_use_is_told_and_one_that_listens_elsewhere_is_not_tried(made: list[Any], tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        args = ["--cache-dir", str(tmp_path), "--port", str(port)]
        with pytest.raises(SystemExit, match=rf"^pypicache: --port: 127\.0\.0\.1:{port} is already in use"):
            tap.makeService(parse(*args))
        tap.makeService(parse(*args, "--listen", f"unix:{tmp_path}/x"))
    preflight.check_port("127.0.0.1", port)
    assert len(made) == 1


@pytest.mark.parametrize(
    "description",
    [
        "bogus:1",
        "tcp:http",
        "tcp:65536",
        "tcp:-1",
        "tcp:0:interface=192.0.2.1",
        "tcp6:0:interface=2001\\:db8\\:\\:1",
        "ssl:0:privateKey=/nonexistent",
        "unix:/nonexistent/socket",
        "unix:address=/nonexistent/socket",
        "systemd:domain=INET:index=7",
    ],
)
def test_endpoints_that_can_t_be_used_are_told_before_the_fork(
    description: str, made: list[Any], tmp_path: Path
) -> None:
    with pytest.raises(SystemExit, match=rf"^pypicache: --listen: {re.escape(description)}: ."):
        tap.makeService(parse("--cache-dir", str(tmp_path), "--listen", description))
    assert made == []


def test_an_endpoint_in_use_is_told(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        for description in (f"tcp:{port}", f"tcp:port={port}:interface=127.0.0.1"):
            with pytest.raises(ConfigError, match=r"^--listen: tcp:.* is already in use$"):
                preflight.check_endpoint(description)
    preflight.check_endpoint(f"tcp:{port}:interface=127.0.0.1")


@pytest.mark.parametrize("interface", ["a..b", "192.0.2.1", "2001:db8::1"])
def test_interfaces_that_can_t_be_bound(interface: str) -> None:
    with pytest.raises(ConfigError, match=r"^--interface: "):
        preflight.check_port(interface, 0)


def test_directories_that_can_t_be_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "dangling").symlink_to("nowhere")
    for name in ("file", "file/below", "dangling"):
        with pytest.raises(ConfigError, match=r"^--cache-dir: "):
            preflight.prepare_directory(str(tmp_path / name))
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(ConfigError, match="not writable"):
        preflight.prepare_directory(str(tmp_path))


def test_files_that_can_t_be_used(tmp_path: Path) -> None:
    (tmp_path / "empty.pem").touch()
    for name, problem in (("none.pem", "can't be read"), ("empty.pem", "holds no PEM")):
        with pytest.raises(ConfigError, match=f"^--ca-file: .*{problem}"):
            preflight.check_authorities("--ca-file", str(tmp_path / name))
    for name in (".", "none/log"):
        with pytest.raises(ConfigError, match=r"^--access-log: "):
            preflight.check_log(str(tmp_path / name))
    preflight.check_log(str(tmp_path / "log"))


def twistd(*args: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    environ = {key: value for key, value in os.environ.items() if not key.startswith("PYPICACHE_")}
    environ |= {"PYTHONPATH": str(ROOT), "COLUMNS": "80"}
    return subprocess.run(
        [TWISTD, *args], cwd=cwd, env=environ, capture_output=True, text=True, timeout=60, check=False
    )


def test_twistd_lists_the_plugin(tmp_path: Path) -> None:
    from twisted.plugins import pypicache_plugin

    assert verifyObject(IServiceMaker, pypicache_plugin.pypicache)
    assert pypicache_plugin.pypicache.options is tap.Options
    assert "pypicache        A caching reverse proxy" in twistd("--help", cwd=tmp_path).stdout


@pytest.mark.parametrize(
    ("args", "line"),
    [
        (["--nonsense"], "pypicache: option --nonsense not recognized\n"),
        (["--cache-dir=/dev/null"], "pypicache: --cache-dir: /dev/null is not a directory\n"),
    ],
)
def test_twistd_says_one_line_and_leaves_nothing(tmp_path: Path, args: list[str], line: str) -> None:
    done = twistd("pypicache", *args, cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", line)
    assert list(tmp_path.iterdir()) == []


def test_no_secret_shows_in_the_repr() -> None:
    options = tap.Options()
    options.parseOptions(["--admin-token", "hunter2", "--index-url", "https://user:hunter2@o.example/"])
    assert "hunter2" not in repr(options)
