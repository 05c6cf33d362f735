import assert from "node:assert/strict";
import { test } from "node:test";
import { Ahead, Scene, headingOf } from "../arena/arena.js";

const ENTERED = { map: "arena", line: "0.1", tick: 100, you: 1, rate: 10, width: 1000, height: 1000 };

/** A scene that heard of tick 100 at 0 ms: tick n is heard at (n - 100) * 100. */
function scene() {
  const made = new Scene(ENTERED, 0);
  made.take({ map: "arena", tick: 100, cell: 5, full: true, enter: [[1, "player", 0, 0, {}], [2, "player", 10, 0, {}]] }, 0);
  return made;
}

test("what moves is shown between two ticks, a little late", () => {
  const here = scene();
  here.take({ map: "arena", tick: 101, cell: 5, move: [[2, 20, 0]] }, 100);
  here.take({ map: "arena", tick: 102, cell: 5, move: [[2, 30, 0]] }, 200);
  const [x] = here.at(here.things.get(2), 200);
  assert.ok(Math.abs(x - 15) < 0.2, `at tick 100.5 it was half way: ${x}`);
});

test("what stood still begins to move only when it did", () => {
  const here = scene();
  here.take({ map: "arena", tick: 110, cell: 5, move: [[2, 20, 0]] }, 1000);
  assert.deepEqual(here.at(here.things.get(2), 1000), [10, 0]);
  assert.ok(here.at(here.things.get(2), 1090)[0] > 13);
});

test("what was put elsewhere does not fly there", () => {
  const here = scene();
  here.take({ map: "arena", tick: 101, cell: 5, move: [[2, 900, 900]] }, 100);
  assert.deepEqual(here.at(here.things.get(2), 100), [900, 900]);
});

test("a leave counts only from the cell of the last enter", () => {
  const here = scene();
  here.take({ map: "arena", tick: 101, cell: 6, enter: [[2, "player", 30, 0, {}]] }, 100);
  here.take({ map: "arena", tick: 101, cell: 5, leave: [2] }, 100);
  assert.ok(here.things.has(2));
  here.take({ map: "arena", tick: 102, cell: 6, leave: [2] }, 200);
  assert.ok(!here.things.has(2));
});

test("a full state forgets what its cell had told", () => {
  const here = scene();
  here.take({ map: "arena", tick: 101, cell: 5, full: true, enter: [[1, "player", 0, 0, {}]] }, 100);
  assert.deepEqual([...here.things.keys()], [1]);
});

test("what another map still says is not heard", () => {
  const here = scene();
  assert.deepEqual(here.take({ map: "garden", tick: 1, cell: 5, leave: [1], events: [{ hit: 1 }] }, 100), []);
  assert.ok(here.me);
});

test("events and acks are given on", () => {
  const here = scene();
  assert.deepEqual(here.take({ map: "arena", tick: 101, events: [{ hit: 1 }] }, 100), [{ hit: 1 }]);
  here.take({ map: "arena", tick: 101, ack: 7 }, 100);
  assert.equal(here.ack, 7);
});

test("oneself walks at once, and comes to rest where the server says", () => {
  const me = new Ahead(100, 100);
  me.step(0.1, [1, 0], [100, 100, 100], 48, 0.1, 1000, 1000);
  assert.ok(me.x > 104 && me.y === 100);
  for (let n = 0; n < 100; n += 1) me.step(0.05, [0, 0], [101, 103, 100], 48, 0.1, 1000, 1000);
  assert.ok(Math.abs(me.x - 103) < 0.1);
});

test("oneself is put where the server says when that is far away, and never outside", () => {
  const me = new Ahead(100, 100);
  me.step(0.05, [0, 0], [101, 700, 100], 48, 0.1, 1000, 1000);
  assert.equal(me.x, 700);
  const corner = new Ahead(999, 1);
  corner.step(0.5, [1, -1], [101, 999, 1], 48, 0.1, 1000, 1000);
  assert.deepEqual([corner.x, corner.y], [1000, 0]);
});

test("two keys make one direction, and the finger's stick goes before them", () => {
  assert.deepEqual(headingOf(new Set(["left", "right"]), null), [0, 0]);
  assert.deepEqual(headingOf(new Set(["up"]), null), [0, -1]);
  assert.ok(Math.abs(Math.hypot(...headingOf(new Set(["up", "left"]), null)) - 1) < 1e-9);
  assert.deepEqual(headingOf(new Set(["up"]), [30, 0]), [1, 0]);
});
