/**
 * The client against a real cluster, whose tests (tests/clients/test_js.py) run this file and say where
 * it is: CLUSTER_OF_TEST = {"address", "gateways": [addresses], "tokens": {uid: token}, "command": [...]}.
 */

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { after, test } from "node:test";
import { promisify } from "node:util";

import { Client } from "../roost.js";
import { offsets, until } from "./peer.js";
import { TestWebSocket } from "./websocket.js";

const place = JSON.parse(process.env.CLUSTER_OF_TEST ?? "null");
const skip = place === null && "no cluster: run tests/clients/test_js.py";
const CARRIERS = ["websocket", "sse", "poll"];
const clients = [];
const run = Date.now().toString(36); // another at each run: rooms, keys

after(() => Promise.all(clients.map((client) => client.close())));

/** A connected client that keeps what it hears. */
async function connect(uid, carrier, options = {}, address = place.address) {
  const settings = { device: carrier, carriers: [carrier], webSocket: TestWebSocket, ...options };
  const client = new Client(address, place.tokens[uid], settings);
  client.heard = [];
  client.on("*", (event) => client.heard.push(event));
  clients.push(client);
  await client.connect();
  assert.equal(client.carrier, carrier);
  return client;
}

const roost = (...words) => promisify(execFile)(place.command[0], [...place.command.slice(1), ...words]);

/** The pids of the gateways, by name. */
async function gateways() {
  const { processes } = JSON.parse((await roost("status", "--json")).stdout);
  return new Map(
    processes.filter(({ group }) => group === "gateway").map(({ index, pid }) => [`gateway-${index}`, pid]),
  );
}

/** Send a kept message; a user is stored a moment after the first login, and unknown before. */
async function keep(client, uid, data, options) {
  const end = Date.now() + 5000;
  for (;;) {
    try {
      return await client.send(uid, data, { ...options, keep: true });
    } catch (error) {
      if (error.code !== "not_found" || Date.now() > end) throw error;
    }
    await sleep(0.02);
  }
}

const said = (client, room) =>
  client.heard.filter((event) => event.type === "message" && event.room === room);
const kept = (client) => client.heard.filter(({ type }) => type === "inbox");
const range = (first, last) => Array.from({ length: last - first + 1 }, (_, each) => first + each);
const sleep = (seconds) => new Promise((resolve) => setTimeout(resolve, seconds * 1000));

for (const carrier of CARRIERS) {
  test(`${carrier}: rooms, history, presence, values and errors`, { skip }, async () => {
    const room = `plaza/tour.${carrier}.${run}`;
    const alice = await connect("alice", carrier);
    const bob = await connect("bob", carrier);
    const joined = await alice.join(room, { presence: true });
    await bob.join(room);
    await until(() => alice.heard.some(({ type, uid }) => type === "joined" && uid === "bob"), "bob");
    const data = {
      text: "grüß 😀",
      bytes: Uint8Array.of(0, 255),
      marks: { $bin: "x" },
      list: [1, -1.5, null],
    };
    const first = await bob.publish(room, data, { key: "k" });
    assert.deepEqual(await bob.publish(room, data, { key: "k" }), first);
    assert.equal(first.epoch, joined.epoch);
    await until(() => said(alice, room).length, "the message");
    assert.deepEqual(said(alice, room)[0].data, data);
    assert.equal(said(alice, room)[0].uid, "bob");
    assert.deepEqual((await alice.history(room)).messages, said(alice, room));
    const { users } = await alice.presenceRoom(room);
    assert.deepEqual(users.map(({ uid }) => uid).sort(), ["alice", "bob"]);
    await assert.rejects(alice.publish("plaza/other", 1), ({ code }) => code === "not_joined");
    await assert.rejects(
      alice.join("no room"),
      ({ code, facts }) => code === "bad_field" && facts.field === "room",
    );
    await alice.leave(room);
    assert.ok((await alice.ping()) < 5);
  });

  test(`${carrier}: kept messages come once, are acked, and give a receipt`, { skip }, async () => {
    const device = `mail.${carrier}`;
    const carol = await connect("carol", carrier, { device });
    const seq = Math.max(0, ...kept(carol).map((each) => each.seq));
    await carol.close();
    const alice = await connect("alice", carrier, { device });
    await keep(alice, "carol", { from: run }, { receipt: true, key: `mail.${carrier}.${run}` });
    const again = await connect("carol", carrier, { device });
    await until(() => kept(again).some(({ data }) => data.from === run), "the message");
    const last = kept(again).at(-1);
    assert.ok(last.seq > seq);
    await again.ack({ seq: last.seq });
    await until(
      () => alice.heard.some(({ type, uid }) => type === "receipt" && uid === "carol"),
      "the receipt",
    );
    await again.close();
    const third = await connect("carol", carrier, { device });
    assert.equal(third.welcome.inbox.seq, last.seq);
    assert.deepEqual(kept(third), []);
  });
}

