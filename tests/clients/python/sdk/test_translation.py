"""Each SDK, unmodified, at models of the other providers: whole, streamed, with tools, with thinking, with a schema."""

import json

import anthropic
import openai
import pytest
from google import genai
from google.genai import types
from pydantic import BaseModel

SAID = "hello over there"
HELLO = [{"role": "user", "content": SAID}]
SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
    "required": ["city", "days"],
    "additionalProperties": False,
}


class Trip(BaseModel):
    city: str
    days: int


def get_weather(city: str, days: int) -> str:
    """Current weather

    Args:
        city: Where.
        days: How many days.
    """
    return f"sunny in {city} for {days} days"


@pytest.fixture
def openai_client(gateway):
    with openai.OpenAI(base_url=gateway.openai, api_key=gateway.key, max_retries=0, timeout=60) as client:
        yield client


@pytest.fixture
def anthropic_client(gateway):
    with anthropic.Anthropic(base_url=gateway.url, api_key=gateway.key, max_retries=0, timeout=60) as client:
        yield client


@pytest.fixture
def genai_client(gateway):
    options = types.HttpOptions(base_url=gateway.url, timeout=60_000, retry_options=types.HttpRetryOptions(attempts=1))
    with genai.Client(api_key=gateway.key, http_options=options) as client:
        yield client


elsewhere_than_openai = pytest.mark.parametrize("provider", ["books-anthropic", "books-gemini"])
# OpenAI's models that reason are asked through responses, its others through chat completions.
elsewhere_than_anthropic = pytest.mark.parametrize("models", ["books-openai/", "books-openai/gpt-5-", "books-gemini/gemini-3-"])
elsewhere_than_google = pytest.mark.parametrize("models", ["books-openai/", "books-openai/gpt-5-", "books-anthropic/"])


@elsewhere_than_openai
def test_openai_whole_and_streamed(openai_client, provider):
    whole = openai_client.chat.completions.create(model=f"{provider}/echo", messages=HELLO)
    assert whole.choices[0].message.content == SAID
    assert whole.choices[0].finish_reason == "stop"
    assert whole.usage.completion_tokens == 4
    text, usage = "", None
    for chunk in openai_client.chat.completions.create(
        model=f"{provider}/echo", messages=HELLO, stream=True, stream_options={"include_usage": True}
    ):
        text += "".join(choice.delta.content or "" for choice in chunk.choices)
        usage = chunk.usage or usage
    assert (text, usage.total_tokens) == (SAID, whole.usage.total_tokens)


@elsewhere_than_openai
@pytest.mark.parametrize("stream", [False, True])
def test_openai_tool_loop(openai_client, provider, stream):
    tools = [{"type": "function", "function": {"name": "get_weather", "parameters": SCHEMA}}]
    messages = [{"role": "user", "content": "weather?"}]
    ask = dict(model=f"{provider}/tool", tools=tools, reasoning_effort="low")
    if stream:
        with openai_client.chat.completions.stream(messages=messages, **ask) as events:
            first = events.get_final_completion()
    else:
        first = openai_client.chat.completions.create(messages=messages, **ask)
    message = first.choices[0].message
    assert first.choices[0].finish_reason == "tool_calls"
    (call,) = message.tool_calls
    assert set(json.loads(call.function.arguments)) == {"city", "days"}
    messages += [message, {"role": "tool", "tool_call_id": call.id, "content": "sunny"}]
    second = openai_client.chat.completions.create(messages=messages, **ask)
    assert "sunny" in second.choices[0].message.content
    assert second.choices[0].finish_reason == "stop"


@elsewhere_than_openai
def test_openai_structured_output(openai_client, provider):
    answer = openai_client.chat.completions.parse(model=f"{provider}/json", messages=HELLO, response_format=Trip)
    assert isinstance(answer.choices[0].message.parsed, Trip)


@elsewhere_than_openai
def test_openai_errors(openai_client, provider):
    with pytest.raises(openai.RateLimitError):
        openai_client.chat.completions.create(model=f"{provider}/429", messages=HELLO)
    with pytest.raises(openai.BadRequestError) as refused:
        openai_client.chat.completions.create(
            model=f"{provider}/echo", messages=HELLO, modalities=["text", "audio"], audio={"voice": "a", "format": "wav"}
        )
    assert refused.value.param == "audio"
    answer = openai_client.chat.completions.with_raw_response.create(
        model=f"{provider}/echo", messages=HELLO, logit_bias={"1": 1}
    )
    assert answer.headers["x-anykey-dropped"] == "logit_bias"


@elsewhere_than_openai
def test_openai_responses_whole_and_streamed(openai_client, provider):
    ask = dict(model=f"{provider}/echo", instructions="Be brief.", input=SAID, store=False)
    whole = openai_client.responses.create(**ask)
    assert (whole.output_text, whole.status, whole.usage.output_tokens) == (SAID, "completed", 4)
    with openai_client.responses.stream(**ask) as stream:
        text = "".join(event.delta for event in stream if event.type == "response.output_text.delta")
        final = stream.get_final_response()
    assert (text, final.output_text, final.usage.total_tokens) == (SAID, SAID, whole.usage.total_tokens)


