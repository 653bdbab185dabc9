"""What the `openai` SDK calls beside text, and rerank, which it has not."""

import openai
import pytest

from test_openai import connect


@pytest.fixture
def client(service):
    with connect(service) as client:
        yield client


def test_moderations(client):
    answer = client.moderations.create(model="sim/moderate", input=["a quiet day", "a day of violence"])
    assert [result.flagged for result in answer.results] == [False, True]
    assert answer.results[1].categories.violence and not answer.results[1].categories.hate
    parts = [{"type": "text", "text": "violence"}, {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}]
    assert client.moderations.create(model="sim/moderate", input=parts).results[0].flagged
    with pytest.raises(openai.BadRequestError):
        client.moderations.create(model="sim/moderate", input=[])
    with pytest.raises(openai.NotFoundError):
        client.moderations.create(model="sim/echo", input="x")


def test_rerank(client):
    body = {"model": "sim/rerank", "query": "red fox", "documents": ["a cat", "the red fox"], "top_n": 1}
    answer = client.post("/rerank", body=body, cast_to=object)
    assert answer["results"][0]["index"] == 1 and len(answer["results"]) == 1
    with pytest.raises(openai.BadRequestError):
        client.post("/rerank", body={"model": "sim/rerank", "query": "x", "documents": []}, cast_to=object)
