// SPDX-License-Identifier: Apache-2.0
/** What a store adapter gives to the contract suites. */
import { afterEach, beforeEach } from "vitest";
import type { Clock, Instant } from "../kernel/clock.ts";
import type { Store } from "./store.ts";

export interface EmptyPlace {
  /** Opens the store in this place; again after `close`, with everything still there. */
  open(clock: Clock): Promise<Store>;
  remove(): Promise<void>;
}

export interface StoreUnderTest {
  readonly store: Store;
  readonly clock: { time: Instant; now(): Instant };
  reopen(): Promise<void>;
}

/** A fresh store for each test of the surrounding `describe`. */
export function freshStores(makePlace: () => Promise<EmptyPlace>): StoreUnderTest {
  let place: EmptyPlace;
  let store: Store;
  const clock = { time: 1000, now: () => clock.time };
  beforeEach(async () => {
    clock.time = 1000;
    place = await makePlace();
    store = await place.open(clock);
  });
  afterEach(async () => {
    await store.close();
    await place.remove();
  });
  return {
    get store() {
      return store;
    },
    clock,
    async reopen() {
      await store.close();
      store = await place.open(clock);
    },
  };
}
