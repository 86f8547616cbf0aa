// SPDX-License-Identifier: Apache-2.0
/** What on a usual machine an isolated agent can still reach, and should perhaps not. */
import { dirname, join } from "node:path";

export interface Exposure {
  readonly path: string;
  /** What it is, and why it matters. */
  readonly what: string;
}

const IN_HOME: readonly (readonly [string, string])[] = [
  [".aws/credentials", "AWS keys"],
  [".aws/sso/cache", "AWS sign-in tokens"],
  [".azure", "Azure tokens"],
  [".config/gcloud", "Google Cloud tokens"],
  [".config/gh/hosts.yml", "GitHub token"],
  [".config/op", "1Password session"],
  [".docker/config.json", "registry passwords"],
  [".kube/config", "Kubernetes credentials"],
  [".netrc", "passwords of web hosts"],
  [".git-credentials", "git passwords"],
  [".npmrc", "npm token"],
  [".pypirc", "PyPI token"],
  [".cargo/credentials.toml", "crates.io token"],
  [".gem/credentials", "RubyGems token"],
  [".ssh", "SSH keys"],
  [".gnupg", "GnuPG keys"],
  [".pgpass", "PostgreSQL passwords"],
  [".my.cnf", "MySQL password"],
  [".vault-token", "Vault token"],
  [".terraform.d/credentials.tfrc.json", "Terraform token"],
  [".huggingface/token", "Hugging Face token"],
  [".cache/huggingface/token", "Hugging Face token"],
  [".codex/auth.json", "OpenAI sign-in"],
  [".claude/.credentials.json", "Anthropic sign-in"],
  [".claude.json", "Anthropic settings with sign-in"],
  [".gemini/oauth_creds.json", "Google sign-in"],
  [".bash_history", "typed commands, often with keys"],
  [".zsh_history", "typed commands, often with keys"],
];

/** Whoever can talk to these can start programs outside the isolation, or use keys without seeing them. */
const SOCKETS: readonly (readonly [string, string])[] = [
  ["/var/run/docker.sock", "Docker's socket: whoever reaches it is root on this machine"],
  ["/run/docker.sock", "Docker's socket: whoever reaches it is root on this machine"],
  ["/run/podman/podman.sock", "Podman's socket: starts programs outside the isolation"],
  ["/run/containerd/containerd.sock", "containerd's socket: starts programs outside the isolation"],
  ["/run/crio/crio.sock", "CRI-O's socket: starts programs outside the isolation"],
  ["/run/dbus/system_bus_socket", "the system bus: may start programs outside the isolation"],
  ["/run/systemd/private", "systemd's socket: starts programs outside the isolation"],
];

/** Candidates by path; whether they can be reached is found out inside. */
export function exposureCandidates(
  environment: Readonly<Record<string, string | undefined>>,
  home: string,
  workingDirectory: string,
): Exposure[] {
  const runtime = environment["XDG_RUNTIME_DIR"] ?? `/run/user/${process.getuid?.() ?? 0}`;
  const candidates: Exposure[] = [
    ...IN_HOME.map(([path, what]) => ({ path: join(home, path), what })),
    ...SOCKETS.map(([path, what]) => ({ path, what })),
    {
      path: join(runtime, "docker.sock"),
      what: "rootless Docker's socket: starts programs outside the isolation",
    },
    {
      path: join(runtime, "podman/podman.sock"),
      what: "Podman's socket: starts programs outside the isolation",
    },
    { path: "/tmp/.X11-unix", what: "X11's sockets: types into your other windows" },
    { path: join(runtime, "gnupg"), what: "GnuPG agent's sockets: signs and decrypts with your keys" },
    { path: join(runtime, "keyring"), what: "the key ring's sockets" },
  ];
  const { SSH_AUTH_SOCK: ssh, DOCKER_HOST: docker } = environment;
  if (ssh !== undefined)
    candidates.push({ path: ssh, what: "an ssh agent's socket: signs in with your SSH keys" });
  if (docker?.startsWith("unix://") === true)
    candidates.push({
      path: docker.slice(7),
      what: "Docker's socket: whoever reaches it is root on this machine",
    });
  return [...candidates, ...environmentFiles(workingDirectory)];
}

/** `.env` files here and in the folders above. */
function environmentFiles(from: string): Exposure[] {
  const found: Exposure[] = [];
  for (let folder = from; ; folder = dirname(folder)) {
    for (const name of [".env", ".env.local", ".env.development", ".env.production", ".envrc"])
      found.push({ path: join(folder, name), what: "variables of a project, often with keys" });
    if (dirname(folder) === folder) return found;
  }
}
