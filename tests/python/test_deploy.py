"""What stands in deploy/ parses, names settings and ports that exist, and agrees with the program that it starts.

Neither containers nor clusters run here: images, compose, Kubernetes and Helm are held against their schemas and linters alone.
"""

import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tomllib
from pathlib import Path

import kubernetes_validate
import pytest
import yaml
from conftest import REPOSITORY, Server, binary, run

DEPLOY = REPOSITORY / "deploy"
UNIT = DEPLOY / "systemd" / "pintail.service"
KUBERNETES = list(yaml.safe_load_all((DEPLOY / "kubernetes" / "pintail.yaml").read_text()))
CHART = DEPLOY / "helm" / "pintail"
TEMPLATES = sorted((CHART / "templates").glob("*.yaml"))
COMPOSE = yaml.safe_load((DEPLOY / "docker" / "compose.yaml").read_text())
FLIGHT, HTTP = 8815, 8816


def of_kind(kind):
    return next(one for one in KUBERNETES if one["kind"] == kind)


def rendered(template):
    """A template with the chart's own values, for as much of Go's templates as the chart uses; the rest fails."""
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    roots = {"Values": values, "Release": {"Name": "mine"}, "Chart": {"AppVersion": chart["appVersion"]}}

    def look_up(path):
        found = roots
        for part in path.removeprefix(".").split("."):
            found = found[part]
        return found

    def piped(text):
        first, *functions = [part.strip() for part in text.split("|")]
        value = yaml.safe_dump(look_up(first.split()[1])).rstrip() if first.startswith("toYaml ") else look_up(first)
        for function in functions:
            name, *arguments = function.split()
            if name == "default":
                value = value or look_up(arguments[0])
            elif name == "quote":
                value = f'"{value}"'
            elif name == "sha256sum":
                value = "0" * 64
            elif name == "nindent":
                lines = str(value).splitlines()
                value = "\n" + "\n".join(" " * int(arguments[0]) + line if line else line for line in lines)
            else:
                raise AssertionError(f"{template.name}: {function} is not known here")
        return str(value)

    kept, taken = [], [True]
    for line in template.read_text().splitlines():
        if started := re.match(r"\s*\{\{- if (\S+) \}\}$", line):
            taken.append(bool(look_up(started[1])))
        elif re.match(r"\s*\{\{- end \}\}$", line):
            taken.pop()
        elif all(taken):
            joined = re.sub(r"^\s*\{\{- (.*?) \}\}", lambda found: piped(found[1]).lstrip("\n"), line)
            kept.append(re.sub(r"\{\{ (.*?) \}\}", lambda found: piped(found[1]), joined))
    assert taken == [True]
    return yaml.safe_load("\n".join(kept) + "\n")


def checked(config: str, folder: Path, environment=None):
    """The program's own word on a configuration."""
    (folder / "pintail.toml").write_text(config)
    return run("config", "check", "--config", "pintail.toml", cwd=folder, env=environment, check=False)


# systemd


def settings(section):
    """The lines of a section, continued and repeated ones included."""
    inside = UNIT.read_text().split(f"[{section}]")[1].split("\n[")[0]
    return dict(line.split("=", 1) for line in inside.splitlines() if "=" in line and not line.startswith("#"))


def test_the_unit_is_right_and_hardened(tmp_path):
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd is not on this machine")
    # The program is where this machine has it.
    unit = tmp_path / "pintail.service"
    unit.write_text(UNIT.read_text().replace("/usr/bin/pintail", binary()).replace("Documentation=man", "# man"))
    verified = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True, timeout=60)
    told = [line for line in verified.stderr.splitlines() if "pintail" in line]
    assert told == [] and verified.returncode == 0, verified.stderr
    # Exposure in tenths: 0 is none; a service without a word about it has 96.
    command = ["systemd-analyze", "security", "--offline=true", "--threshold=15", unit]
    exposed = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert exposed.returncode == 0, exposed.stdout


def test_the_units_command_and_configuration_are_the_programs():
    program, *arguments = shlex.split(settings("Service")["ExecStart"])
    assert program == "/usr/bin/pintail" and arguments[0] == "serve"
    told = run("serve", "--help").stdout
    assert all(flag in told for flag in arguments if flag.startswith("--"))
    config = (DEPLOY / "systemd" / "pintail.toml").read_text()
    assert tomllib.loads(config)["server"] == {"listen": f"127.0.0.1:{FLIGHT}", "http": f"127.0.0.1:{HTTP}"}


