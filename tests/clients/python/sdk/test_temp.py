"""OpenAI's ephemeral keys for pages, asked for and used by OpenAI's own SDK."""

import time

import openai
import pytest

pytestmark = pytest.mark.gateway

HELLO = [{"role": "user", "content": "hello over there"}]


def client_of(service, key, **headers):
    # Strict: what OpenAI's types ask for has to be there.
    return openai.OpenAI(
        base_url=service.openai,
        api_key=key,
        max_retries=0,
        timeout=60,
        default_headers=headers,
        _strict_response_validation=True,
    )


def test_a_client_secret_is_minted_and_used_from_a_page(service):
    with client_of(service, service.key) as client:
        made = client.realtime.client_secrets.create(
            expires_after={"anchor": "created_at", "seconds": 120},
            session={"type": "realtime", "model": "sim/echo", "instructions": "be brief"},
        )
    assert made.value.startswith("ak-temp-")
    assert 60 < made.expires_at - time.time() < 180
    assert (made.session.type, made.session.object) == ("realtime", "realtime.session")
    assert (made.session.model, made.session.instructions) == ("sim/echo", "be brief")
    with client_of(service, made.value, origin="https://app.example") as page:
        assert page.chat.completions.create(model="sim/echo", messages=HELLO).choices[0].message.content
        with pytest.raises(openai.PermissionDeniedError) as caught:
            page.chat.completions.create(model="sim/lorem", messages=HELLO)
        assert caught.value.code == "model_not_allowed"
        with pytest.raises(openai.PermissionDeniedError) as caught:
            page.realtime.client_secrets.create()
        assert caught.value.code == "endpoint_not_allowed"


def test_a_session_that_transcribes_is_answered_as_such(service):
    with client_of(service, service.key) as client:
        made = client.realtime.client_secrets.create(session={"type": "transcription"})
    assert made.session.type == "transcription"


def test_a_life_beyond_what_openai_allows_is_refused(service):
    with client_of(service, service.key) as client, pytest.raises(openai.BadRequestError) as caught:
        client.realtime.client_secrets.create(expires_after={"anchor": "created_at", "seconds": 7201})
    assert caught.value.param == "expires_after.seconds"
