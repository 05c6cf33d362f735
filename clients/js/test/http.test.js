/** Sessions of HTTP requests, against a small server that loses, repeats and cuts what it is told to. */

import assert from "node:assert/strict";
import { createServer } from "node:http";
import { afterEach, beforeEach, test } from "node:test";

import { Client } from "../roost.js";
import { ROOM, WELCOME, message, offsets, reply, until } from "./peer.js";

/** A server of one session at a time, as docs/protocol.md, section 7, has it. */
class WebPeer {
  opened = 0;
  out = []; // packets to the client, all there ever were in this session
  taken = []; // packets of the client, each once
  requests = []; // "path cursor n packets"
  sabotage = () => null; // (request) -> "cut" before or "lose" after it is carried out, or a status
  answers = {}; // op -> body, or function of the body
  waiting = []; // answers to polls that wait
  stream = null;
  confirmed = 0;

  async listen() {
    this.server = createServer((request, response) => this.#serve(request, response));
    await new Promise((resolve) => this.server.listen(0, "127.0.0.1", resolve));
    this.address = `http://127.0.0.1:${this.server.address().port}`;
  }

  end() {
    this.server.closeAllConnections();
    this.server.close();
  }

  push(op, body, number = 0) {
    this.out.push([op, number, body]);
    for (const answer of this.waiting.splice(0)) answer();
    if (this.stream) this.#event(this.out.length);
  }

  #event(number) {
    if (!this.holdsBack)
      this.stream.write(`id: ${number}\ndata: ${JSON.stringify(this.out[number - 1])}\n\n`);
  }

  async #serve(request, response) {
    const { pathname, searchParams } = new URL(request.url, this.address);
    let text = "";
    for await (const part of request) text += part;
    const cursor = Number(searchParams.get("cursor") ?? request.headers["last-event-id"]);
    const seen = { path: pathname, cursor, n: Number(searchParams.get("n")), text };
    this.requests.push(seen);
    const fault = this.sabotage(seen);
    if (fault === "cut") return request.socket.destroy();
    const finish = (status, body) => {
      if (fault === "lose") return request.socket.destroy();
      response.writeHead(status, { "content-type": "application/json" });
      response.end(body === undefined ? undefined : JSON.stringify(body));
    };
    if (typeof fault === "number") return finish(fault, { code: "busy", message: "no", retry: true });
    if (pathname === "/poll/open") return finish(...this.#opened(JSON.parse(text)));
    if (searchParams.get("sid") !== this.sid) return finish(404, { code: "not_found", message: "gone" });
    this.confirmed = Math.max(this.confirmed, cursor);
    if (pathname === "/sse") return this.#streamed(cursor, request, response);
    if (pathname === "/poll/close") return finish((this.sid = null) ?? 204);
    this.#take(seen.n, JSON.parse(text));
    const answer = () => finish(200, { cursor: this.out.length, packets: this.out.slice(cursor) });
    if (this.stream) finish(200, { cursor, packets: [] });
    else if (text !== "[]" || this.out.length > cursor || searchParams.get("wait") === "0") answer();
    else this.waiting.push(answer);
  }

  #opened(hello) {
    const sid = `0-${++this.opened}`;
    Object.assign(this, { hello, sid, out: [], taken: [], stream: null, confirmed: 0 });
    return this.refusal ? [401, this.refusal] : [200, { sid, welcome: WELCOME }];
  }

  #streamed(cursor, request, response) {
    response.writeHead(200, { "content-type": "text/event-stream" });
    response.write(": here\r\n\r\n");
    this.stream = response;
    request.socket.on("close", () => this.stream === response && (this.stream = null));
    for (let number = cursor + 1; number <= this.out.length; number++) this.#event(number);
  }

  #take(n, packets) {
    for (const [place, [op, number, body]] of packets.entries()) {
      if (n + place !== this.taken.length + 1) continue;
      this.taken.push(op);
      const answer = this.answers[op];
      if (op === "ping") this.push("pong", {}, number);
      else if (answer) this.push("ok", typeof answer === "function" ? answer(body) : answer, number);
    }
  }
}

