"""What the `openai` SDK calls beside text, and rerank, which it has not."""

import base64
import io
import wave

import openai
import pytest


@pytest.fixture
def client(service):
    with openai.OpenAI(base_url=service.openai, api_key=service.key, max_retries=0, timeout=60) as client:
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


def test_images(client):
    answer = client.images.generate(model="sim/image", prompt="a dot", n=2, size="1024x1024", quality="low")
    assert [base64.b64decode(image.b64_json)[:4] for image in answer.data] == [b"\x89PNG"] * 2
    assert answer.usage.output_tokens == 2 * 272
    kinds = [event.type for event in client.images.generate(model="sim/image", prompt="a dot", stream=True, partial_images=1)]
    assert kinds == ["image_generation.partial_image", "image_generation.completed"]
    with pytest.raises(openai.BadRequestError):
        client.images.generate(model="sim/image", prompt="")


def test_images_in_forms(client):
    dot = ("dot.png", b"\x89PNG", "image/png")
    edited = client.images.edit(model="sim/image", image=[dot, dot], prompt="more dots", quality="low", mask=dot)
    assert edited.usage.input_tokens_details.image_tokens == 3 * 194
    events = list(client.images.edit(model="sim/image", image=dot, prompt="more", stream=True))
    assert [event.type for event in events] == ["image_edit.completed"]
    assert len(client.images.create_variation(model="sim/picture", image=dot, n=3).data) == 3
    with pytest.raises(openai.NotFoundError):
        client.images.create_variation(model="sim/echo", image=dot)


def test_speech(client):
    with client.audio.speech.with_streaming_response.create(model="sim/speech", voice="alloy", input="hello " * 20) as answer:
        assert answer.headers["content-type"] == "audio/mpeg"
        assert sum(len(piece) for piece in answer.iter_bytes()) == 8 * 16_000
    assert len(client.audio.speech.create(model="sim/speech", voice="alloy", input="hello", response_format="pcm").content) == 48_000
    with pytest.raises(openai.BadRequestError):
        client.audio.speech.create(model="sim/speech", voice="alloy", input="")


def silence(seconds):
    file = io.BytesIO()
    with wave.open(file, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(16_000)
        sound.writeframes(bytes(32_000 * seconds))
    return ("silence.wav", file.getvalue(), "audio/wav")


def test_transcriptions(client):
    create = client.audio.transcriptions.create
    assert create(model="sim/listen", file=silence(3)).text == "heard 3 seconds"
    assert create(model="sim/listen", file=silence(3), response_format="text").strip() == "heard 3 seconds"
    assert "-->" in create(model="sim/listen", file=silence(3), response_format="srt")
    assert create(model="sim/listen", file=silence(3), response_format="verbose_json").duration == 3
    usage = create(model="sim/transcribe", file=silence(3)).usage
    assert (usage.type, usage.input_tokens) == ("tokens", 30)
    events = list(create(model="sim/transcribe", file=silence(3), stream=True))
    assert events[-1].type == "transcript.text.done"
    assert "".join(event.delta for event in events[:-1]) == events[-1].text
    assert client.audio.translations.create(model="sim/listen", file=silence(2)).text == "translated 2 seconds"
    with pytest.raises(openai.BadRequestError):
        create(model="sim/listen", file=("empty.wav", b"", "audio/wav"))


@pytest.mark.gateway
def test_embeddings_of_another_provider(client):
    texts = ["alpha", "beta"]
    own = client.embeddings.create(model="sim/embed", input=texts, dimensions=16)
    for encoding in ({}, {"encoding_format": "float"}):
        other = client.embeddings.create(model="books-gemini/embed", input=texts, dimensions=16, **encoding)
        assert [item.index for item in other.data] == [0, 1] and other.usage.prompt_tokens > 0
        for one, two in zip(own.data, other.data):
            assert one.embedding == pytest.approx(two.embedding, abs=1e-6)
