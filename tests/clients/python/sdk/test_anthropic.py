"""The `anthropic` SDK, unmodified but for its base URL and key."""

import anthropic
import httpx2
import pytest

HELLO = [{"role": "user", "content": "hello over there"}]
WEATHER = {
    "name": "get_weather",
    "description": "Current weather",
    "input_schema": {
        "type": "object",
        "properties": {"city": {"type": "string"}, "days": {"type": "integer", "minimum": 1}},
        "required": ["city", "days"],
    },
}


def connect(service, **credential):
    credential = credential or {"api_key": service.key}
    return anthropic.Anthropic(base_url=service.url, max_retries=0, timeout=60, **credential)


@pytest.fixture
def client(service):
    with connect(service) as client:
        yield client


def test_messages(client):
    answer = client.messages.create(model="sim/echo", max_tokens=100, messages=HELLO)
    assert (answer.type, answer.role, answer.stop_reason) == ("message", "assistant", "end_turn")
    assert answer.model.removeprefix("sim/") == "echo"
    assert [block.text for block in answer.content] == ["hello over there"]
    assert answer.usage.input_tokens > 0
    assert answer.usage.output_tokens == 4


def test_bearer_token(service):
    with connect(service, auth_token=service.key) as client:
        if service.direct:
            pytest.skip("the practice provider takes x-api-key alone, as Anthropic does")
        answer = client.messages.create(model="sim/echo", max_tokens=100, messages=HELLO)
    assert answer.content[0].text == "hello over there"


def test_max_tokens(client):
    answer = client.messages.create(model="sim/lorem", max_tokens=8, messages=HELLO)
    assert answer.stop_reason == "max_tokens"
    assert answer.usage.output_tokens == 8


def test_stream(client):
    with client.messages.stream(model="sim/echo", max_tokens=100, messages=HELLO) as stream:
        text = "".join(stream.text_stream)
        final = stream.get_final_message()
    assert text == "hello over there"
    assert final.stop_reason == "end_turn"
    assert final.usage.output_tokens == 4
    whole = client.messages.create(model="sim/echo", max_tokens=100, messages=HELLO)
    assert final.usage.input_tokens == whole.usage.input_tokens


def test_stream_events(client):
    events = list(client.messages.create(model="sim/echo", max_tokens=100, messages=HELLO, stream=True))
    kinds = [event.type for event in events if event.type != "ping"]
    assert kinds[0] == "message_start" and kinds[1] == "content_block_start"
    assert kinds[-3:] == ["content_block_stop", "message_delta", "message_stop"]
    assert set(kinds[2:-3]) == {"content_block_delta"}


def test_thinking(client):
    with client.messages.stream(
        model="sim/reason", max_tokens=4000, thinking={"type": "enabled", "budget_tokens": 2000}, messages=HELLO
    ) as stream:
        kinds = [event.type for event in stream]
        answer = stream.get_final_message()
    assert "thinking" in kinds and "signature" in kinds
    thought, text = answer.content
    assert thought.type == "thinking" and thought.thinking and thought.signature
    assert text.type == "text" and "hello over there" in text.text
    again = client.messages.create(
        model="sim/reason",
        max_tokens=4000,
        thinking={"type": "enabled", "budget_tokens": 2000},
        messages=HELLO + [{"role": "assistant", "content": answer.content}, {"role": "user", "content": "and now?"}],
    )
    assert "and now?" in again.content[-1].text


def test_tool_loop(client):
    with client.messages.stream(model="sim/tool", max_tokens=500, messages=HELLO, tools=[WEATHER]) as stream:
        for _ in stream:
            pass
        first = stream.get_final_message()
    assert first.stop_reason == "tool_use"
    call = next(block for block in first.content if block.type == "tool_use")
    assert call.name == "get_weather" and set(call.input) == {"city", "days"}
    whole = client.messages.create(model="sim/tool", max_tokens=500, messages=HELLO, tools=[WEATHER])
    assert whole.content[-1].input == call.input
    last = client.messages.create(
        model="sim/tool",
        max_tokens=500,
        tools=[WEATHER],
        messages=HELLO
        + [
            {"role": "assistant", "content": first.content},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": call.id, "content": "sunny"}]},
        ],
    )
    assert last.stop_reason == "end_turn"


