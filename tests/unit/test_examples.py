"""Every example can be used as it is, and with all that it shows; and shows all that there is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from cryptography.x509 import DNSName

from e2e.tls import issue
from twisted_pypi.options import CREDENTIAL_KEYS, FILE_OPTIONS, INDEX_KEYS, NPM_KEYS
from twisted_pypi.reloading import RELOADED
from unit.test_config import settings

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("*.toml"))
COMPLETE = next(path for path in EXAMPLES if path.name == "pypicache.toml")
ENVIRON = {"REGISTRY_TOKEN": "a", "PAIR_USER": "b", "PAIR_PASSWORD": "c"}
SERVER = issue("cache.example", DNSName("cache.example"))
SECRETS = {
    **dict.fromkeys(("/etc/internal-password", "/etc/vault-token", "/etc/pair-user"), "secret"),
    "/etc/pypicache/htpasswd": f"ci:$2y$10${'.' * 53}",
    "/etc/pypicache/chain.pem": SERVER.public().decode(),
    "/etc/pypicache/key.pem": SERVER.pem().decode(),
}
SETTING = re.compile(r"^#(?=\[\[|[a-z-]+ = )", re.MULTILINE)


def parts(text: str) -> dict[str, set[str]]:
    """The keys at the top of the file (""), and those of each kind of table."""
    top, *tables = re.split(r"^\[\[([a-z]+)\]\]$", text, flags=re.MULTILINE)
    keys: dict[str, set[str]] = {}
    for kind, part in [("", top), *zip(tables[::2], tables[1::2], strict=True)]:
        keys.setdefault(kind, set()).update(re.findall(r"^([a-z-]+) = ", part, re.MULTILINE))
    return keys


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_as_it_is_and_with_all_that_it_shows(path: Path) -> None:
    text = path.read_text()
    assert settings(None, ENVIRON, text, files=SECRETS).indexes
    assert len(settings(None, ENVIRON, SETTING.sub("", text), files=SECRETS).indexes) == text.count("[[index]]\n") + 3


def test_it_names_every_option_and_every_key_and_no_other() -> None:
    found = parts(SETTING.sub("", COMPLETE.read_text()))
    assert found.keys() == {"", "index", "npm"}
    assert found[""] == {option.name for option in FILE_OPTIONS}
    assert found["index"] == set(INDEX_KEYS)
    assert found["npm"] - set(CREDENTIAL_KEYS) == set(NPM_KEYS) - set(CREDENTIAL_KEYS)


def test_it_shows_the_defaults() -> None:
    text = COMPLETE.read_text()
    for option in FILE_OPTIONS:
        if option.default not in ("", "/", "off"):
            assert re.search(rf'^#{option.name} = "?{re.escape(option.default)}"?$', text, re.MULTILINE), option.name


def test_no_host_in_it_exists() -> None:
    for path in EXAMPLES:
        hosts = re.findall(r"://(?:[^/@\"]*@)?([^/:\"]+)", path.read_text())
        assert hosts
        assert all(host.endswith((".example", ".invalid")) for host in hosts)


DOCS = Path(__file__).parents[2] / "docs"
DOCUMENT = (DOCS / "configuration.md").read_text()
NPM = (DOCS / "npm.md").read_text()
TEXTS = DOCUMENT + (DOCS / "mirrors-and-proxies.md").read_text() + NPM


@pytest.mark.parametrize("text", re.findall(r"^```toml\n(.*?)^```$", TEXTS, re.MULTILINE | re.DOTALL))
def test_the_examples_of_the_document_can_be_used(text: str) -> None:
    assert settings(None, ENVIRON, text, files={"/run/secrets/index-password": "secret"}).indexes[0].name != ""


def test_the_document_of_npm_names_every_key() -> None:
    named = set(re.findall(r"`([a-z-]+)`", NPM))
    assert named >= {key for key in NPM_KEYS if not key.endswith(("-env", "-file")) or key == "ca-file"}


def test_the_document_names_every_key_and_what_can_be_read_anew() -> None:
    keys, reloaded = DOCUMENT.partition("## Reading it anew")[::2]
    named = set(re.findall(r"`([a-z-]+)`", keys))
    assert named >= {key for key in INDEX_KEYS if not key.endswith(("-env", "-file")) or key == "ca-file"}
    rows = [row.split("|")[1:3] for row in reloaded.splitlines() if row.startswith("| ")][1:]
    live, fixed = ({name for row in rows for name in re.findall(r"`([a-z-]+)`", row[side])} for side in (0, 1))
    indexes = {"index-url", "extra-index-url", "extra-index-ttl", "files-url", "file-host", "npm-url"}
    within_others = indexes | {"admin-token-file", "tls-key"}
    assert live == {name.replace("_", "-") for name in RELOADED - {"indexes", "npm", "proxies"}} | within_others
    assert fixed == {option.name for option in FILE_OPTIONS} - live