@pytest.mark.parametrize("file", ["systemd/pintail.toml", "docker/pintail.toml"])
def test_configurations_are_right(file, tmp_path):
    config = (DEPLOY / file).read_text()
    # Beyond loopback it takes TLS or a word that it shall do without.
    done = checked(config, tmp_path, {"PINTAIL_SERVER__INSECURE": "true", "PINTAIL_AUTH__ANONYMOUS": "admin"})
    assert done.returncode == 0, done.stderr
    # What is commented out is a setting as well.
    every = re.sub(r"^# (\w+ = )", r"\1", config, flags=re.MULTILINE)
    (tmp_path / "pintail.toml").write_text(every)
    printed = run("config", "print", "--config", "pintail.toml", cwd=tmp_path, check=False, env={"PINTAIL_SERVER__INSECURE": "true"})
    assert "unknown" not in printed.stderr and "did you mean" not in printed.stderr, printed.stderr


def test_systemd_hears_of_the_start_and_of_the_end(tmp_path):
    path = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard:
        heard.bind(path)
        heard.settimeout(30)
        server = Server(tmp_path, env={"NOTIFY_SOCKET": path})
        assert heard.recv(100) == b"READY=1\n"
        assert server.stop(signal.SIGTERM) == 0
        assert heard.recv(100) == b"STOPPING=1\n"


# Health


def test_healthcheck_says_by_its_exit_code_whether_a_server_serves(server, tmp_path):
    assert run("healthcheck", "--server", server.uri).stdout == "serving\n"
    server.stop(signal.SIGTERM)
    gone = run("healthcheck", "--server", server.uri, check=False)
    assert gone.returncode == 1 and "no server answers" in gone.stderr


def test_healthcheck_needs_no_account_and_knows_tls(tmp_path):
    env = {"PINTAIL_AUTH__ANONYMOUS": "off"}
    server = Server(tmp_path, "--tls-self-signed", env=env, listen="0.0.0.0:0")
    try:
        uri = server.uri.replace("0.0.0.0", "localhost")
        certificate = str(tmp_path / "pintail.duckdb.tls-cert.pem")
        done = run("healthcheck", env={"PINTAIL_SERVER": uri, "PINTAIL_TLS_CA": certificate})
        assert done.stdout == "serving\n"
        assert run("healthcheck", "--server", uri, check=False).returncode == 1
    finally:
        server.stop(signal.SIGKILL)


