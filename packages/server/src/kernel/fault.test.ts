// SPDX-License-Identifier: Apache-2.0
import { expect, it } from "vitest";
import { Fault } from "./fault.ts";

it("is an error with a code of the problem table, and keeps its cause apart from its message", () => {
  const cause = new Error("quotes what it was asked for");
  const fault = new Fault("upstream_failed", "the connection failed", { cause });
  expect(fault).toBeInstanceOf(Error);
  expect([fault.name, fault.code, fault.message, fault.cause]).toEqual([
    "Fault",
    "upstream_failed",
    "the connection failed",
    cause,
  ]);
  expect(JSON.stringify(Object.assign({}, fault))).not.toContain("quotes");
});
