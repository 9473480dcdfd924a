"""Ray Serve, started as: serve_ray.py PORT. MODEL names the file to score with."""
import os
import signal
import sys

import ray
import score
from ray import serve
from starlette.requests import Request

workers = int(os.environ["WORKERS"])


@serve.deployment(num_replicas=workers, ray_actor_options={"num_cpus": 0})
class Forest:
    def __init__(self, model):
        self.scores = score.load(model)

    async def __call__(self, request: Request):
        return {"scores": self.scores((await request.json())["data"])}


if __name__ == "__main__":
    ray.init(num_cpus=4, include_dashboard=False, log_to_driver=False, _temp_dir=os.environ["RAY_DIR"])
    serve.start(http_options={"host": "127.0.0.1", "port": int(sys.argv[1])}, logging_config={"enable_access_log": False})
    serve.run(Forest.bind(os.environ["MODEL"]), route_prefix="/predict")
    signal.sigwait({signal.SIGTERM, signal.SIGINT})
    serve.shutdown()
    ray.shutdown()
