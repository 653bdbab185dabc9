"""What the caller wrote reaches the provider, and what the provider wrote reaches the caller, byte for byte."""

import json
import os

import pytest

import harness
from calls import CARRIERS, VERSION, bearer

pytestmark = pytest.mark.gateway

# Odd on purpose: spaces, an order of its own, escapes, numbers that a re-writer would change, and fields of tomorrow.
ODD = (
    b' {"zeta" : 1.50e+2,  "unknown_tomorrow":{"b":[1,2 , 3],"a":-0.0,"big":12345678901234567890123},\n'
    b'\t"model"   :"%s" , "metadata":{"user_id":"{\\"a\\":1}"},"temperature":0.70, %s ,'
    b'"caf\\u00e9":"\xe2\x98\x83 \\u2603 \\/ \\ud83d\\ude00"} \n'
)
MESSAGES = b'"messages":[ {"content":"hello  there","role":"user","x_extra":null} ]'
DIALECTS = {
    "chat": ("books-openai", "/v1/chat/completions", MESSAGES),
    "completions": ("books-openai", "/v1/completions", b'"prompt" : "hello"'),
    "responses": ("books-openai", "/v1/responses", b'"input" : "hello"'),
    "embeddings": ("books-openai", "/v1/embeddings", b'"input" : ["hello" ]'),
    "messages": ("books-anthropic", "/v1/messages", b'"max_tokens": 64 , ' + MESSAGES),
    "count_tokens": ("books-anthropic", "/v1/messages/count_tokens", MESSAGES),
}
STREAMS = {name: DIALECTS[name] for name in ("responses", "messages")}
GEMINI = b' {"zeta" : 1.50e+2,\n "contents" :[{"parts":[{"text":"hello  there"} ],"role":"user"}],"unknownTomorrow":{ "a":-0.0}} '


def model_of(name):
    return b"embed" if name == "embeddings" else b"echo"


def post(gateway, path, body, **headers):
    with gateway.client() as http:
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        return http.post(
            path, content=body, headers=bearer(gateway.key) | VERSION | {"content-type": "application/json"} | headers
        )


@pytest.mark.parametrize("name", DIALECTS)
def test_bodies_go_up_as_they_came_but_for_the_model(gateway, practice, name):
    provider, path, content = DIALECTS[name]
    before = practice.mark()
    answer = post(gateway, path, ODD % (provider.encode() + b"/" + model_of(name), content))
    assert answer.status_code == 200, answer.text
    assert practice.only_entry(before)["body"].encode() == ODD % (model_of(name), content)


@pytest.mark.parametrize("name", STREAMS)
def test_streams_go_up_as_they_came_but_for_the_model(gateway, practice, name):
    provider, path, content = STREAMS[name]
    content += b', "stream" : true'
    before = practice.mark()
    answer = post(gateway, path, ODD % (provider.encode() + b"/echo", content))
    assert answer.status_code == 200, answer.text
    assert practice.only_entry(before)["body"].encode() == ODD % (b"echo", content)


@pytest.mark.parametrize("method", ["generateContent", "streamGenerateContent", "countTokens"])
def test_geminis_bodies_go_up_as_they_came(gateway, practice, method):
    before = practice.mark()
    answer = post(gateway, f"/v1beta/models/books-gemini/echo:{method}", GEMINI)
    assert answer.status_code == 200, answer.text
    entry = practice.only_entry(before)
    assert entry["body"].encode() == GEMINI
    assert entry["path"].split("?")[0] == f"/v1beta/models/echo:{method}"


def test_an_alias_is_spliced_like_a_name(gateway, practice):
    before = practice.mark()
    assert post(gateway, "/v1/chat/completions", ODD % (b"house-model", MESSAGES)).status_code == 200
    assert practice.only_entry(before)["body"].encode() == ODD % (b"echo", MESSAGES)


USAGE_ASKED = b', "stream" : true ,"stream_options": { "include_usage" : true }'
USAGE_NOT_ASKED = {
    "absent": b', "stream" : true',
    "null": b', "stream" : true, "stream_options" : null',
    "empty": b', "stream" : true, "stream_options" : { }',
    "other": b', "stream" : true, "stream_options" : {"include_obfuscation":false }',
}


def test_a_stream_that_asks_for_usage_goes_up_as_it_came(gateway, practice):
    before = practice.mark()
    answer = post(gateway, "/v1/chat/completions", ODD % (b"books-openai/echo", MESSAGES + USAGE_ASKED))
    assert practice.only_entry(before)["body"].encode() == ODD % (b"echo", MESSAGES + USAGE_ASKED)
    last = json.loads(answer.text.split("\n\n")[-3].removeprefix("data: "))
    assert last["choices"] == [] and last["usage"]["total_tokens"] > 0


