// SPDX-License-Identifier: Apache-2.0
/** A workload with `@postern/sdk`, given as argument: says what the Workload API gives it, one JSON object a line, until it is denied. */
import { X509Certificate } from "node:crypto";

const { JwtSource, X509Source } = await import(process.argv[2]);
const say = (fields) => process.stdout.write(`${JSON.stringify(fields)}\n`);

const tokens = await JwtSource.open();
const { id, token } = await tokens.svid("api");
let refused = false;
try {
  tokens.validate(token, "other");
} catch ({ reason }) {
  refused = reason === "audience_wrong";
}
say({ event: "jwt", id: id.uri, server: tokens.validate(token, "api").id.uri, refused });
tokens.close();

const source = await X509Source.open();
function tell() {
  if (source.svids.length === 0) {
    say({ event: "denied" });
    return source.close();
  }
  const leaf = new X509Certificate(source.svid.certificates[0]);
  say({
    event: "x509",
    id: source.svid.id.uri,
    signer: leaf.issuer,
    authorities: source.bundleOf(source.svid.id.trustDomain).x509Authorities.length,
    serial: leaf.serialNumber,
  });
}
source.onChange(tell);
tell();
