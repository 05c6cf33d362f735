/** The client against a scripted server, over carriers that lead to the test. */

import assert from "node:assert/strict";
import { afterEach, beforeEach, mock, test } from "node:test";

import { Client, ClientClosed, ConnectionLost, RequestError, Timeout } from "../roost.js";
import { Peer, ROOM, WELCOME, message, offsets, reply, until } from "./peer.js";

let peer;

beforeEach(() => (peer = new Peer()));
afterEach(() => peer.end());

const states = (client) =>
  client.heard.filter(({ type }) => type === "state_changed").map(({ state }) => state);
const heard = (client, wanted) => until(() => client.heard.find(({ type }) => type === wanted), wanted);
const live = (client) => until(() => client.state === "live", "live");
const code = (wanted) => (error) => error.code === wanted;

// --- connecting

test("connect comes back with the welcome", async () => {
  const client = peer.client({ kind: "web", client: { name: "test", version: "1" } });
  assert.equal(client.state, "offline");
  const connecting = client.connect();
  const hello = await (await peer.accept()).welcome();
  assert.equal((await connecting).uid, "alice");
  const asked = {
    v: 1,
    token: "token-1",
    device: "laptop",
    kind: "web",
    client: { name: "test", version: "1" },
  };
  assert.deepEqual(hello, asked);
  assert.deepEqual([client.state, client.carrier, client.welcome.uid], ["live", "websocket", "alice"]);
  assert.deepEqual(states(client), ["connecting", "live"]);
});

test("nobody there is a lost connection, and connect may be called again", async () => {
  const client = peer.client();
  peer.refusing.add("websocket");
  await assert.rejects(client.connect(), ConnectionLost);
  assert.equal(client.state, "offline");
  peer.refusing.clear();
  await peer.connect(client);
  assert.equal(client.state, "live");
});

test("a refused token is said, and connect may be called again with another", async () => {
  const tokens = ["old", "new"];
  const client = peer.client({}, async () => tokens.shift());
  const connecting = client.connect();
  const asked = await (await peer.accept()).refuse("hello", "unauthorized");
  assert.equal(asked.token, "old");
  await assert.rejects(connecting, code("unauthorized"));
  await peer.connect(client);
});

test("the next address is tried when one is away", async () => {
  const client = peer.client({}, "t", ["away:1", "http://peer:2/some/path"]);
  peer.refusing.add("http://away:1/");
  const conversation = await peer.connect(client);
  assert.equal(conversation.base, "http://peer:2/some/path/");
});

test("start goes on trying, and says offline after three failures", async () => {
  const client = peer.client();
  peer.refusing.add("websocket");
  client.start();
  await until(() => client.state === "offline");
  peer.refusing.clear();
  await (await peer.accept()).welcome();
  await live(client);
  assert.deepEqual(states(client), ["connecting", "offline", "live"]);
});

test("start ends with a refused token", async () => {
  const client = peer.client();
  client.start();
  await (await peer.accept()).refuse("hello", "unauthorized");
  await until(() => client.state === "closed");
  await assert.rejects(client.join(ROOM), code("unauthorized"));
});

test("no welcome in time is a timeout", async () => {
  await assert.rejects(peer.client({ timings: { welcome: 0.02 } }).connect(), Timeout);
  await assert.rejects(peer.client().connect(0.02), Timeout);
});

test("a kick while logging in ends the client", async () => {
  const client = peer.client();
  const connecting = client.connect();
  const conversation = await peer.accept();
  await conversation.expect("hello");
  conversation.kick("banned", false);
  await assert.rejects(connecting, (error) => error instanceof ClientClosed && error.code === "banned");
});

test("connecting twice is refused", async () => {
  const client = peer.client();
  await peer.connect(client);
  await assert.rejects(client.connect(), /before/);
  assert.throws(() => client.start(), /before/);
});

