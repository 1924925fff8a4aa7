"""FastAPI on uvicorn with uvloop and httptools; orjson reads and writes, as its documentation advises for speed."""

from __future__ import annotations

import orjson
from fastapi import FastAPI, Request, Response
from session import opened

app = FastAPI()
ask = opened()


@app.post("/predict")
async def predict(request: Request) -> Response:
    """Predict rows on the loop: a thread for each call costs more than the call."""
    answers = ask(orjson.loads(await request.body())["rows"])
    return Response(orjson.dumps(answers, option=orjson.OPT_SERIALIZE_NUMPY), media_type="application/json")
