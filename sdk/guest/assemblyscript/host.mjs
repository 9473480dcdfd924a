// Does in a test what the host does with a module.

import { readFileSync } from "node:fs";

const align = (n) => Math.ceil(n / 16) * 16;

export class Guest {
  constructor(path) {
    const abort = (message, file, line) => {
      throw new Error(`abort: ${this.string(message)} (${this.string(file)}:${line})`);
    };
    this.exports = new WebAssembly.Instance(new WebAssembly.Module(readFileSync(path)), { env: { abort } }).exports;
    this.exports._initialize?.();
    this.exports.pynomaly_abi_v1();
    this.description = JSON.parse(this.packed("pynomaly_describe"));
  }

  /** A string of AssemblyScript's: its size stands before it. */
  string(at) {
    const buffer = this.exports.memory.buffer;
    return at ? Buffer.from(buffer, at, new DataView(buffer).getUint32(at - 4, true)).toString("utf16le") : "";
  }

  packed(name) {
    const v = BigInt.asUintN(64, this.exports[name]());
    return Buffer.from(this.exports.memory.buffer, Number(v >> 32n), Number(v & 0xffffffffn)).toString();
  }

  check(status) {
    if (status !== 0) throw new Error(this.packed("pynomaly_last_error"));
  }

  alloc(size) {
    const at = this.exports.pynomaly_alloc(size) >>> 0;
    if (at === 0 || at % 16 !== 0) throw new Error(`alloc answered ${at}`);
    return at;
  }

  /** Columns are called f0, f1 and so on; files are buffers by name. */
  init({ columns, config = {}, files = {} }) {
    const dtype = this.description.dtype;
    const features = Array.from({ length: columns }, (_, i) => ({ name: `f${i}`, dtype }));
    const sizes = Object.entries(files).map(([name, data]) => ({ name, size: data.length }));
    const head = (start) => {
      const list = sizes.map((f) => ({ name: f.name, offset: (start += align(f.size)) - align(f.size), size: f.size }));
      return { list, json: Buffer.from(JSON.stringify({ config, dtype, features, files: list })) };
    };
    const start = align(head(0).json.length + 4 + 16 * sizes.length); // offsets take room themselves
    const { list, json } = head(start);
    const size = list.reduce((end, f) => align(f.offset + f.size), start);
    const at = this.alloc(size);
    const block = Buffer.from(this.exports.memory.buffer, at, size).fill(0);
    block.writeUInt32LE(json.length, 0);
    json.copy(block, 4);
    for (const f of list) Buffer.from(files[f.name]).copy(block, f.offset);
    const status = this.exports.pynomaly_init(at, size);
    this.exports.pynomaly_free(at, size);
    this.check(status);
  }

  /** Calls a function with rows of numbers; it writes width numbers a row. */
  call(name, rows, width) {
    const type = { float32: Float32Array, float64: Float64Array, int64: BigInt64Array }[this.description.dtype];
    const cols = rows.length ? rows[0].length : 0;
    const values = type.from(rows.flat(), (v) => (type === BigInt64Array ? BigInt(v) : v));
    const inSize = Math.max(1, values.byteLength);
    const outSize = Math.max(1, 8 * rows.length * width);
    const at = this.alloc(inSize);
    const out = this.alloc(outSize);
    new type(this.exports.memory.buffer, at, values.length).set(values);
    new Float64Array(this.exports.memory.buffer, out, rows.length * width).fill(NaN);
    const status = this.exports[name](at, rows.length, cols, out);
    const got = Array.from(new Float64Array(this.exports.memory.buffer, out, rows.length * width));
    this.exports.pynomaly_free(at, inSize);
    this.exports.pynomaly_free(out, outSize);
    this.check(status);
    return got;
  }

  score(rows) {
    return this.call("pynomaly_score", rows, 1);
  }

  /** A list for each row: the base value, then the contributions. */
  explain(rows) {
    const width = 1 + rows[0].length;
    const flat = this.call("pynomaly_explain", rows, width);
    return rows.map((_, i) => flat.slice(i * width, (i + 1) * width));
  }
}
