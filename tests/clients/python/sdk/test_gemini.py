"""The `google-genai` SDK, unmodified but for its base URL and key."""

import asyncio

import pytest
from google import genai
from google.genai import errors, types


def connect(service, key=None, version=None):
    options = types.HttpOptions(
        base_url=service.url, api_version=version, timeout=60_000, retry_options=types.HttpRetryOptions(attempts=1)
    )
    return genai.Client(api_key=key or service.key, http_options=options)


@pytest.fixture(params=[None, "v1", "v1beta"], ids=["default", "v1", "v1beta"])
def client(service, request):
    with connect(service, version=request.param) as client:
        yield client


@pytest.fixture
def one(service):
    with connect(service) as client:
        yield client


def test_generate(client):
    answer = client.models.generate_content(model="sim/echo", contents="hello over there")
    assert answer.text == "hello over there"
    assert answer.candidates[0].finish_reason == types.FinishReason.STOP
    usage = answer.usage_metadata
    assert usage.candidates_token_count == 4 and usage.prompt_token_count > 0
    assert usage.total_token_count == usage.prompt_token_count + usage.candidates_token_count


def test_stream(client):
    chunks = list(client.models.generate_content_stream(model="sim/echo", contents="hello over there"))
    assert "".join(chunk.text or "" for chunk in chunks) == "hello over there"
    assert chunks[-1].candidates[0].finish_reason == types.FinishReason.STOP
    assert chunks[-1].usage_metadata.candidates_token_count == 4


def test_async(service):
    async def ask():
        async with connect(service).aio as client:
            answer = await client.models.generate_content(model="sim/echo", contents="hello")
            text = ""
            async for chunk in await client.models.generate_content_stream(model="sim/echo", contents="hello again"):
                text += chunk.text or ""
            return answer.text, text

    assert asyncio.run(ask()) == ("hello", "hello again")


def test_max_tokens(one):
    answer = one.models.generate_content(
        model="sim/lorem", contents="hello", config=types.GenerateContentConfig(max_output_tokens=8)
    )
    assert answer.candidates[0].finish_reason == types.FinishReason.MAX_TOKENS
    assert answer.usage_metadata.candidates_token_count == 8


def test_thinking(one):
    config = types.GenerateContentConfig(thinking_config=types.ThinkingConfig(include_thoughts=True))
    answer = one.models.generate_content(model="sim/reason", contents="hello over there", config=config)
    parts = answer.candidates[0].content.parts
    assert parts[0].thought and parts[0].text
    assert "hello over there" in answer.text
    usage = answer.usage_metadata
    assert usage.thoughts_token_count > 0
    assert usage.total_token_count == usage.prompt_token_count + usage.candidates_token_count + usage.thoughts_token_count


def test_tool_loop(one):
    declaration = types.FunctionDeclaration(
        name="get_weather",
        description="Current weather",
        parameters_json_schema={
            "type": "object",
            "properties": {"city": {"type": "string"}, "days": {"type": "integer", "minimum": 1}},
            "required": ["city", "days"],
        },
    )
    config = types.GenerateContentConfig(tools=[types.Tool(function_declarations=[declaration])])
    question = types.Content(role="user", parts=[types.Part(text="weather?")])
    first = one.models.generate_content(model="sim/tool", contents=[question], config=config)
    (call,) = first.function_calls
    assert call.name == "get_weather" and set(call.args) == {"city", "days"}
    streamed = [
        call
        for chunk in one.models.generate_content_stream(model="sim/tool", contents=[question], config=config)
        for call in chunk.function_calls or []
    ]
    assert [call.args for call in streamed] == [call.args]
    result = types.Part.from_function_response(name="get_weather", response={"result": "sunny"})
    last = one.models.generate_content(
        model="sim/tool",
        contents=[question, first.candidates[0].content, types.Content(role="user", parts=[result])],
        config=config,
    )
    assert last.text and not last.function_calls


