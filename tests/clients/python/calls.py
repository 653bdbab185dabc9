"""One plain call of each endpoint, as bytes on the wire would have it, for the journeys that need no client library."""

from dataclasses import dataclass, field

CHAT = [{"role": "user", "content": "hello over there"}]
CONTENTS = [{"role": "user", "parts": [{"text": "hello over there"}]}]
VERSION = {"anthropic-version": "2023-06-01"}
GOOG = {"x-goog-api-client": "journeys"}


@dataclass
class Call:
    name: str
    dialect: str
    path: str
    body: dict = None
    headers: dict = field(default_factory=dict)
    prefixes: tuple = ("/v1", "/api/v1", "/openai/v1")

    @property
    def method(self):
        return "POST" if self.body is not None else "GET"

    def send(self, http, prefix=None, path=None, headers=None, params=None, **options):
        url = path or (prefix or self.prefixes[0]) + self.path
        # Whole addresses, because the client would tidy up a doubled slash after joining.
        return http.request(
            self.method,
            str(http.base_url).rstrip("/") + url,
            json=self.body,
            headers=self.headers | (headers or {}),
            params=params,
            **options,
        )


ANTHROPIC = ("/v1", "/api/v1", "/openai/v1", "/anthropic/v1")
GEMINI = ("/v1beta", "/v1")

CALLS = [
    Call("chat", "openai", "/chat/completions", {"model": "sim/echo", "messages": CHAT}),
    Call("completions", "openai", "/completions", {"model": "sim/echo", "prompt": "hello"}),
    Call("responses", "openai", "/responses", {"model": "sim/echo", "input": "hello"}),
    Call("embeddings", "openai", "/embeddings", {"model": "sim/embed", "input": "hello"}),
    Call("moderations", "openai", "/moderations", {"model": "sim/moderate", "input": "hello"}),
    Call("rerank", "openai", "/rerank", {"model": "sim/rerank", "query": "a", "documents": ["a", "b"]}),
    Call("models", "openai", "/models"),
    Call("model", "openai", "/models/sim/echo"),
    Call("messages", "anthropic", "/messages", {"model": "sim/echo", "max_tokens": 9, "messages": CHAT}, VERSION, ANTHROPIC),
    Call("count_tokens", "anthropic", "/messages/count_tokens", {"model": "sim/echo", "messages": CHAT}, VERSION, ANTHROPIC),
    Call("anthropic models", "anthropic", "/models", None, VERSION, ANTHROPIC),
    Call("anthropic model", "anthropic", "/models/sim%2Fecho", None, VERSION, ANTHROPIC),
    Call("generateContent", "gemini", "/models/sim/echo:generateContent", {"contents": CONTENTS}, {}, GEMINI),
    Call("streamGenerateContent", "gemini", "/models/sim/echo:streamGenerateContent", {"contents": CONTENTS}, {}, GEMINI),
    Call("countTokens", "gemini", "/models/sim/echo:countTokens", {"contents": CONTENTS}, {}, GEMINI),
    Call("embedContent", "gemini", "/models/sim/embed:embedContent", {"content": CONTENTS[0]}, {}, GEMINI),
    Call(
        "batchEmbedContents",
        "gemini",
        "/models/sim/embed:batchEmbedContents",
        {"requests": [{"model": "models/sim/embed", "content": CONTENTS[0]}]},
        {},
        GEMINI,
    ),
    Call("gemini models", "gemini", "/models", None, GOOG, GEMINI),
    Call("gemini model", "gemini", "/models/sim/echo", None, GOOG, GEMINI),
    Call("key", "openai", "/key"),
]
BY_NAME = {call.name: call for call in CALLS}


def bearer(key):
    return {"authorization": f"Bearer {key}"}


CARRIERS = {
    "authorization": bearer,
    "x-api-key": lambda key: {"x-api-key": key},
    "x-goog-api-key": lambda key: {"x-goog-api-key": key},
    "api-key": lambda key: {"api-key": key},
}


def code_of(answer):
    """The machine code of a refusal, from the place where each dialect has it."""
    body = answer.json()
    if isinstance(body, list):  # Gemini's stream without `alt=sse`
        body = body[0]
    error = body["error"]
    if body.get("type") == "error":
        return error["code"]
    if "details" in error or isinstance(error["code"], int):
        infos = [detail["reason"] for detail in error.get("details", []) if detail["@type"].endswith("google.rpc.ErrorInfo")]
        return infos[0].lower()
    return error["code"]
