// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it } from "vitest";
import { Secret } from "../kernel/secret.ts";
import { MessageKey, WINDOW } from "./message-key.ts";

const key = new MessageKey(Secret.fromUtf8("8f742231b10e8888abcd99yyyzzz85a5"));
const now = 1_531_420_618_000;
const body = Buffer.from(
  "token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c",
);
// The example in Slack's documentation of request signing.
const signature = "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503";
const message = { timestamp: "1531420618", signature, body };

describe("a signed message", () => {
  it("is known by the example that Slack publishes", () => {
    expect(key.sign(1_531_420_618, body)).toBe(signature);
    expect(key.verify(message, now)).toEqual({ ok: true, value: undefined });
  });

  it.each([
    ["with another body", { body: Buffer.concat([body, Buffer.from("x")]) }],
    ["with another time", { timestamp: "1531420619" }],
    ["with the time in another spelling", { timestamp: "01531420618" }],
    ["with the time in another notation", { timestamp: "1.531420618e9" }],
    ["without a time", { timestamp: undefined }],
    ["without a signature", { signature: undefined }],
    ["with a shorter signature", { signature: signature.slice(0, -2) }],
    ["with another version", { signature: signature.replace("v0", "v1") }],
    ["with two signatures", { signature: `${signature}, ${signature}` }],
    ["with one bit changed", { signature: signature.replace(/3$/, "2") }],
  ])("%s is none", (_, change) => {
    expect(key.verify({ ...message, ...change }, now).ok).toBe(false);
  });

  it("of another key is none", () => {
    const other = new MessageKey(Secret.fromUtf8("8f742231b10e8888abcd99yyyzzz85a6"));
    expect(other.verify(message, now).ok).toBe(false);
  });

  it("from too long ago, or from the future, is none", () => {
    expect(key.verify(message, now + 1000 * WINDOW).ok).toBe(true);
    expect(key.verify(message, now + 1000 * WINDOW + 1).ok).toBe(false);
    expect(key.verify(message, now - 1000 * WINDOW - 1).ok).toBe(false);
  });

  it("needs a key that is not easily guessed", () => {
    expect(() => new MessageKey(Secret.fromUtf8("short"))).toThrow("16 characters");
  });
});
