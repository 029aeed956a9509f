"""The container: its files are linted, and the image's steps run without an engine, in a directory in its place."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from attrs import define, field

from e2e.daemon import DIRECT
from e2e.servers import free_port, tool
from e2e.waiting import DEADLINE, wait_for

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
DOCKERFILE = DEPLOY / "Dockerfile"
IGNORED = DEPLOY / "Dockerfile.dockerignore"
MANIFESTS = "\n".join(path.read_text() for path in sorted(DEPLOY.glob("*.yaml")))
DOCUMENT = (ROOT / "docs" / "containers.md").read_text()
BLOCKS = re.findall(r"^<!-- schema: (\S+) -->\n```yaml\n(.*?)^```$", DOCUMENT, re.MULTILINE | re.DOTALL)
YAMLLINT = "{extends: default, rules: {line-length: {max: 120}, document-start: disable}}"
BUILDING = 10 * DEADLINE


def steps() -> list[tuple[str, str]]:
    """The Dockerfile's instructions, each with the rest of its line, continued ones joined."""
    lines = [line for line in DOCKERFILE.read_text().splitlines() if not line.startswith("#")]
    joined = re.sub(r"\s*\\\n\s*", " ", "\n".join(lines))
    return [(word, rest) for word, _, rest in (line.partition(" ") for line in joined.splitlines()) if word]


def only(instruction: str) -> str:
    """What the one instruction of this kind says."""
    (found,) = [rest for word, rest in steps() if word == instruction]
    return found


