"""Cloud Custodian's Lambda handler as Lambda runs it: config.json in the working folder, events from the Runtime API."""

import http.client
import json
import os

from c7n import handler

api = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
while True:
    api.request("GET", "/2018-06-01/runtime/invocation/next")
    next = api.getresponse()
    event = json.load(next)
    answer = {"handled": handler.dispatch_event(event, None)}
    api.request(
        "POST",
        f"/2018-06-01/runtime/invocation/{next.headers['Lambda-Runtime-Aws-Request-Id']}/response",
        json.dumps(answer),
    )
    api.getresponse().read()
