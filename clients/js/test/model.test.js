/**
 * Whatever is lost, cut or answered late: messages come in order, or the loss is announced.
 *
 * A small model of a world, a gateway and the wire between plays against a real session.
 * Chance, with a seed, chooses what happens; then everything is let run to its end and the
 * events the application saw are read back. A failure names the seed.
 */

import assert from "node:assert/strict";
import { test } from "node:test";

import { inside } from "../roost.js";
import { ROOM, WELCOME } from "./peer.js";

const { Connection, RetryPlan, Session, TIMINGS, openConnection } = inside;
const PORTION = 3; // messages in one reply
const SEEDS = 400;

/** Numbers in 0 … 1 that come again with the same seed (mulberry32). */
function chance(seed) {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let mixed = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** World, gateway, wire and client of one room. Each message's data is its [epoch, offset]. */
class Model {
  epoch = 1;
  newest = 0;
  failures = 0;
  now = 0;
  events = [];
  session = new Session({}, new RetryPlan({ base: 0.5, factor: 1, max: 0.5 }), () => 1);

  constructor(kept) {
    this.kept = kept;
    this.connect();
    this.session.join(this.connection, ROOM, null, false, this.now, null);
    this.settle();
  }

  connect() {
    this.connection = new Connection(this.now, TIMINGS);
    this.connection.request("hello", {}, this.now);
    openConnection(this.connection, [["ok", 1, { ...WELCOME, retry: null }]]);
    this.connection.outgoing = [];
    Object.assign(this, { requests: [], wire: [], late: [], member: false, owesGap: false });
    this.session.attach(this.connection, this.now);
  }

  // --- what may happen

  publish() {
    this.newest += 1;
    if (!this.member) return;
    this.wire.push(["message", 0, this.message(this.newest)]);
    this.owesGap = false; // a jump shows it now
  }

  drop() {
    this.newest += 1;
    this.owesGap = true;
  }

  gap(reason = "lost") {
    if (!this.member) return;
    this.wire.push(["gap", 0, { room: ROOM, epoch: this.epoch, offset: this.newest, reason }]);
    this.owesGap = false;
  }

  beginEpoch() {
    this.epoch += 1;
    this.newest = 0;
    this.gap("epoch");
  }

  serve() {
    this.collect();
    if (!this.requests.length) return;
    const [op, number, body] = this.requests.shift();
    const way = op === "history" ? this.late : this.wire;
    way.push(["ok", number, this.answer(op, body)]);
  }

  fail() {
    this.collect();
    if (!this.requests.length || this.failures >= 5) return;
    this.failures += 1;
    const [, number] = this.requests.shift();
    this.wire.push(["error", number, { code: "unavailable", retry: true }]);
  }

  /** Answers to history that stood elsewhere come on the wire, behind newer pushes. */
  arrive() {
    this.wire.push(...this.late.splice(0));
  }

  deliver(count = 2) {
    this.session.receive(this.connection, this.wire.splice(0, count), this.now);
    this.events.push(...this.session.takeEvents());
  }

  lose() {
    this.session.detach(this.connection, "gone");
    this.connect();
  }

  tick() {
    this.now += 0.5;
    this.session.step(this.now);
  }

  pause() {
    this.session.paused = true;
  }

  resume() {
    this.session.resumeReading(this.now);
  }

  // --- its parts

  message(offset) {
    return { room: ROOM, offset, uid: "u", data: [this.epoch, offset], time: 1 };
  }

  collect() {
    this.requests.push(...this.connection.outgoing.splice(0).map((text) => JSON.parse(text)));
  }

  /** Answer as docs/protocol.md says a world does. */
  answer(op, { since }) {
    if (op === "join") Object.assign(this, { member: true, owesGap: false });
    if (op !== "join" && op !== "history") return {};
    const reply = { room: ROOM, epoch: this.epoch, offset: this.newest, count: 1 };
    if (!since) return { ...reply, recovered: false, messages: [], more: false };
    const oldest = Math.max(1, this.newest - this.kept + 1);
    const recovered = since.epoch === this.epoch && oldest - 1 <= since.offset && since.offset <= this.newest;
    const first = recovered ? since.offset + 1 : Math.max(oldest, this.newest - PORTION + 1);
    const messages = [];
    for (let each = first; each <= this.newest && messages.length < PORTION; each++)
      messages.push(this.message(each));
    return { ...reply, recovered, messages, more: recovered && since.offset + messages.length < this.newest };
  }

  /** Let everything under way come to its end. */
  settle() {
    for (let turn = 0; turn < 400; turn++) {
      this.serve();
      this.arrive();
      this.deliver(50);
      this.tick();
    }
    this.collect();
    assert.ok(!this.requests.length && !this.wire.length);
  }
}

/** Check the order; give where the application ended (offset null: unknown within the epoch). */
function readBack(model) {
  let epoch = 1;
  let offset = 0;
  for (const event of model.events) {
    if (event.type === "message") {
      assert.deepEqual(event.data, [epoch, event.offset]);
      assert.equal(event.epoch, epoch);
      if (offset !== null) assert.equal(event.offset, offset + 1);
      offset = event.offset;
    } else if (event.type === "missed") {
      assert.ok(event.epoch === epoch && event.first <= event.last);
      if (offset !== null) assert.equal(event.first, offset + 1);
      const there = epoch === model.epoch && event.last > model.newest - Math.min(model.kept, PORTION);
      assert.ok(!there, "announced as missed, but the newest that fit have it");
      offset = event.last;
    } else if (event.type === "gap" && event.reason === "epoch") {
      [epoch, offset] = [event.epoch, 0];
    } else if (event.type === "gap") {
      assert.equal(event.epoch, epoch);
    } else if (event.missed === null) {
      [epoch, offset] = [event.epoch, null];
    } else {
      assert.equal(event.type, "rejoined");
      assert.equal(event.epoch, epoch);
      if (event.recovered) assert.equal(event.missed, 0);
      offset = offset === null ? null : offset + event.missed;
    }
  }
  return { epoch, offset };
}

const ACTIONS = ["publish", "publish", "publish", "drop", "gap", "beginEpoch", "serve", "serve", "fail"];
ACTIONS.push("deliver", "deliver", "arrive", "lose", "tick", "pause", "resume");

test("every message is seen in order or its loss is announced", () => {
  for (let seed = 1; seed <= SEEDS; seed++) {
    const random = chance(seed);
    const model = new Model(Math.floor(random() * 13));
    const done = [];
    try {
      for (let turns = Math.floor(random() * 80); turns > 0; turns--) {
        done.push(ACTIONS[Math.floor(random() * ACTIONS.length)]);
        model[done.at(-1)]();
      }
      model.resume();
      model.settle();
      if (model.owesGap) {
        model.gap();
        model.settle();
      }
      const { epoch, offset } = readBack(model);
      assert.equal(epoch, model.epoch);
      assert.ok(offset === null || offset === model.newest);
      assert.deepEqual(model.session.streams.get(ROOM).position, {
        epoch: model.epoch,
        offset: model.newest,
      });
    } catch (error) {
      error.message = `seed ${seed}, ${done}: ${error.message}\n${JSON.stringify(model.events)}`;
      throw error;
    }
  }
});