test("packets right behind the welcome are heard", async () => {
  const client = peer.client();
  const connecting = client.connect();
  const conversation = await peer.accept();
  await conversation.expect("hello");
  const inbox = ["inbox", 0, { seq: 4, mid: 1, uid: "bob", data: "hi" }];
  conversation.on.packets([["ok", 1, WELCOME], inbox]);
  conversation.on.packets([["inbox", 0, { seq: 5, mid: 2, uid: "bob", data: "ho" }]]);
  await connecting;
  const found = client.heard.filter(({ type }) => type === "inbox");
  assert.deepEqual(
    found.map(({ seq, data }) => [seq, data]),
    [
      [4, "hi"],
      [5, "ho"],
    ],
  );
});

test("an address may be written in many ways", async () => {
  const written = {
    "host:7001": "http://host:7001/",
    "https://host": "https://host/",
    "wss://host/rt": "https://host/rt/",
    "ws://host:1/?x=1": "http://host:1/",
  };
  for (const [address, base] of Object.entries(written)) {
    const client = peer.client({}, "t", address);
    client.start();
    assert.equal((await peer.accept()).base, base);
    client.close(0);
  }
});

// --- carriers

const ALL = { carriers: ["websocket", "sse", "poll"], fetch: () => {} };

test("where no WebSocket gets through, HTTP is used, and after the second time at once", async () => {
  const client = peer.client(ALL);
  peer.refusing.add("websocket");
  for (const times of [1, 2]) {
    if (times === 1) client.start();
    const conversation = await peer.accept();
    assert.equal(conversation.name, "sse");
    await conversation.welcome();
    await until(() => client.carrier === "sse");
    peer.refusing.clear();
    if (times === 1) peer.refusing.add("websocket");
    conversation.break();
  }
  assert.equal((await peer.accept()).name, "sse");
});

test("a WebSocket that does not open in time gives way to HTTP", async () => {
  const client = peer.client({ ...ALL, timings: { fallback: 0.02 } });
  client.start();
  const silent = await peer.accept();
  assert.equal(silent.name, "websocket");
  assert.equal((await peer.accept()).name, "sse");
  assert.ok(silent.closed);
});

test("a WebSocket that is open has all the time of a login", async () => {
  const client = peer.client({ ...ALL, timings: { fallback: 0.02, welcome: 3 } });
  peer.opens = true;
  client.start();
  const conversation = await peer.accept();
  await new Promise((resolve) => setTimeout(resolve, 40));
  await conversation.welcome();
  await live(client);
  assert.equal(client.carrier, "websocket");
});

test("an event stream that turns out useless gives way to polling", async () => {
  const client = peer.client({ ...ALL, carriers: ["sse", "poll"] });
  const conversation = await peer.connect(client);
  await conversation.answer("ping", {});
  conversation.on.useless();
  conversation.break("held back");
  assert.equal((await peer.accept()).name, "poll");
});

test("a refusal is not asked for again over another carrier", async () => {
  const client = peer.client(ALL);
  const connecting = client.connect();
  await (await peer.accept()).refuse("hello", "conflict");
  await assert.rejects(connecting, code("conflict"));
  assert.ok(peer.nobodyElseCame);
});

test("without WebSocket only HTTP is tried, and without both it is said", async () => {
  const client = peer.client({ ...ALL, webSocket: undefined });
  client.start();
  assert.equal((await peer.accept()).name, "sse");
  await assert.rejects(peer.client({ webSocket: undefined, fetch: undefined }).connect(), code("no_carrier"));
});

// --- requests

test("publish gives the place", async () => {
  const client = peer.client();
  const conversation = await peer.connect(client);
  const publishing = client.publish(ROOM, { text: "hi" }, { key: "k1" });
  const asked = await conversation.answer("publish", { epoch: 3, offset: 8 });
  assert.deepEqual(asked, { room: ROOM, data: { text: "hi" }, key: "k1" });
  assert.deepEqual(await publishing, { epoch: 3, offset: 8 });
});

test("an error has its code and its facts", async () => {
  const client = peer.client();
  const conversation = await peer.connect(client);
  const asking = client.publish(ROOM, 1);
  asking.catch(() => {});
  await conversation.refuse("publish", "rate_limited", { retry: true, after: 20 });
  await assert.rejects(asking, (error) => {
    assert.ok(error instanceof RequestError && error.retry);
    assert.equal(String(error), "RequestError: rate_limited: no");
    return error.facts.after === 20;
  });
});

