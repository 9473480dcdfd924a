// Unit tests: npm test.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Guest } from "./pynomaly/host.mjs";

const wasm = new URL("detector.debug.wasm", import.meta.url);

const bytes = (numbers) => Buffer.from(Float64Array.from(numbers).buffer);

function start(columns, files) {
  const guest = new Guest(wasm);
  guest.init({ columns, files });
  return guest;
}

/** ECOD's definition for one feature, without any short cut. */
function plain(train, x) {
  const all = [...train, x];
  const tail = (within) => -Math.log(all.filter(within).length / all.length);
  const [left, right] = [tail((v) => v <= x), tail((v) => v >= x)];
  const mean = all.reduce((sum, v) => sum + v, 0) / all.length;
  const moment = (f) => all.reduce((sum, v) => sum + f(v - mean), 0) / all.length;
  const m3 = moment((off) => off * off * off);
  const undefinedHere = moment((off) => off * off) <= 1e-30 * mean * mean;
  return Math.max(left, right, undefinedHere || !(m3 < 0 || m3 > 0) ? left + right : m3 < 0 ? left : right);
}

const near = (got, want) => assert.ok(Math.abs(got - want) <= 1e-12, `${got}, not ${want}`);

test("follows the definition", () => {
  const train = [
    [1, 2, 3, 4, 5, 6, 7], // symmetric where x is 4
    Array(7).fill(0.1), // no skewness where x is 0.1
    [-3, 0, 0, 0.5, 2, 90, 1e6],
  ];
  const values = [-1e9, -3, 0, 0.1, 0.3, 1, 3.5, 4, 7, 8, 90, 1e12, Infinity];
  const rows = values.map((_, i) => train.map((_, j) => values[(i + 5 * j) % values.length]));
  const guest = start(3, { "train.f64": bytes(train.flat()), "other": Buffer.from("abc") });
  const scores = guest.score(rows);
  const explained = guest.explain(rows);
  rows.forEach((row, i) => {
    const want = row.map((x, j) => plain(train[j], x));
    near(scores[i], want.reduce((sum, v) => sum + v));
    assert.equal(explained[i][0], 0);
    want.forEach((v, j) => near(explained[i][1 + j], v));
    assert.deepEqual(guest.score([row]), [scores[i]]);
  });
});

test("a NaN fails its row", () => {
  const scores = start(2, { "train.f64": bytes([1, 2, 3, 4, 5, 6]) }).score([[1, 5], [NaN, 5], [2, NaN]]);
  assert.deepEqual(scores.map(Number.isNaN), [false, true, true]);
});

test("refuses what it cannot use", () => {
  const data = bytes([1, 2, 3, 4, 5, NaN]);
  for (const [size, columns, want] of [[40, 2, /40 bytes/], [16, 2, /1 rows/], [48, 2, /row 2 of feature 1/], [48, 0, /no features/]]) {
    assert.throws(() => start(columns, { "train.f64": data.subarray(0, size) }), want);
  }
  assert.throws(() => start(2, {}), /no file train.f64/);
  assert.throws(() => start(2, { "train.f64": data.subarray(0, 32) }).score([[1]]), /1 values, not 2/);
});
