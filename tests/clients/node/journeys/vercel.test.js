// The Vercel AI SDK with its OpenAI (responses and chat), Anthropic and Google providers.

import { createAnthropic } from "@ai-sdk/anthropic";
import { createGoogleGenerativeAI } from "@ai-sdk/google";
import { createOpenAI } from "@ai-sdk/openai";
import { APICallError, embedMany, generateObject, generateText, jsonSchema, stepCountIs, streamText, tool } from "ai";
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { z } from "zod";

import { WEATHER_SCHEMA, gatewayOnly, service } from "../service.js";

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

// Each of its providers at the models of the others; OpenAI's models that reason are asked through responses.
const OPENAI = ["books-openai/", "books-openai/gpt-5-"];
const ELSEWHERE = {
  "openai responses": ["books-anthropic/", "books-gemini/gemini-3-"],
  "openai chat": ["books-anthropic/", "books-gemini/gemini-3-"],
  anthropic: [...OPENAI, "books-gemini/gemini-3-"],
  google: [...OPENAI, "books-anthropic/"],
};

for (const [name, places] of Object.entries(ELSEWHERE)) {
  for (const models of places) {
    describe(`${name} at ${models}`, gatewayOnly, () => {
      const ask = (model) => ({
        model: providers[name](`${models}${model}`),
        maxRetries: 0,
        maxOutputTokens: 200,
        prompt: "hello over there",
      });

      test("whole and streamed", async () => {
        const whole = await generateText(ask("echo"));
        assert.deepEqual([whole.text, whole.finishReason], ["hello over there", "stop"]);
        const stream = streamText(ask("echo"));
        let text = "";
        for await (const piece of stream.textStream) text += piece;
        assert.deepEqual([text, await stream.finishReason], ["hello over there", "stop"]);
        assert.deepEqual((await stream.usage).outputTokens, whole.usage.outputTokens);
        assert.equal(whole.usage.outputTokens, 4);
      });

      for (const stream of [false, true]) {
        test(`a tool loop, ${stream ? "streamed" : "whole"}`, async () => {
          const asked = [];
          const execute = (input) => {
            asked.push(input);
            return "sunny";
          };
          const inputSchema = jsonSchema(WEATHER_SCHEMA);
          const get_weather = tool({ description: "Current weather", inputSchema, execute });
          const run = stream ? streamText : generateText;
          const result = await run({ ...ask("tool"), stopWhen: stepCountIs(5), tools: { get_weather } });
          assert.match(await result.text, /sunny/);
          assert.equal((await result.steps).length, 2);
          assert.deepEqual(Object.keys(asked[0]).sort(), ["city", "days"]);
        });
      }

      test("an error keeps its status", async () => {
        const isLimit = (error) => APICallError.isInstance(error) && error.statusCode === 429;
        await assert.rejects(generateText(ask("429")), isLimit);
      });
    });
  }
}

test("generateObject elsewhere", gatewayOnly, async () => {
  const schema = z.object({ label: z.string(), score: z.number().int() });
  for (const name of ["openai responses", "openai chat", "google"]) {
    for (const models of ELSEWHERE[name]) {
      const model = providers[name](`${models}json`);
      const { object } = await generateObject({ model, maxRetries: 0, schema, prompt: "hello" });
      assert.equal(typeof object.label, "string", `${name} at ${models}`);
    }
  }
});
