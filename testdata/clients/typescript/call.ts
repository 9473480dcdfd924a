// Makes calls with openapi-fetch and the types that openapi-typescript generates.
//
// usage: node call.js URL
import createClient from "openapi-fetch";
import type { components, paths } from "./api.js";

const row: components["schemas"]["ListedRow"] = [8, 155, 62, 26, 495, 34, 0.543, 46];
const named: components["schemas"]["NamedRow"] = Object.fromEntries(row.map((value, i) => [`f${i}`, value]));

function must(holds: boolean, what: unknown): asserts holds {
  if (!holds) throw new Error(JSON.stringify(what));
}

const client = createClient<paths>({ baseUrl: process.argv[2] });

const models = await client.GET("/api/v1/models");
must(models.data !== undefined && models.data.total > 0, models);

const one = await client.POST("/api/v1/predict", { body: { model_id: "pima-lof", data: named, return_explanation: true } });
must(one.data !== undefined && one.data.is_anomaly === true && one.data.explanation !== undefined, one);
const score: number = one.data.score;
const listed = await client.POST("/api/v1/predict", { body: { model_id: "pima-lof", data: row } });
must(listed.data?.score === score, listed);

const many = await client.POST("/api/v1/predict/batch", { body: { model_id: "pima-lof", data: [row, [1]] } });
must(many.data !== undefined && many.data.total_failed === 1, many);
must(many.data.predictions[0]?.score === score && many.data.predictions[1]?.error?.status === 422, many);
const few = await client.POST("/api/v1/predict/batch", { body: { model_id: "pima-lof", data: [row], fields: ["score"] } });
must(JSON.stringify(few.data?.predictions) === JSON.stringify([{ score }]), few);

const problem = await client.POST("/api/v1/predict", { body: { model_id: "none", data: row } });
must(problem.error !== undefined && problem.error.status === 404 && problem.error.error_type === "ModelNotFound", problem);