test("answers find their requests in any order", async () => {
  const client = peer.client();
  const conversation = await peer.connect(client);
  const asking = [1, 2, 3].map((each) => client.call("echo", each, { room: ROOM }));
  await until(() => conversation.sent.length === 3);
  for (const [, number, body] of conversation.sent.splice(0).reverse()) {
    conversation.push("ok", { result: body.args * 10 }, number);
  }
  assert.deepEqual(await Promise.all(asking), [10, 20, 30]);
});

test("no answer in time is a timeout and a late one does no harm", async () => {
  const client = peer.client();
  const conversation = await peer.connect(client);
  await assert.rejects(client.publish(ROOM, 1, { timeout: 0.01 }), Timeout);
  await conversation.answer("publish", { epoch: 1, offset: 1 });
  const pinging = client.ping();
  await conversation.answer("ping", {});
  assert.ok((await pinging) >= 0);
});

test("a join that ended with a timeout may still happen", async () => {
  const client = peer.client();
  const conversation = await peer.connect(client);
  await assert.rejects(client.join(ROOM, { timeout: 0.01 }), Timeout);
  await conversation.answer("join", reply(4, [], { recovered: false }));
  conversation.messages(5);
  assert.deepEqual(offsets(client.heard), [5]);
});

test("a request that has no form or is too large never leaves", async () => {
  const client = peer.client();
  const conversation = await peer.connect(client);
  await assert.rejects(client.publish(ROOM, "x".repeat(70_000)), code("bad_packet"));
  await assert.rejects(client.publish(ROOM, NaN), TypeError);
  assert.deepEqual(conversation.sent, []);
});

test("requests without a connection fail at once", async () => {
  const client = peer.client();
  await assert.rejects(client.publish(ROOM, 1), ConnectionLost);
  assert.throws(() => client.post("publish", {}), ConnectionLost);
});

const REQUESTS = {
  history: [
    (client) => client.history(ROOM, { since: { epoch: 1, offset: 2 }, limit: 5 }),
    { room: ROOM, since: { epoch: 1, offset: 2 }, limit: 5 },
    reply(3, [3]),
    {
      room: ROOM,
      epoch: 1,
      offset: 3,
      first: 1,
      recovered: true,
      messages: [{ type: "message", room: ROOM, epoch: 1, offset: 3, uid: "bob", data: 3, time: 1 }],
      more: false,
    },
  ],
  "presence of a room": [
    (client) => client.presenceRoom(ROOM),
    { room: ROOM },
    { count: 1, users: [], unknown: [] },
    { count: 1, users: [], unknown: [] },
  ],
  "presence of users": [
    (client) => client.presenceUsers(["bob"]),
    { users: ["bob"] },
    { count: 0, users: [], unknown: ["bob"] },
    { count: 0, users: [], unknown: ["bob"] },
  ],
  watch: [
    (client) => client.watch(["bob"]),
    { users: ["bob"], off: false },
    { users: [{ uid: "bob", online: null }] },
    new Map([["bob", null]]),
  ],
  profile: [
    (client) => client.profile(["bob"]),
    { users: ["bob"] },
    { users: [{ uid: "bob" }] },
    [{ uid: "bob" }],
  ],
  "profile set": [
    (client) => client.setProfile({ name: "Al" }),
    { set: { name: "Al" } },
    { users: [{ uid: "alice", name: "Al" }] },
    { uid: "alice", name: "Al" },
  ],
  send: [
    (client) => client.send("bob", 1),
    { to: "bob", data: 1 },
    { mid: 5, online: 1 },
    { mid: 5, online: 1 },
  ],
  "send kept": [
    (client) => client.send(["bob"], 1, { keep: true, ttl: 60, key: "k", receipt: true }),
    { to: ["bob"], data: 1, keep: true, ttl: 60, key: "k", receipt: true },
    { mid: 5, online: 0 },
    { mid: 5, online: 0 },
  ],
  ack: [(client) => client.ack({ seq: 4 }), { seq: 4 }, {}, undefined],
  inbox: [
    (client) => client.inbox(4, { limit: 9 }),
    { after: 4, limit: 9 },
    { messages: [{ seq: 5, mid: 1, uid: "b", data: 0, time: 2 }], gap: false, more: true, seq: 5, bseq: 0 },
    {
      messages: [{ type: "inbox", seq: 5, bseq: null, mid: 1, uid: "b", data: 0, time: 2, gap: false }],
      gap: false,
      more: true,
      seq: 5,
      bseq: 0,
    },
  ],
  call: [
    (client) => client.call("spin", [1], { map: "arena" }),
    { method: "spin", args: [1], map: "arena" },
    { result: "ok" },
    "ok",
  ],
  enter: [(client) => client.enter("arena"), { map: "arena" }, { line: 1 }, { line: 1 }],
  exit: [(client) => client.exit(), {}, {}, undefined],
  leave: [(client) => client.leave(ROOM), { room: ROOM }, {}, undefined],
  refresh: [
    (client) => client.refresh(),
    { token: "token-1" },
    { exp: 1, resume: "r" },
    { exp: 1, resume: "r" },
  ],
};

