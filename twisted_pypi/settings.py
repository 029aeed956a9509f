"""What the daemon runs with: every option merged, checked and typed. Durations are seconds, sizes bytes."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import field, frozen

from twisted_pypi.fetching.identity import COMMON, TlsIdentity
from twisted_pypi.fetching.proxies import NO_PROXIES, ProxyRules
from twisted_pypi.htpasswd import Accounts
from twisted_pypi.server_tls import ServerCertificate
from twisted_pypi.sources import Found
from twisted_pypi.units import Network


@frozen
class Credential:
    """What an index wants to see: Basic `username` and `password` (RFC 7617), or a Bearer `token` (RFC 6750).

    "" is unset. Nothing of it shows in the repr: a user name alone may be a token.
    """

    username: str = field(default="", repr=False)
    password: str = field(default="", repr=False)
    token: str = field(default="", repr=False)


@frozen
class Remote:
    """A server that stands in for an index, or between it and us, and what it wants to see.

    `url` holds no credentials and ends with a slash. `files_url` is where a mirror has its `packages/`, "" if that is
    beside its pages.
    """

    url: str
    credential: Credential | None = None
    files_url: str = ""


DIRECT = Remote("")
"""In the place of a proxy: there is none, whatever the environment says."""


@frozen
class Index:
    """One index.

    `name` is its stable id: the name of its table in the file, else its `url`. `url` and `files_url` hold no
    credentials and end with a slash. `bound`: files come from the origins of these two and from `file_hosts`
    ("host" or "host:port") only. `absent_status` are the statuses that say that a project is lacking. `public`: the
    public index with its own file host, where digests in paths count.

    `path`, unless "", is the local directory that is the index; its `url` is then made up.
    `routes` are patterns of normalised names (`pypi.names.matches`): the index is asked for those names and no others,
    and no other index for them; none: for all that nobody claims. `mirrors` are further places of the same index, in
    order. `proxy` None: what the environment says. `tls` holds for
    its configured origins. `metadata`: `.metadata` is made for wheels that have none.
    """

    name: str
    url: str
    files_url: str
    bound: bool
    file_hosts: frozenset[str]
    ttl: float
    not_found_ttl: float
    absent_status: frozenset[int]
    credential: Credential | None
    public: bool
    path: str = ""
    routes: tuple[str, ...] = ()
    mirrors: tuple[Remote, ...] = ()
    proxy: Remote | None = None
    tls: TlsIdentity = COMMON
    metadata: bool = True


@frozen
class Registry:
    """An npm registry: `path`, as in "/npm/", is where it is mounted here. Its `upstream` has its URL for a name."""

    path: str
    upstream: Index


@frozen(kw_only=True)
class Settings:
    """All options.

    `listen`, when not empty, replaces `interface` and `port`. `indexes` are in asking order; the last one is the
    default, that of `--index-url`. `prefix` is "" or as in "/pypi". `base_url` does
    not end with a slash. `min_free` None is
    the rule (1G, or 5 % of the file system if that is less); `max_file_size` and `max_stale` None: no limit. `allow`
    empty: any client. `max_connections` None: what the limit of open files allows; `max_client_connections` 0: no
    limit. `access_log` is a path, "-" for stdout, None for off; its format "text" or "json". `proxies` are the
    environment's. `htpasswd` is what that file holds, None: anybody is served. `tls_certificate`, with its key, is
    shown to clients, None: plain HTTP.
    """

    interface: str
    port: int
    listen: tuple[str, ...]
    indexes: tuple[Index, ...]
    prefix: str
    base_url: str | None
    cache_dir: str
    cache_size: int
    max_file_size: int | None
    min_free: int | None
    memory: int
    inactive: float
    index_ttl: float
    not_found_ttl: float
    stale_wait: float
    max_stale: float | None
    connect_timeout: float
    read_timeout: float
    max_fetches: int
    grace: float
    offline: bool
    allow: tuple[Network, ...]
    trusted_proxy: tuple[Network, ...]
    max_connections: int | None
    max_client_connections: int
    admin_token: str | None = field(repr=False)
    ca_file: str | None
    insecure_host: frozenset[str]
    access_log: str | None
    access_log_format: str
    log_level: str
    proxies: ProxyRules = NO_PROXIES
    workers: int = 1
    npm: tuple[Registry, ...] = ()
    htpasswd: Accounts | None = None
    tls_certificate: ServerCertificate | None = None

    @property
    def upstreams(self) -> tuple[Index, ...]:
        """The indexes, and what is behind npm's mounts."""
        return (*self.indexes, *(registry.upstream for registry in self.npm))


@frozen
class Loaded:
    """The settings, what should be logged about how they came (without secrets), and what was found of each option.

    `found` is by option name, None for those that have their default.
    """

    settings: Settings
    warnings: tuple[str, ...] = ()
    found: Mapping[str, Found | None] = field(factory=dict, repr=False)