def test_structured_output(one):
    schema = {"type": "object", "properties": {"label": {"type": "string"}}, "required": ["label"]}
    answer = one.models.generate_content(
        model="sim/json",
        contents="hello",
        config=types.GenerateContentConfig(response_mime_type="application/json", response_json_schema=schema),
    )
    assert isinstance(answer.parsed["label"], str)


def test_count_tokens(client):
    counted = client.models.count_tokens(model="sim/echo", contents="hello over there")
    answer = client.models.generate_content(model="sim/echo", contents="hello over there")
    assert counted.total_tokens == answer.usage_metadata.prompt_token_count


def test_embed(client):
    single = client.models.embed_content(model="sim/embed", contents="alpha")
    several = client.models.embed_content(model="sim/embed", contents=["alpha", "beta"])
    assert len(single.embeddings) == 1 and len(several.embeddings) == 2
    assert single.embeddings[0].values == pytest.approx(several.embeddings[0].values)
    assert several.embeddings[0].values != several.embeddings[1].values


def test_embed_dimensions(one):
    answer = one.models.embed_content(
        model="sim/embed", contents="alpha", config=types.EmbedContentConfig(output_dimensionality=16)
    )
    assert len(answer.embeddings[0].values) == 16


@pytest.mark.gateway
def test_models(client):
    names = [model.name for model in client.models.list(config={"page_size": 3})]
    assert "models/sim/echo" in names and len(names) == len(set(names)) > 3
    model = client.models.get(model="sim/echo")
    assert model.name == "models/sim/echo"
    assert "generateContent" in model.supported_actions


def test_models_of_the_practice_provider(one):
    names = {model.name.removeprefix("models/").removeprefix("sim/") for model in one.models.list()}
    assert {"echo", "lorem", "embed"} <= names


@pytest.mark.gateway
def test_wrong_key(service):
    with connect(service, key="ak-live-not-a-key") as client, pytest.raises(errors.ClientError) as caught:
        client.models.generate_content(model="sim/echo", contents="hello")
    assert (caught.value.code, caught.value.status) == (401, "UNAUTHENTICATED")


@pytest.mark.gateway
def test_scope_missing(service):
    reader = service.new_key("gemini-reader", scopes=["models:read"])["secret"]
    with connect(service, key=reader) as client, pytest.raises(errors.ClientError) as caught:
        client.models.generate_content(model="sim/echo", contents="hello")
    assert (caught.value.code, caught.value.status) == (403, "PERMISSION_DENIED")


def test_unknown_model(client):
    with pytest.raises(errors.ClientError) as caught:
        client.models.generate_content(model="sim/nothing-of-that-name", contents="hello")
    assert (caught.value.code, caught.value.status) == (404, "NOT_FOUND")


def test_bad_request(one):
    with pytest.raises(errors.ClientError) as caught:
        one.models.generate_content(model="sim/echo", contents=[types.Content(role="nobody", parts=[types.Part(text="x")])])
    assert (caught.value.code, caught.value.status) == (400, "INVALID_ARGUMENT")


def test_rate_limit_of_the_provider(one):
    with pytest.raises(errors.ClientError) as caught:
        one.models.generate_content(model="sim/429", contents="hello")
    assert (caught.value.code, caught.value.status) == (429, "RESOURCE_EXHAUSTED")
    assert any(detail["@type"].endswith("google.rpc.RetryInfo") for detail in caught.value.details["error"]["details"])


def test_failure_of_the_provider(one):
    with pytest.raises(errors.ServerError) as caught:
        one.models.generate_content(model="sim/500", contents="hello")
    assert (caught.value.code, caught.value.status) == (500, "INTERNAL")


def test_a_broken_stream_is_not_a_clean_end(one):
    text = "a sentence long enough to be cut somewhere in the middle of its stream"
    with pytest.raises(Exception) as caught:
        for chunk in one.models.generate_content_stream(model="sim/cut", contents=text):
            assert chunk.candidates[0].finish_reason is None
    assert not isinstance(caught.value, AssertionError)
