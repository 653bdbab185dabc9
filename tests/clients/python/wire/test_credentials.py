"""Every credential carrier on every path, under every prefix; and what is refused, in the words of the path's dialect."""

import http.client
import json
from urllib.parse import urlsplit

import pytest

from calls import BY_NAME, CALLS, CARRIERS, bearer, code_of

pytestmark = pytest.mark.gateway

every_call = pytest.mark.parametrize("call", CALLS, ids=lambda call: call.name)
gemini_calls = pytest.mark.parametrize("call", [call for call in CALLS if call.dialect == "gemini"], ids=lambda call: call.name)
other_calls = pytest.mark.parametrize("call", [call for call in CALLS if call.dialect != "gemini"], ids=lambda call: call.name)
one_of_each = pytest.mark.parametrize("name", ["chat", "messages", "generateContent"])


@pytest.fixture
def client(gateway):
    with gateway.client() as client:
        yield client


@every_call
def test_each_carrier_leads_to_the_same_decision(gateway, client, call):
    for name, carry in CARRIERS.items():
        answer = call.send(client, headers=carry(gateway.key))
        assert answer.status_code == 200, f"{name}: {answer.text}"
        assert answer.headers["x-request-id"]
        refused = call.send(client, headers=carry("ak-live-not-a-key"))
        assert refused.status_code == 401, f"{name}: {refused.text}"
        assert code_of(refused) == "invalid_api_key"


@every_call
def test_each_prefix(gateway, client, call):
    for prefix in call.prefixes:
        answer = call.send(client, prefix, headers=bearer(gateway.key))
        assert answer.status_code == 200, f"{prefix}: {answer.text}"


@every_call
def test_a_doubled_slash_after_the_base_url(gateway, client, call):
    prefix = call.prefixes[0]
    for path in (f"/{prefix}{call.path}", f"{prefix}/{call.path}"):
        answer = call.send(client, path=path, headers=bearer(gateway.key))
        assert answer.status_code == 200, f"{path}: {answer.text}"


@gemini_calls
def test_a_key_in_the_query_on_geminis_paths(gateway, client, call):
    if call.name in ("gemini models", "gemini model"):
        # Under /v1 these paths are shared; under /v1beta they are Gemini's alone.
        assert call.send(client, "/v1beta", headers={"x-goog-api-client": ""}, params={"key": gateway.key}).status_code == 200
    for prefix in call.prefixes:
        answer = call.send(client, prefix, params={"key": gateway.key})
        assert answer.status_code == 200, f"{prefix}: {answer.text}"


@other_calls
def test_a_key_in_the_query_elsewhere(gateway, client, call):
    made = gateway.new_key(f"in-query-{call.name}")
    answer = call.send(client, params={"key": made["secret"]})
    assert answer.status_code == 400
    assert code_of(answer) == "key_in_query_forbidden"
    assert made["secret"] not in answer.text
    assert gateway.admin("GET", f"/keys/{made['id']}")["exposed_at"]


def test_a_key_in_the_query_is_nowhere_in_the_log(gateway, client):
    call = BY_NAME["generateContent"]
    assert call.send(client, params={"key": gateway.key}).status_code == 200
    assert gateway.key not in gateway.process.output()


@every_call
def test_the_same_key_twice_is_one(gateway, client, call):
    answer = call.send(client, headers=bearer(gateway.key) | {"x-api-key": gateway.key, "x-goog-api-key": gateway.key})
    assert answer.status_code == 200, answer.text


@one_of_each
def test_two_different_keys(gateway, client, name):
    other = gateway.new_key(f"other-{name}")["secret"]
    answer = BY_NAME[name].send(client, headers=bearer(gateway.key) | {"x-api-key": other})
    assert answer.status_code == 400
    assert code_of(answer) == "conflicting_credentials"


@every_call
def test_no_key(client, call):
    answer = call.send(client)
    assert answer.status_code == 401
    assert code_of(answer) == "missing_api_key"
    assert answer.headers["x-request-id"]


