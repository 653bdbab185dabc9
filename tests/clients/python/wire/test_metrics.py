"""The figures at /metrics, read by Prometheus' own parser, and the line of log that each call leaves."""

import json
import re
import socket
import subprocess
from decimal import Decimal

import httpx
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

import harness
from calls import bearer

pytestmark = pytest.mark.gateway

CHAT = {"model": "books-openai/echo", "messages": [{"role": "user", "content": "count me"}]}


def scrape(gateway):
    """Every sample by name and labels. The parser refuses what breaks the format."""
    answer = httpx.get(gateway.metrics_url, trust_env=False, timeout=30)
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("application/openmetrics-text")
    samples = {}
    for family in text_string_to_metric_families(answer.text):
        assert family.documentation, family.name
        for sample in family.samples:
            samples[sample.name, tuple(sorted(sample.labels.items()))] = sample.value
    return samples


def value(samples, name, **labels):
    """The sum of all samples of this name that bear these labels."""
    wanted = labels.items()
    return sum(n for (found, has), n in samples.items() if found == name and wanted <= dict(has).items())


def test_a_call_moves_the_figures(gateway):
    before = scrape(gateway)
    with gateway.client(headers=bearer(gateway.key)) as http:
        answer = http.post("/v1/chat/completions", json=CHAT)
        assert answer.status_code == 200
        assert http.post("/v1/chat/completions", json=CHAT | {"model": "no-such-model"}).status_code == 404
        assert http.get("/v1/models").status_code == 200
    with gateway.client(headers=bearer("ak-live-nobody")) as http:
        assert http.post("/v1/chat/completions", json=CHAT).status_code == 401
    after = scrape(gateway)

    def moved(name, **labels):
        return value(after, name, **labels) - value(before, name, **labels)

    served = {"endpoint": "chat_completions", "provider": "books-openai"}
    assert moved("anykey_requests_total", outcome="completed", **served) == 1
    assert moved("anykey_requests_total", code="model_not_found") == 1
    assert moved("anykey_requests_total", endpoint="model_list", outcome="completed") == 1
    assert moved("anykey_requests_total", code="invalid_api_key") == 1
    assert moved("anykey_requests_total") == 4
    usage = answer.json()["usage"]
    assert moved("anykey_units_total", unit="input", **served) == usage["prompt_tokens"]
    assert moved("anykey_units_total", unit="output", **served) == usage["completion_tokens"]
    for histogram in ["anykey_request_duration_seconds", "anykey_first_byte_seconds"]:
        assert moved(f"{histogram}_count", **served) == 1
        assert moved(f"{histogram}_bucket", le="+Inf", **served) == 1
        assert moved(f"{histogram}_sum", **served) > 0
    record = gateway.attempts(answer.headers["x-request-id"])[0]
    unpriced = record["cost_usd"] is None
    assert moved("anykey_requests_unpriced_total", **served) == int(unpriced)
    assert moved("anykey_cost_nano_usd_total", **served) == (0 if unpriced else Decimal(record["cost_usd"]) * 10**9)
    assert value(after, "anykey_requests_running") == 0


def test_no_caller_can_make_the_page_grow(gateway):
    with gateway.client(headers=bearer(gateway.key)) as http:
        http.post("/v1/chat/completions", json=CHAT | {"model": "first-invented"})
        http.get("/no/such/path/0")
        before = set(scrape(gateway))
        for n in range(30):
            http.post("/v1/chat/completions", json=CHAT | {"model": f"invented-{n}"})
            http.get(f"/no/such/path/{n}", headers={"user-agent": f"agent-{n}", "host": f"host-{n}"})
        page = httpx.get(gateway.metrics_url, trust_env=False).text
    assert set(scrape(gateway)) == before
    assert "invented" not in page and gateway.key not in page
    assert not re.search("key_[0-9a-z]{20}", page)


def test_the_process_and_the_ledger_are_shown(gateway):
    samples = scrape(gateway)
    assert value(samples, "anykey_ledger_admits") == 1
    assert value(samples, "anykey_ledger_pending_records") >= 0
    assert value(samples, "anykey_connections_open") >= 0
    assert value(samples, "anykey_build_info", version=gateway.cli("status", "--json")["version"]) == 1
    assert value(samples, "process_resident_memory_bytes") > 5_000_000
    assert value(samples, "process_open_fds") > 5
    assert value(samples, "process_cpu_seconds_total") > 0


