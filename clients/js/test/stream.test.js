/** One room: order, jumps, gaps, epochs. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { ProtocolError, inside } from "../roost.js";
import { message, reply } from "./peer.js";

const ROOM = "plaza/lobby";
const HELD_MOST = 1000;

const stream = (epoch = 1, offset = 0) => new inside.RoomStream(ROOM, epoch, offset, false, {});

function push(room, ...offsets) {
  const events = [];
  for (const offset of offsets) room.push(message(offset), events);
  return events;
}

function skip(room, ...offsets) {
  const events = [];
  for (const offset of offsets) room.push(message(offset), events, true);
  return events;
}

/** Messages as their offset, what is missed as [first, last], gaps and the rest as a short text. */
function seen(events) {
  return events.map((event) => {
    if (event.type === "message") return event.offset;
    if (event.type === "missed") return [event.first, event.last];
    if (event.type === "gap") return `gap ${event.epoch} ${event.offset} ${event.reason}`;
    return `rejoined ${event.epoch} ${event.offset} ${event.recovered} ${event.missed}`;
  });
}

const range = (first, last) => Array.from({ length: last - first + 1 }, (_, place) => first + place);

test("pushes in order are delivered at once", () => {
  const room = stream();
  assert.deepEqual(seen(push(room, 1, 2, 3)), [1, 2, 3]);
  assert.deepEqual(room.position, { epoch: 1, offset: 3 });
  assert.ok(!room.behind);
});

test("a message has all its fields", () => {
  const [event] = push(stream(), 1);
  assert.deepEqual(event, { type: "message", room: ROOM, epoch: 1, offset: 1, uid: "bob", data: 1, time: 1 });
});

test("an offset seen before is dropped", () => {
  const room = stream(1, 5);
  assert.deepEqual(push(room, 4, 5), []);
  assert.deepEqual(seen(push(room, 6, 6)), [6]);
});

test("an offset that is no integer is a protocol error", () => {
  assert.throws(() => stream().push({ room: ROOM, offset: "7" }, []), ProtocolError);
});

test("a jump holds what follows until history fills it", () => {
  const room = stream();
  assert.deepEqual(seen(push(room, 1, 4, 5)), [1]);
  assert.ok(room.behind);
  assert.deepEqual(seen(room.history(reply(5, [2, 3, 4, 5]))), [2, 3, 4, 5]);
  assert.ok(!room.behind);
  assert.deepEqual(seen(push(room, 6)), [6]);
});

test("history is fetched on while there is more", () => {
  const room = stream();
  push(room, 6);
  assert.deepEqual(seen(room.history(reply(6, [1, 2], { more: true }))), [1, 2]);
  assert.ok(room.behind);
  assert.deepEqual(seen(room.history(reply(6, [3, 4, 5, 6]))), [3, 4, 5, 6]);
});

test("held messages follow what history gave", () => {
  const room = stream();
  push(room, 3, 4, 5);
  assert.deepEqual(seen(room.history(reply(3, [1, 2, 3]))), [1, 2, 3, 4, 5]);
});

test("a second jump among what is held is fetched too", () => {
  const room = stream();
  push(room, 3, 4, 7, 8);
  assert.deepEqual(seen(room.history(reply(4, [1, 2, 3, 4]))), [1, 2, 3, 4]);
  assert.ok(room.behind);
  assert.deepEqual(seen(room.history(reply(8, [5, 6, 7, 8]))), [5, 6, 7, 8]);
});

test("what history no longer has is announced before what follows", () => {
  const room = stream();
  push(room, 9);
  assert.deepEqual(seen(room.history(reply(9, [7, 8, 9], { recovered: false }))), [[1, 6], 7, 8, 9]);
});

test("an empty history announces everything up to what is held", () => {
  const room = stream();
  push(room, 5, 6);
  assert.deepEqual(seen(room.history(reply(4, []))), [[1, 4], 5, 6]);
});

test("a hole in a history reply is announced, not hidden", () => {
  const room = stream();
  push(room, 4);
  assert.deepEqual(seen(room.history(reply(5, [1, 5]))), [1, [2, 3], 4, 5]);
});

test("messages beyond what may be held are fetched again", () => {
  const room = stream();
  push(room, ...range(2, HELD_MOST + 9));
  assert.equal(room.held.length, HELD_MOST);
  assert.deepEqual(seen(room.history(reply(1, [1]))), range(1, HELD_MOST + 1));
  assert.ok(room.behind);
});

test("a gap is shown and what it speaks of is fetched", () => {
  const room = stream(1, 3);
  assert.deepEqual(seen(room.gap(1, 7, "slow")), ["gap 1 7 slow"]);
  assert.ok(room.behind);
  assert.deepEqual(push(room, 8), []);
  assert.deepEqual(seen(room.history(reply(8, [4, 5, 6, 7, 8]))), [4, 5, 6, 7, 8]);
});

