// SPDX-License-Identifier: Apache-2.0
/** Bytes as a row of choices: the same bytes always choose the same, and fewer bytes choose less. */
export class Choices {
  readonly #bytes: Buffer;
  #at = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  get isOver(): boolean {
    return this.#at >= this.#bytes.length;
  }

  /** 0 to `limit` - 1; 0 where no bytes are left. */
  below(limit: number): number {
    let value = 0;
    for (let range = 1; range < limit; range *= 256) value = value * 256 + (this.#bytes[this.#at++] ?? 0);
    return value % limit;
  }

  /** True once in `times`; never where no bytes are left. */
  once(times: number): boolean {
    return this.below(times) === times - 1;
  }

  pick<T>(list: readonly T[]): T {
    return list[this.below(list.length)]!;
  }

  /** Up to `most` times what `make` gives. */
  list<T>(most: number, make: () => T): T[] {
    const made: T[] = [];
    for (let count = this.below(most + 1); made.length < count;) made.push(make());
    return made;
  }

  bytes(most: number): Buffer {
    const length = this.below(most + 1);
    const taken = this.#bytes.subarray(this.#at, this.#at + length);
    this.#at += length;
    return taken;
  }

  /** All that is left. */
  rest(): Buffer {
    const rest = this.#bytes.subarray(this.#at);
    this.#at = this.#bytes.length;
    return rest;
  }
}