def test_the_figures_are_not_on_the_listener_of_calls(gateway):
    with gateway.client() as http:
        assert http.get("/metrics").status_code == 404
    assert httpx.get(gateway.metrics_url.replace("/metrics", "/v1/models"), trust_env=False).status_code == 404
    assert httpx.post(gateway.metrics_url, trust_env=False).status_code == 405


@pytest.mark.parametrize("at", ["off", "main"])
def test_the_settings_say_where_the_figures_are(tmp_path, practice, at):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    listen = f"127.0.0.1:{port}"
    (tmp_path / "anykey.toml").write_text(f'metrics_listen = "{listen if at == "main" else "off"}"\n')
    running = harness.Served.start(tmp_path, listen=listen)
    try:
        with running.client() as http:
            assert http.get("/metrics").status_code == (200 if at == "main" else 404)
        assert running.metrics_url == (f"http://{listen}/metrics" if at == "main" else None)
    finally:
        assert running.stop() == 0


def test_each_call_leaves_one_line_without_secrets(gateway):
    with gateway.client(headers=bearer(gateway.key)) as http:
        served = http.post("/v1/chat/completions", json=CHAT | {"model": "house-model"})
        refused = http.post("/v1/chat/completions", json=CHAT | {"model": 'a "quoted" name'})
        listed = http.get("/v1/models?note=CANARYquery")
    with gateway.client(headers=bearer("ak-live-nobodyCANARYkey")) as http:
        stranger = http.post("/v1/chat/completions?also=CANARYquery", json=CHAT)
        lost = http.get("/CANARYpath")
    ids = [answer.headers["x-request-id"] for answer in [served, refused, listed, stranger, lost]]

    def lines():
        found = [json.loads(line) for line in gateway.process.output().splitlines() if '"anykey::call"' in line]
        found = {line["request"]: line for line in found if line["request"] in ids}
        return found if len(found) == len(ids) else None

    found = harness.wait_until(lines, "a line for each call", 20)
    log = gateway.process.output()
    assert all(log.count(f'"request":"{request}"') == 1 for request in ids)
    assert "CANARY" not in log
    first = found[ids[0]]
    usage = served.json()["usage"]
    assert (first["status"], first["outcome"], first["provider"]) == (200, "completed", "books-openai")
    assert (first["model"], first["model_sent"]) == ("house-model", "echo")
    assert (first["input_tokens"], first["output_tokens"]) == (usage["prompt_tokens"], usage["completion_tokens"])
    assert first["key"].startswith("key_") and first["client"] == "127.0.0.1" and first["total_ms"] > 0
    assert (found[ids[1]]["code"], found[ids[1]]["model"]) == ("model_not_found", 'a "quoted" name')
    assert (found[ids[2]]["endpoint"], found[ids[2]]["status"]) == ("model_list", 200)
    assert found[ids[3]]["code"] == "invalid_api_key" and "key" not in found[ids[3]]
    assert found[ids[4]]["code"] == "not_found" and "endpoint" not in found[ids[4]]


def test_the_lines_can_be_turned_off(tmp_path):
    running = harness.Served.start(tmp_path, environment={"ANYKEY_LOG": "info,anykey::call=off"})
    with running.client(headers=bearer(running.key)) as http:
        assert http.get("/v1/models").status_code == 200
    assert running.stop() == 0
    assert "anykey::call" not in running.process.output()


def test_a_log_that_nobody_reads_holds_up_no_call(tmp_path):
    """stderr is a pipe that fills up: calls go on, and the lines that found no room are counted."""
    command = [harness.binary(), "serve", "--listen", "127.0.0.1:0", "--data-dir", "data"]
    process = harness.Process(command, tmp_path / "out.log", stderr=subprocess.PIPE, cwd=tmp_path)
    try:
        running = harness.Served.attach(tmp_path, process)
        # A line has more than 150 bytes, a thread has room for 1 MiB of them, and one connection has one thread.
        with running.client() as http:
            for _ in range(8_000):
                assert http.get("/v1/models").status_code == 401
        assert value(scrape(running), "anykey_log_lines_missed_total") > 0
    finally:
        process.child.kill()
        process.child.wait()
        process.child.stderr.close()
