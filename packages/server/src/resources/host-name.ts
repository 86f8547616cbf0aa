// SPDX-License-Identifier: Apache-2.0
/**
 * Is a text one exact host name that everybody reads alike? If not, what was probably meant?
 *
 * What agents send is compared with it byte for byte after lower-casing, so this is the only place where
 * another spelling is turned into the one that counts, and a person has to agree to it.
 */
import { domainToASCII, domainToUnicode } from "node:url";

/** Why `text` is no host of a server workload, or undefined. */
export function hostProblem(text: string): string | undefined {
  const [what, meant] = findProblem(text) ?? [];
  if (what === undefined || meant === undefined) return what;
  const plain = domainToASCII(decoded(meant)).replace(/\.$/, "");
  return plain === "" || findProblem(plain) !== undefined ? what : `${what}, such as \`${plain}\``;
}

/** What is wrong, and what may have been meant. */
type Problem = readonly [what: string, meant?: string];

const findProblem = (text: string): Problem | undefined =>
  spellingProblem(text) ?? addressLikeProblem(text) ?? labelProblem(text) ?? aLabelProblem(text);

/** Why a host may not be looked up by the system's resolver, or undefined. */
export function resolutionProblem(host: string): string | undefined {
  if (host === "localhost" || host.endsWith(".localhost"))
    return "means the machine itself (RFC 6761 §6.3); say so with connectTo, such as { address: 127.0.0.1, port: 8443 }";
  return host.includes(".")
    ? undefined
    : "is a single label, which a search list may complete to any name; write the full name, or add connectTo";
}

function spellingProblem(text: string): Problem | undefined {
  const [, bare = ""] = /^(?:.*?:\/\/)?([^/?#\\]*)/s.exec(text)!;
  const host = bare.slice(bare.lastIndexOf("@") + 1).replace(/:[0-9]*$/, "");
  if (text === "") return ["is empty; write a host", "api.example.com"];
  if (text.includes("://")) return ["is a URL; write the host alone", host];
  if (text.includes("@")) return ["holds user information; write the host alone", host];
  if (/[/?#\\]/.test(text)) return ["holds a path; write the host alone", host];
  if (/\s/.test(text)) return ["holds a space; write the host alone", text.replaceAll(/\s/g, "")];
  if (text.includes("*"))
    return [
      "is a wildcard, but a credential is bound to exact hosts; write each one out",
      text.replace(/^\*\./, "my-name."),
    ];
  if (text.includes("%")) return ["is percent-encoded; write the host plainly", text];
  const port = /^(?:[^:]+|\[.*\]):([0-9]*)$/.exec(text);
  if (port !== null)
    return [`holds a port; write \`port: ${port[1] || 443}\` beside hosts, and here the host`, host];
  const foreign = /\P{ASCII}/u.exec(text)?.[0];
  if (foreign !== undefined) {
    const point = `U+${foreign.codePointAt(0)!.toString(16).toUpperCase().padStart(4, "0")}`;
    return [`holds ${point}, which is not ASCII; write the name as DNS has it`, text];
  }
  if (/[A-Z]/.test(text)) return ["is not in lower case; write one form", text];
  return text.endsWith(".") ? ["ends with a dot; write the name without it", text] : undefined;
}

/** The last label decides whether a name is taken for an IPv4 address, in any notation (WHATWG URL §3.5). */
function addressLikeProblem(text: string): Problem | undefined {
  const isAddress = /^[[:]|:/.test(text) || /(^|\.)([0-9]+|0x[0-9a-f]*)$/.test(text);
  return isAddress
    ? [
        "is an IP address or may be read as one; write the name that the API's certificate has, and the address in connectTo",
      ]
    : undefined;
}

/** RFC 1123 §2.1, RFC 1035 §2.3.4. */
function labelProblem(text: string): Problem | undefined {
  if (text.length > 253) return ["is longer than 253 characters"];
  for (const label of text.split(".")) {
    if (label === "") return ["has an empty label; write single dots, between labels only"];
    if (label.length > 63) return [`has a label of more than 63 characters, \`${label.slice(0, 20)}…\``];
    if (label.includes("_")) return ["holds an underscore, which no host name can"];
    if (/^-|-$/.test(label)) return [`has a label that begins or ends with a hyphen, \`${label}\``];
    const odd = /[^a-z0-9-]/.exec(label)?.[0];
    if (odd !== undefined) return [`holds ${JSON.stringify(odd)}, which no host name can`];
  }
  return undefined;
}

/** RFC 5890 §2.3.2.1: an A-label is the one encoding of one name. */
function aLabelProblem(text: string): Problem | undefined {
  for (const label of text.split(".").filter((each) => each.startsWith("xn--"))) {
    const name = domainToUnicode(label);
    // Node gives back as it is what it cannot decode.
    if (name === label || name === "") return [`has a label that is no valid Punycode, \`${label}\``];
    if (domainToASCII(name) !== label)
      return [`has \`${label}\`, which is another spelling; write one`, name];
    const scripts = LOOKALIKES.filter((script) => script.pattern.test(name)).map((script) => script.name);
    if (scripts.length > 1)
      return [
        `has \`${label}\`, which mixes letters of ${scripts.join(" and ")} that look alike; take the name from the API's documentation`,
      ];
  }
  return undefined;
}

/** Scripts with letters that cannot be told apart (UTS #39 §5.2); nobody mixes them within a word. */
const LOOKALIKES = [
  { name: "Latin", pattern: /\p{Script=Latin}/u },
  { name: "Greek", pattern: /\p{Script=Greek}/u },
  { name: "Cyrillic", pattern: /\p{Script=Cyrillic}/u },
  { name: "Armenian", pattern: /\p{Script=Armenian}/u },
  { name: "Cherokee", pattern: /\p{Script=Cherokee}/u },
];

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
