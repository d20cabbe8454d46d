"""Writes Cloud Custodian's policies for `cargo beside`: all of them for `custodian run`, and one folder for each Lambda."""

import json
import sys
from pathlib import Path

import yaml

folder, values = Path(sys.argv[1]), json.loads(sys.argv[2])
text = (Path(__file__).parent / "custodian.yml").read_text()
for name in ("BUCKETS", "KEY", "ACCOUNT", "INVENTORY"):
    text = text.replace(name, values[name])
(folder / "pull.yml").write_text(text)
for policy in yaml.safe_load(text)["policies"]:
    called = [
        {"source": "s3.amazonaws.com", "event": it, "ids": "requestParameters.bucketName"}
        for it in values["events"][policy["name"]]
    ]
    policy["mode"] = {"type": "cloudtrail", "role": "unused", "events": called}
    lambda_folder = folder / policy["name"]
    lambda_folder.mkdir(exist_ok=True)
    config = {"policies": [policy], "execution-options": {"account_id": values["ACCOUNT"]}}
    (lambda_folder / "config.json").write_text(json.dumps(config))
