# SPDX-License-Identifier: Apache-2.0
"""The chart of deploy/helm and deploy/container/compose.hosts.yml say what the programs understand."""

import json
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

from harness import debian_tree
from harness.process import BUILD, SOURCE, clean_env

yaml = pytest.importorskip("yaml", reason="missing: apt-get install python3-yaml")

CHART = SOURCE / "deploy/helm/tt-agent"
COMPOSE = SOURCE / "deploy/container/compose.hosts.yml"
HELM = "helm.sh/helm/v3/cmd/helm@v3.18.4"


def check_settings(directory, text):
    """As the container does it, but for files that are not here."""
    file = Path(directory) / "tt-agent.conf"
    file.write_text(text)
    file.chmod(0o640)
    done = subprocess.run([BUILD / "tt-agentd", "--test", "--config", file], capture_output=True, text=True, env=clean_env())
    assert done.returncode == 0, done.stderr
    return done


def variables_of_entry():
    return set(re.findall(r"^#   (TT_AGENT_[A-Z_]+) ", (SOURCE / "deploy/container/entry").read_text(), re.M))


def test_the_settings_of_the_chart_exist(tmp_path):
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    check_settings(tmp_path, values["config"].replace("{{ .Values.redis.url }}", values["redis"]["url"]))
    with pytest.raises(AssertionError, match="no such setting"):
        check_settings(tmp_path, values["config"] + "hosts: { none = 1; };")
    deployment = (CHART / "templates/deployment.yaml").read_text() + (CHART / "templates/_helpers.tpl").read_text()
    assert {"TT_AGENT_RUN", "TT_AGENT_SOCKET"} <= set(re.findall(r"TT_AGENT_[A-Z_]+", deployment)) <= variables_of_entry()


def test_what_templates_use_is_among_the_values():
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    used = {u for file in (CHART / "templates").iterdir() for u in re.findall(r"\.Values\.([A-Za-z.]+)", file.read_text() + values["config"])}
    for name in used:
        value = values
        for part in name.split("."):
            assert part in value, name
            value = value[part]
    assert {u.split(".")[0] for u in used} == set(values)


def test_the_values_that_the_document_sets_exist():
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    names = re.findall(r"--set(?:-file|-string)? ([A-Za-z.]+)=", (SOURCE / "doc/scaling.md").read_text())
    assert "redis.url" in names
    for name in names:
        value = values
        for part in name.split("."):
            assert part in value, name
            value = value[part]


def test_the_chart_has_the_version_of_the_service():
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    version = re.search(r"AC_INIT\(\[?[^,]+,\s*\[?([0-9.]+)", (SOURCE / "configure.ac").read_text())[1]
    assert chart["appVersion"] == version


def test_the_settings_of_the_compose_file_exist(tmp_path):
    compose = yaml.safe_load(COMPOSE.read_text())
    check_settings(tmp_path, compose["configs"]["settings"]["content"])
    upstream = (SOURCE / "deploy/nginx/tt-agent-hosts-upstream.conf").read_text()
    for name in "host-a", "host-b":
        host = compose["services"][name]
        assert f"server {host['networks']['hosts']['ipv4_address']}:8080 " in upstream
        assert host["hostname"] == name and host["read_only"]


# ---- with the tools themselves ---------------------------------------------------------------------------


@pytest.mark.long
def test_compose_takes_the_file():
    if shutil.which("docker") and subprocess.run(["docker", "compose", "version"], capture_output=True).returncode == 0:
        command, root = ["docker", "compose"], Path("/")
    else:
        debian_tree.have_everything()
        root = Path(debian_tree.compose_tree())
        command = ["chroot", str(root), "docker-compose"]
    directory = Path(tempfile.mkdtemp(dir=root / "tmp"))
    try:
        shutil.copy(COMPOSE, directory)
        done = subprocess.run([*command, "-f", f"/{(directory / COMPOSE.name).relative_to(root)}", "config", "--format", "json"],
                              capture_output=True, text=True, env={"PATH": os.environ["PATH"]})
        assert done.returncode == 0, done.stderr
        services = json.loads(done.stdout)["services"]
        assert set(services) == {"host-a", "host-b", "redis", "front"}
        assert services["front"]["ports"][0]["published"] == "8080"
    finally:
        shutil.rmtree(directory)


