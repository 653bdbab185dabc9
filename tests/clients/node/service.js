// What every journey needs to know: where the service is, with which key, and which journeys need the gateway.

const DIRECT = process.env.ANYKEY_JOURNEYS === "direct";

export const service = {
  url: process.env.ANYKEY_JOURNEY_URL,
  key: process.env.ANYKEY_JOURNEY_KEY,
  direct: DIRECT,
};

/** Asks the admin API of the gateway, which is expected to agree. */
export async function admin(method, path, body) {
  const answer = await fetch(`${service.url}/admin/v1${path}`, {
    method,
    headers: { authorization: `Bearer ${process.env.ANYKEY_JOURNEY_ADMIN}`, "content-type": "application/json" },
    body: body === undefined ? undefined : JSON.stringify(body),
  });
  const text = await answer.text();
  if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${text}`);
  return text ? JSON.parse(text) : null;
}

/** The options of a test that only the gateway can pass. */
export const gatewayOnly = DIRECT ? { skip: "needs the gateway" } : {};

const MEDDLING = /_proxy$|^(ANYKEY|OPENAI|ANTHROPIC|CLAUDE|CODEX|GEMINI|GOOGLE|NODE_TEST)_/i;

/** The environment without proxies and settings that would change what is tested. */
export function cleanEnvironment(extra = {}) {
  const kept = Object.entries(process.env).filter(([name]) => !MEDDLING.test(name));
  return { ...Object.fromEntries(kept), ...extra };
}

export const WEATHER_SCHEMA = {
  type: "object",
  properties: { city: { type: "string" }, days: { type: "integer", minimum: 1 } },
  required: ["city", "days"],
  additionalProperties: false,
};

export async function collect(iterable) {
  const items = [];
  for await (const item of iterable) items.push(item);
  return items;
}