for (const [name, [call, body, answer, result]] of Object.entries(REQUESTS)) {
  test(`a request says what the protocol wants and gives what it says: ${name}`, async () => {
    const client = peer.client();
    const conversation = await peer.connect(client);
    const asking = call(client);
    assert.deepEqual(await conversation.answer(name.split(" ")[0], answer), body);
    assert.deepEqual(await asking, result);
  });
}

test("input wants no answer", async () => {
  const client = peer.client();
  const conversation = await peer.connect(client);
  client.input(3, { dx: 1 });
  assert.deepEqual(conversation.sent, [["input", 0, { n: 3, data: { dx: 1 } }]]);
});

test("publishSurely repeats with the same key", async () => {
  const client = peer.client();
  let conversation = await peer.connect(client);
  const publishing = client.publishSurely(ROOM, 1);
  const keys = [(await conversation.refuse("publish", "unavailable", { retry: true })).key];
  keys.push((await conversation.expect("publish")).key);
  conversation.break();
  conversation = await peer.accept();
  await conversation.welcome();
  keys.push((await conversation.answer("publish", { epoch: 1, offset: 9 })).key);
  assert.deepEqual(await publishing, { epoch: 1, offset: 9 });
  assert.equal(new Set(keys).size, 1);
  assert.match(keys[0], /^[0-9a-f]{1,64}$/);
});

test("publishSurely waits for the room to be joined again, but not for one never joined", async () => {
  const client = peer.client();
  const conversation = await peer.connect(client);
  await peer.join(client, conversation);
  const publishing = client.publishSurely(ROOM, 1);
  await conversation.refuse("publish", "not_joined");
  await conversation.answer("publish", { epoch: 1, offset: 9 });
  await publishing;
  const never = client.publishSurely("plaza/other", 1);
  never.catch(() => {});
  await conversation.refuse("publish", "not_joined");
  await assert.rejects(never, code("not_joined"));
});

test("publishSurely ends with the last failure", async () => {
  const client = peer.client({ random: () => 1 });
  const conversation = await peer.connect(client, { retry: { base: 60, factor: 1, max: 60 } });
  const publishing = client.publishSurely(ROOM, 1);
  publishing.catch(() => {});
  await conversation.refuse("publish", "busy", { retry: true, after: 1000 });
  await assert.rejects(publishing, code("busy"));
});

test("requests wait in order while the carrier has too much to send, and post is refused", async () => {
  const client = peer.client();
  const conversation = await peer.connect(client);
  conversation.backlog = 300_000;
  const asking = [1, 2].map((each) => client.publish(ROOM, each));
  assert.throws(() => client.post("publish", {}), Timeout);
  await new Promise((resolve) => setTimeout(resolve, 30));
  assert.deepEqual(conversation.sent, []);
  conversation.backlog = 0;
  for (const each of [1, 2]) {
    assert.equal((await conversation.answer("publish", { epoch: 1, offset: each })).data, each);
  }
  assert.deepEqual(await Promise.all(asking), [
    { epoch: 1, offset: 1 },
    { epoch: 1, offset: 2 },
  ]);
});

