"""What bounds a key, met by the SDKs: each refusal is the error class that their users catch."""

import anthropic
import openai
import pytest
from google import genai
from google.genai import errors, types

import harness

pytestmark = pytest.mark.gateway

HELLO = [{"role": "user", "content": "hello over there"}]
OFFICE = {"ips": ["203.0.113.0/24"]}


def secret(service, name, **controls):
    return service.new_key(name, controls=controls)["secret"]


def openai_client(service, key, retries=0):
    return openai.OpenAI(base_url=service.openai, api_key=key, max_retries=retries, timeout=60)


def anthropic_client(service, key):
    return anthropic.Anthropic(base_url=service.url, api_key=key, max_retries=0, timeout=60)


def gemini_client(service, key):
    options = types.HttpOptions(base_url=service.url, timeout=60_000, retry_options=types.HttpRetryOptions(attempts=1))
    return genai.Client(api_key=key, http_options=options)


@pytest.mark.parametrize(
    ("code", "controls"),
    [
        ("model_not_allowed", {"models": {"allow": ["sim/lorem"]}}),
        ("model_not_allowed", {"models": {"block": ["echo"]}}),
        ("endpoint_not_allowed", {"endpoints": ["embeddings"]}),
        ("ip_not_allowed", OFFICE),
    ],
)
def test_what_is_not_allowed_is_a_permission_error(service, code, controls):
    key = secret(service, code, **controls)
    with openai_client(service, key) as client, pytest.raises(openai.PermissionDeniedError) as caught:
        client.chat.completions.create(model="sim/echo", messages=HELLO)
    assert caught.value.code == code
    with openai_client(service, key) as client, pytest.raises(openai.PermissionDeniedError):
        client.chat.completions.create(model="sim/echo", messages=HELLO, stream=True)
    with anthropic_client(service, key) as client, pytest.raises(anthropic.PermissionDeniedError) as caught:
        client.messages.create(model="sim/echo", messages=HELLO, max_tokens=100)
    assert caught.value.body["error"]["code"] == code
    with gemini_client(service, key) as client, pytest.raises(errors.ClientError) as caught:
        client.models.generate_content(model="sim/echo", contents="hello")
    assert (caught.value.code, caught.value.status) == (403, "PERMISSION_DENIED")


def test_a_limit_is_a_rate_limit_error(service):
    key = secret(service, "openai-rpm", limits={"rpm": 1})
    with openai_client(service, key) as client:
        raw = client.chat.completions.with_raw_response.create(model="sim/echo", messages=HELLO)
        assert raw.headers["x-ratelimit-limit-requests"] == "1"
        assert raw.headers["x-ratelimit-remaining-requests"] == "0"
        with pytest.raises(openai.RateLimitError) as caught:
            client.chat.completions.create(model="sim/echo", messages=HELLO)
    assert caught.value.code == "rate_limited"
    assert 0 < int(caught.value.response.headers["retry-after"]) <= 60

    key = secret(service, "anthropic-rpm", limits={"rpm": 1})
    with anthropic_client(service, key) as client:
        raw = client.messages.with_raw_response.create(model="sim/echo", messages=HELLO, max_tokens=100)
        assert raw.headers["anthropic-ratelimit-requests-remaining"] == "0"
        with pytest.raises(anthropic.RateLimitError) as caught:
            client.messages.create(model="sim/echo", messages=HELLO, max_tokens=100)
    assert caught.value.body["error"]["type"] == "rate_limit_error"

    key = secret(service, "gemini-rpm", limits={"rpm": 1})
    with gemini_client(service, key) as client:
        assert client.models.generate_content(model="sim/echo", contents="hello").text == "hello"
        with pytest.raises(errors.ClientError) as caught:
            client.models.generate_content(model="sim/echo", contents="hello")
    assert (caught.value.code, caught.value.status) == (429, "RESOURCE_EXHAUSTED")
    assert any(detail["@type"].endswith("google.rpc.RetryInfo") for detail in caught.value.details["error"]["details"])


