// SPDX-License-Identifier: Apache-2.0
/** The operator's API to the authorities of the trust domain and to what they signed. */
import type {
  AuthoritiesResponse,
  AuthorityChangeResponse,
  CheckSvidRequest,
  CheckSvidResponse,
} from "@postern/contract";
import { z } from "zod";
import type { Result } from "../kernel/result.ts";
import { checked } from "./checked.ts";
import { ApiRefusal, type Call, type Route } from "./router.ts";

export type AuthorityRequest =
  | { readonly verb: "prepare"; readonly kind: "x509" | "jwt" | "wit" }
  | { readonly verb: "activate"; readonly authority: string; readonly isForced: boolean }
  | { readonly verb: "taint" | "revoke"; readonly authority: string };

export interface IdentityPorts {
  authorities(): AuthoritiesResponse;
  changeAuthority(
    request: AuthorityRequest,
    operator: { readonly uid: number },
  ): Promise<Result<string, string>>;
  /** A SPIFFE trust bundle as JSON. */
  trustBundle(): string;
  checkSvid(request: CheckSvidRequest): CheckSvidResponse;
}

/** `ports` gives nothing where the server issues no identities. */
export function identityRoutes(ports: () => IdentityPorts | undefined): readonly Route[] {
  const there = (): IdentityPorts => {
    const found = ports();
    if (found !== undefined) return found;
    throw new ApiRefusal(
      "not_found",
      "this server issues no identities: start it with `postern up --trust-domain NAME`",
    );
  };
  return [
    { method: "GET", path: "/v1/authorities", handler: async () => there().authorities() },
    { method: "POST", path: "/v1/authorities", handler: (call) => prepare(there(), call) },
    { method: "POST", path: "/v1/authorities/:/activate", handler: (call) => activate(there(), call) },
    { method: "POST", path: "/v1/authorities/:/taint", handler: (call) => takeBack(there(), call, "taint") },
    {
      method: "POST",
      path: "/v1/authorities/:/revoke",
      handler: (call) => takeBack(there(), call, "revoke"),
    },
    {
      method: "GET",
      path: "/v1/trust-bundle",
      handler: async () => ({ bundle: there().trustBundle() }),
    },
    {
      method: "POST",
      path: "/v1/svids/check",
      handler: async (call) => {
        const { svid, audience } = checked(checkSchema, await call.json());
        return there().checkSvid({ svid, ...(audience === undefined ? {} : { audience }) });
      },
    },
  ];
}

const prepareSchema = z.strictObject({ kind: z.enum(["x509", "jwt", "wit"]) });
const activateSchema = z.strictObject({ force: z.boolean() });
const emptySchema = z.strictObject({});
const checkSchema = z.strictObject({
  svid: z.string().min(1).max(100_000),
  audience: z.string().min(1).max(4096).optional(),
});

async function prepare(ports: IdentityPorts, call: Call): Promise<AuthorityChangeResponse> {
  const { kind } = checked(prepareSchema, await call.json());
  return changed(ports, { verb: "prepare", kind }, call);
}

async function activate(ports: IdentityPorts, call: Call): Promise<AuthorityChangeResponse> {
  const { force } = checked(activateSchema, await call.json());
  return changed(ports, { verb: "activate", authority: call.parameters[0]!, isForced: force }, call);
}

async function takeBack(
  ports: IdentityPorts,
  call: Call,
  verb: "taint" | "revoke",
): Promise<AuthorityChangeResponse> {
  checked(emptySchema, await call.json());
  return changed(ports, { verb, authority: call.parameters[0]! }, call);
}

async function changed(
  ports: IdentityPorts,
  request: AuthorityRequest,
  { operator }: Call,
): Promise<AuthorityChangeResponse> {
  const done = await ports.changeAuthority(request, operator);
  if (!done.ok) throw new ApiRefusal("resource_conflict", done.reason);
  return { authority: done.value };
}
