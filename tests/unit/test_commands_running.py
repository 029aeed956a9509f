"""A running daemon, as the commands find and show it."""

from argparse import ArgumentParser

import pytest

from twisted_pypi.commands.problems import CommandError
from twisted_pypi.commands.reaching import add_place, reach, running_at
from twisted_pypi.commands.status import lines


def test_figures_are_shown_with_their_units_and_lists_as_tables():
    shown = list(
        lines(
            {
                "version": "1.0",
                "uptime_seconds": 7322,
                "bytes": 170_000,
                "offline": False,
                "disk": {"used_bytes": 1 << 30, "free_bytes": None},
                "requests": {"HIT": 5},
                "requests_per_second": 0.25,
                "hours": [{"hour": "x", "requests": 1}],
                "transfers": [],
                "upstreams": [
                    {"name": "main\x1b", "latency_seconds": 0.031, "last_error": None},
                    {"name": "x", "latency_seconds": None, "last_error": "refused"},
                ],
            }
        )
    )
    assert shown == [
        "version              1.0",
        "uptime               2h",
        "bytes                166K",
        "offline              no",
        "disk used            1G",
        "disk free            -",
        "requests HIT         5",
        "requests per second  0.25",
        "",
        "upstreams",
        "  name      latency  last error",
        "  main\\x1b   0.031s  -",
        "  x               -  refused",
    ]


@pytest.mark.parametrize(
    ("values", "url", "socket"),
    [
        ({}, "http://127.0.0.1:8080", ""),
        ({"interface": "0.0.0.0", "prefix": "/pypi"}, "http://127.0.0.1:8080/pypi", ""),
        ({"interface": "::", "port": 81}, "http://[::1]:81", ""),
        ({"interface": "10.0.0.5"}, "http://10.0.0.5:8080", ""),
        ({"listen": ("systemd:domain=INET:index=0", "tcp:81:interface=10.0.0.5")}, "http://10.0.0.5:81", ""),
        ({"listen": (r"tcp6:port=81:interface=\:\:1",)}, "http://[::1]:81", ""),
        ({"listen": ("ssl:8443:privateKey=key.pem",)}, "https://127.0.0.1:8443", ""),
        ({"listen": ("unix:/run/cache:mode=660",)}, "http://localhost", "/run/cache"),
        ({"listen": ("unix:address=/run/cache",)}, "http://localhost", "/run/cache"),
    ],
)
def test_where_a_daemon_with_these_options_is(values, url, socket):
    given = {
        "listen": (),
        "interface": "127.0.0.1",
        "port": 8080,
        "prefix": "",
        "tls-certificate": None,
        **values,
    }
    found = running_at(given)
    assert (found.url, found.socket_path) == (url, socket)


@pytest.mark.parametrize("values", [{"port": 0}, {"listen": ("systemd:domain=INET:index=0",)}])
def test_a_daemon_that_could_be_anywhere(values):
    with pytest.raises(CommandError, match="--url"):
        running_at(
            {
                "listen": (),
                "interface": "",
                "port": 8080,
                "prefix": "",
                "tls-certificate": None,
                **values,
            }
        )


def test_a_token_shows_in_no_repr():
    assert "s3cret" not in repr(
        running_at({"listen": (), "interface": "", "port": 1, "prefix": "", "tls-certificate": None}, "s3cret")
    )


@pytest.fixture
def token_file(tmp_path):
    path = tmp_path / "token"
    path.write_text("s3cret\n")
    return path


def reached(*options, **environ):
    parser = ArgumentParser()
    add_place(parser)
    return reach(parser.parse_args(["--url", "http://cache.example", *map(str, options)]), environ)


def test_the_token_is_the_one_that_the_daemon_has(token_file, tmp_path):
    assert reached(PYPICACHE_ADMIN_TOKEN_FILE=str(token_file)).token == "s3cret"
    (tmp_path / "its.toml").write_text("admin-token-file = 'token'")
    assert reached(PYPICACHE_CONFIG=str(tmp_path / "its.toml")).token == "s3cret"
    assert reached(PYPICACHE_ADMIN_TOKEN_FILE=str(token_file), PYPICACHE_ADMIN_TOKEN="other").token == "other"
    assert reached("--admin-token-file", token_file).token == "s3cret"
    assert reached().token == ""


def test_a_token_that_cant_be_read_is_told_when_it_is_wanted(tmp_path):
    place = reached(PYPICACHE_ADMIN_TOKEN_FILE=str(tmp_path / "none"))
    assert place.token == ""
    assert place.untold.startswith(f"PYPICACHE_ADMIN_TOKEN_FILE: {tmp_path}/none can't be read")
    with pytest.raises(CommandError, match=r"wants its admin token, and PYPICACHE_ADMIN_TOKEN_FILE: .* can't be read"):
        place._judged(401, "Unauthorized", b"{}")