// --- rooms and events

test("messages come to callbacks, and a removed one hears no more", async () => {
  const client = peer.client();
  const found = [];
  const off = client.on("message", ({ offset }) => found.push(offset));
  const conversation = await peer.connect(client);
  await peer.join(client, conversation);
  conversation.messages(1, 2);
  off();
  conversation.messages(3);
  assert.deepEqual(found, [1, 2]);
  assert.deepEqual(client.rooms, [ROOM]);
  assert.deepEqual(client.position(ROOM), { epoch: 1, offset: 3 });
  assert.equal(client.position("plaza/other"), null);
});

test("callbacks hear events in order and survive their own errors", async () => {
  const client = peer.client();
  const found = [];
  const errors = mock.method(console, "error", () => {});
  client.on("message", ({ offset }) => {
    found.push(offset);
    if (offset === 2) throw new Error("a defect of the application");
  });
  const conversation = await peer.connect(client);
  await peer.join(client, conversation);
  conversation.messages(1, 2, 3);
  errors.mock.restore();
  assert.deepEqual(found, [1, 2, 3]);
  assert.equal(errors.mock.callCount(), 1);
});

test("a callback may ask and wait", async () => {
  const client = peer.client();
  let answered = null;
  client.on("message", async ({ offset }) => {
    if (offset === 1) answered = await client.publish(ROOM, "pong");
  });
  const conversation = await peer.connect(client);
  await peer.join(client, conversation);
  conversation.messages(1);
  await conversation.answer("publish", { epoch: 1, offset: 2 });
  await until(() => answered);
});

test("a jump is filled through history", async () => {
  const client = peer.client();
  const conversation = await peer.connect(client);
  await peer.join(client, conversation);
  conversation.messages(1, 4);
  const asked = await conversation.answer("history", reply(4, [2, 3, 4]));
  assert.deepEqual(asked, { room: ROOM, since: { epoch: 1, offset: 1 } });
  assert.deepEqual(offsets(client.heard), [1, 2, 3, 4]);
});

/** A client without callbacks, so that its events wait to be read. */
function reader(options) {
  const settings = {
    retry: { base: 0.01, factor: 1, max: 0.01 },
    makeCarrier: peer.make,
    carriers: ["websocket"],
  };
  const client = new Client("peer:1", "token-1", { ...settings, webSocket: class {}, ...options });
  peer.clients.push(client);
  return client;
}

test("events can be read one by one, until the client ends", async () => {
  const client = reader();
  const conversation = await peer.connect(client);
  await peer.join(client, conversation);
  conversation.messages(1, 2);
  const found = [];
  for await (const event of client.events()) {
    found.push(event.offset ?? event.state);
    if (event.offset === 2) client.close(0);
  }
  assert.deepEqual(found, ["connecting", "live", 1, 2, "closed"]);
});

test("a slow application holds up nobody and loses nothing that is kept", async () => {
  const client = reader({ eventLimit: 8 });
  const conversation = await peer.connect(client);
  await peer.join(client, conversation);
  for (let offset = 1; offset <= 30; offset++) {
    conversation.push("message", message(offset));
    conversation.push("joined", { room: ROOM, uid: "bob", count: 1 });
  }
  const pinging = client.ping(); // answered although nobody reads events
  await conversation.answer("ping", {});
  await pinging;
  const events = [];
  const reading = (async () => {
    for await (const event of client.events()) {
      events.push(event);
      if (event.offset === 30) return;
    }
  })();
  const last = await conversation.expect("history");
  const rest = Array.from({ length: 30 - last.since.offset }, (_, place) => last.since.offset + 1 + place);
  conversation.push("ok", reply(30, rest), 4);
  await reading;
  assert.deepEqual(
    offsets(events),
    Array.from({ length: 30 }, (_, place) => place + 1),
  );
  const dropped = events
    .filter(({ type }) => type === "overflow")
    .reduce((sum, event) => sum + event.dropped, 0);
  assert.ok(dropped >= 20);
  assert.equal(dropped + events.filter(({ type }) => type === "joined").length, 30);
});

