"""Limits of tokens under 64 clients that come at once: never one token more than the limit, and nearly all of it usable."""

import re
import time
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

pytestmark = pytest.mark.gateway

CLIENTS, CALLS = 64, 4
LIMIT = 4_000
MINUTE = 60
ASK = {"model": "books-openai/echo", "max_tokens": 20, "messages": [{"role": "user", "content": "eleven words of which every one is said back to me"}]}


def limited_key(gateway, level, limits):
    return [gateway.new_key("at-once", controls={"limits": limits})["secret"]]


def limited_project(gateway, level, limits):
    """Eight keys without limits of their own, which share their project's."""
    named = "-".join([level, *limits])
    project = gateway.admin("POST", "/projects", json={"organisation": "default", "name": named, "controls": {"limits": limits}})
    return [gateway.new_key(f"{named} {n}", project=project["id"])["secret"] for n in range(8)]


def limited_organisation(gateway, level, limits):
    named = "-".join([level, *limits])
    organisation = gateway.admin("POST", "/organisations", json={"name": named, "controls": {"limits": limits}})
    secrets = []
    for n in range(4):
        project = gateway.admin("POST", "/projects", json={"organisation": organisation["id"], "name": f"part {n}"})
        secrets.append(gateway.new_key(f"{named} {n}", project=project["id"])["secret"])
    return secrets


LEVELS = {"key": limited_key, "project": limited_project, "organisation": limited_organisation}


def call(http, secret):
    return http.post("/v1/chat/completions", json=ASK, headers={"authorization": f"Bearer {secret}"})


def all_at_once(http, secrets):
    start = Barrier(CLIENTS)

    def client(n):
        start.wait(timeout=MINUTE)
        return [call(http, secrets[n % len(secrets)]) for _ in range(CALLS)]

    with ThreadPoolExecutor(CLIENTS) as pool:
        return [answer for answers in pool.map(client, range(CLIENTS)) for answer in answers]


def until_refused(http, secrets):
    """One after the other, so that nothing is held by calls that still run."""
    answers = []
    while not answers or answers[-1].status_code == 200:
        answers.append(call(http, secrets[len(answers) % len(secrets)]))
        assert len(answers) <= LIMIT, "the limit is never reached"
    return answers


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("window", ["tpm", "tpd"])
def test_tokens_of_sixty_four_clients_never_exceed_their_limit(gateway, practice, level, window):
    secrets = LEVELS[level](gateway, level, {window: LIMIT})
    mark, began = practice.mark(), time.monotonic()
    with gateway.client() as http:
        crowd = all_at_once(http, secrets)
        rest = until_refused(http, secrets)
    minutes = 1 + int((time.monotonic() - began) // MINUTE)
    answers = crowd + rest
    assert {answer.status_code for answer in crowd} == {200, 429}, "it asks for more than there is"
    for answer in answers:
        if answer.status_code == 429:
            assert answer.json()["error"]["code"] == "rate_limited" and int(answer.headers["retry-after"]) > 0
    each = {answer.json()["usage"]["total_tokens"] for answer in answers if answer.status_code == 200}
    assert len(each) == 1, "every call uses the same"
    [each] = each
    let_in = sum(answer.status_code == 200 for answer in answers)
    said = rest[-1].json()["error"]["message"]
    assert level in said.lower(), said
    estimate = int(re.search(r"this call may use ([\d,]+)", said)[1].replace(",", ""))
    assert each <= estimate < LIMIT / 50, "what is held back is under two percent"
    # A minute's limit is there once more only if the machine was so slow that another minute began.
    assert let_in * each <= LIMIT * (minutes if window == "tpm" else 1)
    assert let_in * each > LIMIT - estimate
    assert len(practice.books(mark)) == let_in, "what was refused reached nobody"
