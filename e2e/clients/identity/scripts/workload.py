# SPDX-License-Identifier: Apache-2.0
"""A workload with py-spiffe: says what the Workload API gives it, one JSON object a line, until it is denied."""
import json
import os
import threading

import grpc
from cryptography import x509
from spiffe import JwtSvid, TrustDomain, WorkloadApiClient

over = threading.Event()


def say(**fields):
    print(json.dumps(fields), flush=True)


def code_of(error):
    while error is not None:
        if isinstance(error, grpc.RpcError):
            return error.code()
        error = error.__cause__ or error.__context__
    return None


def on_update(context):
    svid = context.default_svid
    bundle = context.x509_bundle_set.get_bundle_for_trust_domain(svid.spiffe_id.trust_domain)
    signer = None
    for authority in bundle.x509_authorities:
        try:
            svid.leaf.verify_directly_issued_by(authority)
            key = authority.extensions.get_extension_for_class(x509.SubjectKeyIdentifier)
            signer = key.value.digest.hex()
        except Exception:
            pass
    say(
        event="x509" if signer else "error",
        id=str(svid.spiffe_id),
        signer=signer,
        authorities=len(bundle.x509_authorities),
        serial=str(svid.leaf.serial_number),
    )


def on_error(error):
    denied = code_of(error) == grpc.StatusCode.PERMISSION_DENIED or "PERMISSION_DENIED" in str(error)
    say(event="denied" if denied else "error", error=str(error))
    over.set()


client = WorkloadApiClient()
bundles = client.fetch_jwt_bundles()
token = client.fetch_jwt_svid(audience={"api"})
bundle = bundles.get_bundle_for_trust_domain(TrustDomain("corp"))
parsed = JwtSvid.parse_and_validate(token.token, bundle, {"api"})
validated = client.validate_jwt_svid(token.token, "api")
try:
    client.validate_jwt_svid(token.token, "other")
    refused = False
except Exception:
    refused = True
say(event="jwt", id=str(parsed.spiffe_id), server=str(validated.spiffe_id), refused=refused)
client.stream_x509_contexts(on_update, on_error, retry_connect=False)
over.wait(60)
os._exit(0)
