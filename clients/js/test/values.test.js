/** Values and packets as JSON, both ways. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { ProtocolError, RequestError, inside } from "../roost.js";

const { decode, encode } = inside;
const bytes = (...values) => Uint8Array.from(values);

/** value -> how it stands on the wire */
const FORMS = {
  null: [null, null],
  "plain values": [
    [true, 1, -1.5, "ä😀", {}, []],
    [true, 1, -1.5, "ä😀", {}, []],
  ],
  bin: [bytes(0, 255), { $bin: "AP8=" }],
  "empty bin": [bytes(), { $bin: "" }],
  "bin within": [{ a: [bytes(120)] }, { a: [{ $bin: "eA==" }] }],
  "a map that looks like bin": [{ $bin: "eA==" }, { $esc: { $bin: "eA==" } }],
  "a map that looks escaped": [{ $esc: { a: 1 } }, { $esc: { $esc: { a: 1 } } }],
  "bin in a map that looks like bin": [{ $bin: bytes(120) }, { $esc: { $bin: { $bin: "eA==" } } }],
  "marks beside other keys": [
    { $bin: "x", a: 1 },
    { $bin: "x", a: 1 },
  ],
};

for (const [name, [value, form]] of Object.entries(FORMS)) {
  test(`${name}: one form on the wire, and the same value back`, () => {
    const text = encode("publish", 7, { data: value });
    assert.deepEqual(JSON.parse(text), ["publish", 7, { data: form }]);
    assert.deepEqual(decode(text), ["publish", 7, { data: value }]);
  });
}

test("other views and buffers travel as their bytes", () => {
  const buffer = bytes(9, 1, 0, 9).buffer;
  for (const value of [new Uint8Array(buffer, 1, 2), new DataView(buffer, 1, 2), bytes(1, 0).buffer]) {
    assert.deepEqual(decode(encode("x", 0, { value }))[2].value, bytes(1, 0));
  }
});

test("large bin survives", () => {
  const value = new Uint8Array(30_000).map((_, place) => place % 256);
  assert.deepEqual(decode(encode("x", 0, { value }))[2].value, value);
});

test("a key __proto__ is an ordinary key, both ways", () => {
  const value = JSON.parse('{"__proto__": {"$bin": "eA=="}, "a": 1}');
  const back = decode(encode("x", 0, { value: JSON.parse('{"__proto__": 5, "a": 1}') }))[2].value;
  assert.equal(Object.getPrototypeOf(back), Object.prototype);
  assert.equal(Object.getOwnPropertyDescriptor(back, "__proto__").value, 5);
  const read = decode(JSON.stringify(["x", 0, { value }]))[2].value;
  assert.deepEqual(Object.getOwnPropertyDescriptor(read, "__proto__").value, bytes(120));
});

test("what is undefined is left out, and dates are text", () => {
  const value = { a: undefined, when: new Date(0) };
  assert.deepEqual(JSON.parse(encode("x", 0, { value, gone: undefined }))[2], {
    value: { when: "1970-01-01T00:00:00.000Z" },
  });
});

const cycle = {};
cycle.cycle = cycle;
const NO_FORM = {
  "not a number": NaN,
  infinity: [Infinity],
  "undefined in an array": [undefined],
  "a hole": [, 1], // eslint-disable-line no-sparse-arrays
  "a function": () => 1,
  "a bigint": 1n,
  "a symbol": Symbol("s"),
  "a map": new Map(),
  "half a surrogate pair": "\ud800",
  "half a surrogate pair in a key": { "\udc00": 1 },
  "a cycle": cycle,
};

for (const [name, data] of Object.entries(NO_FORM)) {
  test(`${name} has no form on the wire`, () => {
    assert.throws(() => encode("publish", 1, { data }), TypeError);
  });
}

test("32 levels travel, 33 do not", () => {
  const nest = (levels) => (levels ? [nest(levels - 1)] : 1);
  assert.deepEqual(decode(encode("x", 0, { data: nest(32) }))[2].data, nest(32));
  assert.throws(() => encode("x", 0, { data: nest(33) }), TypeError);
});

test("64 KiB leave, one byte more does not, counted in UTF-8", () => {
  const room = 64 * 1024 - encode("x", 1, { data: "" }).length;
  for (const [letter, size] of [
    ["x", 1],
    ["ä", 2],
  ]) {
    const fits = letter.repeat(Math.floor(room / size)) + "x".repeat(room % size);
    assert.ok(encode("x", 1, { data: fits }));
    assert.throws(
      () => encode("x", 1, { data: fits + "x" }),
      (error) => error instanceof RequestError && error.code === "bad_packet" && error.facts.size === 65537,
    );
  }
});

const NO_PACKETS = {
  "no JSON": "{",
  "no array": "{}",
  "no op": "[1,0,{}]",
  "no number": '["x","y",{}]',
  "no body": '["x",0]',
  "a list as body": '["x",0,[]]',
  "a broken bin": '["x",0,{"a":{"$bin":"§"}}]',
  "an escape of nothing": '["x",0,{"a":{"$esc":1}}]',
};

for (const [name, text] of Object.entries(NO_PACKETS)) {
  test(`${name} is no packet`, () => {
    assert.throws(() => decode(text), ProtocolError);
  });
}
