"""The image: its Dockerfile passes the linter, copies what there is, and ends in a binary that nobody can change."""

import json
import re
import shutil

import pytest
from manifests import ROOT, run

DOCKERFILE = ROOT / "deploy/Dockerfile"


def instructions():
    """(stage, instruction, arguments), with continued lines joined."""
    text = re.sub(r"^\s*#.*\n", "", DOCKERFILE.read_text(), flags=re.MULTILINE)
    stage = None
    for line in text.replace("\\\n", " ").splitlines():
        if not line.strip():
            continue
        word, arguments = line.split(maxsplit=1)
        if word == "FROM":
            name = re.search(r"\bAS (\S+)$", arguments)
            stage = name.group(1) if name else "final"
        yield stage, word, arguments.strip()


def of(stage, word):
    return [arguments for s, w, arguments in instructions() if (s, w) == (stage, word)]


@pytest.fixture(scope="module")
def context(tmp_path_factory):
    """What the build stage has after its COPY instructions, out of what .dockerignore leaves of the context."""
    sent = [line.removeprefix("!") for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    directory = tmp_path_factory.mktemp("src")
    for copied in of("build", "COPY"):
        *sources, destination = copied.split()
        for source in sources:
            assert any(source == name or source.startswith(f"{name}/") for name in sent), f"{source} is not sent"
            target = directory / destination
            if (ROOT / source).is_dir():
                shutil.copytree(ROOT / source, target)
            else:
                target.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / source, target)
    return directory


def test_the_dockerfile_passes_the_linter():
    linted = run(ROOT / "target/venv/bin/hadolint", "--failure-threshold", "info", DOCKERFILE)
    assert linted.returncode == 0, linted.stdout
    broken = run(ROOT / "target/venv/bin/hadolint", "-", stdin="FROM debian\nRUN cd /src\n")
    assert broken.returncode != 0


def test_what_is_copied_is_a_whole_package(context):
    """The package is understood and compiles without what is left out: tests, policies, documentation."""
    packages = run("cargo", "metadata", "--locked", "--offline", "--no-deps", "--format-version", "1", cwd=context)
    assert packages.returncode == 0, packages.stderr
    (package,) = json.loads(packages.stdout)["packages"]
    (binary,) = [target for target in package["targets"] if target["kind"] == ["bin"]]
    assert binary["src_path"] == str(context / "src/main.rs")
    included = re.compile(r'include_(?:str|bytes)!\(\s*"([^"]+)"\s*\)')
    for source in (context / "src").rglob("*.rs"):
        # The demonstration and the tests are not in a release.
        if "demo" in source.relative_to(context).as_posix() or source.name == "tests.rs" or "tests" in source.parts:
            continue
        code = source.read_text().split("#[cfg(test)]")[0]
        for name in included.findall(code):
            assert (source.parent / name).resolve().is_file(), f"{source.relative_to(context)} includes {name}"


def test_the_build_stage_runs_a_script_that_is_there_for_both_architectures(context):
    (built,) = [command for command in of("build", "RUN") if "dist.sh" in command]
    assert 'scripts/dist.sh --binary-only "$TARGETARCH"' in built
    for script in ("dist.sh", "venv.sh"):
        assert (context / "scripts" / script).stat().st_mode & 0o111
        assert run("sh", "-n", context / "scripts" / script).returncode == 0
    # Architectures are named as Docker names them; any other is refused before something is installed.
    refused = run(context / "scripts/dist.sh", "--binary-only", "riscv64", cwd=context)
    assert refused.returncode == 64 and "write amd64 or arm64" in refused.stderr
    assert not (context / "target/venv").exists()


def test_the_image_runs_one_program_as_nobody():
    (base,) = of("final", "FROM")
    assert base.startswith("gcr.io/distroless/static-") and base.endswith(":nonroot")
    assert of("final", "USER") == ["65532:65532"]
    assert of("final", "COPY") == ["--from=build --chmod=0555 /flyte-authz-proxy /usr/local/bin/flyte-authz-proxy"]
    assert not of("final", "RUN") and not of("final", "ENV")
    (entrypoint,), (command,) = of("final", "ENTRYPOINT"), of("final", "CMD")
    assert json.loads(entrypoint) == ["/usr/local/bin/flyte-authz-proxy"]
    assert json.loads(command) == ["serve", "--config", "/etc/flyte-authz/config.yaml"]
    (label,) = of("final", "LABEL")
    for key in ("title", "description", "licenses", "version", "revision"):
        assert f"org.opencontainers.image.{key}=" in label
    version = re.search(r'^version = "(.+)"$', (ROOT / "Cargo.toml").read_text(), re.MULTILINE).group(1)
    assert f"VERSION={version}" in of("final", "ARG")


def test_the_health_check_is_a_command_of_the_program():
    (check,) = of("final", "HEALTHCHECK")
    program, *arguments = json.loads(check.split("CMD", 1)[1])
    assert program == "/usr/local/bin/flyte-authz-proxy"
    assert json.loads(of("final", "CMD")[0])[1:] == arguments[1:], "it asks the proxy that `serve` runs"
    answered = run(ROOT / "target/debug/flyte-authz-proxy", *arguments)
    assert answered.returncode == 3 and "/etc/flyte-authz/config.yaml" in answered.stderr