// --- coming back

test("after a loss it resumes and joins again", async () => {
  const client = peer.client();
  let conversation = await peer.connect(client);
  await peer.join(client, conversation);
  conversation.messages(1);
  conversation.break();
  conversation = await peer.accept();
  const hello = await conversation.welcome({ resume: "resume-2" });
  assert.equal(hello.resume, "resume-1");
  assert.ok(!("token" in hello));
  const asked = await conversation.answer("join", reply(3, [2, 3]));
  assert.deepEqual(asked.since, { epoch: 1, offset: 1 });
  assert.deepEqual(offsets(client.heard), [1, 2, 3]);
  assert.ok((await heard(client, "rejoined")).recovered);
  assert.deepEqual(states(client), ["connecting", "live", "recovering", "live"]);
});

test("a refused resume falls back to the token", async () => {
  const client = peer.client();
  (await peer.connect(client)).break();
  assert.ok("resume" in (await (await peer.accept()).refuse("hello", "unauthorized")));
  assert.equal((await (await peer.accept()).welcome()).token, "token-1");
});

test("a refused token after a loss ends the client", async () => {
  const client = peer.client();
  (await peer.connect(client)).break();
  await (await peer.accept()).refuse("hello", "unauthorized");
  await (await peer.accept()).refuse("hello", "unauthorized");
  await until(() => client.state === "closed");
  await assert.rejects(
    client.ping(),
    (error) => error instanceof ClientClosed && error.code === "unauthorized",
  );
});

test("a token that cannot be had is asked for again", async () => {
  let times = 0;
  const client = peer.client({}, () => {
    times += 1;
    if (times < 3) throw new Error("not now");
    return "token-3";
  });
  client.start();
  assert.equal((await (await peer.accept()).welcome()).token, "token-3");
});

test("busy servers are asked again, not before they say", async () => {
  const client = peer.client({}, "t");
  client.start();
  const begun = performance.now();
  await (await peer.accept()).refuse("hello", "rate_limited", { retry: true, after: 40 });
  await (await peer.accept()).welcome();
  assert.ok(performance.now() - begun >= 39);
});

test("a loss ends what waits for answers as lost", async () => {
  const client = peer.client();
  const conversation = await peer.connect(client);
  const asking = client.publish(ROOM, 1);
  asking.catch(() => {});
  await conversation.expect("publish");
  conversation.break();
  await assert.rejects(asking, ConnectionLost);
});

test("a long silence says offline, and retryNow does not wait", async () => {
  const client = peer.client({ random: () => 1, retry: { base: 60, factor: 1, max: 60 } });
  const conversation = await peer.connect(client, { retry: { base: 60, factor: 1, max: 60 } });
  peer.refusing.add("websocket");
  conversation.break();
  for (const state of ["recovering", "recovering", "offline"]) {
    await until(() => client.retryAt > Date.now() + 30_000, "a planned attempt");
    assert.equal(client.state, state);
    if (state === "offline") peer.refusing.clear();
    const before = peer.dialed;
    client.retryNow();
    await until(() => peer.dialed > before, "the attempt");
  }
  await (await peer.accept()).welcome();
  await live(client);
  assert.equal(client.retryAt, null);
});

test("a kick not to come back ends the client", async () => {
  const client = peer.client();
  const conversation = await peer.connect(client);
  const asking = client.publish(ROOM, 1);
  await conversation.expect("publish");
  conversation.kick("replaced", false);
  await assert.rejects(asking, ConnectionLost);
  assert.deepEqual(await heard(client, "kicked"), {
    type: "kicked",
    code: "replaced",
    reason: "because",
    reconnect: false,
  });
  assert.deepEqual(states(client), ["connecting", "live", "closed"]);
  await assert.rejects(
    client.join(ROOM),
    (error) => error instanceof ClientClosed && error.code === "replaced",
  );
  assert.ok(peer.nobodyElseCame);
});

test("a kick to come back makes it come back", async () => {
  const client = peer.client();
  (await peer.connect(client)).kick("restart", true);
  await (await peer.accept()).welcome();
  await until(() => states(client).length === 4);
  assert.deepEqual(states(client), ["connecting", "live", "recovering", "live"]);
});

