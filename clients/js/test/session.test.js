/** The session over a connection of packets: rooms, inbox, watches, rejoining. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { ConnectionLost, ProtocolError, inside } from "../roost.js";
import { ROOM, WELCOME, message, offsets, reply } from "./peer.js";

const { Connection, RetryPlan, Session, TIMINGS, openConnection } = inside;
const TRIES_MOST = 10;

/** A session whose other side is the test. The clock is `now`; random() is always 1. */
class Harness {
  now = 0;
  session = new Session({ device: "laptop" }, new RetryPlan(), () => 1);

  constructor() {
    this.connect();
  }

  connect(changes = {}) {
    this.connection = new Connection(this.now, TIMINGS);
    this.connection.request("hello", {}, this.now);
    openConnection(this.connection, [["ok", 1, { ...WELCOME, ...changes }]]);
    this.connection.outgoing = [];
    this.session.attach(this.connection, this.now);
    return this.connection;
  }

  lose() {
    this.session.detach(this.connection, "gone");
  }

  /** What the client has sent since the last look. */
  sent(connection = this.connection) {
    return connection.outgoing.splice(0).map((text) => JSON.parse(text));
  }

  /** The only request sent since the last look, which has to be this op: [number, body]. */
  asked(op) {
    const sent = this.sent();
    assert.deepEqual(
      sent.map(([got]) => got),
      [op],
    );
    return sent[0].slice(1);
  }

  get(packets, connection = this.connection) {
    this.session.receive(connection, packets, this.now);
    return this.session.takeEvents();
  }

  ok(number, body, connection) {
    return this.get([["ok", number, body]], connection);
  }

  refuse(number, code, facts = {}) {
    return this.get([["error", number, { code, ...facts }]]);
  }

  hear(op, body, connection) {
    return this.get([[op, 0, body]], connection);
  }

  messages(...numbers) {
    return this.get(numbers.map((each) => ["message", 0, message(each)]));
  }

  join({ epoch = 1, offset = 0, presence = false, since = null } = {}) {
    const request = this.session.join(this.connection, ROOM, since, presence, this.now, null);
    if (since !== null) return request;
    const [number] = this.asked("join");
    this.ok(number, reply(offset, [], { epoch, recovered: false }));
    return request;
  }

  step(seconds) {
    this.now += seconds;
    this.session.step(this.now);
    return this.session.takeEvents();
  }
}

const missed = (first, last) => ({ type: "missed", room: ROOM, epoch: 1, first, last });
const busy = { retry: true };

test("the first hello shows the token and later ones resume", () => {
  const { session } = new Harness();
  assert.deepEqual(session.hello("T"), { v: 1, token: "T", device: "laptop" });
  assert.deepEqual(session.hello(null), { v: 1, resume: "resume-1", device: "laptop" });
});

test("join gives a reply and messages follow as events", () => {
  const harness = new Harness();
  const { value } = harness.join({ epoch: 7, offset: 40 });
  assert.deepEqual(value, { room: ROOM, epoch: 7, offset: 40, recovered: false, more: false, count: 3 });
  assert.deepEqual(harness.messages(41), [
    { type: "message", room: ROOM, epoch: 7, offset: 41, uid: "bob", data: 41, time: 1 },
  ]);
});

test("join with since gives its messages as events, in order with what follows, and fetches more", () => {
  const harness = new Harness();
  const request = harness.join({ since: { epoch: 1, offset: 3 } });
  const [number, body] = harness.asked("join");
  assert.deepEqual(body.since, { epoch: 1, offset: 3 });
  const events = harness.get([
    ["ok", number, reply(7, [4, 5], { more: true })],
    ["message", 0, message(8)],
  ]);
  assert.deepEqual(offsets(events), [4, 5]);
  assert.equal(events[0].type, "rejoined");
  assert.equal(request.value.recovered, true);
  const [again, asked] = harness.asked("history");
  assert.deepEqual(asked, { room: ROOM, since: { epoch: 1, offset: 5 } });
  assert.deepEqual(offsets(harness.ok(again, reply(7, [6, 7]))), [6, 7, 8]);
});

test("join with a since of another epoch says that it is not recovered, before the newest messages", () => {
  const harness = new Harness();
  harness.join({ since: { epoch: 1, offset: 3 } });
  const [number] = harness.asked("join");
  const events = harness.ok(number, reply(7, [6, 7], { epoch: 2, recovered: false }));
  assert.deepEqual([events[0].type, events[0].recovered, events[0].missed], ["rejoined", false, null]);
  assert.deepEqual(offsets(events), [6, 7]);
});

