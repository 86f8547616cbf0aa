// SPDX-License-Identifier: Apache-2.0
/** What a test says to the agent that it runs, and what it hears back. Bytes are base64, times milliseconds. */

export type AgentCommand =
  | { readonly do: "connect"; readonly id: number; readonly to: "gate" | "door" }
  | {
      readonly do: "tls";
      readonly id: number;
      readonly serverName?: string | undefined;
      readonly alpn: readonly string[];
      /** Goes on with any certificate. */
      readonly isCareless?: boolean;
    }
  | { readonly do: "write"; readonly id: number; readonly bytes: string }
  | { readonly do: "pause" | "end" | "destroy"; readonly id: number };

export type AgentEvent =
  | { readonly event: "ready"; readonly environment: Readonly<Record<string, string>>; readonly pid: number }
  | { readonly event: "data"; readonly id: number; readonly at: number; readonly bytes: string }
  | { readonly event: "error"; readonly id: number; readonly at: number; readonly code: string }
  | { readonly event: "secure" | "close"; readonly id: number; readonly at: number };
