// Signing in at a real issuer of OpenID Connect: oidc-provider, a certified implementation, with each algorithm of
// signatures. The gateway is one of its own, since an issuer is a setting.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { generateKeyPairSync } from "node:crypto";
import { once } from "node:events";
import { existsSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import path from "node:path";
import { test } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { fileURLToPath } from "node:url";

import Provider from "oidc-provider";

import { cleanEnvironment, gatewayOnly } from "../service.js";

const ROOT = fileURLToPath(new URL("../../../..", import.meta.url));
const BINARY = process.env.ANYKEY_BIN ?? path.resolve(ROOT, process.env.CARGO_TARGET_DIR ?? "target", "debug/anykey");
// What browsers are sent back to; the browser here goes to the gateway whatever it is called.
const PUBLIC_URL = "http://127.0.0.1:7117";
const CALLBACK = `${PUBLIC_URL}/admin/v1/auth/issuers/real/callback`;
const DEADLINE = 60_000;

const KEYS = {
  RS256: () => generateKeyPairSync("rsa", { modulusLength: 2048 }),
  PS256: () => generateKeyPairSync("rsa", { modulusLength: 2048 }),
  ES256: () => generateKeyPairSync("ec", { namedCurve: "P-256" }),
  EdDSA: () => generateKeyPairSync("ed25519"),
};

/** An issuer that signs with one algorithm, and at which one person has an account. */
async function startIssuer(t, algorithm, groups) {
  const server = createServer();
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  const url = `http://127.0.0.1:${server.address().port}`;
  const jwk = { ...KEYS[algorithm]().privateKey.export({ format: "jwk" }), kid: "only", alg: algorithm, use: "sig" };
  const provider = new Provider(url, {
    clients: [
      {
        client_id: "anykey",
        client_secret: "a secret: with/signs+&%",
        redirect_uris: [CALLBACK],
        response_types: ["code"],
        grant_types: ["authorization_code"],
        id_token_signed_response_alg: algorithm,
      },
    ],
    jwks: { keys: [jwk] },
    cookies: { keys: ["for this test alone"] },
    enabledJWA: { idTokenSigningAlgValues: [algorithm] },
    claims: { openid: ["sub"], email: ["email", "email_verified"], profile: ["name"], groups: ["groups"] },
    scopes: ["openid", "email", "profile", "groups"],
    findAccount: (_, id) => ({
      accountId: id,
      claims: () => ({ sub: id, email: `${id}@example.com`, email_verified: true, name: "Ada", groups: groups() }),
    }),
    // What this server knows of people is behind the token, as with many issuers.
    conformIdTokenClaims: true,
    pkce: { required: () => true },
  });
  server.on("request", provider.callback());
  return url;
}

async function startGateway(t, issuer) {
  const folder = mkdtempSync(path.join(tmpdir(), "anykey-issuer-"));
  writeFileSync(
    path.join(folder, "anykey.toml"),
    `public_url = "${PUBLIC_URL}"
[[issuers]]
name = "real"
issuer = "${issuer}"
client_id = "anykey"
client_secret = "\${OIDC_SECRET}"
scopes = ["openid", "email", "profile", "groups"]
allow_private_network = true
roles = [
  { claim = "groups", value = "ops", role = "operator" },
  { claim = "groups", value = "staff", organisation = "default", role = "member" },
]
`,
  );
  const log = openSync(path.join(folder, "gateway.log"), "a");
  const child = spawn(BINARY, ["serve", "--listen", "127.0.0.1:0", "--data-dir", "data"], {
    cwd: folder,
    env: cleanEnvironment({ OIDC_SECRET: "a secret: with/signs+&%" }),
    stdio: ["ignore", log, log],
  });
  t.after(async () => {
    if (child.exitCode === null) {
      child.kill("SIGTERM");
      await once(child, "exit");
    }
    rmSync(folder, { recursive: true, force: true });
  });
  const state = path.join(folder, "data/server.json");
  const giveUp = Date.now() + DEADLINE;
  while (!existsSync(state)) {
    const said = readFileSync(path.join(folder, "gateway.log"), "utf8");
    assert.ok(child.exitCode === null && Date.now() < giveUp, said);
    await pause(20);
  }
  const { url } = JSON.parse(readFileSync(state, "utf8"));
  const key = readFileSync(path.join(folder, "data/admin.key"), "utf8").trim();
  return { url, key };
}

/** A browser: it keeps cookies by server, follows nothing by itself, and fills in forms. */
class Browser {
  jar = new Map();

  async ask(url, options = {}) {
    const { host } = new URL(url);
    const cookies = this.jar.get(host) ?? new Map();
    const headers = { ...options.headers, cookie: [...cookies].map(([name, value]) => `${name}=${value}`).join("; ") };
    const reply = await fetch(url, { ...options, headers, redirect: "manual" });
    for (const line of reply.headers.getSetCookie()) {
      const [, name, value] = /^([^=]+)=([^;]*)/.exec(line);
      if (value) cookies.set(name, value);
      else cookies.delete(name);
    }
    this.jar.set(host, cookies);
    return reply;
  }

  /** To the issuer, through its pages for signing in and agreeing, and back. */
  async signIn(gateway, person) {
    let reply = await this.ask(`${gateway.url}/admin/v1/auth/issuers/real/start`);
    for (let steps = 0; steps < 20; steps += 1) {
      const location = reply.headers.get("location");
      if (location) {
        const next = new URL(location, reply.url);
        if (next.origin === PUBLIC_URL) return this.ask(`${gateway.url}${next.pathname}${next.search}`);
        reply = await this.ask(next.href);
        continue;
      }
      const page = await reply.text();
      const action = /<form[^>]*action="([^"]+)"/.exec(page);
      assert.ok(action, `${reply.status} ${page}`);
      const prompt = /name="prompt" value="([^"]+)"/.exec(page)[1];
      const body = new URLSearchParams({ prompt, login: person, password: "any" });
      reply = await this.ask(new URL(action[1], reply.url).href, { method: "POST", body });
    }
    throw new Error("the issuer goes round in circles");
  }
}