@pytest.fixture(scope="module")
def helm():
    """It is built once, which takes 20 minutes of a busy machine."""
    program = BUILD / "helm" / "helm"
    if shutil.which("helm"):
        return "helm"
    if not program.exists():
        if not shutil.which("go"):
            pytest.skip("missing: helm, or go to build it")
        done = subprocess.run(["nice", "-n", "19", "go", "install", HELM], capture_output=True, text=True,
                              env={"GOFLAGS": "-p=1", **os.environ, "GOBIN": str(program.parent)})
        if done.returncode:
            pytest.skip(f"go install {HELM}: {done.stderr[-300:]}")
    return str(program)


def run_template(helm, kubernetes, *settings):
    sets = [a for s in settings for a in ("--set", s)]
    return subprocess.run([helm, "template", "here", str(CHART), "--kube-version", kubernetes, *sets], capture_output=True, text=True)


def template(helm, *settings):
    """As for the oldest Kubernetes that the chart supports."""
    oldest = re.search(r"[0-9.]+", yaml.safe_load((CHART / "Chart.yaml").read_text())["kubeVersion"])[0]
    done = run_template(helm, oldest, *settings)
    assert done.returncode == 0, done.stderr
    return {(d["kind"], d["metadata"]["name"]): d for d in yaml.safe_load_all(done.stdout) if d}


@pytest.mark.long
def test_helm_takes_the_chart(helm, tmp_path):
    done = subprocess.run([helm, "lint", "--strict", str(CHART)], capture_output=True, text=True)
    assert done.returncode == 0 and "WARNING" not in done.stdout, done.stdout + done.stderr
    made = template(helm)
    assert {kind for kind, _ in made} == {"ConfigMap", "Secret", "Deployment", "Service", "PodDisruptionBudget"}
    pod = made["Deployment", "here-tt-agent"]["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"] and pod["terminationGracePeriodSeconds"] == 80
    assert [c["name"] for c in pod["containers"]] == ["tt-agent", "nginx"]
    volumes = {v["name"] for v in pod["volumes"]}
    for container in pod["containers"]:
        assert container["securityContext"]["readOnlyRootFilesystem"] and container["securityContext"]["capabilities"]["drop"] == ["ALL"]
        assert {m["name"] for m in container["volumeMounts"]} <= volumes
        assert container["lifecycle"]["preStop"]["exec"]["command"] == ["sleep", "5"]
        assert {e["name"] for e in container["env"]} <= variables_of_entry()
    assert pod["containers"][1]["readinessProbe"]["httpGet"]["path"] == "/"
    check_settings(tmp_path, made["ConfigMap", "here-tt-agent"]["data"]["tt-agent.conf"])
    more = template(helm, "autoscaling.enabled=true", "serviceMonitor.enabled=true", "secrets.existing=mine", "env[0].name=JWT_SECRET", "env[0].value=x")
    assert {"HorizontalPodAutoscaler", "ServiceMonitor"} <= {kind for kind, _ in more} and ("Secret", "here-tt-agent") not in more
    assert "replicas" not in more["Deployment", "here-tt-agent"]["spec"]
    certificates = template(helm, "extraVolumes[0].name=tls", "extraVolumes[0].secret.secretName=redis-tls",
                            "extraVolumeMounts[0].name=tls", "extraVolumeMounts[0].mountPath=/etc/redis-tls")
    pod = certificates["Deployment", "here-tt-agent"]["spec"]["template"]["spec"]
    assert {"name": "tls", "secret": {"secretName": "redis-tls"}} in pod["volumes"]
    assert {"name": "tls", "mountPath": "/etc/redis-tls"} in pod["containers"][0]["volumeMounts"]


@pytest.mark.long
@pytest.mark.parametrize("wrong", ["hosts.redis=redis://redis", "redis.url=redis", "workers=0", "secrets.adminToken=short", "secrets.password=x", "replicas=two"])
def test_helm_refuses_values_that_do_nothing(helm, wrong):
    done = run_template(helm, "1.33.0", wrong)
    assert done.returncode != 0 and "don't meet the specifications of the schema" in done.stderr, done.stderr
