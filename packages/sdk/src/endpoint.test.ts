// SPDX-License-Identifier: Apache-2.0
import { afterEach, describe, expect, it, vi } from "vitest";
import { findEndpoint, parseEndpoint } from "./endpoint.ts";

afterEach(() => void vi.unstubAllEnvs());

describe("an endpoint", () => {
  it.each([
    ["a name of a machine before the path", "unix://host/run/api.sock"],
    ["a path that is not absolute", "unix:run/api.sock"],
    ["two slashes and no third", "unix://api.sock"],
    ["a query", "unix:///run/api.sock?x=1"],
    ["a fragment", "unix:///run/api.sock#x"],
    ["nothing but the scheme", "unix://"],
    ["no path but a slash", "unix:///"],
    ["half a percent-encoding", "unix:///run/%4"],
    ["a byte that ends paths", "unix:///run/a%00b"],
    ["a name in place of an address", "tcp://localhost:8081"],
    ["no port", "tcp://127.0.0.1"],
    ["port 0", "tcp://127.0.0.1:0"],
    ["a port too large", "tcp://127.0.0.1:65536"],
    ["a path behind the port", "tcp://127.0.0.1:8081/"],
    ["a user", "tcp://me@127.0.0.1:8081"],
    ["an address that is none", "tcp://127.0.0.256:8081"],
    ["an address of version 6 without brackets", "tcp://::1:8081"],
    ["another scheme", "http://127.0.0.1:8081"],
    ["a bare path", "/run/api.sock"],
    ["capital letters", "UNIX:///run/api.sock"],
  ])("is refused with %s (EP-4, W3: unix and tcp, nothing else)", (_, text) => {
    expect(() => parseEndpoint(text)).toThrow(expect.objectContaining({ code: "endpoint_invalid" }) as Error);
  });

  it("W3: is a path or an address with a port", () => {
    expect(parseEndpoint("unix:///run/api.sock")).toEqual({ kind: "unix", path: "/run/api.sock" });
    expect(parseEndpoint("unix:/run/api.sock")).toEqual({ kind: "unix", path: "/run/api.sock" });
    expect(parseEndpoint("unix:///run/a%20b")).toEqual({ kind: "unix", path: "/run/a b" });
    expect(parseEndpoint("tcp://127.0.0.1:8081")).toEqual({ kind: "tcp", host: "127.0.0.1", port: 8081 });
    expect(parseEndpoint("tcp://[::1]:8081")).toEqual({ kind: "tcp", host: "::1", port: 8081 });
  });

  it("W3: is what SPIFFE_ENDPOINT_SOCKET says where nothing is given, and what is given where something is", () => {
    vi.stubEnv("SPIFFE_ENDPOINT_SOCKET", "unix:///run/from-environment");
    expect(findEndpoint()).toMatchObject({ path: "/run/from-environment" });
    expect(findEndpoint("unix:///run/given")).toMatchObject({ path: "/run/given" });
    vi.stubEnv("SPIFFE_ENDPOINT_SOCKET", "");
    expect(() => findEndpoint()).toThrow("set SPIFFE_ENDPOINT_SOCKET");
  });
});
