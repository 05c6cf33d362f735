/** roost.d.ts declares what roost.js has, and nothing else. */

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";

import * as roost from "../roost.js";

const types = await readFile(new URL("../roost.d.ts", import.meta.url), "utf8");
const names = (pattern, text = types) => new Set([...text.matchAll(pattern)].map((found) => found[1]));

test("the module's exports are declared", () => {
  const declared = names(/^export (?:const|class) (\w+)/gm);
  assert.deepEqual(
    [...declared].sort(),
    Object.keys(roost)
      .filter((name) => name !== "inside")
      .sort(),
  );
});

test("the client's members are declared", () => {
  const text = types.slice(types.indexOf("export class Client {"));
  const declared = names(/^ {2}(?:readonly )?(\w+)(?:<[^>]*>)?[(:]/gm, text);
  assert.deepEqual([...declared].sort(), Object.getOwnPropertyNames(roost.Client.prototype).sort());
});

test("each kind of event that is given is declared", async () => {
  const source = await readFile(new URL("../roost.js", import.meta.url), "utf8");
  const given = names(/\btype: "(\w+)"/g, source);
  const declared = new Set(
    [...types.matchAll(/^ {2}type: (.*);/gm)].flatMap(([, each]) => each.match(/\w+/g)),
  );
  assert.deepEqual([...given].sort(), [...declared].sort());
});
