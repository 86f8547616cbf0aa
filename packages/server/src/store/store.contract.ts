// SPDX-License-Identifier: Apache-2.0
/** The whole contract of a store: every adapter's test calls this. */
import { agentStateStoreContract } from "./agent-state-store.contract.ts";
import { approvalStoreContract } from "./approval-store.contract.ts";
import { evidenceStoreContract } from "./evidence-store.contract.ts";
import { authorityStoreContract } from "./authority-store.contract.ts";
import { grantStoreContract } from "./grant-store.contract.ts";
import { joinTokenStoreContract } from "./join-token-store.contract.ts";
import { keyStoreContract } from "./key-store.contract.ts";
import { postureStoreContract } from "./posture-store.contract.ts";
import { resourceStoreContract } from "./resource-store.contract.ts";
import { sealedValueStoreContract } from "./sealed-value-store.contract.ts";
import { secretStoreContract } from "./secret-store.contract.ts";
import type { EmptyPlace } from "./store-under-test.contract.ts";

export function storeContract(makePlace: () => Promise<EmptyPlace>): void {
  resourceStoreContract(makePlace);
  secretStoreContract(makePlace);
  agentStateStoreContract(makePlace);
  keyStoreContract(makePlace);
  authorityStoreContract(makePlace);
  sealedValueStoreContract(makePlace);
  evidenceStoreContract(makePlace);
  joinTokenStoreContract(makePlace);
  approvalStoreContract(makePlace);
  grantStoreContract(makePlace);
  postureStoreContract(makePlace);
}