test("pushes right behind the join reply are not lost", () => {
  const harness = new Harness();
  harness.session.join(harness.connection, ROOM, null, false, 0, null);
  const [number] = harness.asked("join");
  const body = reply(4, [], { recovered: false });
  assert.deepEqual(
    offsets(
      harness.get([
        ["ok", number, body],
        ["message", 0, message(5)],
      ]),
    ),
    [5],
  );
});

test("messages of a room not joined are dropped", () => {
  assert.deepEqual(new Harness().messages(1), []);
});

test("a jump is fetched once and delivered in order", () => {
  const harness = new Harness();
  harness.join();
  assert.deepEqual(offsets(harness.messages(1, 4, 5)), [1]);
  const [number, body] = harness.asked("history");
  assert.deepEqual(body.since, { epoch: 1, offset: 1 });
  assert.deepEqual(harness.messages(6), []);
  assert.deepEqual(harness.sent(), []);
  assert.deepEqual(offsets(harness.ok(number, reply(5, [2, 3, 4, 5]))), [2, 3, 4, 5, 6]);
  assert.deepEqual(harness.sent(), []);
});

test("history is asked on until there is no more", () => {
  const harness = new Harness();
  harness.join();
  harness.messages(5);
  harness.ok(harness.asked("history")[0], reply(5, [1, 2], { more: true }));
  const [number, body] = harness.asked("history");
  assert.equal(body.since.offset, 2);
  assert.deepEqual(offsets(harness.ok(number, reply(5, [3, 4, 5]))), [3, 4, 5]);
});

test("a failed history is asked again later", () => {
  const harness = new Harness();
  harness.join();
  harness.messages(3);
  assert.deepEqual(harness.refuse(harness.asked("history")[0], "unavailable", busy), []);
  assert.deepEqual(harness.sent(), []);
  assert.ok(harness.session.wakeAt() > harness.now);
  harness.step(0.6);
  assert.deepEqual(offsets(harness.ok(harness.asked("history")[0], reply(3, [1, 2, 3]))), [1, 2, 3]);
});

test("a rate limit is waited for as long as it says", () => {
  const harness = new Harness();
  harness.join();
  harness.messages(3);
  harness.refuse(harness.asked("history")[0], "rate_limited", { retry: true, after: 4000 });
  harness.step(3.9);
  assert.deepEqual(harness.sent(), []);
  harness.step(0.1);
  harness.asked("history");
});

test("a forbidden history announces the loss at once", () => {
  const harness = new Harness();
  harness.join();
  harness.messages(3);
  const events = harness.refuse(harness.asked("history")[0], "forbidden");
  assert.deepEqual(events[0], missed(1, 2));
  assert.deepEqual(offsets(events), [3]);
});

test("a history that never comes is given up and announced", () => {
  const harness = new Harness();
  harness.join();
  harness.messages(3);
  for (let tries = 1; tries < TRIES_MOST; tries++) {
    assert.deepEqual(harness.refuse(harness.asked("history")[0], "unavailable", busy), []);
    harness.step(20);
  }
  const events = harness.refuse(harness.asked("history")[0], "unavailable", busy);
  assert.deepEqual(events[0], missed(1, 2));
  assert.deepEqual(offsets(events), [3]);
});

test("a loss is no reason to give messages up", () => {
  const harness = new Harness();
  harness.join();
  harness.messages(3);
  for (let tries = 1; tries < TRIES_MOST; tries++) {
    harness.refuse(harness.asked("history")[0], "unavailable", busy);
    harness.step(20);
  }
  harness.lose();
  assert.deepEqual(harness.session.takeEvents(), []);
  harness.connect();
  assert.equal(harness.asked("join")[1].since.offset, 0);
});

test("a history without progress does not go on for ever", () => {
  const harness = new Harness();
  harness.join();
  harness.messages(9);
  const events = [];
  for (let tries = 0; tries < TRIES_MOST; tries++) {
    events.push(...harness.ok(harness.asked("history")[0], reply(0, [])));
    harness.step(20);
  }
  assert.deepEqual(events[0], missed(1, 8));
  assert.deepEqual(offsets(events), [9]);
  assert.deepEqual(harness.sent(), []);
});

test("an own request without an answer is repeated", () => {
  const harness = new Harness();
  harness.join();
  harness.messages(3);
  harness.asked("history");
  harness.step(15);
  harness.step(1);
  harness.asked("history");
});

