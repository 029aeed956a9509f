"""What to set in each client, with this server's very address. Pure."""

from __future__ import annotations

from urllib.parse import urlsplit

from attrs import frozen


@frozen
class Recipe:
    """What a client is to be told, as `text` to be copied, and where that goes."""

    client: str
    where: str
    text: str


def recipes(base: str, npm: bool = False) -> tuple[Recipe, ...]:
    """For a server that is reached at `base`, absolute and without trailing slash; `npm`: it serves that, too."""
    index, host, netloc = f"{base}/simple/", urlsplit(base).hostname or "", urlsplit(base).netloc
    host = f"[{host}]" if ":" in host else host
    plain = base.startswith("http:")

    def lines(*always: str, over_http: str = "") -> str:
        return "\n".join((*always, over_http) if plain and over_http else always)

    variables = lines(
        f"PIP_INDEX_URL={index}",
        f"UV_DEFAULT_INDEX={index}",
        over_http=f"PIP_TRUSTED_HOST={host}\nUV_INSECURE_HOST={netloc}",
    )
    pip = lines(f"pip config set global.index-url {index}", over_http=f"pip config set global.trusted-host {host}")
    uv = lines(f"export UV_DEFAULT_INDEX={index}", over_http=f"export UV_INSECURE_HOST={netloc}")
    pdm = lines(f"pdm config pypi.url {index}", over_http="pdm config pypi.verify_ssl false")
    verify = "false" if plain else "true"
    return (
        Recipe("pip", "in a shell", pip),
        Recipe("uv", "in a shell", uv),
        Recipe("uv", "in uv.toml", f'[[index]]\nname = "pypicache"\nurl = "{index}"\ndefault = true'),
        Recipe("poetry", "in a shell, in the project", f"poetry source add --priority=primary pypicache {index}"),
        Recipe("pdm", "in a shell", pdm),
        Recipe("pipenv", "in Pipfile", f'[[source]]\nname = "pypicache"\nurl = "{index}"\nverify_ssl = {verify}'),
        Recipe("buildout", "in buildout.cfg", f"[buildout]\nindex = {index}"),
        Recipe("Dockerfile", "in the build stage", "\n".join(f"ENV {line}" for line in variables.splitlines())),
        Recipe("CI", "as variables", variables),
        *([Recipe("npm", "in a shell", f"npm config set registry {base}/npm/")] if npm else ()),
    )
