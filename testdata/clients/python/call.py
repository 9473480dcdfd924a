"""Makes calls with the client that openapi-python-client generates.

usage: call.py URL
"""

import math
import sys

from pynomaly_runtime_client import Client
from pynomaly_runtime_client.api.models import list_models
from pynomaly_runtime_client.api.predict import predict, predict_batch
from pynomaly_runtime_client.models import BatchRequest, BatchResponse, ModelList, NamedRow, Prediction, PredictRequest, Problem
from pynomaly_runtime_client.models.batch_request_fields_item import BatchRequestFieldsItem

ROW: list[bool | float | None | str] = [8, 155, 62, 26, 495, 34, 0.543, 46]


def main(url: str) -> None:
    with Client(base_url=url, raise_on_unexpected_status=True) as client:
        models = list_models.sync(client=client)
        assert isinstance(models, ModelList) and models.total > 0, models

        row = NamedRow()
        for i, value in enumerate(ROW):
            row[f"f{i}"] = value
        one = predict.sync(client=client, body=PredictRequest(data=row, model_id="pima-lof", return_explanation=True))
        assert isinstance(one, Prediction), one
        assert math.isfinite(one.score) and one.is_anomaly is True and one.explanation, one
        listed = predict.sync(client=client, body=PredictRequest(data=ROW, model_id="pima-lof"))
        assert isinstance(listed, Prediction) and listed.score == one.score, listed

        many = predict_batch.sync(client=client, body=BatchRequest(data=[ROW, [1]], model_id="pima-lof"))
        assert isinstance(many, BatchResponse), many
        assert many.total_failed == 1 and many.predictions[0].score == one.score, many
        error = many.predictions[1].error
        assert isinstance(error, Problem) and error.status == 422, many
        few = predict_batch.sync(client=client, body=BatchRequest(data=[ROW], model_id="pima-lof", fields=[BatchRequestFieldsItem.SCORE]))
        assert isinstance(few, BatchResponse) and few.predictions[0].to_dict() == {"score": one.score}, few

        problem = predict.sync(client=client, body=PredictRequest(data=ROW, model_id="none"))
        assert isinstance(problem, Problem) and problem.status == 404 and problem.error_type == "ModelNotFound", problem


main(sys.argv[1])
