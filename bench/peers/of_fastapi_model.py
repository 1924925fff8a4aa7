"""FastAPI on uvicorn as its tutorial writes it: a data model of the body, and values that it converts to JSON."""

from __future__ import annotations

from fastapi import FastAPI
from pydantic import BaseModel
from session import opened

app = FastAPI()
ask = opened()


class Rows(BaseModel):
    """The body of a request."""

    rows: list[list[float]]


@app.post("/predict")
async def predict(request: Rows) -> list[list[float]]:
    """Predict rows."""
    answers: list[list[float]] = ask(request.rows).tolist()
    return answers
