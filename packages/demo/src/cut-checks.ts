// SPDX-License-Identifier: Apache-2.0
/** Does `postern cut` end an open stream at once, for that agent only, and does `restore` undo it? */
import type { RunningProgram } from "@postern/testkit";
import { AGENT, jsonLines, OTHER_AGENT, type Check, type Stage } from "./stage.ts";

/** From the command's start to the end of the stream; starting the command takes most of it. */
const LIMIT = 3000;

interface StreamLine {
  readonly event: "tick" | "ended" | "next";
  readonly at: number;
  readonly how?: string;
  readonly status?: number;
  readonly message?: string;
}

export async function checkCut(stage: Stage): Promise<Check[]> {
  const victim = stage.startAgent(AGENT, "hold-stream.ts");
  const other = stage.startAgent(OTHER_AGENT, "hold-stream.ts");
  try {
    await Promise.all([victim.line(isTick), other.line(isTick)]);
    const cutAt = Date.now();
    const { code, stderr } = await stage.postern.postern(["cut", AGENT, "--reason", "demo"]);
    const returnedAt = Date.now();
    await within(victim.ended, 10_000);
    const lines = jsonLines<StreamLine>(victim.stdout);
    const goesOn = await ticksAfter(other, returnedAt);
    return [
      judgeEnd(lines, { code, stderr, cutAt }),
      judgeNext(lines),
      {
        name: "another agent's stream goes on",
        ok: goesOn,
        detail: goesOn ? "pieces kept arriving" : "it stopped",
      },
      await judgeRestore(stage),
    ];
  } finally {
    await Promise.all([victim.stop(), other.stop()]);
  }
}

const isTick = (line: string) => line.startsWith('{"event":"tick"');

function judgeEnd(lines: StreamLine[], cut: { code: number; stderr: string; cutAt: number }): Check {
  const end = lines.find(({ event }) => event === "ended");
  const took = end === undefined ? undefined : end.at - cut.cutAt;
  const ok = cut.code === 0 && took !== undefined && took >= 0 && took < LIMIT;
  const detail =
    took === undefined ? `the stream did not end ${cut.stderr}` : `ended ${took} ms after the command began`;
  return { name: "`postern cut` ends an open stream", ok, detail };
}

function judgeNext(lines: StreamLine[]): Check {
  const next = lines.find(({ event }) => event === "next");
  return {
    name: "the next request of the agent that was cut off is refused",
    ok: next?.status === 403,
    detail: `status ${next?.status ?? "unknown"}: ${next?.message ?? ""}`.slice(0, 160),
  };
}

async function ticksAfter(program: RunningProgram, instant: number): Promise<boolean> {
  const late = program.line((line) => isTick(line) && (JSON.parse(line) as StreamLine).at > instant + 200);
  return within(
    late.then(() => true).catch(() => false),
    5000,
  ).then((value) => value === true);
}

async function judgeRestore(stage: Stage): Promise<Check> {
  const { code } = await stage.postern.postern(["restore", AGENT]);
  const { stdout } = await stage.startAgent(AGENT, "agent.ts").ended;
  const calls = jsonLines<{ ok: boolean }>(stdout);
  const passed = calls.filter(({ ok }) => ok).length;
  return {
    name: "`postern restore` lets it pass again",
    ok: code === 0 && calls.length === 6 && passed === 6,
    detail: `${passed} of ${calls.length} calls passed`,
  };
}

/** The value, or undefined after so many milliseconds. */
async function within<T>(promise: Promise<T>, limit: number): Promise<T | undefined> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<undefined>((resolve) => void (timer = setTimeout(resolve, limit, undefined)));
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}