def difference(one, other):
    """What is left of each without the beginning and the end that they share."""
    start = len(os.path.commonprefix([one, other]))
    end = len(os.path.commonprefix([one[start:][::-1], other[start:][::-1]]))
    return one[start : len(one) - end], other[start : len(other) - end]


@pytest.mark.parametrize("how", USAGE_NOT_ASKED)
@pytest.mark.parametrize("endpoint", ["chat", "completions"])
def test_a_stream_that_does_not_ask_is_made_to_and_does_not_see_it(gateway, practice, endpoint, how):
    provider, path, content = DIALECTS[endpoint]
    sent = ODD % (provider.encode() + b"/echo", content + USAGE_NOT_ASKED[how])
    before = practice.mark()
    answer = post(gateway, path, sent)
    entry = practice.only_entry(before)
    came = json.loads(entry["body"], object_pairs_hook=list)
    asked = dict(json.loads(entry["body"]))["stream_options"]
    assert asked["include_usage"] is True

    def others(pairs):
        return [(key, value) for key, value in pairs if key not in ("stream_options", "model")]

    assert others(came) == others(json.loads(sent, object_pairs_hook=list))
    removed, inserted = difference(ODD % (b"echo", content + USAGE_NOT_ASKED[how]), entry["body"].encode())
    assert removed in (b"", b"null") and len(inserted) <= len(b'"stream_options":{"include_usage":true},')
    frames = [json.loads(frame.removeprefix("data: ")) for frame in answer.text.strip().split("\n\n")[:-1]]
    assert frames and all(frame["choices"] and not frame.get("usage") for frame in frames)
    assert answer.text.endswith("data: [DONE]\n\n")


def test_betas_and_versions_go_up(gateway, practice):
    before = practice.mark()
    body = ODD % (b"books-anthropic/echo", DIALECTS["messages"][2])
    answer = post(gateway, "/v1/messages?beta=true", body, anthropic_beta="of-tomorrow-2027-01-01,another", user_agent="journeys/1")
    assert answer.status_code == 200, answer.text
    headers = dict(practice.only_entry(before)["headers"])
    assert headers["anthropic-beta"] == "of-tomorrow-2027-01-01,another"
    assert headers["anthropic-version"] == VERSION["anthropic-version"]


OURS = {"books-openai": "openai", "books-anthropic": "anthropic", "books-gemini": "gemini"}


CROSSINGS = [(provider, carrier) for provider in OURS for carrier in CARRIERS] + [("books-gemini", "query")]


@pytest.mark.parametrize("provider, carrier", CROSSINGS)
def test_our_key_stays_here_and_the_providers_stays_there(gateway, practice, provider, carrier):
    path, body = {
        "books-openai": ("/v1/chat/completions", ODD % (b"books-openai/echo", MESSAGES)),
        "books-anthropic": ("/v1/messages", ODD % (b"books-anthropic/echo", DIALECTS["messages"][2])),
        "books-gemini": ("/v1beta/models/books-gemini/echo:generateContent", GEMINI),
    }[provider]
    strange = {"cookie": "a=1", "x-forwarded-for": "192.0.2.1", "x-anykey-model": "x", "x-private": "y", "referer": "https://example.org/"}
    headers = VERSION | {"content-type": "application/json"} | strange
    if carrier != "query":
        headers |= CARRIERS[carrier](gateway.key)
    before = practice.mark()
    with gateway.client() as http:
        answer = http.post(
            path, content=body, headers=headers, params={"key": gateway.key} if carrier == "query" else None
        )
    assert answer.status_code == 200, answer.text
    entry = practice.only_entry(before)
    crossed = json.dumps(entry)
    assert gateway.key not in crossed
    for name in strange:
        assert name not in dict(entry["headers"])
    own = harness.UPSTREAM_SECRETS[OURS[provider]]
    assert crossed.count(own) == 1
    down = str(answer.headers.raw) + answer.text
    assert not any(secret in down for secret in harness.UPSTREAM_SECRETS.values())


def canned(gateway, path, body, **headers):
    answer = post(gateway, path, body, **headers)
    (upstream,) = gateway.canned.seen
    return answer, upstream


def test_answers_come_down_as_they_were_said(gateway):
    said = gateway.canned.will_say(
        b'{"id":"x" ,"object":"chat.completion","model":"named-otherwise","tomorrow":{"b":1,"a":1.50},"choices":[{"index":0,'
        b'"message":{"role":"assistant","content":"caf\\u00e9 \xe2\x98\x83"},"finish_reason":"stop"}],\n'
        b'"usage":{"prompt_tokens":3,"completion_tokens":2,"total_tokens":5} } \n',
        content_type="application/json",
    )
    answer, (path, _, _) = canned(gateway, "/v1/chat/completions", ODD % (b"canned-openai/m", MESSAGES))
    assert path == "/v1/chat/completions"
    assert answer.content == said