@elsewhere_than_openai
@pytest.mark.parametrize("stream", [False, True])
def test_openai_responses_tool_loop(openai_client, provider, stream):
    tools = [{"type": "function", "name": "get_weather", "parameters": SCHEMA, "strict": True}]
    conversation = [{"role": "user", "content": "weather?"}]
    ask = dict(model=f"{provider}/tool", tools=tools, store=False, reasoning={"effort": "low", "summary": "auto"})
    if stream:
        with openai_client.responses.stream(input=conversation, **ask) as events:
            first = events.get_final_response()
    else:
        first = openai_client.responses.create(input=conversation, **ask)
    (call,) = [item for item in first.output if item.type == "function_call"]
    assert set(json.loads(call.arguments)) == {"city", "days"}
    conversation += first.output
    conversation.append({"type": "function_call_output", "call_id": call.call_id, "output": "sunny"})
    second = openai_client.responses.create(input=conversation, **ask)
    assert "sunny" in second.output_text


@elsewhere_than_openai
def test_openai_responses_structured_output_and_errors(openai_client, provider):
    answer = openai_client.responses.parse(model=f"{provider}/json", input="where to?", text_format=Trip)
    assert isinstance(answer.output_parsed, Trip)
    with pytest.raises(openai.BadRequestError) as refused:
        openai_client.responses.create(model=f"{provider}/echo", input="x", previous_response_id="resp_1")
    assert refused.value.param == "previous_response_id"
    with pytest.raises(openai.RateLimitError):
        openai_client.responses.create(model=f"{provider}/429", input="x")


@elsewhere_than_anthropic
def test_anthropic_whole_and_streamed(anthropic_client, models):
    ask = dict(model=f"{models}echo", max_tokens=100, system="Be brief.", messages=HELLO)
    whole = anthropic_client.messages.create(**ask)
    assert [block.text for block in whole.content] == [SAID]
    assert (whole.stop_reason, whole.model, whole.usage.output_tokens) == ("end_turn", f"{models}echo", 4)
    with anthropic_client.messages.stream(**ask) as stream:
        text = "".join(stream.text_stream)
        final = stream.get_final_message()
    assert text == SAID
    assert (final.stop_reason, final.usage.output_tokens) == ("end_turn", 4)


@elsewhere_than_anthropic
@pytest.mark.parametrize("stream", [False, True])
def test_anthropic_tool_loop(anthropic_client, models, stream):
    tools = [{"name": "get_weather", "input_schema": SCHEMA}]
    messages = [{"role": "user", "content": "weather?"}]
    ask = dict(model=f"{models}tool", max_tokens=4000, tools=tools, thinking={"type": "enabled", "budget_tokens": 2000})
    if stream:
        with anthropic_client.messages.stream(messages=messages, **ask) as events:
            first = events.get_final_message()
    else:
        first = anthropic_client.messages.create(messages=messages, **ask)
    assert first.stop_reason == "tool_use"
    (call,) = [block for block in first.content if block.type == "tool_use"]
    assert set(call.input) == {"city", "days"}
    messages += [
        {"role": "assistant", "content": first.content},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": call.id, "content": "sunny"}]},
    ]
    second = anthropic_client.messages.create(messages=messages, **ask)
    assert second.stop_reason == "end_turn"
    assert "sunny" in "".join(block.text for block in second.content if block.type == "text")


@pytest.mark.parametrize("models", ["books-openai/gpt-5-", "books-gemini/gemini-3-"])
def test_anthropic_sees_thinking_of_others(anthropic_client, models):
    ask = dict(max_tokens=4000, messages=HELLO, thinking={"type": "enabled", "budget_tokens": 2000})
    with anthropic_client.messages.stream(model=f"{models}reason", **ask) as stream:
        kinds = {event.type for event in stream}
        answer = stream.get_final_message()
    assert "thinking" in kinds
    assert [block.type for block in answer.content] == ["thinking", "text"]


@elsewhere_than_anthropic
def test_anthropic_errors(anthropic_client, models):
    with pytest.raises(anthropic.RateLimitError):
        anthropic_client.messages.create(model=f"{models}429", max_tokens=9, messages=HELLO)
    with pytest.raises(anthropic.APIError):
        with anthropic_client.messages.stream(model=f"{models}cut", max_tokens=99, messages=HELLO) as stream:
            stream.get_final_message()


@elsewhere_than_google
def test_google_whole_and_streamed(genai_client, models):
    config = types.GenerateContentConfig(system_instruction="Be brief.", temperature=0.5, top_k=40)
    model = f"{models}echo"
    whole = genai_client.models.generate_content(model=model, contents=SAID, config=config)
    assert (whole.text, whole.candidates[0].finish_reason) == (SAID, types.FinishReason.STOP)
    assert whole.usage_metadata.candidates_token_count == 4
    chunks = list(genai_client.models.generate_content_stream(model=model, contents=SAID, config=config))
    assert "".join(chunk.text or "" for chunk in chunks) == SAID
    assert chunks[-1].candidates[0].finish_reason == types.FinishReason.STOP
    assert chunks[-1].usage_metadata.total_token_count == whole.usage_metadata.total_token_count


@elsewhere_than_google
def test_google_calls_functions_by_itself(genai_client, models):
    config = types.GenerateContentConfig(tools=[get_weather])
    answer = genai_client.models.generate_content(model=f"{models}tool", contents="weather?", config=config)
    assert "sunny" in answer.text
    history = answer.automatic_function_calling_history
    assert [content.role for content in history] == ["user", "model", "user"]


@elsewhere_than_google
def test_google_structured_output(genai_client, models):
    config = types.GenerateContentConfig(response_mime_type="application/json", response_schema=Trip)
    answer = genai_client.models.generate_content(model=f"{models}json", contents="where to?", config=config)
    assert isinstance(answer.parsed, Trip)
