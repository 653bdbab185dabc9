"""Streams as they cross the wire: Gemini's JSON array, chunks that leave as they arrive, streams that break."""

import json
import time

import httpx
import pytest

from calls import CHAT, CONTENTS, VERSION, bearer


@pytest.fixture
def http(service):
    carriers = bearer(service.key) | {"x-goog-api-key": service.key, "x-api-key": service.key}
    with service.client(headers=carriers) as http:
        yield http


def elements(answer):
    """The elements of a JSON array that is still being written."""
    decoder, text = json.JSONDecoder(), ""
    for piece in answer.iter_text():
        text += piece
        while True:
            start = text.lstrip("[, \r\n")
            try:
                element, end = decoder.raw_decode(start)
            except json.JSONDecodeError:
                break
            text = start[end:]
            yield element
    assert text.strip() == "]"


@pytest.mark.parametrize("version", ["v1", "v1beta"])
def test_gemini_array(http, version):
    body = {"contents": CONTENTS}
    with http.stream("POST", f"/{version}/models/sim/echo:streamGenerateContent", json=body) as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("application/json")
        parts = list(elements(answer))
    assert len(parts) > 1
    text = "".join(part["text"] for element in parts for part in element["candidates"][0]["content"].get("parts", []))
    assert text == "hello over there"
    assert parts[-1]["candidates"][0]["finishReason"] == "STOP"
    assert parts[-1]["usageMetadata"]["candidatesTokenCount"] == 4


def test_gemini_events_end_with_crlf(http):
    answer = http.post("/v1beta/models/sim/echo:streamGenerateContent?alt=sse", json={"contents": CONTENTS})
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.content.endswith(b"\r\n\r\n")


def test_the_dialects_own_marks_of_an_end(http):
    chat = http.post("/v1/chat/completions", json={"model": "sim/echo", "messages": CHAT, "stream": True})
    assert chat.text.endswith("data: [DONE]\n\n")
    message = http.post(
        "/v1/messages", json={"model": "sim/echo", "max_tokens": 99, "messages": CHAT, "stream": True}, headers=VERSION
    )
    assert "event: message_stop\n" in message.text and "[DONE]" not in message.text
    response = http.post("/v1/responses", json={"model": "sim/echo", "input": "hello", "stream": True})
    assert "event: response.completed\n" in response.text and "[DONE]" not in response.text


SLOW = "echo?chunk_delay=150&chunks=5"
STREAMS = {
    "chat": ("/v1/chat/completions", {"model": "MODEL", "messages": CHAT, "stream": True}),
    "responses": ("/v1/responses", {"model": "MODEL", "input": "hello over there", "stream": True}),
    "messages": ("/v1/messages", {"model": "MODEL", "max_tokens": 99, "messages": CHAT, "stream": True}),
}


@pytest.mark.parametrize("name", STREAMS)
def test_chunks_leave_as_they_arrive(service, http, name):
    path, body = STREAMS[name]
    provider = "sim" if service.direct else ("books-anthropic" if name == "messages" else "books-openai")
    with http.stream("POST", path, json=body | {"model": f"{provider}/{SLOW}"}, headers=VERSION) as answer:
        assert answer.status_code == 200, answer.read()
        arrivals = [time.monotonic() for piece in answer.iter_raw() if piece]
    # Five pieces 150 ms apart: an answer that was held back would arrive at one moment.
    assert len(arrivals) >= 5
    assert arrivals[-1] - arrivals[0] > 0.4


@pytest.mark.gateway
@pytest.mark.parametrize("name", STREAMS)
def test_a_broken_stream_says_so(http, name):
    path, body = STREAMS[name]
    text = {"model": "sim/cut"}
    long = "a sentence long enough to be cut somewhere in the middle of its stream"
    if name == "responses":
        text["input"] = long
    else:
        text["messages"] = [{"role": "user", "content": long}]
    received = b""
    try:
        with http.stream("POST", path, json=body | text, headers=VERSION) as answer:
            for piece in answer.iter_raw():
                received += piece
    except httpx.RemoteProtocolError:
        pass
    for end in (b"[DONE]", b"event: message_stop", b"event: response.completed", b'"finish_reason":"stop"'):
        assert end not in received
    assert b'"error"' in received