def test_chat_streams_come_down_as_they_were_said(gateway):
    said = gateway.canned.will_say(
        b': a comment\n\ndata: {"id":"x","choices":[{"index":0,"delta":{"role":"assistant","content":"caf\xc3',
        b'\xa9"}}],"usage":null,"tomorrow":1.50}\r\n\r\ndata:{"id":"x","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n',
        b'data: {"id":"x","choices":[],"usage":{"prompt_tokens":3,"completion_tokens":2,"total_tokens":5}}\n\n',
        b"data: [DONE]\n\n",
        content_type="text/event-stream",
    )
    answer, _ = canned(gateway, "/v1/chat/completions", ODD % (b"canned-openai/m", MESSAGES + USAGE_ASKED))
    assert answer.content == said


def test_anthropic_streams_come_down_as_they_were_said(gateway):
    said = gateway.canned.will_say(
        b'event: message_start\ndata: {"type":"message_start","message":{"id":"msg_1","type":"message","role":"assistant",',
        b'"model":"m","content":[],"usage":{"input_tokens":3,"output_tokens":1}}}\n\n',
        b'event: of_tomorrow\ndata: {"type":"of_tomorrow", "x": 1.50}\n\nevent: ping\ndata: {"type": "ping"}\n\n',
        b'event: message_delta\ndata: {"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":2}}\n\n',
        b'event: message_stop\ndata: {"type":"message_stop"}\n\n',
        content_type="text/event-stream; charset=utf-8",
    )
    body = ODD % (b"canned-anthropic/m", DIALECTS["messages"][2] + b', "stream":true')
    answer, (path, _, _) = canned(gateway, "/v1/messages", body)
    assert path == "/v1/messages"
    assert answer.content == said


def test_gemini_streams_come_down_as_they_were_said(gateway):
    said = gateway.canned.will_say(
        b'data: {"candidates": [{"content": {"parts": [{"text": "caf\xc3\xa9"}],"role": "model"}}],"tomorrow": 1.50}\r\n\r\n',
        b'data: {"candidates": [{"content": {"parts": [{"text": "!"}]},"finishReason": "STOP"}],"usageMetadata": '
        b'{"promptTokenCount": 3,"candidatesTokenCount": 2,"totalTokenCount": 5}}\r\n\r\n',
        content_type="text/event-stream",
    )
    answer, (path, _, _) = canned(gateway, "/v1beta/models/canned-gemini/m:streamGenerateContent?alt=sse", GEMINI)
    assert path == "/v1beta/models/m:streamGenerateContent?alt=sse"
    assert answer.content == said


def test_gemini_arrays_come_down_as_they_were_said(gateway):
    said = gateway.canned.will_say(
        b'[{"candidates": [{"content": {"parts": [{"text": "a"}]}}]}\r\n,\r\n{"candidates": [{"content": {"par',
        b'ts": [{"text": "]"}]},"finishReason": "STOP"}],"usageMetadata": {"promptTokenCount": 3}}\n]\n',
        content_type="application/json",
    )
    answer, _ = canned(gateway, "/v1beta/models/canned-gemini/m:streamGenerateContent", GEMINI)
    assert answer.content == said


@pytest.mark.parametrize(
    "provider, path, body, said",
    [
        (
            "openai",
            "/v1/chat/completions",
            ODD % (b"canned-openai/m", MESSAGES),
            b'{"error": {"message":"too hot","type":"invalid_request_error","param":"temperature","code":null,"tomorrow":1} }',
        ),
        (
            "anthropic",
            "/v1/messages",
            ODD % (b"canned-anthropic/m", DIALECTS["messages"][2]),
            b'{"type":"error", "error":{"type":"invalid_request_error","message":"too hot"},"request_id":"req_1"}',
        ),
        (
            "gemini",
            "/v1beta/models/canned-gemini/m:generateContent",
            GEMINI,
            b'{"error": {"code": 400,"message": "too hot","status": "INVALID_ARGUMENT","details": []}}\n',
        ),
    ],
    ids=["openai", "anthropic", "gemini"],
)
def test_the_providers_errors_come_down_as_they_were_said(gateway, provider, path, body, said):
    gateway.canned.will_say(said, status=400, content_type="application/json")
    answer, _ = canned(gateway, path, body)
    assert (answer.status_code, answer.content) == (400, said)


def test_only_known_headers_come_down(gateway):
    gateway.canned.will_say(
        b'{"id":"x","choices":[],"usage":{"prompt_tokens":1,"completion_tokens":1,"total_tokens":2}}',
        content_type="application/json",
        set_cookie="a=1",
        server_timing="x",
        openai_organization="the-operators",
        x_internal="y",
    )
    answer, _ = canned(gateway, "/v1/chat/completions", ODD % (b"canned-openai/m", MESSAGES))
    assert not {"set-cookie", "openai-organization", "x-internal"} & set(answer.headers)
