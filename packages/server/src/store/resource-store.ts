// SPDX-License-Identifier: Apache-2.0
/** What operators have said: the resources, changed together or not at all. */
import type { Resource, ResourceKind, ResourceOf } from "@postern/contract";
import type { Instant } from "../kernel/clock.ts";

export interface StoredResource<R extends Resource = Resource> {
  readonly resource: R;
  /** 1 when created, one more at every change. */
  readonly version: number;
  readonly createdAt: Instant;
  readonly updatedAt: Instant;
}

export interface ResourceName {
  readonly kind: ResourceKind;
  readonly name: string;
}

export interface ResourceChanges {
  readonly put: readonly Resource[];
  /** What is not there is deleted already. */
  readonly delete: readonly ResourceName[];
}

interface ResourceSnapshot {
  readonly epoch: number;
  readonly resources: readonly StoredResource[];
}

export interface ResourceStore {
  /** Grows by one with every change; 0 in a new store. */
  epoch(): Promise<number>;
  /** All resources in the order in which they refer to each other, then by name. */
  list(): Promise<readonly StoredResource[]>;
  /** The same, with the epoch at which exactly these resources were there. */
  snapshot(): Promise<ResourceSnapshot>;
  get<K extends ResourceKind>(kind: K, name: string): Promise<StoredResource<ResourceOf<K>> | undefined>;
  /**
   * Applies all changes or none. A Fault `resource_conflict` where `expectedEpoch` is not the present one.
   * No changes leave the epoch as it is.
   */
  replace(changes: ResourceChanges, expectedEpoch?: number): Promise<{ readonly epoch: number }>;
}
