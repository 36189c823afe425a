// Writes files with the writers of the npm registry, and a line of JSON for each: package, path, columns -> name of the values in javascript.py.
import fs from "node:fs";
import path from "node:path";
import * as arrow from "apache-arrow";
import * as wasm from "parquet-wasm/node";
import { parquetWriteFile } from "hyparquet-writer/src/node.js";
import parquetjs from "@dsnp/parquetjs";

const folder = process.argv[2];
const STAMP = 1709208000123;
const BIG = 9223372036854775807n, SMALL = -9223372036854775808n;

async function write(pkg, file, columns, make) {
  const relative = path.join(pkg.replace("@", "").replace("/", "_"), file);
  const target = path.join(folder, relative);
  fs.mkdirSync(path.dirname(target), { recursive: true });
  try {
    await make(target);
    console.log(JSON.stringify({ package: pkg, path: relative, columns }));
  } catch (error) {
    console.log(JSON.stringify({ package: pkg, path: relative, error: String(error) }));
  }
}

const vectors = {
  bools: arrow.vectorFromArray([true, null, false], new arrow.Bool()),
  ints: arrow.vectorFromArray([1, null, -2147483648], new arrow.Int32()),
  longs: arrow.vectorFromArray([BIG, null, SMALL], new arrow.Int64()),
  doubles: arrow.vectorFromArray([0.1, null, -Infinity], new arrow.Float64()),
  nan: arrow.vectorFromArray([NaN, -0, 1.5], new arrow.Float64()),
  floats: arrow.vectorFromArray([1.5, null, -2.25], new arrow.Float32()),
  strings: arrow.vectorFromArray(["", null, "äö€😀"], new arrow.Utf8()),
  bytes: arrow.vectorFromArray([new Uint8Array([0, 255]), null, new Uint8Array([])], new arrow.Binary()),
  lists: arrow.vectorFromArray([[1, 2], null, []], new arrow.List(new arrow.Field("item", new arrow.Int32(), true))),
  structs: arrow.vectorFromArray([{ a: 1, b: "x" }, null, { a: null, b: "" }], new arrow.Struct([new arrow.Field("a", new arrow.Int32(), true), new arrow.Field("b", new arrow.Utf8(), true)])),
  stamps: arrow.vectorFromArray([STAMP, null, 0], new arrow.TimestampMillisecond()),
  zoned: arrow.vectorFromArray([STAMP, null, 0], new arrow.TimestampMillisecond("Europe/Berlin")),
  dates: arrow.vectorFromArray([new Date(Math.floor(STAMP / 86400000) * 86400000), null, new Date(0)], new arrow.DateDay()),
  words: arrow.vectorFromArray(["a", "b", "a"], new arrow.Dictionary(new arrow.Utf8(), new arrow.Int32())),
};
const many = new arrow.Table({
  many: arrow.vectorFromArray(Array.from({ length: 5000 }, (_, i) => i), new arrow.Int32()),
  texts: arrow.vectorFromArray(Array.from({ length: 5000 }, (_, i) => `v${i % 17}`), new arrow.Utf8()),
});

for (const [name, vector] of Object.entries(vectors)) {
  const table = new arrow.Table({ c: vector });
  await write("apache-arrow", `${name}.arrow`, { c: name }, (target) => fs.writeFileSync(target, arrow.tableToIPC(table, "file")));
  await write("apache-arrow", `${name}.arrows`, { c: name }, (target) => fs.writeFileSync(target, arrow.tableToIPC(table, "stream")));
  await write("parquet-wasm", `${name}.parquet`, { c: name }, (target) =>
    fs.writeFileSync(target, wasm.writeParquet(wasm.Table.fromIPCStream(arrow.tableToIPC(table, "stream")))));
}
for (const [name, codec] of Object.entries({ none: wasm.Compression.UNCOMPRESSED, snappy: wasm.Compression.SNAPPY, gzip: wasm.Compression.GZIP, brotli: wasm.Compression.BROTLI, zstd: wasm.Compression.ZSTD, lz4_raw: wasm.Compression.LZ4_RAW })) {
  await write("parquet-wasm", `codec_${name}.parquet`, { many: "many", texts: "texts" }, (target) => {
    const options = new wasm.WriterPropertiesBuilder().setCompression(codec).setMaxRowGroupSize(700).build();
    fs.writeFileSync(target, wasm.writeParquet(wasm.Table.fromIPCStream(arrow.tableToIPC(many, "stream")), options));
  });
}

const hyper = {
  bools: [[true, null, false], "BOOLEAN"], ints: [[1, null, -2147483648], "INT32"], longs: [[BIG, null, SMALL], "INT64"], doubles: [[0.1, null, -Infinity], "DOUBLE"], nan: [[NaN, -0, 1.5], "DOUBLE"],
  floats: [[1.5, null, -2.25], "FLOAT"], strings: [["", null, "äö€😀"], "STRING"], bytes: [[new Uint8Array([0, 255]), null, new Uint8Array([])], "BYTE_ARRAY"],
  zoned: [[new Date(STAMP), null, new Date(0)], "TIMESTAMP"], json: [[{ a: 1 }, null, []], "JSON"],
};
for (const [name, [data, type]] of Object.entries(hyper)) {
  await write("hyparquet-writer", `${name}.parquet`, { c: name }, (target) => parquetWriteFile({ filename: target, columnData: [{ name: "c", data, type, nullable: true }] }));
}
const column = { many: Array.from({ length: 5000 }, (_, i) => i), texts: Array.from({ length: 5000 }, (_, i) => `v${i % 17}`) };
for (const [name, options] of Object.entries({ many: {}, groups: { rowGroupSize: 700 }, uncompressed: { compressed: false }, pages: { pageSize: 100 }, no_statistics: { statistics: false } })) {
  await write("hyparquet-writer", `${name}.parquet`, { many: "many", texts: "texts" }, (target) =>
    parquetWriteFile({ filename: target, columnData: [{ name: "many", data: column.many, type: "INT32" }, { name: "texts", data: column.texts, type: "STRING" }], ...options }));
}

const js = {
  bools: [[true, null, false], { type: "BOOLEAN", optional: true }], ints: [[1, null, -2147483648], { type: "INT32", optional: true }], doubles: [[0.1, null, -Infinity], { type: "DOUBLE", optional: true }],
  strings: [["", null, "äö€😀"], { type: "UTF8", optional: true }], zoned: [[new Date(STAMP), null, new Date(0)], { type: "TIMESTAMP_MILLIS", optional: true }], words: [["a", "b", "a"], { type: "UTF8", compression: "GZIP" }],
};
for (const [name, [data, type]] of Object.entries(js)) {
  await write("@dsnp/parquetjs", `${name}.parquet`, { c: name }, async (target) => {
    const writer = await parquetjs.ParquetWriter.openFile(new parquetjs.ParquetSchema({ c: type }), target);
    for (const value of data) await writer.appendRow(value === null ? {} : { c: value });
    await writer.close();
  });
}
