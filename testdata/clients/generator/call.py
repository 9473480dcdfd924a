"""Makes calls with the Python client that openapi-generator writes.

usage: call.py URL
"""

import sys

import openapi_client
from openapi_client import ApiClient, BatchRequest, Configuration, ModelsApi, PredictApi, PredictRequest, Row, Value

ROW = [8.0, 155.0, 62.0, 26.0, 495.0, 34.0, 0.543, 46.0]


def main(url: str) -> None:
    with ApiClient(Configuration(host=url)) as client:
        assert ModelsApi(client).list_models().total > 0
        api = PredictApi(client)
        named = Row({f"f{i}": Value(v) for i, v in enumerate(ROW)})
        one = api.predict(PredictRequest(data=named, model_id="pima-lof", return_explanation=True))
        assert one.is_anomaly is True and one.explanation, one
        listed = api.predict(PredictRequest(data=Row([Value(v) for v in ROW]), model_id="pima-lof"))
        assert listed.score == one.score, listed
        many = api.predict_batch(BatchRequest(data=[ROW, [1]], model_id="pima-lof"))
        assert many.total_failed == 1 and many.predictions[0].score == one.score, many
        assert many.predictions[1].error is not None and many.predictions[1].error.status == 422, many
        try:
            api.predict(PredictRequest(data=named, model_id="none"))
        except openapi_client.ApiException as e:
            assert e.status == 404 and "ModelNotFound" in str(e.body), e
        else:
            raise AssertionError("an unknown model answers")


main(sys.argv[1])
