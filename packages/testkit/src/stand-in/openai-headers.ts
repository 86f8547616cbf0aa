// SPDX-License-Identifier: Apache-2.0
/** Which headers does every answer of api.openai.com carry? */
import { newStandInId } from "./answer.ts";

export const openAiHeaders = () => ({
  "x-request-id": newStandInId("req_", 32),
  "openai-organization": "stand-in-org",
  "openai-processing-ms": "42",
  "openai-version": "2020-10-01",
  "x-ratelimit-limit-requests": "10000",
  "x-ratelimit-remaining-requests": "9999",
});