test("a gap that speaks of nothing new asks for nothing", () => {
  const room = stream(1, 7);
  room.gap(1, 5, "lost");
  assert.ok(!room.behind);
  assert.equal(room.offset, 7);
});

test("a gap with another epoch counts anew from zero", () => {
  const room = stream(1, 7);
  assert.deepEqual(seen(room.gap(2, 0, "epoch")), ["gap 2 0 epoch"]);
  assert.deepEqual(seen(push(room, 1)), [1]);
  assert.deepEqual(room.position, { epoch: 2, offset: 1 });
});

test("the new epoch may have messages already", () => {
  const room = stream(1, 7);
  room.gap(2, 3, "epoch");
  assert.ok(room.behind);
  assert.deepEqual(seen(room.history(reply(3, [1, 2, 3], { epoch: 2 }))), [1, 2, 3]);
});

test("what was held of the old epoch is delivered before the new one", () => {
  const room = stream();
  push(room, 3);
  assert.deepEqual(seen(room.gap(2, 0, "epoch")), [[1, 2], 3, "gap 2 0 epoch"]);
});

test("an answer of another epoch ends the wait and the gap moves on", () => {
  const room = stream();
  push(room, 3);
  assert.deepEqual(seen(room.history(reply(9, [8, 9], { epoch: 2 }))), [[1, 2], 3]);
  assert.deepEqual(room.position, { epoch: 1, offset: 3 });
});

test("a room that went back says so", () => {
  const room = stream(1, 9);
  room.gap(1, 12, "lost");
  assert.deepEqual(seen(room.history(reply(4, [3, 4], { recovered: false }))), ["gap 1 4 epoch"]);
  assert.equal(room.offset, 4);
});

test("a skipped message is not held but remembered", () => {
  const room = stream();
  assert.deepEqual(skip(room, 1, 2), []);
  assert.ok(room.behind && !room.held.length);
  assert.deepEqual(push(room, 3), []);
  assert.deepEqual(seen(room.history(reply(3, [1, 2, 3]))), [1, 2, 3]);
});

test("a recovered rejoin gives what was said meanwhile", () => {
  const room = stream(1, 3);
  assert.deepEqual(seen(room.rejoined(reply(6, [4, 5, 6]))), ["rejoined 1 6 true 0", 4, 5, 6]);
  assert.ok(!room.behind);
});

test("a recovered rejoin with more is fetched on", () => {
  const room = stream(1, 3);
  room.rejoined(reply(9, [4, 5], { more: true }));
  assert.ok(room.behind);
  assert.equal(room.offset, 5);
});

test("a rejoin drops what was held because the reply has it", () => {
  const room = stream(1, 3);
  push(room, 6);
  assert.deepEqual(seen(room.rejoined(reply(7, [4, 5, 6, 7]))).slice(1), [4, 5, 6, 7]);
});

/** answer -> missed, delivered, position in the end */
const NOT_RECOVERED = {
  "too old": [reply(20, [18, 19, 20]), 7, [18, 19, 20], [1, 20]],
  "nothing kept": [reply(20, []), 10, [], [1, 20]],
  "another epoch": [reply(2, [1, 2], { epoch: 9 }), null, [1, 2], [9, 2]],
  "another epoch, cut": [reply(8, [7, 8], { epoch: 9 }), null, [7, 8], [9, 8]],
  "went back": [reply(4, [3, 4]), null, [], [1, 4]],
  overlapping: [reply(12, [9, 10, 11, 12]), 0, [11, 12], [1, 12]],
};

for (const [name, [answer, missed, delivered, [epoch, offset]]] of Object.entries(NOT_RECOVERED)) {
  test(`a rejoin that is not recovered says what is gone: ${name}`, () => {
    const room = stream(1, 10);
    const [first, ...rest] = room.rejoined({ ...answer, recovered: false });
    assert.equal(first.type, "rejoined");
    assert.equal(first.recovered, false);
    assert.equal(first.missed, missed);
    assert.deepEqual(seen(rest), delivered);
    assert.deepEqual(room.position, { epoch, offset });
    assert.ok(!room.behind);
  });
}

test("an own join without since begins with what comes", () => {
  const room = stream(1, 3);
  push(room, 6);
  room.joined(reply(40, []));
  assert.deepEqual(seen(push(room, 41)), [41]);
});

test("giving up announces and delivers what is there", () => {
  const room = stream();
  push(room, 3, 4, 9);
  assert.deepEqual(seen(room.giveUp()), [[1, 2], 3, 4, [5, 9]]);
  assert.ok(!room.behind);
});