test("a gap is shown and filled", () => {
  const harness = new Harness();
  harness.join();
  const gap = { room: ROOM, epoch: 1, offset: 2, reason: "slow" };
  assert.deepEqual(harness.hear("gap", gap), [{ type: "gap", ...gap }]);
  assert.deepEqual(offsets(harness.ok(harness.asked("history")[0], reply(2, [1, 2]))), [1, 2]);
});

test("a history answer from before an epoch change is stale", () => {
  const harness = new Harness();
  harness.join({ offset: 5 });
  harness.messages(8);
  const [old] = harness.asked("history");
  harness.hear("gap", { room: ROOM, epoch: 2, offset: 0, reason: "epoch" });
  assert.deepEqual(harness.ok(old, reply(8, [6, 7, 8])), []);
  harness.hear("gap", { room: ROOM, epoch: 3, offset: 2, reason: "epoch" });
  const [stale] = harness.asked("history");
  harness.hear("gap", { room: ROOM, epoch: 4, offset: 2, reason: "epoch" });
  const [number, body] = harness.asked("history");
  assert.deepEqual(body.since, { epoch: 4, offset: 0 });
  assert.deepEqual(harness.ok(stale, reply(2, [1, 2], { epoch: 3 })), []);
  assert.deepEqual(offsets(harness.ok(number, reply(2, [1, 2], { epoch: 4 }))), [1, 2]);
});

test("after a loss each room is joined again where it was", () => {
  const harness = new Harness();
  harness.join({ presence: true });
  harness.messages(1, 2);
  harness.lose();
  harness.connect();
  const [number, body] = harness.asked("join");
  assert.deepEqual(body, { room: ROOM, since: { epoch: 1, offset: 2 }, presence: true });
  const events = harness.ok(number, reply(4, [3, 4]));
  const rejoined = {
    type: "rejoined",
    room: ROOM,
    epoch: 1,
    offset: 4,
    recovered: true,
    missed: 0,
    count: 3,
  };
  assert.deepEqual(events[0], rejoined);
  assert.deepEqual(offsets(events), [3, 4]);
  assert.deepEqual(offsets(harness.messages(5)), [5]);
});

test("a rejoin to an absent world is repeated as often as it takes", () => {
  const harness = new Harness();
  harness.join();
  harness.lose();
  harness.connect();
  for (let tries = 0; tries < 3 * TRIES_MOST; tries++) {
    harness.refuse(harness.asked("join")[0], "unavailable", busy);
    harness.connection.lastSent = harness.now + 20;
    harness.step(20);
  }
  harness.asked("join");
});

test("a rejoin that is refused ends the membership visibly", () => {
  const harness = new Harness();
  harness.join();
  harness.lose();
  harness.connect();
  const events = harness.refuse(harness.asked("join")[0], "forbidden");
  assert.deepEqual(events, [{ type: "unsubscribed", room: ROOM, reason: "forbidden" }]);
  assert.equal(harness.session.streams.size, 0);
});

test("a room left is not joined again and not heard", () => {
  const harness = new Harness();
  harness.join();
  harness.session.leave(harness.connection, ROOM, 0, null);
  harness.asked("leave");
  assert.deepEqual(harness.messages(1), []);
  harness.lose();
  harness.connect();
  assert.deepEqual(harness.sent(), []);
});

test("a request on a connection that ends fails as lost", () => {
  const harness = new Harness();
  const request = harness.session.join(harness.connection, ROOM, null, false, 0, null);
  harness.lose();
  assert.ok(request.error instanceof ConnectionLost && request.error.retry);
});

test("a subscription stands for a join", () => {
  const harness = new Harness();
  const subscribed = { room: ROOM, epoch: 3, offset: 7, count: 2 };
  assert.deepEqual(harness.hear("subscribed", subscribed), [{ type: "subscribed", ...subscribed }]);
  assert.deepEqual(offsets(harness.messages(8)), [8]);
  harness.lose();
  harness.connect();
  assert.deepEqual(harness.asked("join")[1].since, { epoch: 3, offset: 8 });
});

test("a subscription to a room already joined fetches what is missing", () => {
  const harness = new Harness();
  harness.join({ epoch: 3, offset: 5 });
  harness.hear("subscribed", { room: ROOM, epoch: 3, offset: 7, count: 2 });
  assert.deepEqual(harness.asked("history")[1].since, { epoch: 3, offset: 5 });
});

