"""LangChain's three chat integrations and two embedding ones, unmodified but for their base URL and key."""

import pytest
from langchain_anthropic import ChatAnthropic
from langchain_core.messages import HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_google_genai import ChatGoogleGenerativeAI, GoogleGenerativeAIEmbeddings
from langchain_openai import ChatOpenAI, OpenAIEmbeddings


@tool
def get_weather(city: str, days: int) -> str:
    """Current weather."""
    return f"{days} sunny days in {city}"


def openai_chat(service, model):
    # With a base URL of one's own it asks for no usage in streams unless told to.
    return ChatOpenAI(
        model=model, base_url=service.openai, api_key=service.key, max_retries=0, timeout=60, stream_usage=True
    )


def openai_responses(service, model):
    return ChatOpenAI(
        model=model, base_url=service.openai, api_key=service.key, max_retries=0, timeout=60, use_responses_api=True
    )


def anthropic(service, model):
    return ChatAnthropic(model=model, base_url=service.url, api_key=service.key, max_retries=0, timeout=60, max_tokens=500)


def gemini(service, model):
    return ChatGoogleGenerativeAI(model=model, base_url=service.url, google_api_key=service.key, max_retries=1, timeout=60)


CHATS = pytest.mark.parametrize("chat", [openai_chat, openai_responses, anthropic, gemini], ids=lambda make: make.__name__)


def text(message):
    return message.text if isinstance(message.text, str) else message.text()


@CHATS
def test_invoke(service, chat):
    answer = chat(service, "sim/echo").invoke("hello over there")
    assert text(answer) == "hello over there"
    assert answer.usage_metadata["output_tokens"] == 4
    assert answer.usage_metadata["input_tokens"] > 0


@CHATS
def test_stream(service, chat):
    whole = None
    for chunk in chat(service, "sim/echo").stream("hello over there"):
        whole = chunk if whole is None else whole + chunk
    assert text(whole) == "hello over there"
    assert whole.usage_metadata["output_tokens"] == 4


@CHATS
def test_tool_loop(service, chat):
    model = chat(service, "sim/tool").bind_tools([get_weather])
    conversation = [HumanMessage("weather?")]
    first = model.invoke(conversation)
    (call,) = first.tool_calls
    assert call["name"] == "get_weather" and set(call["args"]) == {"city", "days"}
    conversation += [first, ToolMessage(get_weather.invoke(call["args"]), tool_call_id=call["id"], name=call["name"])]
    last = model.invoke(conversation)
    assert text(last) and not last.tool_calls


@CHATS
def test_structured_output(service, chat):
    schema = {
        "title": "Verdict",
        "description": "A verdict",
        "type": "object",
        "properties": {"label": {"type": "string"}},
        "required": ["label"],
        "additionalProperties": False,
    }
    # Anthropic's integration asks for it as a forced tool call.
    model = chat(service, "sim/tool" if chat is anthropic else "sim/json")
    assert isinstance(model.with_structured_output(schema).invoke("hello")["label"], str)


def test_openai_embeddings(service):
    model = OpenAIEmbeddings(
        model="sim/embed", base_url=service.openai, api_key=service.key, max_retries=0, check_embedding_ctx_length=False
    )
    one, other = model.embed_documents(["alpha", "beta"])
    assert len(one) == len(other) > 8 and one != other
    assert model.embed_query("alpha") == pytest.approx(one, abs=1e-6)


def test_gemini_embeddings(service):
    model = GoogleGenerativeAIEmbeddings(model="sim/embed", base_url=service.url, google_api_key=service.key)
    one, other = model.embed_documents(["alpha", "beta"])
    assert len(one) == len(other) > 8 and one != other
    assert model.embed_query("alpha") == pytest.approx(one, abs=1e-6)


# Each integration at the models of the other providers; OpenAI's models that reason are asked through responses.
ELSEWHERE = pytest.mark.parametrize(
    "chat, models",
    [
        (openai_chat, "books-anthropic/"),
        (openai_chat, "books-gemini/gemini-3-"),
        (openai_responses, "books-anthropic/"),
        (openai_responses, "books-gemini/gemini-3-"),
        (anthropic, "books-openai/"),
        (anthropic, "books-openai/gpt-5-"),
        (anthropic, "books-gemini/gemini-3-"),
        (gemini, "books-openai/"),
        (gemini, "books-openai/gpt-5-"),
        (gemini, "books-anthropic/"),
    ],
    ids=lambda value: value if isinstance(value, str) else value.__name__,
)


@ELSEWHERE
def test_elsewhere_whole_and_streamed(gateway, chat, models):
    model = chat(gateway, f"{models}echo")
    whole = model.invoke("hello over there")
    streamed = None
    for chunk in model.stream("hello over there"):
        streamed = chunk if streamed is None else streamed + chunk
    for answer in (whole, streamed):
        assert text(answer) == "hello over there"
        assert answer.usage_metadata["output_tokens"] == 4
        assert answer.usage_metadata["input_tokens"] == whole.usage_metadata["input_tokens"]


@ELSEWHERE
@pytest.mark.parametrize("stream", [False, True])
def test_elsewhere_tool_loop(gateway, chat, models, stream):
    model = chat(gateway, f"{models}tool").bind_tools([get_weather])
    conversation = [HumanMessage("weather?")]
    if stream:
        first = None
        for chunk in model.stream(conversation):
            first = chunk if first is None else first + chunk
    else:
        first = model.invoke(conversation)
    (call,) = first.tool_calls
    assert call["name"] == "get_weather" and set(call["args"]) == {"city", "days"}
    conversation += [first, ToolMessage(get_weather.invoke(call["args"]), tool_call_id=call["id"], name=call["name"])]
    assert "sunny" in text(model.invoke(conversation))


@ELSEWHERE
def test_elsewhere_structured_output(gateway, chat, models):
    schema = {
        "title": "Verdict",
        "description": "A verdict",
        "type": "object",
        "properties": {"label": {"type": "string"}},
        "required": ["label"],
        "additionalProperties": False,
    }
    model = chat(gateway, f"{models}{'tool' if chat is anthropic else 'json'}")
    assert isinstance(model.with_structured_output(schema).invoke("hello")["label"], str)
