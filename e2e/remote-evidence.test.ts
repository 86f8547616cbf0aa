// SPDX-License-Identifier: Apache-2.0
/**
 * For each kind of trust provider: evidence in the real format, signed by a stand-in of the real authority, taken to the
 * gateway's address by one command; an identity back; and a call through the gateway with it. And each way in which others
 * were deceived: one answer for all of them, and the exact reason in the log.
 */
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type AttestResponse, SELECTOR_NAMES } from "@postern/contract";
import {
  createTestAuthority,
  type Postern,
  type StandIns,
  startPostern,
  startStandIns,
} from "@postern/testkit";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { identityDocument, publishedDocuments, signedRequest } from "./evidence/aws-stories.ts";
import { reviewedPod, signedPod } from "./evidence/kubernetes-stories.ts";
import { foreignJwtSvid, foreignX509Svid } from "./evidence/spiffe-stories.ts";
import { type Break, breaks, type Story } from "./evidence/story.ts";
import { TOKEN_STORIES } from "./evidence/token-stories.ts";
import { type Answer, GatewayClient, gatewayPort } from "./gateway-client.ts";

const authority = await createTestAuthority();

const STORIES: Readonly<Record<string, () => Promise<Story>>> = {
  ...Object.fromEntries(
    Object.entries(TOKEN_STORIES).map(([kind, start]) => [kind, () => start(authority)] as const),
  ),
  "aws-iam, signed request": () => signedRequest(authority),
  "aws-ec2": identityDocument,
  kubernetes: () => reviewedPod(authority, postern.folder),
  "kubernetes, by its keys": () => signedPod(authority),
  spiffe: foreignJwtSvid,
  "spiffe, X.509-SVID": foreignX509Svid,
  "join-token": joinTokenStory,
};

async function joinTokenStory(): Promise<Story> {
  const make = async (name: string, provider = "join-token"): Promise<string> =>
    (await postern.postern(["join", "token", name, "--provider", provider])).stdout.trim();
  return {
    spec: { kind: "join-token" },
    selectors: ["join-token:name=web-1"],
    path: ["joined/{join-token.name}", "joined/web-1"],
    evidence: () => make("web-1"),
    breaks: [
      ...breaks([
        ["that nobody made", async () => `${(await make("web-1")).slice(0, -4)}AAAA`, "join_token_unknown"],
        ["of another trust provider", () => make("web-1", "other-join-token"), "join_token_unknown"],
        ["for another workload", () => make("web-2"), "no_agent_matches"],
        ["that is none", () => "web-1", "join_token_malformed"],
      ]),
      {
        ...{ name: "that was used before", evidence: () => make("web-1") },
        ...{ reason: "join_token_unknown", isReplay: true },
      },
    ],
  };
}

/** Names of resources for a kind. */
const nameOf = (kind: string): string => kind.toLowerCase().replaceAll(/[^a-z0-9]+/g, "-");
const downOf = (kind: string): string => `${nameOf(kind)}-down`;

let standIns: StandIns;
let postern: Postern;
let port: number;
let folder: string;
let authorities: string;
const stories = new Map<string, Story>();
const published = publishedDocuments();

beforeAll(async () => {
  standIns = await startStandIns();
  folder = mkdtempSync(join(tmpdir(), "postern-remote-"));
  postern = await startPostern({ args: ["--trust-domain", "corp", "--gateway-listen", "127.0.0.1:0"] });
  await postern.setSecret("openai-key", standIns.secrets["openai-key"]!);
  for (const [kind, start] of Object.entries(STORIES)) stories.set(kind, await start());
  const [, ...documents] = standIns.resources({ agents: [...stories.keys()].map(nameOf) }).split(/^---\n/m);
  const openai = documents.filter((text) =>
    /name: (openai|openai-credential|agents-may-use-openai) /.test(text),
  );
  const provider = (name: string, spec: object) => ({ kind: "TrustProvider", metadata: { name }, spec });
  const registered = [...stories].flatMap(([kind, { down, path, selectors, spec }]) => [
    provider(nameOf(kind), spec),
    ...(down === undefined ? [] : [provider(downOf(kind), { ...spec, ...down })]),
    {
      ...{ kind: "Agent", metadata: { name: nameOf(kind) } },
      spec: { trustProvider: nameOf(kind), selectors, spiffeId: `spiffe://corp/${path[0]}` },
    },
  ]);
  registered.push(provider("other-join-token", { kind: "join-token" }));
  if (published !== undefined) registered.push(provider("published", published.spec));
  await postern.apply([...registered.map((each) => `${JSON.stringify(each)}\n`), ...openai].join("---\n"));
  port = await gatewayPort(postern);
  // What an operator hands out together with the address.
  const { stdout } = await postern.postern(["ca", "bundle", "--pem"]);
  authorities = stdout;
  writeFileSync(join(folder, "ca.pem"), stdout);
}, 120_000);
afterAll(async () => {
  await postern?.stop();
  for (const { close } of stories.values()) await close?.();
  await standIns?.close();
  rmSync(folder, { recursive: true, force: true });
});

