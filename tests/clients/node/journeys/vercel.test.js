// The Vercel AI SDK with its OpenAI (responses and chat), Anthropic and Google providers.

import { createAnthropic } from "@ai-sdk/anthropic";
import { createGoogleGenerativeAI } from "@ai-sdk/google";
import { createOpenAI } from "@ai-sdk/openai";
import { APICallError, embedMany, generateObject, generateText, jsonSchema, stepCountIs, streamText, tool } from "ai";
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { z } from "zod";

import { WEATHER_SCHEMA, service } from "../service.js";

globalThis.AI_SDK_LOG_WARNINGS = false;

const apiKey = service.key;
const limited = (url, options) => fetch(url, { ...options, signal: AbortSignal.timeout(60_000) });
const openai = createOpenAI({ baseURL: `${service.url}/v1`, apiKey, fetch: limited });
const anthropic = createAnthropic({ baseURL: `${service.url}/v1`, apiKey, fetch: limited });
const google = createGoogleGenerativeAI({ baseURL: `${service.url}/v1beta`, apiKey, fetch: limited });

const providers = {
  "openai responses": (model) => openai(model),
  "openai chat": (model) => openai.chat(model),
  anthropic: (model) => anthropic(model),
  // It takes a name with a slash for a resource's full name, which begins with its collection.
  google: (model) => google(`models/${model}`),
};

for (const [name, model] of Object.entries(providers)) {
  describe(name, () => {
    const ask = { maxRetries: 0, maxOutputTokens: 200, prompt: "hello over there" };

    test("generateText", async () => {
      const { text, usage, finishReason } = await generateText({ ...ask, model: model("sim/echo") });
      assert.equal(text, "hello over there");
      assert.equal(finishReason, "stop");
      assert.equal(usage.outputTokens, 4);
      assert.ok(usage.inputTokens > 0);
    });

    test("streamText", async () => {
      const stream = streamText({ ...ask, model: model("sim/echo") });
      let text = "";
      for await (const piece of stream.textStream) text += piece;
      assert.equal(text, "hello over there");
      assert.equal((await stream.usage).outputTokens, 4);
      assert.equal(await stream.finishReason, "stop");
    });

    test("a tool loop", async () => {
      const asked = [];
      const { steps, text } = await generateText({
        ...ask,
        model: model("sim/tool"),
        stopWhen: stepCountIs(5),
        tools: {
          get_weather: tool({
            description: "Current weather",
            inputSchema: jsonSchema(WEATHER_SCHEMA),
            execute: (input) => {
              asked.push(input);
              return { weather: "sunny" };
            },
          }),
        },
      });
      assert.equal(asked.length, 1);
      assert.equal(typeof asked[0].city, "string");
      assert.equal(steps.length, 2);
      assert.ok(text);
    });

    test("the provider's errors keep their status", async () => {
      await assert.rejects(generateText({ ...ask, model: model("sim/429") }), (error) => {
        assert.ok(APICallError.isInstance(error));
        assert.equal(error.statusCode, 429);
        assert.ok(error.isRetryable);
        return true;
      });
    });
  });
}

test("generateObject", async () => {
  for (const name of ["openai responses", "openai chat", "google"]) {
    const { object } = await generateObject({
      model: providers[name]("sim/json"),
      maxRetries: 0,
      schema: z.object({ label: z.string(), score: z.number().int() }),
      prompt: "hello",
    });
    assert.equal(typeof object.label, "string", name);
  }
});

test("embedMany", async () => {
  for (const model of [openai.textEmbeddingModel("sim/embed"), google.textEmbeddingModel("sim/embed")]) {
    const { embeddings } = await embedMany({ model, values: ["alpha", "beta"], maxRetries: 0 });
    assert.equal(embeddings.length, 2);
    assert.notDeepEqual(embeddings[0], embeddings[1]);
  }
});
