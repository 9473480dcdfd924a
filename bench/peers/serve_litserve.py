"""LitServe, started as: serve_litserve.py PORT. MODEL names the file to score with."""
import os
import sys

import litserve
import score


class Forest(litserve.LitAPI):
    def setup(self, device):
        self.scores = score.load(os.environ["MODEL"])

    def decode_request(self, request):
        return request["data"]

    def predict(self, rows):
        return self.scores(rows)

    def encode_response(self, scores):
        return {"scores": scores}


if __name__ == "__main__":
    server = litserve.LitServer(Forest(), accelerator="cpu", workers_per_device=int(os.environ["WORKERS"]))
    server.run(host="127.0.0.1", port=int(sys.argv[1]), log_level="warning", generate_client_file=False)
