"""The `openai` SDK, unmodified but for its base URL and key."""

import asyncio
import json

import httpx2
import openai
import pytest
from pydantic import BaseModel

HELLO = [{"role": "user", "content": "hello over there"}]
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Current weather",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "days": {"type": "integer", "minimum": 1}},
            "required": ["city", "days"],
            "additionalProperties": False,
        },
    },
}


def connect(service, key=None):
    return openai.OpenAI(base_url=service.openai, api_key=key or service.key, max_retries=0, timeout=60)


@pytest.fixture
def client(service):
    with connect(service) as client:
        yield client


def test_chat(client):
    answer = client.chat.completions.create(model="sim/echo", messages=HELLO)
    assert answer.object == "chat.completion"
    assert answer.choices[0].message.role == "assistant"
    assert answer.choices[0].message.content == "hello over there"
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage.prompt_tokens > 0
    assert answer.usage.completion_tokens == 4
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens


def test_chat_stops_at_max_tokens(client):
    answer = client.chat.completions.create(model="sim/lorem", messages=HELLO, max_tokens=8)
    assert answer.choices[0].finish_reason == "length"
    assert answer.usage.completion_tokens == 8


def test_chat_stream_has_no_usage_unless_asked(client):
    text, reasons, roles = "", [], []
    for chunk in client.chat.completions.create(model="sim/echo", messages=HELLO, stream=True):
        assert chunk.usage is None
        assert len(chunk.choices) == 1
        text += chunk.choices[0].delta.content or ""
        roles.append(chunk.choices[0].delta.role)
        reasons.append(chunk.choices[0].finish_reason)
    assert text == "hello over there"
    assert roles[0] == "assistant"
    assert reasons[-1] == "stop" and set(reasons[:-1]) == {None}


def test_chat_stream_with_usage(client):
    whole = client.chat.completions.create(model="sim/echo", messages=HELLO)
    chunks = list(
        client.chat.completions.create(
            model="sim/echo", messages=HELLO, stream=True, stream_options={"include_usage": True}
        )
    )
    assert chunks[-1].choices == []
    assert chunks[-1].usage.model_dump() == whole.usage.model_dump()
    assert all(chunk.usage is None and chunk.choices for chunk in chunks[:-1])
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks[:-1]) == "hello over there"


def test_chat_stream_helper(client):
    with client.chat.completions.stream(model="sim/echo", messages=HELLO) as stream:
        deltas = [event.delta for event in stream if event.type == "content.delta"]
        final = stream.get_final_completion()
    assert "".join(deltas) == final.choices[0].message.content == "hello over there"
    assert final.choices[0].finish_reason == "stop"


def test_chat_alternatives(client):
    answer = client.chat.completions.create(model="sim/echo", messages=HELLO, n=2)
    assert [choice.index for choice in answer.choices] == [0, 1]
    assert {choice.message.content for choice in answer.choices} == {"hello over there"}
    streamed = {0: "", 1: ""}
    for chunk in client.chat.completions.create(model="sim/echo", messages=HELLO, n=2, stream=True):
        for choice in chunk.choices:
            streamed[choice.index] += choice.delta.content or ""
    assert streamed == {0: "hello over there", 1: "hello over there"}


def test_chat_tool_loop(client):
    messages = list(HELLO)
    first = client.chat.completions.create(model="sim/tool", messages=messages, tools=[WEATHER])
    assert first.choices[0].finish_reason == "tool_calls"
    call = first.choices[0].message.tool_calls[0]
    assert call.function.name == "get_weather"
    arguments = json.loads(call.function.arguments)
    assert isinstance(arguments["city"], str) and arguments["days"] >= 1
    messages += [
        first.choices[0].message.model_dump(exclude_none=True),
        {"role": "tool", "tool_call_id": call.id, "content": "sunny"},
    ]
    last = client.chat.completions.create(model="sim/tool", messages=messages, tools=[WEATHER])
    assert last.choices[0].finish_reason == "stop"
    assert last.choices[0].message.content


def test_chat_tool_stream(client):
    with client.chat.completions.stream(model="sim/tool", messages=HELLO, tools=[WEATHER]) as stream:
        for _ in stream:
            pass
        final = stream.get_final_completion()
    assert final.choices[0].finish_reason == "tool_calls"
    call = final.choices[0].message.tool_calls[0]
    assert call.id and call.function.name == "get_weather"
    assert set(json.loads(call.function.arguments)) == {"city", "days"}


