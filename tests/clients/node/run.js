// Starts one gateway (or with ANYKEY_JOURNEYS=direct the practice provider itself) and runs the journeys against it.
//
//   node run.js [REPORT.xml [JOURNEY...]]

import { spawn } from "node:child_process";
import { once } from "node:events";
import { cpSync, existsSync, mkdirSync, mkdtempSync, openSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as pause } from "node:timers/promises";
import { fileURLToPath } from "node:url";

import { cleanEnvironment } from "./service.js";

const HERE = path.dirname(fileURLToPath(import.meta.url));
const ROOT = path.resolve(HERE, "../../..");
const START_DEADLINE = 60_000;

const binary =
  process.env.ANYKEY_BIN ?? path.resolve(ROOT, process.env.CARGO_TARGET_DIR ?? "target", "debug/anykey");
const direct = process.env.ANYKEY_JOURNEYS === "direct";

async function waitUntil(condition, what) {
  const giveUp = Date.now() + START_DEADLINE;
  for (;;) {
    const found = await condition();
    if (found) return found;
    if (Date.now() > giveUp) throw new Error(`not within ${START_DEADLINE / 1000} s: ${what}`);
    await pause(20);
  }
}

async function stop(child) {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = once(child, "exit");
  child.kill("SIGTERM");
  const mercy = setTimeout(() => child.kill("SIGKILL"), 30_000);
  await ended;
  clearTimeout(mercy);
}

async function startPractice(folder) {
  if (process.env.ANYKEY_SIM_URL) return { url: process.env.ANYKEY_SIM_URL, key: "direct" };
  const child = spawn(binary, ["sim", "--listen", "127.0.0.1:0"], {
    cwd: folder,
    env: cleanEnvironment(),
    stdio: ["ignore", "pipe", "inherit"],
  });
  const [line] = await once(createInterface({ input: child.stdout }), "line");
  return { url: `http://${JSON.parse(line).listen}`, key: "direct", child };
}

// The practice provider as each of three real kinds, so that every client can meet every other kind's models.
const KINDS = { openai: "/v1", anthropic: "", gemini: "" };

function config(url) {
  const provider = ([kind, version]) => `
[[providers]]
name = "books-${kind}"
kind = "${kind}"
base_url = "${url}${version}"
api_key = "journeys"
allow_private_network = true
`;
  return Object.entries(KINDS).map(provider).join("");
}

async function startGateway(folder, upstream) {
  const data = path.join(folder, "data");
  writeFileSync(path.join(folder, "anykey.toml"), config(upstream));
  const log = openSync(path.join(folder, "gateway.log"), "a");
  const child = spawn(binary, ["serve", "--listen", "127.0.0.1:0", "--data-dir", data, "--config", "anykey.toml"], {
    cwd: folder,
    env: cleanEnvironment(),
    stdio: ["ignore", log, log],
  });
  try {
    const state = path.join(data, "server.json");
    const read = () => (existsSync(state) ? readFileSync(state, "utf8").trim() : "");
    const alive = () => {
      if (child.exitCode === null) return true;
      throw new Error(`anykey serve ended with ${child.exitCode}:\n${readFileSync(path.join(folder, "gateway.log"), "utf8")}`);
    };
    const { url } = JSON.parse(await waitUntil(() => alive() && read(), "server.json"));
    await waitUntil(async () => alive() && (await fetch(`${url}/readyz`).catch(() => null))?.status === 200, "/readyz");
    const made = spawn(binary, ["--data-dir", data, "key", "create", "node-journeys", "--json"], {
      cwd: folder,
      env: cleanEnvironment(),
      stdio: ["ignore", "pipe", "inherit"],
    });
    const key = JSON.parse(await new Response(made.stdout).text()).secret;
    const admin = readFileSync(path.join(data, "admin.key"), "utf8").trim();
    return { url, key, admin, child };
  } catch (error) {
    await stop(child);
    throw error;
  }
}

// What is left of the gateway, for scripts/leaks to look through at the end of the run; but for the files that hold a
// credential because that is what they are for.
function keep(folder) {
  const place = process.env.ANYKEY_TEST_REMAINS;
  if (!place) return;
  const own = new Set(["admin.key", "pepper", "kek", "anykey.toml"]);
  mkdirSync(path.join(place, "left"), { recursive: true });
  cpSync(folder, path.join(place, "left", path.basename(folder)), {
    recursive: true,
    filter: (from) => !own.has(path.basename(from)),
  });
}

const [report, ...named] = process.argv.slice(2);
const journeys = named.length ? named : readdirSync(path.join(HERE, "journeys")).filter((name) => name.endsWith(".test.js"));
const folder = mkdtempSync(path.join(tmpdir(), "anykey-journeys-"));
let service;
let practice;
try {
  practice = await startPractice(folder);
  service = direct ? practice : await startGateway(folder, practice.url);
  const reporters = ["--test-reporter=spec", "--test-reporter-destination=stdout"];
  if (report) reporters.push("--test-reporter=junit", `--test-reporter-destination=${path.resolve(report)}`);
  const tests = spawn(
    process.execPath,
    ["--test", "--test-concurrency=1", ...reporters, ...journeys.map((name) => path.join("journeys", name))],
    {
      cwd: HERE,
      env: {
        ...process.env,
        ANYKEY_JOURNEY_URL: service.url,
        ANYKEY_JOURNEY_KEY: service.key,
        ANYKEY_JOURNEY_ADMIN: service.admin ?? "",
      },
      stdio: ["ignore", "inherit", "inherit"],
    },
  );
  const [code] = await once(tests, "exit");
  process.exitCode = code ?? 1;
} finally {
  if (service?.child) {
    await stop(service.child);
    if (service.child.exitCode !== 0) {
      console.error(`the service did not end well: ${service.child.exitCode ?? service.child.signalCode}`);
      process.exitCode = 1;
    }
  }
  if (practice?.child && practice !== service) await stop(practice.child);
  keep(folder);
  rmSync(folder, { recursive: true, force: true });
}