def test_a_call_larger_than_its_limit_is_not_repeated(service):
    """The SDKs repeat 429 by themselves, and wait for what they are told; here they must not."""
    key = service.new_key("small", controls={"limits": {"tpm": 100}})
    with openai_client(service, key["secret"], retries=3) as client, pytest.raises(openai.RateLimitError):
        client.chat.completions.create(model="sim/echo", messages=HELLO, max_tokens=1000)
    assert len(service.admin("GET", f"/requests?key={key['id']}")["data"]) == 1


def openai_refuses(service, key, error, **call):
    with openai_client(service, key) as client, pytest.raises(error) as caught:
        client.chat.completions.create(**{"model": "sim/echo", "messages": HELLO} | call)
    return caught.value


def anthropic_refuses(service, key, error, **call):
    with anthropic_client(service, key) as client, pytest.raises(error) as caught:
        client.messages.create(**{"model": "sim/echo", "messages": HELLO, "max_tokens": 100} | call)
    return caught.value


def gemini_refuses(service, key, model="sim/echo"):
    with gemini_client(service, key) as client, pytest.raises(errors.ClientError) as caught:
        client.models.generate_content(model=model, contents="hello")
    return caught.value


def test_a_scope_that_is_missing_is_a_permission_error(service):
    key = service.new_key("reads", scopes=["models:read"])["secret"]
    assert openai_refuses(service, key, openai.PermissionDeniedError).code == "scope_missing"
    refused = anthropic_refuses(service, key, anthropic.PermissionDeniedError)
    assert (refused.body["error"]["type"], refused.body["error"]["code"]) == ("permission_error", "scope_missing")
    assert gemini_refuses(service, key).status == "PERMISSION_DENIED"
    key = service.new_key("no-lists", scopes=["completions:write"])["secret"]
    with openai_client(service, key) as client, pytest.raises(openai.PermissionDeniedError):
        client.models.list()


def test_more_calls_at_once_than_allowed_are_rate_limit_errors(service):
    key = secret(service, "one-at-a-time", limits={"concurrency": 1})
    with openai_client(service, key) as client:
        # Far longer than the three calls beside it; it is hung up on.
        long = [{"role": "user", "content": "and so on " * 2000}]
        with client.chat.completions.create(model="sim/slow", messages=long, stream=True) as running:
            next(iter(running))
            assert openai_refuses(service, key, openai.RateLimitError).code == "rate_limited"
            refused = anthropic_refuses(service, key, anthropic.RateLimitError)
            assert refused.body["error"]["type"] == "rate_limit_error"
            assert int(refused.response.headers["retry-after"]) > 0
            assert gemini_refuses(service, key).status == "RESOURCE_EXHAUSTED"


def temp_that_ended(service):
    """A temporary key that ended itself."""
    parent = service.new_key("parent")["secret"]
    with service.client(headers={"authorization": f"Bearer {parent}"}) as http:
        temp = http.post("/v1/key/temp", json={"expires_in": "15m"}).raise_for_status().json()["secret"]
    with service.client(headers={"authorization": f"Bearer {temp}"}) as http:
        http.post("/v1/key/temp/end").raise_for_status()
    return temp


def expired(service):
    key = service.new_key("short", expires_in="1s")["secret"]
    with service.client(headers={"authorization": f"Bearer {key}"}) as http:
        harness.wait_until(lambda: http.get("/v1/models").status_code == 401, "the end of a key")
    return key


def disabled(service):
    key = service.new_key("off")
    service.admin("POST", f"/keys/{key['id']}/disable")
    return key["secret"]


def regenerated(service):
    key = service.new_key("old")
    service.admin("POST", f"/keys/{key['id']}/regenerate")
    return key["secret"]


def of_a_disabled_parent(service):
    parent = service.new_key("parent")
    temp = service.admin("POST", f"/keys/{parent['id']}/temp", json={})["secret"]
    service.admin("POST", f"/keys/{parent['id']}/disable")
    return temp


