// The `@google/genai` SDK, unmodified but for its base URL and key.

import { ApiError, FinishReason, GoogleGenAI } from "@google/genai";
import assert from "node:assert/strict";
import { describe, test } from "node:test";

import { WEATHER_SCHEMA, collect, gatewayOnly, service } from "../service.js";

const connect = (apiVersion, apiKey = service.key) =>
  new GoogleGenAI({
    apiKey,
    apiVersion,
    httpOptions: { baseUrl: service.url, timeout: 60_000, retryOptions: { attempts: 1 } },
  });

for (const version of [undefined, "v1", "v1beta"]) {
  describe(`API version: ${version ?? "the SDK's own"}`, () => {
    const { models } = connect(version);

    test("generateContent", async () => {
      const answer = await models.generateContent({ model: "sim/echo", contents: "hello over there" });
      assert.equal(answer.text, "hello over there");
      assert.equal(answer.candidates[0].finishReason, FinishReason.STOP);
      assert.equal(answer.usageMetadata.candidatesTokenCount, 4);
    });

    test("streamGenerateContent", async () => {
      const chunks = await collect(await models.generateContentStream({ model: "sim/echo", contents: "hello over there" }));
      assert.equal(chunks.map((chunk) => chunk.text ?? "").join(""), "hello over there");
      assert.equal(chunks.at(-1).usageMetadata.candidatesTokenCount, 4);
    });

    test("countTokens", async () => {
      const { totalTokens } = await models.countTokens({ model: "sim/echo", contents: "hello over there" });
      const answer = await models.generateContent({ model: "sim/echo", contents: "hello over there" });
      assert.equal(totalTokens, answer.usageMetadata.promptTokenCount);
    });

    test("embedContent", async () => {
      const single = await models.embedContent({ model: "sim/embed", contents: "alpha" });
      const several = await models.embedContent({ model: "sim/embed", contents: ["alpha", "beta"] });
      assert.equal(several.embeddings.length, 2);
      assert.deepEqual(single.embeddings[0].values, several.embeddings[0].values);
    });

    test("models", gatewayOnly, async () => {
      const names = (await collect(await models.list({ config: { pageSize: 3 } }))).map((model) => model.name);
      assert.ok(names.includes("models/sim/echo"));
      assert.equal((await models.get({ model: "sim/echo" })).name, "models/sim/echo");
    });
  });
}

test("a tool loop in a chat", async () => {
  const chat = connect().chats.create({
    model: "sim/tool",
    config: { tools: [{ functionDeclarations: [{ name: "get_weather", parametersJsonSchema: WEATHER_SCHEMA }] }] },
  });
  const first = await chat.sendMessage({ message: "weather?" });
  const [call] = first.functionCalls;
  assert.equal(call.name, "get_weather");
  assert.equal(typeof call.args.city, "string");
  const last = await chat.sendMessage({
    message: { functionResponse: { id: call.id, name: call.name, response: { result: "sunny" } } },
  });
  assert.ok(last.text);
});

test("thinking", async () => {
  const answer = await connect().models.generateContent({
    model: "sim/reason",
    contents: "hello over there",
    config: { thinkingConfig: { includeThoughts: true } },
  });
  assert.ok(answer.candidates[0].content.parts[0].thought);
  assert.ok(answer.usageMetadata.thoughtsTokenCount > 0);
});

test("errors keep their status", async () => {
  const { models } = connect();
  const status = (wanted) => (error) => error instanceof ApiError && error.status === wanted;
  await assert.rejects(models.generateContent({ model: "sim/nothing", contents: "hello" }), status(404));
  await assert.rejects(models.generateContent({ model: "sim/429", contents: "hello" }), status(429));
  await assert.rejects(models.generateContent({ model: "sim/500", contents: "hello" }), status(500));
});

test("a wrong key", gatewayOnly, async () => {
  const { models } = connect(undefined, "ak-live-not-a-key");
  await assert.rejects(models.generateContent({ model: "sim/echo", contents: "hello" }), (error) => error.status === 401);
});
