// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it } from "vitest";
import { field, ProtobufError, readFields, varintField } from "./protobuf.ts";

const many = (count: number, each: Buffer): Buffer => Buffer.concat(Array<Buffer>(count).fill(each));

describe("a message of very many fields", () => {
  it.each([10_001, 4_000_000])("is refused before they are all there: %d", (count) => {
    expect(() => readFields(many(count, field(4, "")))).toThrow(new ProtobufError("too many fields"));
  });

  it("is read where it may be meant, in order, whatever stands between them", () => {
    const texts = Array.from({ length: 9000 }, (_, index) => String(index));
    const message = Buffer.concat(texts.flatMap((text) => [field(1, text), varintField(7, 2 ** 40)]));
    expect(readFields(message).get(1)!.map(String)).toEqual(texts);
  });
});
