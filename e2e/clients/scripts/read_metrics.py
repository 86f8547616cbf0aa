# SPDX-License-Identifier: Apache-2.0
"""Reads metrics, given as JSON with a text per format, by the parsers of the Prometheus project."""
import json
import sys

from prometheus_client import parser
from prometheus_client.openmetrics import parser as openmetrics_parser

texts = json.load(sys.stdin)
families = {
    "prometheus": parser.text_string_to_metric_families(texts["prometheus"]),
    "openmetrics": openmetrics_parser.text_string_to_metric_families(texts["openmetrics"]),
}
print(json.dumps({name: len(list(each)) for name, each in families.items()}))
