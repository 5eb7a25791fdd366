"""/metrics, the alert rules and the dashboard over it, and a real Prometheus that reads them."""

import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request

import gemeld
import grpc
import pytest
from conftest import needs_kvm
from gemeld import v1

sys.path.append(str(gemeld.ROOT / "tests/check"))
import unpacked  # pylint: disable=wrong-import-position

SHIPPED = gemeld.ROOT / "packaging/prometheus"
RULES = SHIPPED / "gemel.rules.yml"
DASHBOARD = SHIPPED / "gemel.dashboard.json"
WEB = "projects/p/vms/web"

PROMETHEUS, PROMTOOL = unpacked.program("prometheus"), unpacked.program("prometheus", "promtool")
needs_prometheus = pytest.mark.skipif(
    PROMETHEUS is None or PROMTOOL is None,
    reason="needs prometheus: tests/check/unpack packaging/packages-unpacked.txt")


@pytest.fixture(name="daemon")
def fixture_daemon(tmp_path):
    daemon = gemeld.Gemeld(tmp_path, "--metrics-listen", "0").start()
    yield daemon
    daemon.close()


def address(daemon):
    return re.findall(r"metrics: http://(127\.0\.0\.1:\d+)/metrics", daemon.log())[-1]


def scrape(daemon):
    with urllib.request.urlopen(f"http://{address(daemon)}/metrics", timeout=gemeld.DEADLINE) as answer:
        return answer.read().decode()


