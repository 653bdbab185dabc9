"""After calls of every kind, no secret is found where it does not belong: log, database, answers of the admin API."""

import json

import pytest

import harness
from calls import CALLS, bearer

pytestmark = pytest.mark.gateway


def test_no_secret_is_kept_in_the_clear(gateway):
    made = gateway.new_key("leak-scan")
    with gateway.client(headers=bearer(made["secret"])) as http:
        requests = [call.send(http).headers["x-request-id"] for call in CALLS]
    gateway.attempts(requests[0])
    secrets = [made["secret"].encode(), gateway.key.encode(), *(secret.encode() for secret in harness.UPSTREAM_SECRETS.values())]
    # The config file is the operator's own; admin.key is the local credential and is only its owner's to read.
    own = {gateway.folder / "anykey.toml", gateway.folder / "data" / "admin.key"}
    files = [path for path in gateway.folder.rglob("*") if path.is_file() and path not in own]
    assert any(path.name == "gateway.log" for path in files)
    assert any(path.suffix == ".db" for path in files) == (harness.DATABASE == "sqlite:")
    for path in files:
        content = path.read_bytes()
        for secret in secrets:
            assert secret not in content, path
            # Nor the part of a key that only its owner knows.
            assert secret[-38:] not in content, path
    assert (gateway.folder / "data" / "admin.key").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("path", ["/keys", "/providers", "/requests", "/models", "/status", "/openapi.json"])
def test_the_admin_api_tells_no_secret(gateway, path):
    text = json.dumps(gateway.admin("GET", path))
    assert gateway.key not in text and gateway.admin_key not in text
    assert not any(secret in text for secret in harness.UPSTREAM_SECRETS.values())


def test_a_new_secret_is_not_to_be_cached(gateway):
    with gateway.client(headers=bearer(gateway.admin_key)) as http:
        answer = http.post("/admin/v1/keys", json={"name": "not-cached"})
    assert answer.status_code == 201
    assert answer.headers["cache-control"] == "no-store"


CHAT = {"model": "sim/echo", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 16}
ASK = {"model": "sim/echo", "max_tokens": 5, "messages": [{"role": "user", "content": "x"}]}


def misplaced(key):
    """A key where something else belongs, in calls: how it is sent, and where it stands."""
    chat = "/v1/chat/completions"
    yield "GET", f"/v1/models/{key}", {}
    yield "GET", f"/v1/generation/{key}", {}
    yield "GET", f"/v1/generation?id={key}", {}
    yield "GET", f"/v1/{key}", {}
    yield "POST", f"/v1beta/models/{key}:generateContent", {"json": {"contents": [{"parts": [{"text": "x"}]}]}}
    yield "POST", f"/v1beta/models/sim/echo:{key}", {"json": {}}
    yield "POST", f"{chat}?x={key}", {"json": CHAT}
    yield "POST", "/v1/messages", {"json": ASK, "headers": {"anthropic-version": key}}
    yield "POST", "/v1/messages", {"json": ASK | {"model": key}, "headers": {"anthropic-version": "2023-06-01", "anthropic-beta": key}}
    yield "POST", chat, {"content": b"{}", "headers": {"content-type": key}}
    yield "POST", chat, {"content": b"{}", "headers": {"content-type": "application/json", "content-encoding": key}}
    for name in ("model", "max_tokens", "stream", "n", "tool_choice", "messages", "tools", "stop", "response_format"):
        yield "POST", chat, {"json": CHAT | {name: key}}
        yield "POST", chat, {"json": CHAT | {name: {key: key}}}
    for model in (f"a/{key}", f"{key}/a", f"models/{key}", f" {key}", f"{'é' * 7}{key}"):
        yield "POST", chat, {"json": CHAT | {"model": model}}
    json_type = {"content-type": "application/json"}
    yield "POST", chat, {"content": f'{{"{key}": 1, "{key}": 2}}'.encode(), "headers": json_type}
    yield "POST", chat, {"content": f'{{"model": "sim/echo", "MODEL": "{key}", "messages": []}}'.encode(), "headers": json_type}
    for path in ("/v1/key/temp", "/v1/realtime/client_secrets"):
        yield "POST", path, {"json": {"name": key}}
        yield "POST", path, {"json": {"session": {"model": key}}}
    yield "POST", f"/v1beta/models/sim/echo:generateContent?model={key}", {"json": {"model": key, "contents": []}}


def test_a_key_in_the_wrong_place_is_neither_repeated_nor_kept(gateway):
    """Whoever pastes a key where a model's name belongs does not find it in the answer, the records or the log."""
    caller = gateway.new_key("pasted")["secret"]
    other = gateway.new_key("pasted as well")["secret"]
    with gateway.client(headers=bearer(caller)) as http:
        for key in (caller, other):
            for method, path, how in misplaced(key):
                answer = http.request(method, path, **how)
                told = answer.text + str(answer.headers)
                assert key[16:24] not in told, (method, path, how, told)
    with gateway.client(headers=bearer(gateway.admin_key)) as http:
        paths = [f"/{kind}/{other}" for kind in ("keys", "projects", "people", "providers", "requests", "jobs", "nothing")]
        paths += [f"/keys?{name}={other}" for name in ("q", "project", "status", "after", "tag", "kind", other)]
        paths += [f"/usage?group_by={other}", f"/requests?model={other}", f"/audit?verb={other}"]
        for path in paths:
            told = http.get(f"/admin/v1{path}").text
            assert other[16:24] not in told, (path, told)
        refused = http.post("/admin/v1/keys", json={"name": "once"}, headers={"idempotency-key": other})
        assert refused.status_code == 400 and other[16:24] not in refused.text
        http.post("/admin/v1/keys", json={"name": "by another client"}, headers={"user-agent": other})
        for path in ("/audit?limit=200", "/requests?limit=200", "/keys?limit=200"):
            told = http.get(f"/admin/v1{path}").text
            assert caller[16:24] not in told and other[16:24] not in told
    for path in gateway.folder.rglob("*"):
        if path.is_file() and path.name != "anykey.toml":
            content = path.read_bytes()
            assert caller.encode() not in content and other.encode() not in content, path