def test_count_tokens(client):
    counted = client.messages.count_tokens(model="sim/echo", messages=HELLO)
    answer = client.messages.create(model="sim/echo", max_tokens=100, messages=HELLO)
    assert counted.input_tokens == answer.usage.input_tokens


def test_prompt_cache(client):
    system = [
        {"type": "text", "text": "Anykey journeys: prompt cache. " * 40, "cache_control": {"type": "ephemeral"}}
    ]
    first = client.messages.create(model="sim/echo", max_tokens=50, system=system, messages=HELLO)
    again = client.messages.create(model="sim/echo", max_tokens=50, system=system, messages=HELLO)
    assert first.usage.cache_creation_input_tokens > 0 and first.usage.cache_read_input_tokens == 0
    assert again.usage.cache_read_input_tokens == first.usage.cache_creation_input_tokens
    assert again.usage.cache_creation_input_tokens == 0


@pytest.mark.gateway
def test_models(client):
    listed = [model for model in client.models.list(limit=3)]
    names = [model.id for model in listed]
    assert "sim/echo" in names and len(names) == len(set(names)) > 3
    model = client.models.retrieve("sim/echo")
    assert (model.id, model.type) == ("sim/echo", "model")
    assert model.created_at and model.display_name


def test_models_of_the_practice_provider(client):
    assert {"echo", "lorem", "tool"} <= {model.id.removeprefix("sim/") for model in client.models.list(limit=2)}


@pytest.mark.gateway
def test_wrong_key(service):
    with connect(service, api_key="ak-live-not-a-key") as client, pytest.raises(anthropic.AuthenticationError) as caught:
        client.messages.create(model="sim/echo", max_tokens=10, messages=HELLO)
    assert caught.value.body["type"] == "error"
    assert caught.value.body["error"]["type"] == "authentication_error"
    assert caught.value.body["request_id"]


@pytest.mark.gateway
def test_scope_missing(service):
    reader = service.new_key("anthropic-reader", scopes=["models:read"])["secret"]
    with connect(service, api_key=reader) as client, pytest.raises(anthropic.PermissionDeniedError) as caught:
        client.messages.create(model="sim/echo", max_tokens=10, messages=HELLO)
    assert caught.value.body["error"]["type"] == "permission_error"


def test_unknown_model(client):
    with pytest.raises(anthropic.NotFoundError) as caught:
        client.messages.create(model="sim/nothing-of-that-name", max_tokens=10, messages=HELLO)
    assert caught.value.body["error"]["type"] == "not_found_error"


def test_bad_request(client):
    with pytest.raises(anthropic.BadRequestError) as caught:
        client.messages.create(model="sim/echo", max_tokens=10, messages=[])
    assert caught.value.body["error"]["type"] == "invalid_request_error"


def test_rate_limit_of_the_provider(client):
    with pytest.raises(anthropic.RateLimitError) as caught:
        client.messages.create(model="sim/429", max_tokens=10, messages=HELLO)
    assert int(caught.value.response.headers["retry-after"]) > 0
    assert caught.value.body["error"]["type"] == "rate_limit_error"


def test_failure_of_the_provider(client):
    with pytest.raises(anthropic.InternalServerError) as caught:
        client.messages.create(model="sim/500", max_tokens=10, messages=HELLO)
    assert caught.value.body["error"]["type"] == "api_error"


@pytest.mark.gateway
def test_the_providers_refusal_of_our_credential_is_not_the_callers_fault(client):
    with pytest.raises(anthropic.InternalServerError) as caught:
        client.messages.create(model="sim/401", max_tokens=10, messages=HELLO)
    assert caught.value.status_code == 502


def test_a_broken_stream_is_not_a_clean_end(client):
    text = "a sentence long enough to be cut somewhere in the middle of its stream"
    with pytest.raises((anthropic.APIError, httpx2.HTTPError)):
        with client.messages.stream(
            model="sim/cut", max_tokens=100, messages=[{"role": "user", "content": text}]
        ) as stream:
            for event in stream:
                assert event.type != "message_stop"