test("unsubscribed ends the room", () => {
  const harness = new Harness();
  harness.join();
  const body = { room: ROOM, reason: "kicked" };
  assert.deepEqual(harness.hear("unsubscribed", body), [{ type: "unsubscribed", ...body }]);
  assert.deepEqual(harness.messages(1), []);
});

test("each inbox stream gives each number once", () => {
  const harness = new Harness();
  const numbers = (facts) => {
    const found = harness.hear("inbox", { mid: 1, uid: "bob", data: null, time: 1, ...facts });
    return found.map(({ seq, bseq }) => [seq, bseq]);
  };
  assert.deepEqual(numbers({ seq: 5 }), [[5, null]]);
  assert.deepEqual([numbers({ seq: 5 }), numbers({ seq: 4 })], [[], []]);
  assert.deepEqual([numbers({ bseq: 2 }), numbers({ bseq: 2 })], [[[null, 2]], []]);
  assert.deepEqual(numbers({ seq: 9 }), [[9, null]]);
  assert.deepEqual([numbers({}), numbers({})], [[[null, null]], [[null, null]]]);
});

test("inbox numbers outlive the connection and begin at what is acked", () => {
  const harness = new Harness();
  const body = { mid: 1, uid: "bob", data: null, time: 1 };
  harness.hear("inbox", { seq: 5, ...body });
  harness.lose();
  harness.connect({ inbox: { seq: 3, bseq: 8, gap: false } });
  assert.deepEqual(harness.hear("inbox", { seq: 5, ...body }), []);
  assert.deepEqual(harness.hear("inbox", { bseq: 8, ...body }), []);
  harness.lose();
  harness.connect({ inbox: null });
  assert.equal(harness.session.seq, 5);
});

test("watched users are watched again in portions", () => {
  const harness = new Harness();
  const users = Array.from({ length: 150 }, (_, number) => `u${number}`);
  const watch = (portion, off) => {
    harness.session.watch(harness.connection, portion, off, 0, null);
    harness.ok(harness.asked("watch")[0], { users: [] });
  };
  watch(users.slice(0, 100), false);
  watch(users.slice(100), false);
  watch(["u0"], true);
  harness.lose();
  harness.connect();
  const again = harness.sent();
  assert.deepEqual(
    again.map(([, , body]) => body.users.length),
    [100, 49],
  );
  const events = harness.ok(again[0][1], { users: [{ uid: "u1", online: null }] });
  assert.deepEqual(events, [{ type: "presence", uid: "u1", online: null, devices: [], since: null }]);
  assert.deepEqual(harness.refuse(again[1][1], "busy", busy), []);
  harness.step(1);
  assert.equal(harness.asked("watch")[1].users.length, 49);
});

const PUSHED = {
  joined: [{ room: ROOM, uid: "bob", count: 2 }, {}],
  left: [{ room: ROOM, uid: "bob", count: 1 }, {}],
  count: [{ room: ROOM, count: 9 }, {}],
  presence: [{ uid: "bob", online: true, devices: [{ device: "d" }], since: 5 }, {}],
  receipt: [{ mid: 1, uid: "bob", device: "d", time: 2 }, {}],
  state: [
    { map: "m", tick: 1 },
    { type: "state", body: { map: "m", tick: 1 } },
  ],
  entered: [
    { map: "m", away: true },
    { type: "entered", body: { map: "m", away: true } },
  ],
  goaway: [{ reason: "drain", after: 5, to: ["h:1"] }, {}],
  error: [{ code: "bad_packet", message: "no" }, {}],
  kick: [
    { code: "slow", reason: "r", reconnect: true },
    { type: "kicked", code: "slow", reason: "r", reconnect: true },
  ],
  novelty: [{ a: 1 }, { type: "other", op: "novelty", body: { a: 1 } }],
  constructor: [{ a: 1 }, { type: "other", op: "constructor", body: { a: 1 } }],
};

for (const [op, [body, event]] of Object.entries(PUSHED)) {
  test(`a push becomes its event: ${op}`, () => {
    const expected = event.type ? event : { type: op, ...body };
    assert.deepEqual(new Harness().hear(op, body), [expected]);
  });
}

test("a body the client cannot read is a protocol error, and what came before counts", () => {
  const harness = new Harness();
  harness.join();
  const broken = ["message", 0, { room: ROOM, offset: "x" }];
  assert.throws(() => harness.get([["message", 0, message(1)], broken]), ProtocolError);
  assert.deepEqual(offsets(harness.session.takeEvents()), [1]);
});

