"""instructor around each SDK, unmodified but for base URL and key, at models of the other providers."""

import anthropic
import instructor
import openai
import pytest
from google import genai
from google.genai import types
from pydantic import BaseModel

HELLO = [{"role": "user", "content": "where to?"}]


class Trip(BaseModel):
    city: str
    days: int


def around_openai(gateway, mode):
    client = openai.OpenAI(base_url=gateway.openai, api_key=gateway.key, max_retries=0, timeout=60)
    return instructor.from_openai(client, mode=mode)


def around_anthropic(gateway, mode):
    client = anthropic.Anthropic(base_url=gateway.url, api_key=gateway.key, max_retries=0, timeout=60)
    return instructor.from_anthropic(client, mode=mode)


def around_google(gateway, mode):
    options = types.HttpOptions(base_url=gateway.url, timeout=60_000, retry_options=types.HttpRetryOptions(attempts=1))
    return instructor.from_genai(genai.Client(api_key=gateway.key, http_options=options), mode=mode)


Mode = instructor.Mode
# By a forced tool, or by the schema of the answer: the practice provider has a model for each.
TOOL, SCHEMA = "tool", "json"
OPENAI = ["books-openai/", "books-openai/gpt-5-"]
PAIRS = [
    *[(around_openai, Mode.TOOLS, f"books-{name}{TOOL}") for name in ("anthropic/", "gemini/gemini-3-")],
    *[(around_openai, Mode.JSON_SCHEMA, f"books-{name}{SCHEMA}") for name in ("anthropic/", "gemini/gemini-3-")],
    *[(around_openai, Mode.RESPONSES_TOOLS, f"books-{name}{TOOL}") for name in ("anthropic/", "gemini/gemini-3-")],
    *[(around_anthropic, Mode.ANTHROPIC_TOOLS, f"{name}{TOOL}") for name in [*OPENAI, "books-gemini/gemini-3-"]],
    *[(around_google, Mode.GENAI_TOOLS, f"{name}{TOOL}") for name in [*OPENAI, "books-anthropic/"]],
    *[(around_google, Mode.GENAI_STRUCTURED_OUTPUTS, f"{name}{SCHEMA}") for name in [*OPENAI, "books-anthropic/"]],
]


@pytest.mark.parametrize("around, mode, model", PAIRS, ids=[f"{mode.name}-{model}" for _, mode, model in PAIRS])
def test_an_object(gateway, around, mode, model):
    ask = {"max_tokens": 500} if around is around_anthropic else {}
    trip = around(gateway, mode).create(model=model, messages=HELLO, response_model=Trip, max_retries=0, **ask)
    assert isinstance(trip, Trip)
