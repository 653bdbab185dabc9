"""Every call has its record, exactly once: who asked, what was sent, what it used and what it cost."""

from decimal import Decimal

import pytest

import harness
from calls import BY_NAME, CALLS, CHAT, CONTENTS, VERSION, bearer

pytestmark = pytest.mark.gateway

STREAM = {"stream": True}
ASKED = {
    "chat": ("books-openai", "/v1/chat/completions", {"messages": CHAT}),
    "chat stream": ("books-openai", "/v1/chat/completions", {"messages": CHAT} | STREAM),
    "completions": ("books-openai", "/v1/completions", {"prompt": "hello"}),
    "completions stream": ("books-openai", "/v1/completions", {"prompt": "hello"} | STREAM),
    "responses": ("books-openai", "/v1/responses", {"input": "hello"}),
    "responses stream": ("books-openai", "/v1/responses", {"input": "hello"} | STREAM),
    "messages": ("books-anthropic", "/v1/messages", {"max_tokens": 99, "messages": CHAT}),
    "messages stream": ("books-anthropic", "/v1/messages", {"max_tokens": 99, "messages": CHAT} | STREAM),
    "generateContent": ("books-gemini", ":generateContent", {"contents": CONTENTS}),
    "streamGenerateContent": ("books-gemini", ":streamGenerateContent?alt=sse", {"contents": CONTENTS}),
    "streamGenerateContent array": ("books-gemini", ":streamGenerateContent", {"contents": CONTENTS}),
}


@pytest.fixture(scope="module")
def payer(gateway):
    return gateway.new_key("records")


@pytest.fixture
def http(gateway, payer):
    with gateway.client(headers=bearer(payer["secret"]) | VERSION) as http:
        yield http


def ask(http, provider, model, path, body):
    if path.startswith(":"):
        return http.post(f"/v1beta/models/{provider}/{model}{path}", json=body)
    return http.post(path, json=body | {"model": f"{provider}/{model}"})


def used(record, *classes):
    return sum(record["usage"].get(name, 0) for name in classes)


INPUTS = ("input", "cache_read", "cache_write", "cache_write_5m", "cache_write_1h")


MODELS = ["echo", "reason"]


@pytest.fixture(scope="module")
def made(gateway, practice, payer):
    """Every call once to the upstream that keeps books, and once to the built-in models, which have prices."""
    answers = {}
    with gateway.client(headers=bearer(payer["secret"]) | VERSION) as http:
        for name, (provider, path, body) in ASKED.items():
            for model in MODELS:
                before = practice.mark()
                answer = ask(http, provider, model, path, body)
                answers[name, model] = answer, practice.only_entry(before)
                answers[name, model, "priced"] = ask(http, "sim", model, path, body)
    return answers


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("name", ASKED)
def test_the_record_says_what_the_provider_billed(gateway, payer, made, name, model):
    provider = ASKED[name][0]
    answer, entry = made[name, model]
    assert answer.status_code == 200, answer.text
    (record,) = gateway.attempts(answer.headers["x-request-id"])
    assert record["key_id"] == payer["id"]
    assert (record["provider"], record["model_asked"], record["model_sent"]) == (provider, f"{provider}/{model}", model)
    assert entry["model"] == record["model_sent"]
    assert (record["status"], record["outcome"], record["stream"]) == (200, "completed", entry["stream"])
    assert record["usage_source"] == "reported"
    assert used(record, *INPUTS) == entry["input_tokens"]
    assert used(record, "output", "reasoning") == entry["output_tokens"]
    # Anthropic bills thinking as output and does not say how much of it there was.
    assert used(record, "reasoning") == (0 if provider == "books-anthropic" else entry["reasoning_tokens"])
    assert record["bytes_in"] > 0 and record["bytes_out"] > 0
    assert record["total_ms"] >= record["first_byte_ms"] >= 0


def test_cache_classes_are_apart(gateway, practice, http):
    system = [{"type": "text", "text": "records: cache classes. " * 40, "cache_control": {"type": "ephemeral", "ttl": "1h"}}]
    body = {"max_tokens": 20, "system": system, "messages": CHAT}
    records = []
    for _ in range(2):
        before = practice.mark()
        answer = ask(http, "books-anthropic", "echo", "/v1/messages", body)
        entry = practice.only_entry(before)
        (record,) = gateway.attempts(answer.headers["x-request-id"])
        assert used(record, "cache_read") == entry["cached_tokens"]
        assert used(record, "cache_write_1h") == entry["cache_write_1h_tokens"]
        assert used(record, *INPUTS) == entry["input_tokens"]
        records.append(record)
    assert used(records[0], "cache_write_1h") > 0 == used(records[0], "cache_read")
    assert used(records[1], "cache_read") == used(records[0], "cache_write_1h")


