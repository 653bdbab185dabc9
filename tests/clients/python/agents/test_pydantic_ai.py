"""pydantic-ai with each of its models, unmodified but for base URL and key, at models of the other providers."""

import pytest
from pydantic import BaseModel
from pydantic_ai import Agent, NativeOutput
from pydantic_ai.exceptions import ModelHTTPError
from pydantic_ai.models.anthropic import AnthropicModel
from pydantic_ai.models.google import GoogleModel
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
from pydantic_ai.providers.anthropic import AnthropicProvider
from pydantic_ai.providers.google import GoogleProvider
from pydantic_ai.providers.openai import OpenAIProvider

SAID = "hello over there"


class Trip(BaseModel):
    city: str
    days: int


def chat(gateway, model):
    return OpenAIChatModel(model, provider=OpenAIProvider(base_url=gateway.openai, api_key=gateway.key))


def responses(gateway, model):
    return OpenAIResponsesModel(model, provider=OpenAIProvider(base_url=gateway.openai, api_key=gateway.key))


def messages(gateway, model):
    return AnthropicModel(model, provider=AnthropicProvider(base_url=gateway.url, api_key=gateway.key))


def gemini(gateway, model):
    return GoogleModel(model, provider=GoogleProvider(base_url=gateway.url, api_key=gateway.key))


# OpenAI's models that reason are asked through responses, its others through chat completions.
ELSEWHERE = pytest.mark.parametrize(
    "make, models",
    [
        (chat, "books-anthropic/"),
        (chat, "books-gemini/gemini-3-"),
        (responses, "books-anthropic/"),
        (responses, "books-gemini/gemini-3-"),
        (messages, "books-openai/"),
        (messages, "books-openai/gpt-5-"),
        (messages, "books-gemini/gemini-3-"),
        (gemini, "books-openai/"),
        (gemini, "books-openai/gpt-5-"),
        (gemini, "books-anthropic/"),
    ],
    ids=lambda value: value if isinstance(value, str) else value.__name__,
)


@pytest.fixture
def agent(gateway, make, models):
    def build(model, **options):
        return Agent(make(gateway, f"{models}{model}"), retries=0, **options)

    return build


@ELSEWHERE
def test_an_answer(agent):
    result = agent("echo", instructions="Be brief.").run_sync(SAID)
    assert result.output == SAID
    assert result.usage().output_tokens == 4
    assert result.usage().input_tokens > 0


@ELSEWHERE
def test_a_streamed_answer(agent):
    result = agent("echo").run_stream_sync(SAID)
    pieces = list(result.stream_text(delta=True, debounce_by=None))
    assert "".join(pieces) == SAID and len(pieces) > 1
    assert result.usage().output_tokens == 4


@ELSEWHERE
def test_a_tool_loop(agent):
    asked = []

    def get_weather(city: str, days: int) -> str:
        """Current weather."""
        asked.append((city, days))
        return f"sunny in {city}"

    result = agent("tool", tools=[get_weather]).run_sync("weather?")
    assert len(asked) == 1
    assert "sunny" in result.output


@ELSEWHERE
def test_output_as_a_tool_call(agent):
    assert isinstance(agent("tool", output_type=Trip).run_sync("where to?").output, Trip)


@ELSEWHERE
def test_output_by_a_schema(agent, make):
    if make is messages:
        pytest.skip("asked of Anthropic's API only where the model's name is one of Claude's")
    assert isinstance(agent("json", output_type=NativeOutput(Trip)).run_sync("where to?").output, Trip)


@ELSEWHERE
def test_a_refusal(agent):
    with pytest.raises(ModelHTTPError) as refused:
        agent("404").run_sync(SAID)
    assert refused.value.status_code == 404
