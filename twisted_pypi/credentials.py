"""Credentials of indexes: from keys of the file, and from netrc. Those in a URL come with the URL (`units.Address`).

No error and no warning here repeats anything of a secret.
"""

from __future__ import annotations

import netrc
import os
from collections.abc import Callable, Mapping
from urllib.parse import urlsplit

from attrs import field, frozen

from twisted_pypi import units
from twisted_pypi.errors import ConfigError
from twisted_pypi.options import CREDENTIAL_KEYS, SECRET_KEYS
from twisted_pypi.settings import Credential
from twisted_pypi.sources import ReadFile, Table, read_named
from twisted_pypi.units import Address

Logins = Mapping[str, tuple[str, str | None, str | None]]
"""By host: login, account, password, as `netrc.netrc.hosts`."""

ReadNetrc = Callable[[str], Logins]
"""Reads the netrc file of that path. Raises `OSError`, `UnicodeDecodeError` or `netrc.NetrcParseError`."""


@frozen
class Vault:
    """Where secrets named in the file are found: variables, and files relative to `folder` (that of the TOML file)."""

    environ: Mapping[str, str] = field(repr=False)
    reader: ReadFile
    folder: str

    def credential(self, table: Table) -> Credential | None:
        """What the keys of a table say, if anything. Raises `ConfigError`."""
        if not names_credentials(table):
            return None
        username, password, token = (self._secret(table, key) for key in SECRET_KEYS)
        if token and (username or password):
            raise ConfigError(table.label_of("token"), "give a token, or username and password, not both")
        return Credential(username, password, token)

    def _secret(self, table: Table, key: str) -> str:
        given = [name for name in (key, f"{key}-env", f"{key}-file") if name in table.keys]
        if len(given) > 1:
            raise ConfigError(table.label_of(given[1]), f"{given[0]} is given as well")
        if not given:
            return ""
        parse = units.secret if key == "token" else units.words
        try:
            return parse(self._read(table, given[0]))
        except ValueError as error:
            raise ConfigError(table.label_of(given[0]), f"what it says {error}") from None

    def _read(self, table: Table, key: str) -> str:
        text = table.text(key)
        if key.endswith("-env"):
            if not (secret := self.environ.get(text, "").strip()):
                raise ConfigError(table.label_of(key), f"the variable {text} is not set")
            return secret
        if key.endswith("-file"):
            return self.file(table.label_of(key), text)
        return text

    def file(self, label: str, name: str) -> str:
        """What the file of that name says, for the option `label`. Raises `ConfigError`."""
        return read_named(label, self.places(name), self.reader).text.strip()

    def places(self, name: str) -> list[str]:
        """Where a secret's file may be; systemd's credentials come before what lies beside the TOML file."""
        name = os.path.expanduser(name)
        systemd = self.environ.get("CREDENTIALS_DIRECTORY", "")
        below = [os.path.join(systemd, name)] if systemd and not os.path.isabs(name) else []
        return [*below, self.beside(name)]

    def beside(self, name: str) -> str:
        """The absolute path of what the file names: `~` is the home, a relative path begins at the file's folder."""
        return os.path.abspath(os.path.join(self.folder, os.path.expanduser(name)))


def names_credentials(table: Table) -> bool:
    """Whether any key of the table is about credentials."""
    return any(key in table.keys for key in CREDENTIAL_KEYS)


def refuse_second(table: Table, key: str, address: Address) -> None:
    """Raises `ConfigError` when the URL at `key` has user info and the table names credentials besides."""
    given = next((name for name in CREDENTIAL_KEYS if name in table.keys), None)
    if given and from_address(address):
        raise ConfigError(
            table.label_of(key), f"there are credentials in it, and {given} is given as well: which is it?"
        )


def from_address(address: Address) -> Credential | None:
    """The user info of an index's URL."""
    if address.username or address.password:
        return Credential(address.username, address.password)
    return None


def from_logins(url: str, logins: Logins) -> Credential | None:
    """What netrc says of the URL's host. Its `default` entry is not for us: it would go to every index."""
    login, _, password = logins.get(urlsplit(url).hostname or "", ("", None, None))
    return Credential(login or "", password or "") if login or password else None


def read_netrc(path: str) -> Logins:
    """The `ReadNetrc` that reads the disk."""
    return netrc.netrc(path).hosts


def load_netrc(environ: Mapping[str, str], reader: ReadNetrc) -> tuple[Logins, tuple[str, ...]]:
    """The logins of `$NETRC` or `~/.netrc`, and a warning if it can't be used. That `~/.netrc` is missing is none."""
    named = environ.get("NETRC", "")
    home = environ.get("HOME", "")
    path = named or (os.path.join(home, ".netrc") if home else "")
    if not path:
        return {}, ()
    try:
        return reader(path), ()
    except netrc.NetrcParseError as error:
        problem = f"it is garbled at line {error.lineno}"
    except UnicodeDecodeError:
        problem = "it is garbled"
    except FileNotFoundError as error:
        if not named:
            return {}, ()
        problem = str(error.strerror)
    except OSError as error:
        problem = error.strerror or str(error)
    return {}, (f"{path} is not used: {problem}",)
