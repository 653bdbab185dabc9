// The coding agents, headless: Claude Code, Codex and Gemini CLI, each in a home of its own.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

import { cleanEnvironment, gatewayOnly, service } from "../service.js";

const PROGRAMS = fileURLToPath(new URL("../node_modules/.bin/", import.meta.url));
const LIMIT = 120_000;

/** A home and a working folder that nobody else uses. */
function lodging(t) {
  const home = mkdtempSync(path.join(tmpdir(), "anykey-agent-"));
  t.after(() => rmSync(home, { recursive: true, force: true, maxRetries: 5, retryDelay: 200 }));
  const work = path.join(home, "work");
  mkdirSync(work);
  writeFileSync(path.join(work, "notes.txt"), "the notes say: plumbing\n");
  return { home, work };
}

async function run(program, { home, work }, environment, ...options) {
  const child = spawn(path.join(PROGRAMS, program), options, {
    cwd: work,
    env: cleanEnvironment({ HOME: home, XDG_CONFIG_HOME: "", XDG_CACHE_HOME: "", XDG_DATA_HOME: "", ...environment }),
    stdio: ["ignore", "pipe", "pipe"],
    // A group of its own, so that the time limit ends the agent's helpers as well.
    detached: true,
  });
  const overdue = setTimeout(() => process.kill(-child.pid, "SIGKILL"), LIMIT);
  const [output, errors, [code]] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
    once(child, "exit"),
  ]);
  clearTimeout(overdue);
  assert.equal(code, 0, `${program} ended with ${code}\n${output.slice(-3000)}\n${errors.slice(-3000)}`);
  return output;
}

function claude(lodged, ...options) {
  return run(
    "claude",
    lodged,
    {
      ANTHROPIC_BASE_URL: service.url,
      // The practice provider takes x-api-key alone, as Anthropic does.
      ...(service.direct ? { ANTHROPIC_API_KEY: service.key } : { ANTHROPIC_AUTH_TOKEN: service.key }),
      ANTHROPIC_DEFAULT_HAIKU_MODEL: "sim/echo",
      CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC: "1",
      DISABLE_AUTOUPDATER: "1",
      DISABLE_TELEMETRY: "1",
    },
    "--print",
    "--output-format=json",
    "--strict-mcp-config",
    ...options,
  );
}

test("Claude Code answers", async (t) => {
  const result = JSON.parse(await claude(lodging(t), "--model=sim/echo", "the marker is plumbing"));
  assert.equal(result.is_error, false);
  assert.match(result.result, /the marker is plumbing/);
  assert.ok(result.usage.output_tokens > 0);
});

test("Claude Code goes through a tool loop", async (t) => {
  const result = JSON.parse(await claude(lodging(t), "--model=sim/tool", "--tools=Read", "read the notes"));
  assert.equal(result.is_error, false);
  assert.ok(result.num_turns >= 2, `turns: ${result.num_turns}`);
});

for (const models of ["books-openai/", "books-openai/gpt-5-", "books-gemini/gemini-3-"]) {
  test(`Claude Code goes through a tool loop on ${models}`, gatewayOnly, async (t) => {
    const said = JSON.parse(await claude(lodging(t), `--model=${models}echo`, "the marker is plumbing"));
    assert.match(said.result, /the marker is plumbing/);
    const result = JSON.parse(await claude(lodging(t), `--model=${models}tool`, "--tools=Read", "read the notes"));
    assert.equal(result.is_error, false);
    assert.ok(result.num_turns >= 2, `turns: ${result.num_turns}`);
  });
}

function codex({ home, work }, model, ...options) {
  const config = path.join(home, ".codex");
  mkdirSync(config);
  writeFileSync(
    path.join(config, "config.toml"),
    [
      `model = ${JSON.stringify(model)}`,
      'model_provider = "anykey"',
      "check_for_update_on_startup = false",
      "[model_providers.anykey]",
      'name = "anykey"',
      `base_url = "${service.url}/v1"`,
      'env_key = "ANYKEY_API_KEY"',
      'wire_api = "responses"',
      "request_max_retries = 0",
      "stream_max_retries = 0",
      "[analytics]",
      "enabled = false",
      "[otel]",
      'exporter = "none"',
      "",
    ].join("\n"),
  );
  return run(
    "codex",
    { home, work },
    { CODEX_HOME: config, ANYKEY_API_KEY: service.key },
    "exec",
    "--skip-git-repo-check",
    "--sandbox=read-only",
    "--json",
    ...options,
  );
}

