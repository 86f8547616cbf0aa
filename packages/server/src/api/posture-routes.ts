// SPDX-License-Identifier: Apache-2.0
/** The API to what is said of the health of workloads and machines. */
import {
  type KeptPosture,
  type PostureReport,
  postureReportSchema,
  type PostureResponse,
  type ProblemCode,
} from "@postern/contract";
import type { Result } from "../kernel/result.ts";
import { checked } from "./checked.ts";
import { ApiRefusal, type Route } from "./router.ts";

export interface PosturePorts {
  list(): Promise<readonly KeptPosture[]>;
  put(
    report: PostureReport,
    operator: { readonly uid: number; readonly pid: number },
  ): Promise<Result<KeptPosture, { readonly code: ProblemCode; readonly detail: string }>>;
}

export const postureRoutes = (ports: PosturePorts): readonly Route[] => [
  {
    method: "GET",
    path: "/v1/posture",
    handler: async (): Promise<PostureResponse> => ({ reports: await ports.list() }),
  },
  {
    method: "PUT",
    path: "/v1/posture",
    handler: async (call): Promise<KeptPosture> => {
      const done = await ports.put(checked(postureReportSchema, await call.json()), call.operator);
      if (done.ok) return done.value;
      throw new ApiRefusal(done.reason.code, done.reason.detail);
    },
  },
];
