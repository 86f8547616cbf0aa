// SPDX-License-Identifier: Apache-2.0
/** One call for a test or demo: all stand-ins with random keys, and the resources that make Postern use them. */
import { createTestAuthority, type TestAuthority } from "./test-authority.ts";
import { newMarkedSecret } from "./canary.ts";
import { startAnthropicStandIn } from "./stand-in/anthropic.ts";
import { startGeminiStandIn } from "./stand-in/gemini.ts";
import { startGitStandIn, type GitStandIn } from "./stand-in/git.ts";
import { startOpenAiStandIn } from "./stand-in/openai.ts";
import type { StandIn } from "./stand-in/tls-stand-in.ts";
import { standInResources, type ResourceOptions } from "./stand-in-resources.ts";

export interface StandIns {
  readonly authority: TestAuthority;
  readonly openai: StandIn;
  readonly anthropic: StandIn;
  readonly gemini: StandIn;
  readonly git: GitStandIn | undefined;
  /** Secret name (as in the resources) to the value that the stand-in accepts. */
  readonly secrets: Readonly<Record<string, string>>;
  /** YAML documents for `postern apply`. */
  resources(options?: ResourceOptions): string;
  close(): Promise<void>;
}

export interface StartStandInsOptions {
  /** An empty folder for the repository of the git stand-in, which is started only if this is given. */
  readonly gitFolder?: string;
  readonly redirectTo?: string;
  readonly endlessInterval?: number;
  readonly log?: (line: string) => void;
}

export async function startStandIns(options: StartStandInsOptions = {}): Promise<StandIns> {
  const authority = await createTestAuthority();
  const secrets = {
    "openai-key": newMarkedSecret("sk-proj-"),
    "anthropic-key": newMarkedSecret("sk-ant-api03-"),
    "gemini-key": newMarkedSecret("AIzaSy"),
    ...(options.gitFolder === undefined ? {} : { "git-password": newMarkedSecret("ghp_") }),
  };
  const { gitFolder, ...rest } = options;
  const [openai, anthropic, gemini, git] = await Promise.all([
    startOpenAiStandIn({ authority, key: secrets["openai-key"], ...rest }),
    startAnthropicStandIn({ authority, key: secrets["anthropic-key"], ...rest }),
    startGeminiStandIn({ authority, key: secrets["gemini-key"], ...rest }),
    gitFolder === undefined
      ? undefined
      : startGitStandIn({ authority, key: secrets["git-password"]!, folder: gitFolder, ...rest }),
  ]);
  const all = [openai, anthropic, gemini, ...(git === undefined ? [] : [git])];
  return {
    authority,
    openai,
    anthropic,
    gemini,
    git,
    secrets,
    resources: (resourceOptions = {}) => standInResources(authority.certificate, all, resourceOptions),
    close: async () => void (await Promise.all(all.map((standIn) => standIn.close()))),
  };
}