let web;
let client;

beforeEach(async () => {
  web = new WebPeer();
  await web.listen();
});
afterEach(async () => {
  await client?.close(0);
  web.end();
});

async function connect(carrier, timings = {}) {
  const retry = { base: 0.01, factor: 1, max: 0.01 };
  web.answers = {
    join: ({ since }) => reply(since?.offset ?? 0, [], { recovered: Boolean(since) }),
    publish: ({ data }) => ({ epoch: 1, offset: data }),
  };
  const options = { device: "laptop", carriers: carrier.split(" "), retry, timings: { wait: 5, ...timings } };
  client = new Client(web.address, "T", options);
  client.heard = [];
  client.on("*", (event) => client.heard.push(event));
  await client.connect();
  // Where an event stream is of no use the first request may be lost with it.
  await client.join(ROOM).catch(() => until(() => client.state === "live").then(() => client.join(ROOM)));
}

const pushAll = (first, last) => {
  for (let offset = first; offset <= last; offset++) web.push("message", message(offset));
};
const range = (first, last) => Array.from({ length: last - first + 1 }, (_, place) => first + place);
const hears = (last) => until(() => offsets(client.heard).at(-1) === last, `message ${last}`);

for (const carrier of ["poll", "sse"]) {
  test(`${carrier}: login, requests and pushes`, async () => {
    await connect(carrier);
    assert.deepEqual([client.carrier, client.welcome.uid, web.hello.token], [carrier, "alice", "T"]);
    pushAll(1, 50);
    await hears(50);
    assert.deepEqual(await client.publish(ROOM, 7), { epoch: 1, offset: 7 });
    assert.deepEqual(offsets(client.heard), range(1, 50));
  });

  test(`${carrier}: requests cut before or behind the server are repeated, nothing is done twice`, async () => {
    await connect(carrier);
    let count = 0;
    web.sabotage = ({ path }) => (path === "/poll" ? [null, "cut", "lose", 503][count++ % 4] : null);
    const publishing = [];
    for (let offset = 1; offset <= 20; offset++) {
      pushAll(offset, offset);
      if (offset <= 8) publishing.push(client.publish(ROOM, offset));
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    assert.deepEqual(
      (await Promise.all(publishing)).map(({ offset }) => offset),
      range(1, 8),
    );
    await hears(20);
    assert.deepEqual(offsets(client.heard), range(1, 20));
    assert.equal(web.taken.filter((op) => op === "publish").length, 8);
    assert.ok(count > 4);
  });

  test(`${carrier}: a session that is gone is opened again with resume`, async () => {
    await connect(carrier);
    pushAll(1, 2);
    await hears(2);
    web.answers.join = ({ since }) => reply(4, range(since.offset + 1, 4));
    web.sid = "gone";
    web.stream?.destroy();
    for (const answer of web.waiting.splice(0)) answer();
    await hears(4);
    assert.equal(web.hello.resume, "resume-1");
    assert.deepEqual(offsets(client.heard), [1, 2, 3, 4]);
  });

  test(`${carrier}: close says bye and closes the session`, async () => {
    await connect(carrier);
    await client.close();
    await until(() => web.sid === null, "poll/close");
    assert.equal(web.taken.at(-1), "bye");
    client = null;
  });

  test(`${carrier}: a kick ends it`, async () => {
    await connect(carrier);
    web.push("kick", { code: "replaced", reason: "", reconnect: false });
    await until(() => client.state === "closed");
  });
}

test("a refused hello is an error", async () => {
  web.refusal = { code: "unauthorized", message: "expired", retry: false };
  await assert.rejects(
    connect("poll"),
    (error) => error.code === "unauthorized" && error.reason === "expired",
  );
});

test("an answer that is none of the protocol's is a lost connection", async () => {
  web.sabotage = () => 200;
  await assert.rejects(connect("poll"), (error) => error.retry);
});

test("packets of one moment go together, and numbers count on", async () => {
  await connect("poll");
  await Promise.all([1, 2, 3].map((each) => client.publish(ROOM, each)));
  await client.publish(ROOM, 4);
  const sent = web.requests.filter(({ path, text }) => path === "/poll" && text !== "[]");
  assert.deepEqual(
    sent.map(({ n, text }) => [n, JSON.parse(text).length]),
    [
      [1, 1],
      [2, 3],
      [5, 1],
    ],
  );
});

test("a body is no larger than the largest packet", async () => {
  await connect("poll");
  await Promise.all(
    [1, 2, 3, 4].map((each) =>
      client.request("publish", { room: ROOM, data: each, pad: "x".repeat(20_000) }),
    ),
  );
  const sizes = web.requests.map(({ text }) => text.length);
  assert.ok(Math.max(...sizes) < 66_000, String(sizes));
});

test("packets that come by two answers are heard once", async () => {
  await connect("poll");
  await until(() => web.waiting.length, "a poll that waits");
  const waiting = web.waiting.splice(0);
  pushAll(1, 3);
  await client.publish(ROOM, 1); // its answer brings them too
  for (const answer of waiting) answer();
  pushAll(4, 4);
  await hears(4);
  assert.deepEqual(offsets(client.heard), [1, 2, 3, 4]);
});

test("a poll that is ended at once is not repeated in a hurry", async () => {
  await connect("poll");
  for (let times = 0; times < 2; times++) {
    await until(() => web.waiting.length, "a poll that waits");
    const before = web.requests.length;
    web.waiting.shift()();
    await new Promise((resolve) => setTimeout(resolve, 40));
    assert.equal(web.requests.length, before);
  }
});

test("an event stream that was cut goes on where it was", async () => {
  await connect("sse");
  for (let round = 1; round <= 3; round++) {
    await until(() => web.stream, "a stream");
    pushAll(10 * round - 9, 10 * round);
    web.stream.end(`id: 99999\nda`);
    await hears(10 * round);
  }
  assert.deepEqual(offsets(client.heard), range(1, 30));
});

test("an event stream may be cut into any pieces and may repeat itself", async () => {
  await connect("sse");
  await until(() => web.stream, "a stream");
  const { stream } = web;
  web.stream = null;
  pushAll(1, 2);
  const [one, two] = web.out.slice(-2).map((packet) => JSON.stringify(packet).replace("bob", "bób"));
  const at = web.out.length;
  const first = `id: ${at - 1}\r\ndata:${one}\r\n\r\n`;
  const bytes = Buffer.from(`: c\n\nevent: x\r\n${first}${first}id: ${at}\ndata: ${two}\n\n`);
  for (const byte of bytes) {
    stream.write(Buffer.from([byte]));
    await new Promise((resolve) => setImmediate(resolve));
  }
  await hears(2);
  assert.deepEqual(
    client.heard.filter(({ type }) => type === "message").map(({ uid }) => uid),
    ["bób", "bób"],
  );
  assert.equal(web.opened, 1);
});

test("what came by an event stream is confirmed every 100 KiB", async () => {
  await connect("sse");
  await until(() => web.stream, "a stream");
  const before = web.confirmed;
  for (let offset = 1; offset <= 12; offset++)
    web.push("message", { ...message(offset), data: "x".repeat(10_000) });
  await until(() => web.confirmed > before + 5, "a cursor");
});

test("an event stream that is held back gives way to polling, and nothing is lost", async () => {
  web.holdsBack = true;
  await connect("sse poll", { probe: 0.05 });
  await until(() => client.carrier === "poll", "polling");
  assert.ok(web.requests.some(({ path }) => path === "/sse"));
  pushAll(1, 1);
  await hears(1);
});

test("where there are no event streams, polling takes over", async () => {
  web.sabotage = ({ path }) => (path === "/sse" ? 502 : null);
  await connect("sse poll");
  await until(() => client.carrier === "poll", "polling");
});
