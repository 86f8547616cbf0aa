# SPDX-License-Identifier: Apache-2.0
"""Evidence of an AWS role for a trust provider of kind aws-iam: one signed request that says who signed it.

    python3 aws_evidence.py eu-west-1 https://postern.corp.example
"""
import secrets
import sys

import botocore.session
from botocore.auth import SigV4QueryAuth
from botocore.awsrequest import AWSRequest


def evidence(region: str, audience: str) -> str:
    nonce = secrets.token_urlsafe(24)
    url = f"https://sts.{region}.amazonaws.com/?Action=GetCallerIdentity&Version=2011-06-15"
    headers = {"x-postern-audience": audience, "x-postern-nonce": nonce}
    request = AWSRequest("GET", url, headers=headers)
    credentials = botocore.session.get_session().get_credentials().get_frozen_credentials()
    SigV4QueryAuth(credentials, "sts", region, expires=60).add_auth(request)
    return f"{request.url}#{nonce}"


if __name__ == "__main__":
    print(evidence(*sys.argv[1:]))