SHAPES = {
    "openai": lambda body: {"message", "type", "code", "param"} <= set(body["error"]),
    "anthropic": lambda body: body["type"] == "error" and {"type", "message"} <= set(body["error"]) and body["request_id"],
    "gemini": lambda body: isinstance(body["error"]["code"], int) and {"message", "status"} <= set(body["error"]),
}


@every_call
def test_refusals_have_the_shape_of_the_dialect(client, call):
    body = call.send(client).json()
    # Gemini's stream without `alt=sse` is an array, and so are its errors.
    assert SHAPES[call.dialect](body[0] if isinstance(body, list) else body), body


@one_of_each
def test_browsers(gateway, client, name):
    for mark in ({"origin": "https://example.org"}, {"sec-fetch-site": "cross-site"}):
        answer = BY_NAME[name].send(client, headers=bearer(gateway.key) | mark)
        assert answer.status_code == 403
        assert code_of(answer) == "browser_use_forbidden"
    allowed = gateway.new_key(f"browser-{name}", browser_allowed=True)["secret"]
    assert BY_NAME[name].send(client, headers=bearer(allowed) | {"origin": "https://example.org"}).status_code == 200


STATES = {"disable": "key_disabled", "delete": "key_revoked"}


@pytest.mark.parametrize("change", STATES)
def test_a_key_that_is_no_longer_good(gateway, client, change):
    made = gateway.new_key(f"to-{change}")
    assert BY_NAME["chat"].send(client, headers=bearer(made["secret"])).status_code == 200
    if change == "delete":
        gateway.admin("DELETE", f"/keys/{made['id']}")
    else:
        gateway.admin("POST", f"/keys/{made['id']}/disable")
    answer = BY_NAME["chat"].send(client, headers=bearer(made["secret"]))
    assert (answer.status_code, code_of(answer)) == (401, STATES[change])


def test_regenerating_kills_the_old_secret_at_once(gateway, client):
    made = gateway.new_key("regenerated")
    new = gateway.admin("POST", f"/keys/{made['id']}/regenerate")
    assert new["id"] == made["id"] and new["secret"] != made["secret"]
    assert BY_NAME["chat"].send(client, headers=bearer(new["secret"])).status_code == 200
    assert BY_NAME["chat"].send(client, headers=bearer(made["secret"])).status_code == 401


def test_rotating_keeps_both_alive(gateway, client):
    made = gateway.new_key("rotated")
    new = gateway.admin("POST", f"/keys/{made['id']}/rotate", json={"overlap": "1h"})
    for secret in (made["secret"], new["secret"], made["secret"]):
        assert BY_NAME["chat"].send(client, headers=bearer(secret)).status_code == 200


@pytest.mark.parametrize(
    "path",
    ["/v1/messages/", "/V1/messages", "/v1/x/../messages", "/v1/%2e%2e/admin", "/v1%2Fmessages", "/v1/messages;a=b", "/v2/messages", "/messages"],
)
def test_anything_else_is_not_found_and_reaches_nobody(gateway, practice, path):
    before = practice.mark()
    call = BY_NAME["messages"]
    # The plainest client there is: others tidy the path up before they send it.
    connection = http.client.HTTPConnection(urlsplit(gateway.url).netloc, timeout=30)
    body = json.dumps(call.body | {"model": "books-anthropic/echo"})
    connection.request("POST", path, body, call.headers | bearer(gateway.key) | {"content-type": "application/json"})
    answer = connection.getresponse()
    assert answer.status == 404, answer.read()
    connection.close()
    assert practice.books(before) == []


def test_the_wrong_method(gateway, client):
    answer = client.get("/v1/chat/completions", headers=bearer(gateway.key))
    assert (answer.status_code, code_of(answer)) == (405, "method_not_allowed")
    assert "POST" in answer.headers["allow"]
