// SPDX-License-Identifier: Apache-2.0
/** Judges what the probe saw. Pure: the same report always gives the same checks. */
import type { ProbeReport } from "./probe.ts";

export interface Check {
  readonly name: string;
  readonly ok: boolean;
  readonly detail: string;
}

/** `right`: how many calls reached the canary server with exactly the canary. */
export function judge(seen: ProbeReport, canary: string, right: number): Check[] {
  const answered = "status" in seen.call;
  const capabilities = [...seen.status.matchAll(/^Cap\w+:\s*(\w+)$/gm)].map(([, value]) => value!);
  const check = (name: string, ok: boolean, good: string, bad: string): Check => ({
    name,
    ok,
    detail: ok ? good : bad,
  });
  return [
    check(
      "call succeeds",
      answered && seen.call.status === 200 && right === 1,
      "the upstream got the secret, the agent got its answer",
      answered
        ? `the agent got status ${seen.call.status}; the upstream saw the secret ${right} times`
        : "the call failed",
    ),
    check(
      "secret not in the answer",
      answered && !holdsCanary(`${seen.call.headers}\n${seen.call.body}`, canary),
      "the upstream sent it back in clear, base64 and hex; none of it arrived",
      "the upstream's reflection of the secret reached the agent",
    ),
    check(
      "secret not in any environment",
      seen.environments.length > 0 && !holdsCanary(seen.environments.join("\n"), canary),
      `${seen.environments.length} process(es) looked at`,
      "the secret is in an environment that the agent can read",
    ),
    check(
      "secret not in any command line",
      seen.commandLines.length > 0 && !holdsCanary(seen.commandLines.join("\n"), canary),
      `${seen.commandLines.length} process(es) looked at`,
      "the secret is in a command line that the agent can read",
    ),
    check(
      "other processes out of sight",
      seen.processes > 0 && seen.processes <= 6,
      `the agent sees ${seen.processes} processes, all of its own run`,
      `the agent sees ${seen.processes} processes`,
    ),
    check(
      "data folder out of sight",
      seen.dataFolder.every((path) =>
        /^runs(\/[a-z0-9]+(\/(ca\.pem|ca-bundle\.pem|door\.sock|launch\.sock))?)?$/.test(path),
      ),
      "vault, keys, log and control socket cannot be reached",
      `the agent sees ${seen.dataFolder.slice(0, 5).join(", ")}`,
    ),
    check(
      "no way round the gateway",
      seen.direct === "refused",
      "a direct connection to the upstream failed",
      "the agent reached the upstream directly",
    ),
    check(
      "no capabilities, no new privileges",
      capabilities.length >= 5 &&
        capabilities.every((set) => /^0+$/.test(set)) &&
        /^NoNewPrivs:\s*1$/m.test(seen.status),
      "the kernel says so",
      "the agent holds privileges",
    ),
    check(
      "Postern's own program is safe from the agent",
      seen.writable.length === 0,
      "its files cannot be changed from inside",
      `the agent can change ${seen.writable.join(", ")}`,
    ),
    check(
      "no folder on the way can be moved",
      seen.renamed.length === 0,
      "the data folder and the program stay where the next run looks for them",
      `the agent can rename ${seen.renamed.join(", ")}`,
    ),
  ];
}

/** In clear, or in an encoding that keeps the bytes findable. */
export function holdsCanary(seen: string, canary: string): boolean {
  const bytes = Buffer.from(canary);
  const forms = [canary, bytes.toString("hex"), bytes.toString("hex").toUpperCase()];
  for (const offset of [0, 1, 2]) {
    const padded = Buffer.concat([Buffer.alloc(offset), bytes]);
    const interior = padded
      .toString("base64")
      .slice(offset === 0 ? 0 : offset + 1, Math.floor((padded.length * 4) / 3));
    forms.push(interior, interior.replaceAll("+", "-").replaceAll("/", "_"));
  }
  return forms.some((form) => seen.includes(form));
}