async function attest(
  kind: string,
  evidence: string | Buffer,
  ...more: string[]
): Promise<AttestResponse & { code: number }> {
  const words = ["attest", "--provider", nameOf(kind), "--evidence-file", "-", "--json"];
  const where = ["--server", `https://localhost:${port}`, "--ca", join(folder, "ca.pem")];
  const { code, stderr, stdout } = await postern.postern([...words, ...where, ...more], {
    input: String(evidence),
  });
  if (stdout === "") throw new Error(stderr);
  return { code: code ?? -1, ...(JSON.parse(stdout) as AttestResponse) };
}

let callers = 0;
/** Presents evidence as a stranger of a network of its own: each has so many tries. */
function stranger(): (provider: string, evidence: string | Buffer) => Promise<Answer> {
  const localAddress = `127.0.1.${++callers}`;
  const client = new GatewayClient(port, authorities);
  return (provider, evidence) => {
    const body = { provider, evidence: Buffer.from(evidence).toString("base64"), want: { x509: {} } };
    return client.call({ path: "/v1/attest", localAddress }, JSON.stringify(body));
  };
}

/** Id of an attestation → what the log says of it. */
async function reasons(): Promise<ReadonlyMap<string, string | undefined>> {
  const { stdout } = await postern.postern(["audit", "tail", "--json", "--lines", "100"]);
  const events = stdout.trim().split("\n");
  return new Map(
    events.map((line) => {
      const { metadata, unmapped } = JSON.parse(line) as {
        metadata: { uid: string };
        unmapped?: { reason?: string };
      };
      return [metadata.uid, unmapped?.reason];
    }),
  );
}

/** All that a stranger is told, but for the time and the id of the attestation. */
function toldOf({ body, headers, status }: Answer): { id: string; told: string } {
  const { id, ...rest } = JSON.parse(body) as { id: string };
  const { date: _date, ...others } = headers;
  return { id, told: JSON.stringify([status, others, rest]) };
}

/** What each of them was told, and the reason in the log. */
async function present(
  provider: string,
  table: readonly Break[],
): Promise<{ told: Set<string>; logged: Record<string, string | undefined> }> {
  const ask = stranger();
  const seen: [string, ReturnType<typeof toldOf>][] = [];
  for (const each of table) {
    const evidence = await each.evidence();
    if (each.isReplay) expect((await ask(provider, evidence)).status, each.name).toBe(200);
    seen.push([each.name, toldOf(await ask(provider, evidence))]);
    each.after?.();
  }
  const log = await reasons();
  return {
    told: new Set(seen.map(([, { told }]) => told)),
    logged: Object.fromEntries(seen.map(([name, { id }]) => [name, log.get(id)])),
  };
}

const expected = (table: readonly Break[]): Record<string, string> =>
  Object.fromEntries(table.map(({ name, reason }) => [name, reason]));

const REFUSED = /^\[403,.*\{"outcome":"refused"\}\]$/;
const UNAVAILABLE = /^\[503,.*\{"outcome":"unavailable"\}\]$/;

/** Their evidence is verified with what the settings or the server itself hold. */
const STANDING_ALONE = new Set([
  ...["aws-ec2", "kubernetes, by its keys", "spiffe", "spiffe, X.509-SVID", "join-token"],
]);

/** What the kernel says is not presented: `local-evidence.test.ts`. */
const FROM_THE_KERNEL = ["process", "docker", "podman", "container"];

