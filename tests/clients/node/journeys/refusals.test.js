// What bounds a key, met by the SDKs for Node: each refusal is the error class that their users catch, with its code, and
// is sent again by none of them where that is hopeless.

import Anthropic from "@anthropic-ai/sdk";
import { ApiError, GoogleGenAI } from "@google/genai";
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import OpenAI from "openai";

import { admin, gatewayOnly, service } from "../service.js";

const HELLO = [{ role: "user", content: "hello over there" }];
const RETRIES = 3;

/** The plain `fetch` of the SDKs, which counts what they send. */
function counting() {
  const counted = async (...request) => {
    counted.calls += 1;
    counted.last = await fetch(...request);
    return counted.last;
  };
  counted.calls = 0;
  return counted;
}

// Of each SDK: one call with a key, and where it keeps the status, the class and the code of a refusal.
const SDKS = {
  openai: {
    call(apiKey, { model = "sim/echo", headers, stream, most, retries, fetch }) {
      const client = new OpenAI({
        baseURL: `${service.url}/v1`,
        apiKey,
        maxRetries: retries,
        defaultHeaders: headers,
        timeout: 60_000,
        fetch,
      });
      return client.chat.completions.create({ model, messages: HELLO, max_tokens: most, stream });
    },
    classes: {
      401: OpenAI.AuthenticationError,
      402: OpenAI.APIError,
      403: OpenAI.PermissionDeniedError,
      429: OpenAI.RateLimitError,
    },
    code: (error) => error.code,
    respectsShouldRetry: true,
  },
  anthropic: {
    call(apiKey, { model = "sim/echo", headers, stream, most, retries, fetch }) {
      const client = new Anthropic({
        baseURL: service.url,
        apiKey,
        authToken: null,
        maxRetries: retries,
        // The SDK asks for this of pages; the gateway asks for more.
        dangerouslyAllowBrowser: true,
        defaultHeaders: headers,
        timeout: 60_000,
        fetch,
      });
      return client.messages.create({ model, messages: HELLO, max_tokens: most, stream });
    },
    classes: {
      401: Anthropic.AuthenticationError,
      402: Anthropic.APIError,
      403: Anthropic.PermissionDeniedError,
      429: Anthropic.RateLimitError,
    },
    code: (error) => error.error.error.code,
    respectsShouldRetry: true,
  },
  google: {
    call(apiKey, { model = "sim/echo", headers, stream, most, retries, fetch }) {
      const retryOptions = { attempts: retries + 1, initialDelay: 0.001, jitter: 0 };
      const { models } = new GoogleGenAI({
        apiKey,
        httpOptions: { baseUrl: service.url, headers, timeout: 60_000, retryOptions, fetch },
      });
      const asked = { model, contents: "hello over there", config: { maxOutputTokens: most } };
      return stream ? models.generateContentStream(asked) : models.generateContent(asked);
    },
    classes: { 401: ApiError, 402: ApiError, 403: ApiError, 429: ApiError },
    code: googleCode,
    // It repeats every 429 if it is told to repeat at all; by itself it does not.
    respectsShouldRetry: false,
  },
};

/** Google's SDK has the body as the text of its error. */
function googleCode(error) {
  const { error: said } = JSON.parse(error.message);
  const { reason } = said.details.find((detail) => detail["@type"].endsWith("google.rpc.ErrorInfo"));
  return reason.toLowerCase();
}

const newKey = (fields) => admin("POST", "/keys", { name: "refused", ...fields });
const secretOf = async (fields) => (await newKey(fields)).secret;
const controlled = (controls) => () => secretOf({ controls });

async function dead(verb) {
  const key = await newKey({});
  await admin(verb === "delete" ? "DELETE" : "POST", `/keys/${key.id}${verb === "delete" ? "" : `/${verb}`}`);
  return key.secret;
}

async function expired() {
  const key = await newKey({ expires_in: "1s" });
  while ((await admin("GET", `/keys/${key.id}`)).status !== "expired") await pause(20);
  return key.secret;
}

async function endedByItself() {
  const parent = await secretOf({});
  const post = (path, key, body) =>
    fetch(`${service.url}/v1/key/temp${path}`, {
      method: "POST",
      headers: { authorization: `Bearer ${key}`, "content-type": "application/json" },
      body,
    });
  const { secret } = await (await post("", parent, JSON.stringify({ expires_in: "15m" }))).json();
  assert.ok((await post("/end", secret)).ok);
  return secret;
}

