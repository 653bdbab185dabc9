// The `@anthropic-ai/sdk`, unmodified but for its base URL and key.

import Anthropic from "@anthropic-ai/sdk";
import assert from "node:assert/strict";
import { test } from "node:test";

import { WEATHER_SCHEMA, collect, gatewayOnly, service } from "../service.js";

const connect = (credential = { apiKey: service.key }) =>
  new Anthropic({ baseURL: service.url, maxRetries: 0, timeout: 60_000, apiKey: null, authToken: null, ...credential });
const client = connect();
const messages = [{ role: "user", content: "hello over there" }];
const ask = { model: "sim/echo", max_tokens: 200, messages };

test("messages", async () => {
  const answer = await client.messages.create(ask);
  assert.equal(answer.content[0].text, "hello over there");
  assert.match(answer.model, /^(sim\/)?echo$/);
  assert.equal(answer.stop_reason, "end_turn");
  assert.equal(answer.usage.output_tokens, 4);
});

test("messages with a bearer token", gatewayOnly, async () => {
  const answer = await connect({ authToken: service.key }).messages.create(ask);
  assert.equal(answer.content[0].text, "hello over there");
});

test("messages, streamed", async () => {
  const stream = client.messages.stream(ask);
  const kinds = (await collect(stream)).map((event) => event.type);
  const final = await stream.finalMessage();
  assert.equal(final.content[0].text, "hello over there");
  assert.equal(final.usage.output_tokens, 4);
  assert.equal(kinds[0], "message_start");
  assert.equal(kinds.at(-1), "message_stop");
});

test("thinking", async () => {
  const stream = client.messages.stream({
    ...ask,
    model: "sim/reason",
    max_tokens: 4000,
    thinking: { type: "enabled", budget_tokens: 2000 },
  });
  const final = await stream.finalMessage();
  assert.equal(final.content[0].type, "thinking");
  assert.ok(final.content[0].signature);
  assert.match(final.content[1].text, /hello over there/);
});

test("a tool loop", async () => {
  const tools = [{ name: "get_weather", input_schema: WEATHER_SCHEMA }];
  const first = await client.messages.stream({ ...ask, model: "sim/tool", tools }).finalMessage();
  assert.equal(first.stop_reason, "tool_use");
  const call = first.content.find((block) => block.type === "tool_use");
  assert.equal(typeof call.input.city, "string");
  const last = await client.messages.create({
    ...ask,
    model: "sim/tool",
    tools,
    messages: [
      ...messages,
      { role: "assistant", content: first.content },
      { role: "user", content: [{ type: "tool_result", tool_use_id: call.id, content: "sunny" }] },
    ],
  });
  assert.equal(last.stop_reason, "end_turn");
});

test("count_tokens", async () => {
  const counted = await client.messages.countTokens({ model: "sim/echo", messages });
  const answer = await client.messages.create(ask);
  assert.equal(counted.input_tokens, answer.usage.input_tokens);
});

test("models", gatewayOnly, async () => {
  const names = (await collect(client.models.list({ limit: 3 }))).map((model) => model.id);
  assert.ok(names.includes("sim/echo"));
  assert.equal(new Set(names).size, names.length);
  assert.equal((await client.models.retrieve("sim/echo")).id, "sim/echo");
});

test("errors are the SDK's own classes", async () => {
  await assert.rejects(client.messages.create({ ...ask, model: "sim/nothing" }), Anthropic.NotFoundError);
  await assert.rejects(client.messages.create({ ...ask, messages: [] }), Anthropic.BadRequestError);
  await assert.rejects(client.messages.create({ ...ask, model: "sim/429" }), Anthropic.RateLimitError);
  await assert.rejects(client.messages.create({ ...ask, model: "sim/500" }), Anthropic.InternalServerError);
});

test("a wrong key", gatewayOnly, async () => {
  await assert.rejects(connect({ apiKey: "ak-live-not-a-key" }).messages.create(ask), Anthropic.AuthenticationError);
});

test("a broken stream is not a clean end", async () => {
  const text = "a sentence long enough to be cut somewhere in the middle of its stream";
  const stream = client.messages.stream({ ...ask, model: "sim/cut", messages: [{ role: "user", content: text }] });
  await assert.rejects(stream.finalMessage());
});
