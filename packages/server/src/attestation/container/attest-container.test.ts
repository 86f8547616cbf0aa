// SPDX-License-Identifier: Apache-2.0
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { ProcessView } from "../process/process-view.ts";
import { attestContainer, mayKnow } from "./attest-container.ts";
import { ContainerEngine } from "./container-engine.ts";
import { containerOf } from "./container-of.ts";
import { DIGEST, FakeEngine, IMAGE, inspected } from "./engine.fixture.ts";

const ID = "3f".repeat(32);
const FIRST = 4000;
const CALLER = 4010;
const GROUPS = `0::/system.slice/docker-${ID}.scope\n`;

let engine: FakeEngine;
let groups: Map<number, string>;
let namespaces: Map<number | "self", string>;
let alive: boolean;
let released: number;

const view: ProcessView = {
  cgroups: (pid) => groups.get(pid),
  pidNamespace: (pid) => namespaces.get(pid),
  livesIn: (pid, namespace) => namespaces.get(pid) === namespace,
  hold: (pid) => (groups.has(pid) ? { isAlive: () => alive, release: () => void released++ } : undefined),
};

beforeEach(async () => {
  engine = new FakeEngine();
  await engine.start();
  engine.has(ID, inspected(ID, FIRST));
  groups = new Map([
    [FIRST, GROUPS],
    [CALLER, GROUPS],
  ]);
  namespaces = new Map<number | "self", string>([
    ["self", "pid:[1]"],
    [FIRST, "pid:[2]"],
    [CALLER, "pid:[2]"],
  ]);
  alive = true;
  released = 0;
});

afterEach(() => engine.remove());

const attest = async () => {
  const found = containerOf(groups.get(CALLER)!);
  if (!found.ok || found.value === undefined) throw new Error("the fixture names no container");
  const caller = { pid: CALLER, uid: 0, gid: 5, groups: found.value };
  return attestContainer(new ContainerEngine(engine.socket), caller, view);
};
const refusal = (outcome: string, reason: string) => ({ ok: false, reason: { outcome, reason } });

describe("nobody is in the container", () => {
  it("who has made a control group with its name", async () => {
    groups.set(CALLER, `0::/user.slice/user-1000.slice/user@1000.service/docker-${ID}.scope\n`);
    expect(await attest()).toEqual(refusal("refused", "caller_in_other_control_groups"));
  });

  it("who is in its control groups and not in its process namespace", async () => {
    namespaces.set(CALLER, "pid:[1]");
    expect(await attest()).toEqual(refusal("refused", "caller_in_another_process_namespace"));
  });

  it("whose first process has ended, so that its number may be another's", async () => {
    alive = false;
    expect(await attest()).toEqual(refusal("refused", "container_changed"));
    expect(released).toBe(1);
  });

  it("that was started again between two questions", async () => {
    let asked = 0;
    engine.answers.set(`/containers/${ID}/json`, (response) => {
      response.end(JSON.stringify(inspected(ID, ++asked === 1 ? FIRST : FIRST + 1)));
    });
    expect(await attest()).toEqual(refusal("refused", "container_changed"));
  });

  it.each([
    ["is not running", inspected(ID, FIRST, { State: { Running: false, Pid: 0, StartedAt: "x" } })],
    ["has no first process", inspected(ID, 9999)],
  ])("that %s", async (_, container) => {
    engine.has(ID, container);
    expect(await attest()).toEqual(refusal("refused", "container_not_running"));
  });

  it("that the engine does not know", async () => {
    engine.answers.clear();
    expect(await attest()).toEqual(refusal("refused", "container_unknown"));
  });

  it("whose first process runs in groups that cannot be read", async () => {
    groups.set(FIRST, "0::/elsewhere\n");
    expect(await attest()).toEqual(refusal("refused", "caller_in_other_control_groups"));
  });
});

describe("nobody can tell", () => {
  it("while the engine is down", async () => {
    engine.stop();
    expect(await attest()).toEqual(refusal("unavailable", "engine_unreachable"));
  });

  it.each<[string, Parameters<FakeEngine["answers"]["set"]>[1], string]>([
    ["fails", (response) => response.writeHead(500).end("{}"), "engine_status_500"],
    ["redirects", (response) => response.writeHead(302, { location: "/x" }).end(), "engine_status_302"],
    [
      "speaks about another container",
      inspected("00".repeat(32), FIRST),
      "engine_answers_about_another_container",
    ],
    ["says nothing", (response) => response.end(), "engine_answer_malformed"],
    ["says two things", (response) => response.end(`{"Id":"${ID}","Id":"${ID}"}`), "engine_answer_malformed"],
    ["leaves the state out", { Id: ID, Image: IMAGE, Config: {} }, "engine_answer_malformed"],
    ["names no image", inspected(ID, FIRST, { Image: "latest" }), "engine_answer_malformed"],
    ["does not end", (response) => response.end("x".repeat(2_000_000)), "engine_answer_too_large"],
    ["breaks off", (response) => void (response.write("{"), response.destroy()), "engine_unreachable"],
  ])("where the engine %s", async (_, answer, reason) => {
    engine.answers.set(`/containers/${ID}/json`, answer);
    expect(await attest()).toEqual(refusal("unavailable", reason));
  });
});

describe("a process of the container", () => {
  it("has what the engine says, and asks for nothing else", async () => {
    expect(await attest()).toEqual({
      ok: true,
      value: {
        facts: {
          ...{ "container-id": ID, image: "registry.corp/agent:1.4", "image-id": IMAGE },
          ...{ "image-digest": [DIGEST], label: ["com.corp.team=support"], uid: "0", gid: "5" },
        },
        imageNames: [`registry.corp/agent@${DIGEST}`, `mirror.corp/agent@${DIGEST}`],
      },
    });
    expect(new Set(engine.asked)).toEqual(
      new Set([`GET /containers/${ID}/json`, `GET /images/${IMAGE}/json`]),
    );
    expect(released).toBe(1);
  });

  it("has it in the machine's own process namespace too, where the container was given that", async () => {
    namespaces = new Map<number | "self", string>([
      ["self", "pid:[1]"],
      [FIRST, "pid:[1]"],
      [CALLER, "pid:[1]"],
    ]);
    expect(await attest()).toMatchObject({ ok: true });
  });

  it("has no digest where the image was built here and is not known any more", async () => {
    engine.answers.delete(`/images/${IMAGE}/json`);
    expect(await attest()).toMatchObject({
      ok: true,
      value: { facts: { "image-digest": [] }, imageNames: [] },
    });
  });

  it("has the image's id as Podman writes it, without the algorithm", async () => {
    engine.has(ID, inspected(ID, FIRST, { Image: IMAGE.slice("sha256:".length) }));
    expect(await attest()).toMatchObject({ ok: true, value: { facts: { "image-id": IMAGE } } });
  });
});

it("asks once for all who ask at the same time", async () => {
  const one = new ContainerEngine(engine.socket);
  await Promise.all(Array.from({ length: 50 }, () => one.inspectContainer(ID)));
  expect(engine.asked).toEqual([`GET /containers/${ID}/json`]);
});

it("does not ask an engine about the containers of the other one", () => {
  const found = containerOf(GROUPS);
  if (!found.ok || found.value === undefined) throw new Error("the fixture names no container");
  expect(mayKnow("docker", found.value)).toBe(true);
  expect(mayKnow("podman", found.value)).toBe(false);
  expect(mayKnow("podman", { ...found.value, engine: undefined })).toBe(true);
});
