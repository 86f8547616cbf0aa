// SPDX-License-Identifier: Apache-2.0
/** Makes the calls given and prints one JSON line for each; the runner judges. */
import { inspect } from "node:util";

export async function reportCalls(calls) {
  for (const [call, make] of Object.entries(calls)) {
    try {
      console.log(JSON.stringify({ call, text: await make() }));
    } catch (error) {
      console.log(JSON.stringify({ call, error: inspect(error, { depth: 2 }) }));
    }
  }
}

/** The text of all pieces, each read by `read`. */
export async function joined(stream, read = (piece) => piece) {
  let text = "";
  for await (const piece of stream) text += read(piece) ?? "";
  return text;
}

export const QUESTION = "Say hello.";
export const messages = [{ role: "user", content: QUESTION }];
