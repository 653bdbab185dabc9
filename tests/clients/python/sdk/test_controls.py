"""What bounds a key, met by the SDKs: each refusal is the error class that their users catch."""

import anthropic
import openai
import pytest
from google import genai
from google.genai import errors, types

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


def test_lists_show_what_may_be_called(service):
    key = secret(service, "narrow", models={"allow": ["sim/echo"]})
    with openai_client(service, key) as client:
        assert [model.id for model in client.models.list()] == ["sim/echo"]
    with anthropic_client(service, key) as client:
        assert [model.id for model in client.models.list()] == ["sim/echo"]
