"""Load by a client library, from four threads: every answer is compared; the last line is JSON.

Arguments: `triton-http`, `triton-grpc`, `kserve-http` or `kserve-grpc`, the address, and the number of requests
of a thread.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np

THREADS = 4
Ask = Callable[[np.ndarray], np.ndarray]


def triton(protocol: str, address: str) -> Ask:
    """Return a caller with a client of tritonclient of its own."""
    module = importlib.import_module(f"tritonclient.{protocol}")
    client = module.InferenceServerClient(address.partition("://")[2])

    def ask(rows: np.ndarray) -> np.ndarray:
        made = module.InferInput("rows", list(rows.shape), "FP64")
        made.set_data_from_numpy(rows)
        return client.infer("flights", [made]).as_numpy("probability")

    return ask


def kserve(protocol: str, address: str) -> Ask:
    """Return a caller with a client of kserve and an event loop of its own."""
    library = importlib.import_module("kserve")
    loop = asyncio.new_event_loop()
    if protocol == "grpc":
        client = loop.run_until_complete(_made(lambda: library.InferenceGRPCClient(address.partition("://")[2])))
    else:
        rest = importlib.import_module("kserve.inference_client").RESTConfig(protocol="v2")
        client = loop.run_until_complete(_made(lambda: library.InferenceRESTClient(rest)))

    def ask(rows: np.ndarray) -> np.ndarray:
        made = library.InferInput("rows", list(rows.shape), "FP64")
        made.set_data_from_numpy(rows, binary_data=False)
        request = library.InferRequest(model_name="flights", infer_inputs=[made])
        if protocol == "grpc":
            answer = loop.run_until_complete(client.infer(request))
        else:
            answer = loop.run_until_complete(client.infer(address, request, model_name="flights"))
        return np.asarray(answer.outputs[0].as_numpy())

    return ask


async def _made(make: Callable[[], object]) -> object:
    return make()


def call(kind: str, address: str, requests: int) -> tuple[int, int, float]:
    """Send requests, and return the number of failed ones and of wrong answers, and the seconds that they took."""
    library, protocol = kind.split("-")
    ask = {"triton": triton, "kserve": kserve}[library](protocol, address)
    random, began = np.random.default_rng(), time.perf_counter()
    failed = wrong = 0
    for number in range(requests):
        rows = random.normal(size=(1 + number % 4, 3))
        try:
            answer = ask(rows)
        except Exception as error:  # noqa: BLE001 - whatever the library raises is a failed request
            sys.stdout.write(f"{error!r}\n")
            failed += 1
            continue
        wrong += not np.allclose(answer.reshape(-1), rows.mean(1), rtol=0, atol=1e-12)
    return failed, wrong, time.perf_counter() - began


def main(kind: str, address: str, requests: int) -> None:
    """Run the load."""
    with ThreadPoolExecutor(THREADS) as pool:
        parts = list(pool.map(lambda _: call(kind, address, requests), range(THREADS)))
    failed, wrong, seconds = zip(*parts, strict=True)
    found = {"requests": THREADS * requests, "failed": sum(failed), "wrong": sum(wrong), "seconds": max(seconds)}
    sys.stdout.write(f"{json.dumps(found)}\n")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