async function ofADisabledParent() {
  const parent = await newKey({});
  const { secret } = await admin("POST", `/keys/${parent.id}/temp`, {});
  await admin("POST", `/keys/${parent.id}/disable`);
  return secret;
}

const altered = (key) => key.slice(0, -1) + (key.endsWith("a") ? "b" : "a");

const HOPELESS = [
  { status: 401, code: "key_disabled", key: () => dead("disable") },
  { status: 401, code: "key_revoked", key: () => dead("delete"), of: "a deleted key" },
  { status: 401, code: "key_revoked", key: () => dead("regenerate"), of: "a secret before the last" },
  { status: 401, code: "key_expired", key: expired },
  { status: 401, code: "key_expired", key: endedByItself, of: "a temporary key that ended itself" },
  { status: 401, code: "key_disabled", key: ofADisabledParent, of: "a temporary key of a disabled one" },
  { status: 401, code: "invalid_api_key", key: async () => altered(service.key) },
  { status: 402, code: "spend_limit_reached", key: () => secretOf({ spend_limits: [{ window: "total", usd: "0.000000001" }] }) },
  { status: 403, code: "scope_missing", key: () => secretOf({ scopes: ["models:read"] }) },
  { status: 403, code: "endpoint_not_allowed", key: controlled({ endpoints: ["embeddings"] }) },
  { status: 403, code: "model_not_allowed", key: controlled({ models: { allow: ["sim/lorem"] } }), of: "an allow list" },
  { status: 403, code: "model_not_allowed", key: controlled({ models: { block: ["echo"] } }), of: "a block list" },
  { status: 403, code: "ip_not_allowed", key: controlled({ ips: ["203.0.113.0/24"] }) },
  { status: 403, code: "browser_use_forbidden", key: () => secretOf({}), headers: { origin: "https://page.example" } },
];

/** Makes the call, which has to be refused; tells the error and how often it was sent. */
async function refused(sdk, key, options = {}) {
  const counted = counting();
  const call = sdk.call(key, { most: 100, retries: RETRIES, ...options, fetch: counted });
  const error = await call.then(
    () => assert.fail("it was not refused"),
    (error) => error,
  );
  return { error, sent: counted.calls, answer: counted.last };
}

function isRefusal(sdk, error, status, code) {
  assert.ok(error instanceof sdk.classes[status], `${error.constructor.name}: ${error.message}`);
  assert.equal(error.status, status);
  assert.equal(sdk.code(error), code);
}

for (const [name, sdk] of Object.entries(SDKS)) {
  describe(name, gatewayOnly, () => {
    for (const { status, code, key, of, headers } of HOPELESS) {
      for (const stream of [false, true]) {
        test(`${code}${of ? ` (${of})` : ""}${stream ? ", streamed" : ""}`, async () => {
          const { error, sent } = await refused(sdk, await key(), { headers, stream });
          isRefusal(sdk, error, status, code);
          assert.equal(sent, 1, "it is not sent again");
        });
      }
    }

    test("what may go well the next time is sent again, and counted here", async () => {
      const { error, sent } = await refused(sdk, service.key, { model: "sim/500", retries: 1 });
      assert.equal(error.status, 500);
      assert.equal(sent, 2);
    });

    test("a limit that is used up says when to come again", async () => {
      const key = await secretOf({ controls: { limits: { rpm: 1 } } });
      await sdk.call(key, { most: 100, retries: 0, fetch });
      const { error, answer } = await refused(sdk, key, { retries: 0 });
      isRefusal(sdk, error, 429, "rate_limited");
      const seconds = Number(answer.headers.get("retry-after"));
      assert.ok(Number.isInteger(seconds) && seconds > 0 && seconds <= 60, `${seconds}`);
      assert.equal(answer.headers.get("x-should-retry"), null);
    });

    test("a call that is larger than its limit is not sent again", async () => {
      const key = await secretOf({ controls: { limits: { tpm: 100 } } });
      const { error, sent } = await refused(sdk, key, { most: 1000, retries: sdk.respectsShouldRetry ? RETRIES : 0 });
      isRefusal(sdk, error, 429, "rate_limited");
      assert.equal(sent, 1);
    });
  });
}