class Verdict(BaseModel):
    label: str
    score: int


def test_chat_structured_output(client):
    answer = client.chat.completions.parse(model="sim/json", messages=HELLO, response_format=Verdict)
    assert isinstance(answer.choices[0].message.parsed, Verdict)


def test_chat_reasoning_tokens(client):
    answer = client.chat.completions.create(model="sim/reason", messages=HELLO)
    details = answer.usage.completion_tokens_details
    assert 0 < details.reasoning_tokens < answer.usage.completion_tokens
    assert "hello over there" in answer.choices[0].message.content


def test_chat_async(service):
    async def one(client, text):
        answer = await client.chat.completions.create(model="sim/echo", messages=[{"role": "user", "content": text}])
        return answer.choices[0].message.content

    async def many():
        async with openai.AsyncOpenAI(base_url=service.openai, api_key=service.key, max_retries=0, timeout=60) as client:
            return await asyncio.gather(*(one(client, f"message {n}") for n in range(20)))

    assert asyncio.run(many()) == [f"message {n}" for n in range(20)]


def test_legacy_completions(client):
    answer = client.completions.create(model="sim/echo", prompt="once upon a time")
    assert answer.object == "text_completion"
    assert answer.choices[0].text == "once upon a time"
    assert answer.usage.completion_tokens == 4


def test_legacy_completions_stream(client):
    chunks = list(client.completions.create(model="sim/echo", prompt="once upon a time", stream=True))
    assert "".join(chunk.choices[0].text for chunk in chunks) == "once upon a time"
    assert all(chunk.usage is None for chunk in chunks)
    assert chunks[-1].choices[0].finish_reason == "stop"


def test_responses(client):
    answer = client.responses.create(model="sim/echo", input="hello over there")
    assert answer.object == "response"
    assert answer.status == "completed"
    assert answer.output_text == "hello over there"
    assert answer.usage.output_tokens == 4
    assert answer.usage.total_tokens == answer.usage.input_tokens + answer.usage.output_tokens


def test_responses_incomplete(client):
    answer = client.responses.create(model="sim/lorem", input="hello", max_output_tokens=16)
    assert answer.status == "incomplete"
    assert answer.incomplete_details.reason == "max_output_tokens"
    assert answer.usage.output_tokens == 16


def test_responses_stream(client):
    events = list(client.responses.create(model="sim/echo", input="hello over there", stream=True))
    kinds = [event.type for event in events]
    assert kinds[:4] == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
    ]
    assert kinds[-4:] == [
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.completed",
    ]
    assert set(kinds[4:-4]) == {"response.output_text.delta"}
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert "".join(event.delta for event in events[4:-4]) == "hello over there"
    assert events[-1].response.usage.output_tokens == 4
    assert events[-1].response.output_text == "hello over there"


def test_responses_tool_loop(client):
    tool = {"type": "function", "strict": False, **WEATHER["function"]}
    conversation = [{"role": "user", "content": "weather?"}]
    with client.responses.stream(model="sim/tool", input=conversation, tools=[tool]) as stream:
        kinds = [event.type for event in stream]
        first = stream.get_final_response()
    assert "response.function_call_arguments.delta" in kinds and "response.function_call_arguments.done" in kinds
    call = next(item for item in first.output if item.type == "function_call")
    assert call.name == "get_weather" and set(json.loads(call.arguments)) == {"city", "days"}
    assert call.id != call.call_id
    conversation += [
        {"type": "function_call", "call_id": call.call_id, "name": call.name, "arguments": call.arguments},
        {"type": "function_call_output", "call_id": call.call_id, "output": "sunny"},
    ]
    last = client.responses.create(model="sim/tool", input=conversation, tools=[tool])
    assert last.output_text


def test_responses_reasoning(client):
    answer = client.responses.create(model="sim/reason", input="hello", reasoning={"effort": "low", "summary": "auto"})
    assert answer.output[0].type == "reasoning"
    assert answer.usage.output_tokens_details.reasoning_tokens > 0
    assert "hello" in answer.output_text