def test_a_provider_that_says_nothing_is_estimated(gateway, http):
    answer = ask(http, "books-openai", "no-usage", "/v1/chat/completions", {"messages": CHAT})
    assert answer.status_code == 200
    (record,) = gateway.attempts(answer.headers["x-request-id"])
    assert record["usage_source"] == "estimated"
    assert used(record, "input") > 0 and used(record, "output") > 0


def test_each_call_is_recorded_exactly_once(gateway, http, payer):
    """A batch of calls of every kind, good and bad: one request each in the list, none twice, none missing."""
    key = gateway.new_key("exactly-once")
    sent = {}
    for call in CALLS:
        answer = call.send(http, headers=bearer(key["secret"]))
        sent[answer.headers["x-request-id"]] = (call, 200)
        assert answer.status_code == 200
    for model, status in {"sim/429": 429, "sim/500": 500, "sim/nothing": 404}.items():
        answer = http.post("/v1/chat/completions", json={"model": model, "messages": CHAT}, headers=bearer(key["secret"]))
        assert answer.status_code == status
        sent[answer.headers["x-request-id"]] = (BY_NAME["chat"], status)
    to_providers = {request for request, (call, _) in sent.items() if call.body is not None}
    assert len(to_providers) < len(sent)

    def listed():
        rows = gateway.cli("request", "list", "--key", key["id"], "--json")
        ids = [(row["request_id"], row["attempt"]) for row in rows]
        assert len(ids) == len(set(ids))
        return rows if to_providers <= {request for request, _ in ids} else None

    rows = harness.wait_until(listed, "all records", 20)
    assert {row["request_id"] for row in rows} <= set(sent)
    for row in rows:
        assert row["status"] == sent[row["request_id"]][1]
        assert row["key_id"] == key["id"]


def exact_cost(gateway, model, usage):
    rates = gateway.admin("GET", f"/prices/models/sim/{model}")["price"]["rates"]
    # What has no rate of its own, such as the request itself, is free.
    return sum(Decimal(rates[unit]) * count for unit, count in usage.items() if unit in rates)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("name", ASKED)
def test_cost_is_tokens_times_price(gateway, made, name, model):
    answer = made[name, model, "priced"]
    assert answer.status_code == 200, answer.text
    (record,) = gateway.attempts(answer.headers["x-request-id"])
    assert used(record, "input") > 0 and used(record, "output") > 0
    # Rounded up once, to a whole nano-dollar.
    assert 0 <= Decimal(record["cost_usd"]) - exact_cost(gateway, model, record["usage"]) < Decimal("1e-9")
    assert 0 < Decimal(record["cost_usd"]) <= Decimal(record["hold_usd"])


def test_cost_of_cached_tokens(gateway, http):
    system = [{"type": "text", "text": "records: cost of cached tokens. " * 40, "cache_control": {"type": "ephemeral"}}]
    costs = []
    for _ in range(2):
        answer = ask(http, "sim", "echo", "/v1/messages", {"max_tokens": 20, "system": system, "messages": CHAT})
        (record,) = gateway.attempts(answer.headers["x-request-id"])
        cost = Decimal(record["cost_usd"])
        assert 0 <= cost - exact_cost(gateway, "echo", record["usage"]) < Decimal("1e-9")
        costs.append(cost)
    assert costs[1] < costs[0]


def test_callers_can_ask_about_their_own_calls(gateway, http):
    answer = http.post("/v1/chat/completions", json={"model": "sim/echo", "messages": CHAT})
    request = answer.headers["x-request-id"]
    gateway.attempts(request)
    for path in (f"/v1/generation/{request}", f"/v1/generation?id={request}"):
        found = http.get(path)
        assert found.status_code == 200, found.text
        assert request in found.text
    assert http.get("/v1/generation/req_nothing").status_code == 404
    with gateway.client(headers=bearer(gateway.key)) as stranger:
        assert stranger.get(f"/v1/generation/{request}").status_code == 404


def test_usage_adds_up(gateway, http):
    key = gateway.new_key("adds-up")
    with gateway.client(headers=bearer(key["secret"])) as mine:
        answers = [
            mine.post("/v1/chat/completions", json={"model": "sim/echo", "messages": [{"role": "user", "content": "x" * n}]})
            for n in (4, 40, 400)
        ]
    for answer in answers:
        gateway.attempts(answer.headers["x-request-id"])

    def summed():
        totals = gateway.admin("GET", "/usage", params={"key": key["id"], "group_by": "model"})["totals"]
        return totals if totals["requests"] == 3 else None

    totals = harness.wait_until(summed, "three calls in the usage", 20)
    assert totals["output_tokens"] == sum(answer.json()["usage"]["completion_tokens"] for answer in answers)
    assert totals["input_tokens"] == sum(answer.json()["usage"]["prompt_tokens"] for answer in answers)
