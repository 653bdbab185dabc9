// The `openai` SDK for Node, unmodified but for its base URL and key.

import assert from "node:assert/strict";
import { test } from "node:test";
import OpenAI, { toFile } from "openai";

import { WEATHER_SCHEMA, collect, gatewayOnly, service } from "../service.js";

const connect = (apiKey = service.key) => new OpenAI({ baseURL: `${service.url}/v1`, apiKey, maxRetries: 0, timeout: 60_000 });
const client = connect();
const messages = [{ role: "user", content: "hello over there" }];

test("chat", async () => {
  const answer = await client.chat.completions.create({ model: "sim/echo", messages });
  assert.equal(answer.choices[0].message.content, "hello over there");
  assert.equal(answer.choices[0].finish_reason, "stop");
  assert.equal(answer.usage.completion_tokens, 4);
});

test("chat, streamed, without usage", async () => {
  const chunks = await collect(await client.chat.completions.create({ model: "sim/echo", messages, stream: true }));
  assert.equal(chunks.map((chunk) => chunk.choices[0].delta.content ?? "").join(""), "hello over there");
  assert.ok(chunks.every((chunk) => !chunk.usage && chunk.choices.length === 1));
});

test("chat, streamed, with usage", async () => {
  const stream = await client.chat.completions.create({
    model: "sim/echo",
    messages,
    stream: true,
    stream_options: { include_usage: true },
  });
  const chunks = await collect(stream);
  assert.deepEqual(chunks.at(-1).choices, []);
  assert.equal(chunks.at(-1).usage.completion_tokens, 4);
});

test("chat with a tool, run by the SDK's own loop", async () => {
  const asked = [];
  const runner = client.chat.completions.runTools({
    model: "sim/tool",
    messages,
    stream: true,
    tools: [
      {
        type: "function",
        function: {
          name: "get_weather",
          parameters: WEATHER_SCHEMA,
          parse: JSON.parse,
          function: (input) => {
            asked.push(input);
            return "sunny";
          },
        },
      },
    ],
  });
  assert.ok(await runner.finalContent());
  assert.equal(asked.length, 1);
  assert.equal(typeof asked[0].city, "string");
});

test("legacy completions", async () => {
  const answer = await client.completions.create({ model: "sim/echo", prompt: "once upon a time" });
  assert.equal(answer.choices[0].text, "once upon a time");
  const chunks = await collect(await client.completions.create({ model: "sim/echo", prompt: "once upon a time", stream: true }));
  assert.equal(chunks.map((chunk) => chunk.choices[0].text).join(""), "once upon a time");
});

test("responses", async () => {
  const answer = await client.responses.create({ model: "sim/echo", input: "hello over there" });
  assert.equal(answer.output_text, "hello over there");
  const events = await collect(await client.responses.create({ model: "sim/echo", input: "hello over there", stream: true }));
  assert.deepEqual(
    events.map((event) => event.sequence_number),
    events.map((_, place) => place),
  );
  assert.equal(events[0].type, "response.created");
  assert.equal(events.at(-1).type, "response.completed");
  assert.equal(events.at(-1).response.usage.output_tokens, 4);
});

test("embeddings, by default base64 on the wire, equal those in floats", async () => {
  const packed = await client.embeddings.create({ model: "sim/embed", input: ["alpha", "beta"] });
  const plain = await client.embeddings.create({ model: "sim/embed", input: ["alpha", "beta"], encoding_format: "float" });
  for (const [place, { embedding }] of plain.data.entries()) {
    assert.equal(embedding.length, packed.data[place].embedding.length);
    embedding.forEach((x, n) => assert.ok(Math.abs(x - packed.data[place].embedding[n]) < 1e-6));
  }
});

test("moderations", async () => {
  const answer = await client.moderations.create({ model: "sim/moderate", input: ["a quiet day", "a day of violence"] });
  assert.deepEqual(answer.results.map((result) => result.flagged), [false, true]);
});

test("pictures, whole, in a form and as events", async () => {
  const whole = await client.images.generate({ model: "sim/image", prompt: "a dot", n: 2, quality: "low" });
  assert.equal(whole.data.length, 2);
  const image = await toFile(Buffer.from("\x89PNG", "latin1"), "dot.png", { type: "image/png" });
  const edited = await client.images.edit({ model: "sim/image", prompt: "more", image: [image, image], quality: "low" });
  assert.equal(edited.usage.input_tokens_details.image_tokens, 2 * 194);
  const events = await collect(await client.images.generate({ model: "sim/image", prompt: "x", stream: true, partial_images: 1 }));
  assert.deepEqual(events.map((event) => event.type), ["image_generation.partial_image", "image_generation.completed"]);
});

test("speech and what is heard", async () => {
  const speech = await client.audio.speech.create({ model: "sim/speech", voice: "alloy", input: "hello" });
  assert.equal((await speech.arrayBuffer()).byteLength, 16_000);
  const file = () => toFile(Buffer.alloc(32_000, 1), "sound.mp3", { type: "audio/mpeg" });
  const heard = await client.audio.transcriptions.create({ model: "sim/listen", file: await file() });
  assert.equal(heard.text, "heard 2 seconds");
  const stream = await client.audio.transcriptions.create({ model: "sim/transcribe", file: await file(), stream: true });
  assert.equal((await collect(stream)).at(-1).text, "heard 2 seconds");
});

test("models", gatewayOnly, async () => {
  const names = (await collect(client.models.list())).map((model) => model.id);
  assert.ok(names.includes("sim/echo"));
  assert.equal((await client.models.retrieve("sim/echo")).id, "sim/echo");
});

test("errors are the SDK's own classes", async () => {
  await assert.rejects(client.chat.completions.create({ model: "sim/nothing", messages }), OpenAI.NotFoundError);
  await assert.rejects(client.chat.completions.create({ model: "sim/echo", messages, max_tokens: "nine" }), OpenAI.BadRequestError);
  await assert.rejects(client.chat.completions.create({ model: "sim/429", messages }), OpenAI.RateLimitError);
  await assert.rejects(client.chat.completions.create({ model: "sim/500", messages }), OpenAI.InternalServerError);
});

test("a wrong key", gatewayOnly, async () => {
  await assert.rejects(connect("ak-live-not-a-key").chat.completions.create({ model: "sim/echo", messages }), (error) => {
    assert.ok(error instanceof OpenAI.AuthenticationError);
    assert.equal(error.code, "invalid_api_key");
    return true;
  });
});

test("a broken stream is not a clean end", async () => {
  const text = "a sentence long enough to be cut somewhere in the middle of its stream";
  const read = async () => {
    const stream = await client.chat.completions.create({
      model: "sim/cut",
      messages: [{ role: "user", content: text }],
      stream: true,
    });
    for await (const chunk of stream) assert.ok(!chunk.choices[0]?.finish_reason);
  };
  await assert.rejects(read(), (error) => !(error instanceof assert.AssertionError));
});
