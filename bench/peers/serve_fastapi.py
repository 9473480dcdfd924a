"""FastAPI, started as: uvicorn serve_fastapi:app. MODEL names the file to score with."""
import os

import score
from fastapi import FastAPI
from pydantic import BaseModel

scores = score.load(os.environ["MODEL"])
app = FastAPI()


class Rows(BaseModel):
    data: list[list[float]]


@app.post("/predict")
async def predict(rows: Rows):
    return {"scores": scores(rows.data)}
