"""Load by locust: every answer is compared, a wrong one is a failure, and the run ends after some requests."""

from __future__ import annotations

import random

from locust import FastHttpUser, task

REQUESTS = 500


class Caller(FastHttpUser):
    """A caller that sends one row after the other."""

    @task
    def one_row(self) -> None:
        """Send a row of three numbers and compare the answer with their mean."""
        row = [float(random.randrange(1000)) for _ in range(3)]
        inputs = [{"name": "rows", "datatype": "FP64", "shape": [1, 3], "data": row}]
        with self.client.post("/v2/models/flights/infer", json={"inputs": inputs}, catch_response=True) as answer:
            if answer.status_code != 200:
                answer.failure(f"status {answer.status_code}")
            elif abs(answer.json()["outputs"][0]["data"][0] - sum(row) / 3) > 1e-9:
                answer.failure("wrong answer")
        if self.environment.stats.total.num_requests >= REQUESTS:
            self.environment.runner.quit()