const lines = (output) => output.trim().split("\n").map((line) => JSON.parse(line));

test("Codex answers", async (t) => {
  const events = lines(await codex(lodging(t), "sim/echo", "the marker is plumbing"));
  const said = events.filter((event) => event.item?.type === "agent_message").map((event) => event.item.text);
  assert.match(said.join("\n"), /the marker is plumbing/);
  const { usage } = events.find((event) => event.type === "turn.completed");
  assert.ok(usage.output_tokens > 0);
});

test("Codex goes through a tool loop", async (t) => {
  const events = lines(await codex(lodging(t), "sim/tool", "read the notes"));
  const items = events.filter((event) => event.type === "item.completed").map((event) => event.item.type);
  // The command itself is made up; that it was run and its outcome told to the model is the loop.
  assert.ok(items.includes("command_execution"), items.join(" "));
  assert.equal(items.at(-1), "agent_message");
  assert.ok(events.some((event) => event.type === "turn.completed"));
});

for (const models of ["books-anthropic/claude-sonnet-4-5-", "books-gemini/gemini-3-"]) {
  test(`Codex goes through a tool loop on ${models}`, gatewayOnly, async (t) => {
    const events = lines(await codex(lodging(t), `${models}tool`, "read the notes"));
    const items = events.filter((event) => event.type === "item.completed").map((event) => event.item.type);
    assert.ok(items.includes("command_execution"), items.join(" "));
    assert.equal(items.at(-1), "agent_message");
  });
}

function gemini({ home, work }, ...options) {
  const config = path.join(home, ".gemini");
  mkdirSync(config);
  writeFileSync(
    path.join(config, "settings.json"),
    JSON.stringify({
      general: { enableAutoUpdate: false, enableAutoUpdateNotification: false },
      security: { auth: { selectedType: "gemini-api-key" } },
      privacy: { usageStatisticsEnabled: false },
      telemetry: { enabled: false },
    }),
  );
  return run(
    "gemini",
    { home, work },
    { GEMINI_API_KEY: service.key, GOOGLE_GEMINI_BASE_URL: service.url, GEMINI_CLI_NO_RELAUNCH: "true" },
    "--skip-trust",
    "--output-format=json",
    ...options,
  );
}

// It counts under the name that the provider gave its answer.
function onlyModel(result) {
  const models = Object.values(result.stats.models);
  assert.equal(models.length, 1);
  return models[0];
}

test("Gemini CLI answers", async (t) => {
  const result = JSON.parse(await gemini(lodging(t), "--model=sim/echo", "--prompt=the marker is plumbing"));
  assert.match(result.response, /the marker is plumbing/);
  assert.ok(onlyModel(result).tokens.candidates > 0);
});

test("Gemini CLI goes through a tool loop", async (t) => {
  const result = JSON.parse(
    await gemini(lodging(t), "--model=sim/tool", "--approval-mode=yolo", "--prompt=read the notes"),
  );
  assert.ok(result.response);
  assert.equal(result.stats.tools.totalCalls, 1);
  assert.ok(onlyModel(result).api.totalRequests >= 2);
});

for (const models of ["books-openai/", "books-openai/gpt-5-", "books-anthropic/claude-sonnet-4-5-"]) {
  test(`Gemini CLI goes through a tool loop on ${models}`, gatewayOnly, async (t) => {
    const result = JSON.parse(
      await gemini(lodging(t), `--model=${models}tool`, "--approval-mode=yolo", "--prompt=read the notes"),
    );
    assert.ok(result.response);
    assert.equal(result.stats.tools.totalCalls, 1);
  });
}
