# ruff: noqa: INP001  # docker/ is no package: it would hide the one that is called so
"""Health of one of Airflow's parts, as the api-server sees it: exit code 0 if `healthy PART` is so."""

import json
import os
import sys
from urllib.request import urlopen

ADDRESS = os.environ["AIRFLOW__CORE__EXECUTION_API_SERVER_URL"].removesuffix("/execution/")

with urlopen(f"{ADDRESS}/api/v2/monitor/health", timeout=8) as answer:  # noqa: S310  # our own api-server
    parts = json.load(answer)
sys.exit(0 if parts[sys.argv[1]]["status"] == "healthy" else 1)