test("what the protocol does not allow ends the connection, not the client", async () => {
  const client = peer.client();
  const conversation = await peer.connect(client);
  await peer.join(client, conversation);
  conversation.push("message", { room: ROOM, offset: "x" });
  await until(() => conversation.closed);
  await (await peer.accept()).welcome();
  await live(client);
});

test("close says bye and ends for good", async () => {
  const client = peer.client();
  const conversation = await peer.connect(client);
  await client.close();
  assert.deepEqual(conversation.sent, [["bye", 0, {}]]);
  assert.ok(conversation.closed);
  assert.equal(client.state, "closed");
  await assert.rejects(client.connect(), code("closed"));
  assert.ok(peer.nobodyElseCame);
});

test("close while dialing gives up", async () => {
  const client = peer.client();
  const connecting = client.connect();
  const conversation = await peer.accept();
  client.close();
  await assert.rejects(connecting, ClientClosed);
  assert.ok(conversation.closed);
});

// --- moving

test("goaway makes the new connection first", async () => {
  const client = peer.client();
  const old = await peer.connect(client);
  await peer.join(client, old);
  old.messages(1);
  const publishing = client.publish(ROOM, 1);
  await old.expect("publish");
  old.push("goaway", { reason: "drain", after: 0, to: ["other:9", "not an address"] });
  const next = await peer.accept();
  assert.equal(next.base, "http://other:9/");
  assert.equal((await next.welcome({ gateway: "gateway-1" })).resume, "resume-1");
  const asked = await next.answer("join", reply(2, [2]));
  assert.deepEqual(asked.since, { epoch: 1, offset: 1 });
  assert.ok(!old.closed);
  old.push("ok", { epoch: 1, offset: 2 }, 3);
  assert.deepEqual(await publishing, { epoch: 1, offset: 2 });
  await until(() => old.closed, "the old connection to be left");
  next.messages(3);
  assert.deepEqual(offsets(client.heard), [1, 2, 3]);
  assert.deepEqual(states(client), ["connecting", "live"]);
  assert.equal(client.welcome.gateway, "gateway-1");
});

test("replaced on the connection being left means nothing", async () => {
  const client = peer.client();
  const old = await peer.connect(client);
  const asking = client.publish(ROOM, 1);
  asking.catch(() => {});
  await old.expect("publish");
  old.push("goaway", { reason: "drain", after: 0 });
  const next = await peer.accept();
  await next.welcome();
  old.kick("replaced", false);
  await assert.rejects(asking, ConnectionLost);
  const pinging = client.ping();
  await next.answer("ping", {});
  await pinging;
  assert.equal(client.state, "live");
  assert.ok(peer.nobodyElseCame);
});

test("the old connection ending first leaves one dialer", async () => {
  const client = peer.client();
  const old = await peer.connect(client);
  old.push("goaway", { reason: "restart", after: 0 });
  const next = await peer.accept();
  await next.expect("hello");
  old.break();
  await until(() => client.state === "recovering");
  next.push("ok", WELCOME, 1);
  await live(client);
  await new Promise((resolve) => setTimeout(resolve, 40)); // another would come after 10 ms
  assert.ok(peer.nobodyElseCame);
});

// --- heartbeat

test("quiet connections are kept alive by pings", async () => {
  const client = peer.client();
  const conversation = await peer.connect(client, { ping: 0.02 });
  for (let times = 0; times < 3; times++) await conversation.answer("ping", {});
  assert.equal(client.state, "live");
});

test("a server that does not answer is left", async () => {
  const client = peer.client({ timings: { answer: 0.03 } });
  const conversation = await peer.connect(client, { ping: 0.02 });
  await until(() => conversation.closed);
  await (await peer.accept()).welcome();
  await live(client);
});

test("retryNow on a live connection asks whether it is", async () => {
  const client = peer.client({ timings: { probe: 0.03 } });
  const conversation = await peer.connect(client);
  client.retryNow();
  await conversation.answer("ping", {});
  client.retryNow();
  await conversation.expect("ping");
  await until(() => conversation.closed);
});