test("a reply the client cannot read is a protocol error and ends the request", () => {
  const harness = new Harness();
  const request = harness.session.join(harness.connection, ROOM, null, false, 0, null);
  assert.throws(() => harness.ok(harness.asked("join")[0], { epoch: 1 }), ProtocolError);
  assert.ok(request.done && request.error instanceof ProtocolError);
});

test("while moving the old connection counts until the new join is answered", () => {
  const harness = new Harness();
  harness.join();
  const old = harness.connection;
  old.left = true;
  harness.connect();
  const [number, body] = harness.asked("join");
  assert.equal(body.since.offset, 0);
  assert.deepEqual(offsets(harness.hear("message", message(1), old)), [1]);
  const events = harness.ok(number, reply(2, [1, 2]));
  assert.equal(events[0].type, "rejoined");
  assert.deepEqual(offsets(events), [2]);
  assert.deepEqual(harness.hear("message", message(3), old), []);
  assert.deepEqual(offsets(harness.messages(3)), [3]);
});

test("a kick on the connection being left means nothing", () => {
  const harness = new Harness();
  const old = harness.connection;
  const body = { code: "replaced", reason: "", reconnect: false };
  old.left = true;
  assert.deepEqual(harness.hear("kick", body), []);
  harness.connect();
  assert.deepEqual(harness.hear("kick", body, old), []);
});

test("a join answered on the old connection is repeated on the new one", () => {
  const harness = new Harness();
  const request = harness.session.join(harness.connection, ROOM, null, false, 0, null);
  const [number] = harness.asked("join");
  const old = harness.connection;
  harness.connect();
  harness.ok(number, reply(4, [], { recovered: false }), old);
  assert.equal(request.value.offset, 4);
  assert.deepEqual(harness.asked("join")[1].since, { epoch: 1, offset: 4 });
});

test("goaway plans the move within its time", () => {
  const harness = new Harness();
  harness.hear("goaway", { reason: "drain", after: 8, to: ["a:1", "b:2"] });
  assert.equal(harness.connection.leaveAt, 8);
  assert.deepEqual(harness.connection.leaveFor, ["a:1", "b:2"]);
});

test("a slow application leaves messages to be fetched when it has caught up", () => {
  const harness = new Harness();
  harness.join();
  harness.session.paused = true;
  assert.deepEqual(harness.messages(1, 2, 3), []);
  assert.deepEqual(harness.sent(), []);
  assert.equal(harness.session.wakeAt(), Infinity);
  harness.session.resumeReading(1);
  assert.deepEqual(offsets(harness.ok(harness.asked("history")[0], reply(3, [1, 2, 3]))), [1, 2, 3]);
});

test("refresh takes over the new resume", () => {
  const harness = new Harness();
  harness.session.refresh(harness.connection, "T2", 0, null);
  const [number, body] = harness.asked("refresh");
  assert.deepEqual(body, { token: "T2" });
  harness.ok(number, { exp: 1, resume: "resume-2" });
  assert.equal(harness.session.resume, "resume-2");
});

// --- the connection's heartbeat

test("a quiet connection pings before the server has to miss it", () => {
  const harness = new Harness();
  harness.step(23.9);
  assert.deepEqual(harness.sent(), []);
  harness.step(0.1);
  harness.get([["pong", harness.asked("ping")[0], {}]]);
  assert.ok(!harness.connection.dead(1e6));
});

test("no answer for 15 s is the end, any answer puts it off", () => {
  const harness = new Harness();
  const { connection } = harness;
  harness.join();
  harness.messages(3);
  harness.asked("history");
  harness.now = 10;
  connection.ping(harness.now);
  harness.get([["pong", harness.asked("ping")[0], {}]]);
  assert.ok(!connection.dead(24.9));
  assert.ok(connection.dead(25));
});

test("in doubt an answer has to come within 5 s", () => {
  const harness = new Harness();
  const { connection } = harness;
  connection.probe(0);
  connection.probe(3);
  assert.ok(!connection.dead(4.9));
  assert.ok(connection.dead(5));
  harness.get([["pong", harness.sent()[0][1], {}]]);
  assert.ok(!connection.dead(5));
});

test("numbers of requests go round and leave out those in use", () => {
  const { connection } = new Harness();
  connection.pending.set(2, {});
  connection.request("ping", {}, 0);
  assert.ok(connection.pending.has(3));
});