def test_embeddings_by_default_are_base64_on_the_wire(client):
    answer = client.embeddings.create(model="sim/embed", input="hello")
    vector = answer.data[0].embedding
    assert len(vector) > 8 and all(isinstance(x, float) for x in vector)
    assert abs(sum(x * x for x in vector) - 1) < 1e-3
    raw = client.embeddings.with_raw_response.create(model="sim/embed", input="hello", encoding_format="base64")
    assert isinstance(json.loads(raw.text)["data"][0]["embedding"], str)


def test_embeddings_float_equal_base64(client):
    texts = ["alpha", "beta"]
    plain = client.embeddings.create(model="sim/embed", input=texts, encoding_format="float")
    packed = client.embeddings.create(model="sim/embed", input=texts)
    assert [item.index for item in plain.data] == [0, 1]
    for one, other in zip(plain.data, packed.data):
        assert one.embedding == pytest.approx(other.embedding, abs=1e-6)
    assert plain.data[0].embedding != plain.data[1].embedding
    assert plain.usage.total_tokens == packed.usage.total_tokens > 0


def test_embeddings_dimensions(client):
    answer = client.embeddings.create(model="sim/embed", input="hello", dimensions=16)
    assert len(answer.data[0].embedding) == 16


@pytest.mark.gateway
def test_models(client):
    names = [model.id for model in client.models.list()]
    assert "sim/echo" in names and len(names) == len(set(names))
    model = client.models.retrieve("sim/echo")
    assert (model.id, model.object) == ("sim/echo", "model")


def test_models_of_the_practice_provider(client):
    names = {model.id.removeprefix("sim/") for model in client.models.list()}
    assert {"echo", "lorem", "tool", "embed"} <= names


@pytest.mark.gateway
def test_wrong_key(service):
    with connect(service, key="ak-live-not-a-key") as client, pytest.raises(openai.AuthenticationError) as caught:
        client.chat.completions.create(model="sim/echo", messages=HELLO)
    assert caught.value.code == "invalid_api_key"
    assert caught.value.request_id


@pytest.mark.gateway
def test_scope_missing(service):
    reader = service.new_key("reader", scopes=["models:read"])["secret"]
    with connect(service, key=reader) as client:
        assert list(client.models.list())
        with pytest.raises(openai.PermissionDeniedError) as caught:
            client.chat.completions.create(model="sim/echo", messages=HELLO)
    assert caught.value.code == "scope_missing"


def test_unknown_model(client):
    with pytest.raises(openai.NotFoundError) as caught:
        client.chat.completions.create(model="sim/nothing-of-that-name", messages=HELLO)
    assert caught.value.code == "model_not_found"
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("sim/nothing-of-that-name")


def test_bad_request(client):
    with pytest.raises(openai.BadRequestError):
        client.chat.completions.create(model="sim/echo", messages=HELLO, max_tokens="nine")


def test_rate_limit_of_the_provider(client):
    with pytest.raises(openai.RateLimitError) as caught:
        client.chat.completions.create(model="sim/429", messages=HELLO)
    assert int(caught.value.response.headers["retry-after"]) > 0
    with pytest.raises(openai.RateLimitError):
        client.responses.create(model="sim/429", input="hello", stream=True)


def test_failure_of_the_provider(client):
    with pytest.raises(openai.InternalServerError) as caught:
        client.chat.completions.create(model="sim/500", messages=HELLO)
    assert caught.value.status_code == 500


@pytest.mark.gateway
@pytest.mark.parametrize("model", ["sim/401", "sim/403"])
def test_the_providers_refusal_of_our_credential_is_not_the_callers_fault(client, model):
    with pytest.raises(openai.InternalServerError) as caught:
        client.chat.completions.create(model=model, messages=HELLO)
    assert caught.value.status_code == 502


def test_a_broken_stream_is_not_a_clean_end(client):
    text = "a sentence long enough to be cut somewhere in the middle of its stream"
    with pytest.raises((openai.APIError, httpx2.HTTPError)):
        for chunk in client.chat.completions.create(
            model="sim/cut", messages=[{"role": "user", "content": text}], stream=True
        ):
            assert not (chunk.choices and chunk.choices[0].finish_reason)


def test_a_broken_answer_is_an_error(client):
    with pytest.raises((openai.APIError, httpx2.HTTPError)):
        client.chat.completions.create(model="sim/cut", messages=HELLO)