test("a token that is none is refused", { skip }, async () => {
  for (const carrier of CARRIERS) {
    const client = new Client(place.address, "x.y.z", { carriers: [carrier], webSocket: TestWebSocket });
    await assert.rejects(client.connect(), ({ code }) => code === "unauthorized");
  }
});

test("the newest login of a device ends the older one for good", { skip }, async () => {
  const older = await connect("dave", "websocket", { device: "one" });
  await connect("dave", "poll", { device: "one" });
  await until(() => older.state === "closed", "the kick");
  assert.equal(older.heard.find(({ type }) => type === "kicked").code, "replaced");
});

test("a gateway is killed while messages flow: nothing is lost, nothing comes twice", { skip }, async () => {
  const room = `plaza/keep.killed.${run}`;
  const listeners = await Promise.all(
    CARRIERS.map((carrier, each) => connect(`user${each}`, carrier, {}, [place.gateways[0], place.address])),
  );
  for (const client of listeners) await client.join(room);
  const speaker = await connect("alice", "websocket", { device: "speaker" }, place.gateways[1]);
  const start = (await speaker.join(room)).offset;

  const count = 120;
  const victim = "gateway-0";
  const sending = [];
  for (let number = 1; number <= count; number++) {
    sending.push(speaker.publishSurely(room, number, { key: `killed.${number}` }));
    for (const [each, client] of listeners.entries()) {
      sending.push(client.publishSurely(room, `${each}:${number}`, { key: `killed.${each}.${number}` }));
      if (number % 10 === 0) {
        sending.push(keep(speaker, `user${each}`, { number, run }, { key: `mail.${run}.${each}.${number}` }));
      }
    }
    if (number === 40) process.kill((await gateways()).get(victim), "SIGKILL");
    await sleep(0.03);
  }
  await Promise.all(sending);

  const all = count * (1 + listeners.length);
  for (const client of [speaker, ...listeners]) {
    await until(
      () => said(client, room).at(-1)?.offset === start + all,
      `${all} messages on ${client.carrier}`,
    );
    assert.deepEqual(offsets(said(client, room)), range(start + 1, start + all));
    assert.equal(new Set(said(client, room).map(({ data }) => data)).size, all);
    assert.ok(!client.heard.some((event) => event.type === "missed" || event.recovered === false));
  }
  for (const client of listeners) {
    const numbers = () => kept(client).flatMap(({ data }) => (data.run === run ? [data.number] : []));
    await until(() => numbers().length >= count / 10, "kept messages");
    const expected = range(1, count / 10).map((each) => each * 10);
    assert.deepEqual(
      numbers().sort((one, other) => one - other),
      expected,
    );
    const states = client.heard.filter(({ type }) => type === "state_changed").map(({ state }) => state);
    assert.deepEqual([states.includes("recovering"), states.at(-1)], [true, "live"]);
  }
});

test("a client goes from WebSocket to polling to an event stream and loses nothing", { skip }, async () => {
  const room = `plaza/keep.hops.${run}`;
  const speaker = await connect("alice", "websocket", { device: "hops" });
  const start = (await speaker.join(room)).offset;
  let position = { ...(await speaker.history(room)), offset: start };
  const heard = [];
  let number = 0;
  for (const carrier of ["websocket", "poll", "sse", "websocket", "sse", "poll"]) {
    const hopper = await connect("erin", carrier, { device: "hopper" });
    await hopper.join(room, { since: position });
    for (let each = 0; each < 20; each++) await speaker.publish(room, ++number);
    await until(() => said(hopper, room).length >= 5, "messages");
    heard.push(...said(hopper, room).map(({ data }) => data));
    position = hopper.position(room);
    await hopper.close();
  }
  const { messages } = await speaker.history(room, { since: position });
  assert.deepEqual([...heard, ...messages.map(({ data }) => data)], range(1, number));
});
