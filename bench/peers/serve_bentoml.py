"""BentoML, started as: bentoml serve serve_bentoml:Forest. MODEL names the file to score with."""
import os

import bentoml
import score


@bentoml.service(workers=int(os.environ["WORKERS"]), logging={"access": {"enabled": False}})
class Forest:
    def __init__(self):
        self.scores = score.load(os.environ["MODEL"])

    @bentoml.api
    def predict(self, data: list[list[float]]) -> dict[str, list[float]]:
        return {"scores": self.scores(data)}