def lint(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


# -- as linters see it


def test_the_dockerfile() -> None:
    lint(tool("hadolint"), str(DOCKERFILE))


def test_the_yaml() -> None:
    lint(tool("yamllint"), "--strict", "-d", YAMLLINT, *map(str, sorted(DEPLOY.glob("*.yaml"))))


def test_the_compose_file() -> None:
    lint(tool("check-jsonschema"), "--builtin-schema", "vendor.compose-spec", str(DEPLOY / "compose.yaml"))


def test_the_kubernetes_manifests() -> None:
    lint(tool("kubernetes-validate"), "--strict", str(DEPLOY / "kubernetes.yaml"))


@pytest.mark.parametrize(("schema", "text"), BLOCKS, ids=[schema for schema, _ in BLOCKS])
def test_the_recipes(schema: str, text: str, tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text(text)
    lint(tool("check-jsonschema"), "--builtin-schema", schema, str(tmp_path / "recipe.yaml"))


def test_there_are_such_recipes() -> None:
    assert {schema.removeprefix("vendor.") for schema, _ in BLOCKS} == {
        "azure-pipelines",
        "github-workflows",
        "gitlab-ci",
    }


# -- as they must agree


def test_all_mean_the_same_place_user_and_port() -> None:
    place, (uid, _, gid), port = only("VOLUME"), only("USER").partition(":"), only("EXPOSE")
    assert f":{place}\n" in MANIFESTS
    assert f"mountPath: {place}\n" in MANIFESTS
    assert (f"runAsUser: {uid}\n" in MANIFESTS, f"fsGroup: {gid}\n" in MANIFESTS) == (True, True)
    assert f"containerPort: {port}\n" in MANIFESTS
    assert f'"{port}:{port}"' in MANIFESTS
    assert f"user {uid}" in DOCUMENT


def test_what_is_copied_is_in_the_context() -> None:
    allowed = set(re.findall(r"^!(.+)$", IGNORED.read_text(), re.MULTILINE))
    copied = {name for word, rest in steps() if word == "COPY" and "--from" not in rest for name in rest.split()[:-1]}
    assert copied == allowed
    assert all((ROOT / name).exists() for name in copied)


def test_it_is_no_root_and_gets_its_signals() -> None:
    assert only("USER").partition(":")[0] not in ("0", "root")
    assert json.loads(only("ENTRYPOINT"))[0] == "twistd"  # a list: no shell in between


# -- as an engine builds and runs it


@define
class Image:
    """A directory that stands for the image's file system, as far as its steps touch that."""

    root: Path
    variables: dict[str, str] = field(factory=dict)

    def moved(self, text: str) -> str:
        """Text with our directory in place of the root, and our user in place of the image's."""
        text = re.sub(r"(?<![\w.*-])/(?=(?:src|wheels|opt|var)\b)", f"{self.root}/", text)
        uid, _, gid = only("USER").partition(":")
        text = text.replace(f"--owner={uid} ", f"--owner={os.getuid()} ")
        return text.replace(f"--group={gid} ", f"--group={os.getgid()} ")

    def build(self) -> None:
        """Do what the first stage does; of the second, what isn't about files, which it takes over as they are."""
        (self.root / "var/cache").mkdir(parents=True)
        for word, rest in steps():
            if word == "WORKDIR":
                Path(self.moved(rest)).mkdir()
            elif word == "COPY" and not rest.startswith("--from"):
                self._copy(*rest.split())
            elif word == "COPY":
                _, source, target = rest.split()
                assert source == target
            elif word == "RUN":
                self.run("/bin/sh", "-ec", self.moved(rest))
            elif word == "ENV":
                self.variables |= dict(pair.split("=", 1) for pair in self.moved(rest).split())

    def _copy(self, *names: str) -> None:
        *sources, target = names
        for source in sources:
            place = self.root / "src" / target
            if (ROOT / source).is_dir():
                shutil.copytree(ROOT / source, place, ignore=shutil.ignore_patterns("__pycache__", "dropin.cache"))
            else:
                shutil.copy(ROOT / source, place)

    def environment(self, **more: str) -> dict[str, str]:
        """What processes in it see; how pip reaches an index for the build is our own."""
        reaching = ("HOME", "PIP_", "HTTP", "http", "SSL_")
        ours = {name: value for name, value in os.environ.items() if name.startswith(reaching)}
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.defpath}"
        given = {name: value.replace("$PATH", path) for name, value in self.variables.items()}
        return {**ours, "PATH": path, **given, **more}

    def run(self, *command: str, **more: str) -> subprocess.CompletedProcess[str]:
        """Run to the end. Fails with the output; skips where no index can be had to build with, but not in CI."""
        done = subprocess.run(
            command,
            cwd=self.root / "src",
            env=self.environment(**more),
            capture_output=True,
            text=True,
            timeout=BUILDING,
            check=False,
        )
        if "Could not find a version" in done.stderr and os.environ.get("CI") != "true":
            pytest.skip("no index to build with")
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
        return done


def test_the_steps_make_a_daemon_that_is_healthy_and_ends_in_order(tmp_path: Path) -> None:
    image = Image(tmp_path)
    image.build()
    cache = tmp_path / "var/cache/pypicache"
    assert cache.stat().st_mode & 0o777 == 0o700
    port = free_port()
    environment = image.environment(PYPICACHE_PORT=str(port))
    check = json.loads(only("HEALTHCHECK").partition("CMD ")[2])

    def found(name: str) -> str:
        return shutil.which(name, path=environment["PATH"]) or name

    def healthy() -> bool:
        return subprocess.run([found(check[0]), *check[1:]], env=environment, check=False).returncode == 0

    assert not healthy()
    with (tmp_path / "log").open("wb") as log:
        command = [found("twistd"), *json.loads(only("ENTRYPOINT"))[1:], "--offline"]
        process = subprocess.Popen(command, cwd=cache, env=environment, stdout=log, stderr=log)
    try:
        wait_for("it listens", lambda: b"listening on http://0.0.0.0:" in (tmp_path / "log").read_bytes())
        assert command[0] == str(tmp_path / "opt/pypicache/bin/twistd")
        assert healthy()
        with DIRECT.open(f"http://127.0.0.1:{port}/readyz", timeout=DEADLINE) as answer:
            assert answer.status == 200
        process.terminate()
        assert process.wait(DEADLINE) == 0
        assert (cache / "catalogue.sqlite").exists()
    finally:
        process.kill()
        process.wait(DEADLINE)