@pytest.mark.parametrize(
    ("code", "dead"),
    [
        ("key_expired", expired),
        ("key_disabled", disabled),
        ("key_revoked", regenerated),
        ("key_expired", temp_that_ended),
        ("key_disabled", of_a_disabled_parent),
        ("invalid_api_key", lambda service: service.key[:-1] + ("a" if service.key[-1] != "a" else "b")),
    ],
)
def test_a_key_that_is_dead_is_an_authentication_error(service, code, dead):
    key = dead(service)
    assert openai_refuses(service, key, openai.AuthenticationError).code == code
    refused = anthropic_refuses(service, key, anthropic.AuthenticationError)
    assert (refused.body["error"]["type"], refused.body["error"]["code"]) == ("authentication_error", code)
    refused = gemini_refuses(service, key)
    assert (refused.code, refused.status) == (401, "UNAUTHENTICATED")


def test_money_that_is_spent_is_no_error_that_is_repeated(service):
    """402 is not among what the SDKs repeat."""
    key = service.new_key("broke", spend_limits=[{"window": "total", "usd": "0.000000001"}])
    with openai_client(service, key["secret"], retries=3) as client, pytest.raises(openai.APIStatusError) as caught:
        client.chat.completions.create(model="sim/echo", messages=HELLO, max_tokens=10)
    assert (caught.value.status_code, caught.value.code) == (402, "spend_limit_reached")
    assert len(service.admin("GET", f"/requests?key={key['id']}")["data"]) == 1
    assert anthropic_refuses(service, key["secret"], anthropic.APIStatusError).status_code == 402
    assert gemini_refuses(service, key["secret"]).code == 402


def test_lists_show_what_may_be_called(service):
    key = secret(service, "narrow", models={"allow": ["sim/echo"]})
    with openai_client(service, key) as client:
        assert [model.id for model in client.models.list()] == ["sim/echo"]
    with anthropic_client(service, key) as client:
        assert [model.id for model in client.models.list()] == ["sim/echo"]


def exact(service, call):
    """A key that may spend what one such call can cost at most, and no more."""
    free = service.new_key("free")
    call(free["secret"])
    hold = service.admin("GET", f"/requests?key={free['id']}")["data"][0]["hold_usd"]
    return service.new_key("exact", spend_limits=[{"window": "total", "usd": hold}])


def outgrown(service, key):
    """Cut, and charged no more than there was."""
    record = service.admin("GET", f"/requests?key={key['id']}")["data"][0]
    assert (record["outcome"], record["code"]) == ("cut", "spend_limit_reached")
    assert float(record["cost_usd"]) <= float(record["hold_usd"])


def test_a_stream_that_outgrows_its_money_ends_in_an_error(service):
    """`sim/overrun` writes twice what it is asked for."""

    def chat(key):
        with openai_client(service, key) as client:
            call = {"model": "sim/overrun", "messages": HELLO, "max_tokens": 400, "stream": True}
            return [chunk for chunk in client.chat.completions.create(**call)]

    key = exact(service, chat)
    with pytest.raises(openai.APIError) as caught:
        chat(key["secret"])
    assert caught.value.code == "spend_limit_reached"
    outgrown(service, key)

    def messages(key):
        with anthropic_client(service, key) as client:
            return list(client.messages.create(model="sim/overrun", messages=HELLO, max_tokens=400, stream=True))

    key = exact(service, messages)
    with pytest.raises(anthropic.APIStatusError) as caught:
        messages(key["secret"])
    assert caught.value.body["error"]["code"] == "spend_limit_reached"
    outgrown(service, key)

    def generate(key):
        with gemini_client(service, key) as client:
            config = types.GenerateContentConfig(max_output_tokens=400)
            call = {"model": "sim/overrun", "contents": "hello", "config": config}
            return list(client.models.generate_content_stream(**call))

    key = exact(service, generate)
    with pytest.raises(errors.APIError) as caught:
        generate(key["secret"])
    assert caught.value.code == 402
    outgrown(service, key)
