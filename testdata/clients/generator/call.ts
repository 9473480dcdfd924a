// Makes calls with the TypeScript client that openapi-generator writes.
//
// usage: node call.js URL
import { isAxiosError } from "axios";
import { Configuration, ModelsApi, PredictApi } from "./client/index";

const row = [8, 155, 62, 26, 495, 34, 0.543, 46];
const named = Object.fromEntries(row.map((value, i) => [`f${i}`, value]));

function must(holds: boolean, what: unknown): asserts holds {
  if (!holds) throw new Error(JSON.stringify(what));
}

async function main(url: string): Promise<void> {
  const configuration = new Configuration({ basePath: url });
  const models = await new ModelsApi(configuration).listModels();
  must(models.data.total > 0, models.data);
  const api = new PredictApi(configuration);
  const one = await api.predict({ model_id: "pima-lof", data: named, return_explanation: true });
  must(one.data.is_anomaly === true && one.data.explanation !== undefined, one.data);
  const listed = await api.predict({ model_id: "pima-lof", data: row });
  must(listed.data.score === one.data.score, listed.data);
  const many = await api.predictBatch({ model_id: "pima-lof", data: [row, [1]] });
  must(many.data.total_failed === 1 && many.data.predictions[0]?.score === one.data.score, many.data);
  must(many.data.predictions[1]?.error?.status === 422, many.data);
  const problem: unknown = await api.predict({ model_id: "none", data: row }).catch((e: unknown) => e);
  must(isAxiosError(problem) && problem.response?.status === 404 && problem.response.data.error_type === "ModelNotFound", problem);
}

void main(process.argv[2]!);