describe("evidence of every kind that can be presented", () => {
  it("has a story here", () => {
    const told = new Set([...stories.keys()].map((kind) => kind.split(",")[0]));
    const kinds = Object.keys(SELECTOR_NAMES).filter((kind) => !FROM_THE_KERNEL.includes(kind));
    expect(told).toEqual(new Set(kinds));
  });

  describe.each(Object.keys(STORIES))("%s", (kind) => {
    it("is told one thing however it deceives, and the log has the reason", { timeout: 60_000 }, async () => {
      const table = stories.get(kind)!.breaks.filter(({ outcome }) => outcome === undefined);
      const { logged, told } = await present(nameOf(kind), table);
      expect(logged).toEqual(expected(table));
      expect([...told]).toEqual([expect.stringMatching(REFUSED)]);
    });

    it("gets nothing while nobody can tell", async () => {
      const { breaks: all, down, evidence } = stories.get(kind)!;
      const table = all.filter(({ outcome }) => outcome === "unavailable");
      const broken = await present(nameOf(kind), table);
      expect(broken.logged).toEqual(expected(table));
      const name = "while nobody is there";
      const gone = down === undefined ? [] : [{ name, evidence, reason: "authority_unreachable" }];
      const { logged, told } = await present(downOf(kind), gone);
      expect(logged).toEqual(expected(gone));
      for (const each of [...told, ...broken.told]) expect(each).toMatch(UNAVAILABLE);
      // Whoever needs nobody to vouch for it at that moment has nothing to be down.
      expect(table.length + gone.length > 0).toBe(!STANDING_ALONE.has(kind));
    });

    it("is refused by the command too, which writes nothing then", async () => {
      const [first] = stories.get(kind)!.breaks;
      const files = join(folder, `${nameOf(kind)}-hostile`);
      const { code, id, ...told } = await attest(kind, await first!.evidence(), "--write", files);
      expect({ code, ...told }).toEqual({ code: 1, outcome: "refused" });
      expect((await reasons()).get(id)).toBe(first!.reason);
      expect(() => statSync(files)).toThrow("ENOENT");
    });

    it("becomes an identity, with which its agent calls an API", async () => {
      const story = stories.get(kind)!;
      const files = join(folder, nameOf(kind));
      const evidence = await story.evidence();
      const { code, outcome } = await attest(kind, evidence, "--write", files);
      expect({ code, outcome }).toEqual({ code: 0, outcome: "matched" });
      const read = (name: string): string => readFileSync(join(files, name), "utf8");
      expect(statSync(join(files, "svid_key.pem")).mode & 0o777).toBe(0o600);
      const client = new GatewayClient(port, read("bundle.pem"));
      standIns.openai.forgetRequests();
      const token = read("jwt_svid.token");
      const path = "/openai/v1/chat/completions";
      const type = { "content-type": "application/json" };
      const chat = JSON.stringify({ model: "gpt-4o-mini", messages: [{ role: "user", content: "hello" }] });
      for (const options of [
        { cert: read("svid.pem"), key: read("svid_key.pem"), headers: type },
        { headers: { ...type, authorization: `Bearer ${token}` } },
      ]) {
        const { body, headers, status } = await client.call({ path, ...options }, chat);
        expect(status, body).toBe(200);
        const why = await postern.postern(["why", String(headers["postern-audit-id"]), "--json"]);
        expect(
          (JSON.parse(why.stdout) as { decision: { unmapped: object } }).decision.unmapped,
        ).toMatchObject({
          ...{ agent: nameOf(kind), outcome: "allow", spiffe_id: `spiffe://corp/${story.path[1]}` },
        });
      }
      expect(standIns.openai.requests).toHaveLength(2);
      expect(JSON.stringify(standIns.openai.requests.map(({ rawHeaders }) => rawHeaders))).not.toContain(
        token,
      );
      const log = await postern.postern(["audit", "tail", "--json", "--lines", "1000"]);
      expect(log.stdout + postern.log).not.toContain(String(evidence).slice(-60));
    });
  });
});

describe.skipIf(published === undefined)("a document that AWS itself has signed", () => {
  it("is what it says by the key that AWS publishes, and is refused for its age alone", async () => {
    const { logged, told } = await present("published", published!.breaks);
    expect(logged).toEqual(expected(published!.breaks));
    expect([...told]).toEqual([expect.stringMatching(REFUSED)]);
  });
});
