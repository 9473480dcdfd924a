// Scores a batch of rows on a host. It needs only Node.js 18 or a browser.
//
//   node client.mjs [URL of a host]

const rows = [
  [8, 155, 62, 26, 495, 34, 0.543, 46],
  [1, 89, 66, 23, 94, 28.1, 0.167, 21],
  [1, 89, 66], // too short: this row fails, the others do not
];

// predict returns one prediction for each row, in order. A failed row has only "error".
export async function predict(host, model, data) {
  const response = await fetch(`${host}/api/v1/predict/batch`, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ model_id: model, data }),
    signal: AbortSignal.timeout(60_000),
  });
  const body = await response.json();
  if (!response.ok) {
    // The body is a problem (RFC 9457).
    throw new Error(`${response.status} ${body.error_type}: ${body.detail}`);
  }
  return body.predictions;
}

const host = process.argv[2] ?? "http://127.0.0.1:8080";
for (const [i, row] of (await predict(host, "pima-lof", rows)).entries()) {
  console.log(
    row.error
      ? `row ${i}: ${row.error.error_type}: ${row.error.detail}`
      : `row ${i}: score ${row.score.toFixed(4)} anomaly ${row.is_anomaly}`,
  );
}