def values(text, name):
    """Labels and value of each series of a metric."""
    found = []
    for labels, value in re.findall(rf"^{name}(?:{{(.*)}})? (\S+)$", text, re.MULTILINE):
        found.append((dict(re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', labels)), float(value)))
    return found


def value(text, name, **labels):
    found = [number for seen, number in values(text, name) if labels.items() <= seen.items()]
    assert len(found) == 1, (name, labels, found)
    return found[0]


def promtool(*words, **options):
    done = subprocess.run([PROMTOOL, *words], capture_output=True, text=True, check=False, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def free_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


# What is shown.


def test_machines_and_node_are_shown(daemon):
    daemon.create("off", project="q")
    text = scrape(daemon)
    assert value(text, "gemel_vm_state", vm="off", project="q", node="n", state="STOPPED") == 1
    assert value(text, "gemel_vm_memory_size_bytes", vm="off") == 32 * gemeld.MIB
    assert value(text, "gemel_node_vms_defined", node="n") == 1
    assert value(text, "gemel_node_memory_capacity_bytes", node="n") > 0
    assert value(text, "gemel_node_healthy", condition="store") == 1
    assert value(text, "gemel_node_healthy", condition="kvm") is not None
    assert value(text, "gemel_pool_capacity_bytes", node="n", pool="default") > 0
    assert value(text, "gemel_pool_provisioned_bytes", node="n", pool="default") == 0
    assert value(text, "gemel_events_total", node="n", type="CREATED") == 1
    assert not values(text, "gemel_vm_cpu_seconds_total")


@needs_kvm
def test_what_a_running_machine_uses_is_shown(daemon):
    daemon.well(daemon.create(run=True, spec=daemon.spec("idle", "")))
    text = scrape(daemon)
    labels = {"vm": "web", "project": "p", "node": "n"}
    assert value(text, "gemel_vm_state", state="RUNNING", **labels) == 1
    assert value(text, "gemel_vm_cpu_seconds_total", **labels) > 0
    assert value(text, "gemel_vm_vcpu_seconds_total", **labels) > 0
    assert value(text, "gemel_vm_memory_resident_bytes", **labels) > gemeld.MIB
    assert abs(value(text, "gemel_vm_sample_time_seconds", **labels) - time.time()) < gemeld.DEADLINE
    assert {"reason", *labels} == set(values(text, "gemel_vm_exits_total")[0][0])
    node = daemon.nodes.Get(v1("nodes").GetNodeRequest(name="nodes/-"))
    assert value(text, "gemel_node_memory_reserved_bytes") == node.reserved.memory_bytes > 33 * gemeld.MIB
    daemon.well(daemon.do("Stop"))
    assert not values(scrape(daemon), "gemel_vm_cpu_seconds_total")


def test_calls_are_counted_by_method_and_code(daemon):
    for _ in range(3):
        daemon.list()
    with pytest.raises(grpc.RpcError):
        daemon.get("projects/p/vms/none")
    text = scrape(daemon)
    name = "gemel_api_request_seconds_count"
    assert value(text, name, method="VirtualMachines/List", code="OK") == 3
    assert value(text, name, method="VirtualMachines/Get", code="NOT_FOUND") == 1
    took = value(text, "gemel_api_request_seconds_sum", method="VirtualMachines/List")
    assert 0 < took < 3 * gemeld.DEADLINE


def test_methods_that_callers_invent_make_no_series(daemon):
    for number in range(20):
        call = daemon.channel.unary_unary(f"/gemel.v1.VirtualMachines/Invented{number}")
        with pytest.raises(grpc.RpcError) as failure:
            call(b"")
        assert failure.value.code() == grpc.StatusCode.UNIMPLEMENTED
    assert "Invented" not in scrape(daemon)


def test_streams_are_counted_when_they_end(daemon):
    watch = daemon.events.Watch(v1("events").WatchRequest(parent="projects/-"))
    next(iter(watch))
    watch.cancel()
    daemon.until(lambda: values(scrape(daemon), "gemel_api_streams_total"), "the stream's end")
    assert value(scrape(daemon), "gemel_api_streams_total", method="Events/Watch") == 1


@needs_kvm
def test_silent_machine_and_lazy_readers_hold_nobody_up(daemon):
    daemon.well(daemon.create(run=True, spec=daemon.spec("idle", "")))
    pid = daemon.get().status.pid
    lazy = [socket.create_connection(address(daemon).split(":")) for _ in range(3)]
    os.kill(pid, signal.SIGSTOP)
    try:
        assert daemon.state() == "RUNNING"
        for connection in lazy:
            connection.close()
        assert value(scrape(daemon), "gemel_vm_state", vm="web", state="RUNNING") == 1
    finally:
        os.kill(pid, signal.SIGCONT)


def test_nothing_listens_unless_told_to(tmp_path):
    daemon = gemeld.Gemeld(tmp_path).start()
    try:
        assert "/metrics" not in daemon.log()
    finally:
        daemon.close()


@pytest.mark.parametrize("word", ["65536", "*:9177", "127.0.0.1:1,127.0.0.1:2", "9177s", "host:9177", ":1"])
def test_bad_address_is_refused(tmp_path, word):
    done = subprocess.run([gemeld.GEMELD, "--state-dir", tmp_path, "--run-dir", tmp_path,
                           "--metrics-listen", word], capture_output=True, text=True, check=False)
    assert done.returncode == 2 and f"metrics.listen: {word}: not" in done.stderr


def test_address_that_is_taken_is_named(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        daemon = gemeld.Gemeld(tmp_path, "--metrics-listen", str(port)).start(wait=False)
        assert daemon.process.wait(timeout=gemeld.DEADLINE) == 1
        assert f"metrics.listen: 127.0.0.1:{port}: cannot listen there" in daemon.log()


# What is shipped.


def dashboard_expressions():
    board = json.loads(DASHBOARD.read_text())
    return [target["expr"] for panel in board["panels"] for target in panel.get("targets", [])]


def metrics_in(text):
    return set(re.findall(r"\bgemel_(?:api|node|vm)_[a-z_]+", text))


def test_every_metric_that_is_used_is_shown(daemon):
    daemon.list()
    watch = daemon.events.Watch(v1("events").WatchRequest(parent="projects/-"))
    next(iter(watch))
    watch.cancel()
    daemon.until(lambda: values(scrape(daemon), "gemel_api_streams_total"), "the stream's end")
    shown = set(re.findall(r"^# TYPE (gemel_\w+) ", scrape(daemon), re.MULTILINE))
    shown |= {f"{name}_{part}" for name in shown for part in ("count", "sum", "bucket")}
    board = json.loads(DASHBOARD.read_text())
    queries = " ".join(variable.get("definition", "") for variable in board["templating"]["list"])
    used = metrics_in(RULES.read_text()) | metrics_in(" ".join(dashboard_expressions())) | metrics_in(queries)
    assert len(used) > 30 and not nodes_own(used) - shown, used - shown
    documented = metrics_in((gemeld.ROOT / "docs/GEMELD.md").read_text())
    assert not nodes_own(documented) - shown, documented - shown
    assert used - nodes_own(used) <= documented, used - documented


def nodes_own(metrics):
    """Those of a cluster are looked for where there is one (tests/cluster/test_gemeld_iscsi.py)."""
    return {name for name in metrics if not name.startswith("gemel_cluster_")}


@needs_prometheus
def test_alert_rules_are_sound_and_raise_what_they_should(tmp_path):
    promtool("check", "rules", RULES)
    test = (gemeld.ROOT / "tests/api/gemel_rules_test.yml").read_text()
    (tmp_path / "test.yml").write_text(test.replace("[RULES]", f"[{json.dumps(str(RULES))}]"))
    promtool("test", "rules", tmp_path / "test.yml")
    tested = set(re.findall(r"alertname: (\w+)", test))
    assert tested == set(re.findall(r"alert: (\w+)", RULES.read_text()))


@needs_prometheus
def test_expressions_of_the_dashboard_are_sound(tmp_path):
    rules = []
    for number, expression in enumerate(dashboard_expressions()):
        expression = expression.replace("$__rate_interval", "5m")
        rules.append({"record": f"panel:{number}", "expr": expression})
    assert len(rules) > 20
    # JSON is YAML.
    (tmp_path / "rules.yml").write_text(json.dumps({"groups": [{"name": "panels", "rules": rules}]}))
    assert f"{len(rules)} rules found" in promtool("check", "rules", tmp_path / "rules.yml")
    board = json.loads(DASHBOARD.read_text())
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])


@needs_prometheus
@needs_kvm
def test_what_is_shown_passes_promtools_lint(daemon):
    daemon.well(daemon.create(run=True, spec=daemon.spec("idle", "")))
    ours = [line for line in scrape(daemon).splitlines() if re.match(r"(# \w+ )?gemel_", line)]
    promtool("check", "metrics", input="\n".join(ours) + "\n")


class Prometheus:
    """A real one, which scrapes a daemon every second and has our rules."""

    def __init__(self, folder, target):
        self.port = free_port()
        (folder / "prometheus.yml").write_text(json.dumps({
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": [str(RULES)],
            "scrape_configs": [{"job_name": "gemel", "static_configs": [{"targets": [target]}]}]}))
        with open(folder / "prometheus.log", "wb") as log:
            self.process = subprocess.Popen(
                [PROMETHEUS, f"--config.file={folder / 'prometheus.yml'}",
                 f"--storage.tsdb.path={folder / 'tsdb'}",
                 f"--web.listen-address=127.0.0.1:{self.port}"],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=folder)
        self.log = folder / "prometheus.log"

    def ask(self, path, **words):
        url = f"http://127.0.0.1:{self.port}/api/v1/{path}"
        if words:
            url += "?" + "&".join(f"{key}={urllib.request.quote(word)}" for key, word in words.items())
        assert self.process.poll() is None, self.log.read_text()
        try:
            with urllib.request.urlopen(url, timeout=gemeld.DEADLINE) as answer:
                return json.load(answer)["data"]
        except OSError:
            return None  # it does not listen yet

    def query(self, expression):
        data = self.ask("query", query=expression)
        return data and data["result"]

    def close(self):
        self.process.kill()
        self.process.wait()


@needs_prometheus
@needs_kvm
def test_real_prometheus_scrapes_and_evaluates(daemon, tmp_path):
    daemon.well(daemon.create(run=True, spec=daemon.spec("idle", "")))
    folder = pathlib.Path(tmp_path / "prometheus")
    folder.mkdir()
    prometheus = Prometheus(folder, address(daemon))
    try:
        daemon.until(lambda: prometheus.query('up{job="gemel"} == 1'), "a scrape")
        series, = prometheus.query('gemel_vm_state{vm="web", project="p", node="n"} == 1')
        assert series["metric"]["state"] == "RUNNING"
        daemon.until(lambda: prometheus.query("rate(gemel_vm_cpu_seconds_total[10s])"), "a rate")
        daemon.until(lambda: all(rule["health"] == "ok" for group in prometheus.ask("rules")["groups"]
                                 for rule in group["rules"]), "the rules' evaluation")
        names = {rule["name"] for group in prometheus.ask("rules")["groups"] for rule in group["rules"]}
        assert "GemelVmSilent" in names
    finally:
        prometheus.close()