def test_a_server_ends_with_its_input_when_it_is_asked_to(tmp_path):
    command = [binary(), "serve", "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0", "--until-input-ends"]
    process = subprocess.Popen(command, cwd=tmp_path, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdout.readline()
    process.stdin.write(b"anything but an end\n")
    process.stdin.flush()
    assert process.poll() is None
    _, log = process.communicate(timeout=60)
    assert process.returncode == 0 and b"standard input has ended" in log and b"goodbye" in log


# Containers


def test_the_image_is_linted():
    tool = Path(sys.executable).parent / "hadolint"
    # DL3006 asks for a tag that the base of a first stage has as its name.
    done = subprocess.run([tool, DEPLOY / "docker" / "Dockerfile"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_image_is_what_an_operator_expects():
    text = (DEPLOY / "docker" / "Dockerfile").read_text()
    for line in ["USER 65532:65532", "STOPSIGNAL SIGTERM", f"EXPOSE {FLIGHT} {HTTP}", "VOLUME /data", 'CMD ["/usr/bin/pintail", "healthcheck"]']:
        assert line in text
    for source in re.findall(r"^COPY (?!--from)(\S+) ", text, re.MULTILINE):
        assert (REPOSITORY / source).exists(), source


def test_compose_names_what_is_there(tmp_path):
    service = COMPOSE["services"]["pintail"]
    done = checked((DEPLOY / "docker" / "pintail.toml").read_text(), tmp_path, service["environment"])
    assert done.returncode == 0, done.stderr
    assert service["ports"] == [f"127.0.0.1:{port}:{port}" for port in (FLIGHT, HTTP)] and service["read_only"] is True
    assert all(port.startswith("127.0.0.1:") for one in COMPOSE["services"].values() for port in one.get("ports", []))
    dashboards = REPOSITORY / "dashboards"
    for name, one in COMPOSE["services"].items():
        for volume in one.get("volumes", []):
            source = volume.split(":")[0]
            if source.startswith("."):
                path = (DEPLOY / "docker" / source).resolve()
                assert path.exists() or (path.parent == dashboards and not dashboards.exists()), f"{name}: {volume}"
    prometheus = yaml.safe_load((DEPLOY / "docker" / "prometheus.yml").read_text())
    assert prometheus["scrape_configs"][0]["static_configs"][0]["targets"] == [f"pintail:{HTTP}"]
    source = yaml.safe_load((DEPLOY / "docker" / "grafana" / "datasources" / "prometheus.yaml").read_text())
    assert source["datasources"][0]["url"] == "http://prometheus:9090"


# Kubernetes


@pytest.mark.parametrize("one", KUBERNETES, ids=lambda one: one["kind"])
def test_kubernetes_takes_it(one):
    kubernetes_validate.validate(one, "1.33", strict=True)


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: path.stem)
def test_the_chart_becomes_what_kubernetes_takes(template):
    kubernetes_validate.validate(rendered(template), "1.33", strict=True)


def pods():
    chart = next(one for one in map(rendered, TEMPLATES) if one["kind"] == "StatefulSet")
    return [of_kind("StatefulSet"), chart]


@pytest.mark.parametrize("number", [0, 1], ids=["plain", "chart"])
def test_pods_agree_with_the_program(number, tmp_path):
    pod = pods()[number]
    spec = pod["spec"]["template"]["spec"]
    container = spec["containers"][0]
    assert pod["spec"]["replicas"] == 1
    assert {port["name"]: port["containerPort"] for port in container["ports"]} == {"grpc": FLIGHT, "http": HTTP}
    told = run("serve", "--help").stdout
    assert container["args"][0] == "serve"
    assert all(flag in told for flag in container["args"] if flag.startswith("--"))
    probe = container["startupProbe"]["exec"]["command"]
    assert probe == ["/usr/bin/pintail", "healthcheck"] and "healthcheck" in run("--help").stdout
    assert {container[name]["httpGet"]["path"] for name in ("livenessProbe", "readinessProbe")} == {"/livez", "/readyz"}
    assert container["securityContext"]["readOnlyRootFilesystem"] and spec["securityContext"]["runAsNonRoot"]
    # The volume that is written to is the one that lasts.
    claims = {claim["metadata"]["name"] for claim in pod["spec"]["volumeClaimTemplates"]}
    mounts = {mount["name"]: mount for mount in container["volumeMounts"]}
    assert claims == {"data"} and mounts["data"]["mountPath"] == "/data"
    assert all(mount.get("readOnly") for name, mount in mounts.items() if name != "data")
    drain = int(re.search(r'drain_timeout = "(\d+)s"', run("config", "print", cwd=tmp_path).stdout)[1])
    assert spec["terminationGracePeriodSeconds"] >= 2 * drain


def test_configurations_in_secrets_are_right(tmp_path):
    config = of_kind("Secret")["stringData"]["pintail.toml"]
    done = checked(config, tmp_path)
    assert done.returncode == 0, done.stderr
    assert tomllib.loads(config)["server"]["listen"] == f"0.0.0.0:{FLIGHT}"
    chart = next(one for one in map(rendered, TEMPLATES) if one["kind"] == "Secret")["stringData"]["pintail.toml"]
    container = pods()[1]["spec"]["template"]["spec"]["containers"][0]
    environment = {one["name"]: one["value"] for one in container["env"] if "__" in one["name"]}
    done = checked(chart, tmp_path, environment)
    assert done.returncode == 0, done.stderr
    assert tomllib.loads(chart)["auth"]["anonymous"] == "off"


# Packages


def test_the_package_holds_what_is_there():
    manifest = tomllib.loads((REPOSITORY / "Cargo.toml").read_text())
    deb = manifest["package"]["metadata"]["deb"]
    for source, target, mode in deb["assets"]:
        if not source.startswith("dist/"):
            assert (REPOSITORY / source).exists(), source
    units = deb["systemd-units"]
    assert (REPOSITORY / units["unit-scripts"] / f"{units['unit-name']}.service") == UNIT
    assert deb["conf-files"] == ["/etc/pintail/pintail.toml"] and "/etc/pintail/pintail.toml" in settings("Service")["ExecStart"]


def test_every_command_has_a_manual_page(tmp_path):
    run("man", tmp_path / "man")
    pages = {page.name for page in (tmp_path / "man").iterdir()}
    commands = re.findall(r"^  ([a-z]+) ", run("--help").stdout.split("Commands:")[1].split("Options:")[0], re.MULTILINE)
    assert {"pintail.1", "pintail-schema-plan.1"} | {f"pintail-{name}.1" for name in commands if name != "help"} <= pages
    assert "pintail-man.1" not in pages
    serve = (tmp_path / "man" / "pintail-serve.1").read_text()
    assert "until\\-input\\-ends" in serve and serve.startswith(".ie")
    if shutil.which("man"):
        shown = subprocess.run(
            ["man", "--warnings", "-l", tmp_path / "man" / "pintail-load.1"],
            capture_output=True,
            text=True,
            timeout=60,
            env={**os.environ, "MANPAGER": "cat", "MANWIDTH": "100"},
        )
        assert shown.returncode == 0 and "--on-conflict" in shown.stdout and shown.stderr == "", shown.stderr