for (const algorithm of Object.keys(KEYS)) {
  test(`somebody comes in by a real issuer that signs with ${algorithm}`, gatewayOnly, async (t) => {
    let groups = ["staff", "ops"];
    const issuer = await startIssuer(t, algorithm, () => groups);
    const gateway = await startGateway(t, issuer);
    const admin = (where) =>
      fetch(`${gateway.url}/admin/v1${where}`, { headers: { "x-api-key": gateway.key } }).then((reply) => reply.json());
    const check = await admin("/issuers/real");
    assert.deepEqual([check.ok, check.keys, check.findings], [true, 1, []]);

    const browser = new Browser();
    const back = await browser.signIn(gateway, "ada");
    assert.equal(back.status, 303, await back.clone().text());
    const me = await (await browser.ask(`${gateway.url}/admin/v1/auth/session`)).json();
    assert.deepEqual(
      [me.person.email, me.person.name, me.person.operator, me.session.issuer],
      ["ada@example.com", "Ada", true, issuer],
    );
    const members = await admin("/members?q=ada");
    assert.deepEqual(members.data.map((member) => member.role), ["member"]);

    // The next time they are less.
    groups = [];
    assert.equal((await browser.signIn(gateway, "ada")).status, 303);
    assert.equal((await (await browser.ask(`${gateway.url}/admin/v1/auth/session`)).json()).person.operator, false);
    assert.deepEqual((await admin("/members?q=ada")).data, []);
    // Somebody to whom nothing gives a role.
    const stranger = await new Browser().signIn(gateway, "eve");
    assert.deepEqual([stranger.status, (await stranger.json()).code], [401, "sign_in_refused"]);
  });
}
