/** The other side of a test: what a server would say, and carriers that lead to the test itself. */

import assert from "node:assert/strict";

import { Client } from "../roost.js";

export const ROOM = "plaza/lobby";
export const PATIENCE = 20_000; // ms a test waits before it fails; machines may be busy

export const WELCOME = {
  v: 1,
  uid: "alice",
  product: "demo",
  device: "laptop",
  session: "s-1",
  gateway: "gateway-0",
  ping: 30,
  resume: "resume-1",
  exp: 4102444800000,
  retry: { base: 0.01, factor: 1, max: 0.01 },
  inbox: { seq: 0, bseq: 0, gap: false },
  time: 1700000000000,
};

/** A message body whose data is its offset. */
export function message(offset, room = ROOM) {
  return { room, offset, uid: "bob", data: offset, time: 1 };
}

/** What join and history answer. */
export function reply(offset, offsets, facts = {}) {
  const messages = offsets.map((each) => message(each));
  return {
    room: ROOM,
    epoch: 1,
    offset,
    first: 1,
    recovered: true,
    messages,
    more: false,
    count: 3,
    ...facts,
  };
}

export const offsets = (events) =>
  events.filter(({ type }) => type === "message").map(({ offset }) => offset);

/** Wait until `condition()` gives something true; give that. */
export async function until(condition, what = "it") {
  const end = Date.now() + PATIENCE;
  for (;;) {
    const found = condition();
    if (found) return found;
    assert.ok(Date.now() < end, `waited in vain for ${what}: ${condition}`);
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}

/** One connection of a client, with the test at its other end. */
export class Conversation {
  backlog = 0;
  closed = false;
  sent = [];
  #number = 0;

  constructor(name, base, on, opens) {
    Object.assign(this, { name, base, on, opens });
  }

  // what the client calls
  start(hello) {
    this.send([hello]);
    if (this.opens) queueMicrotask(() => this.on.open());
  }

  send(texts) {
    this.sent.push(...texts.map((text) => JSON.parse(text)));
  }

  close() {
    if (this.closed) return;
    this.closed = true;
    queueMicrotask(() => this.on.closed("closed"));
  }

  // what the test calls
  async expect(op) {
    await until(() => this.sent.length, op);
    const [got, number, body] = this.sent.shift();
    assert.equal(got, op, `expected ${op}, got ${got} ${JSON.stringify(body)}`);
    this.#number = number;
    return body;
  }

  push(op, body, number = 0) {
    this.on.packets([[op, number, structuredClone(body)]]);
  }

  /** Wait for this op and answer; give what was asked. */
  async answer(op, body) {
    const asked = await this.expect(op);
    this.push(op === "ping" ? "pong" : "ok", body, this.#number);
    return asked;
  }

  async refuse(op, code, facts = {}) {
    const asked = await this.expect(op);
    this.push("error", { code, message: "no", retry: false, ...facts }, this.#number);
    return asked;
  }

  welcome(changes = {}) {
    return this.answer("hello", { ...WELCOME, ...changes });
  }

  messages(...offsets) {
    for (const offset of offsets) this.push("message", message(offset));
  }

  kick(code, reconnect) {
    this.push("kick", { code, reason: "because", reconnect });
    this.break();
  }

  break(reason = "broken") {
    if (!this.closed) this.on.closed(reason);
    this.closed = true;
  }
}

/** Accepts what clients dial. */
export class Peer {
  #waiting = [];
  clients = [];
  dialed = 0;
  opens = false; // say at once that somebody is there
  refusing = new Set(); // names of carriers, or addresses, that nobody answers

  make = (name, base, on) => {
    const conversation = new Conversation(name, base, on, this.opens);
    this.dialed += 1;
    if (this.refusing.has(name) || this.refusing.has(base))
      queueMicrotask(() => conversation.break("refused"));
    else this.#waiting.push(conversation);
    return conversation;
  };

  client(options = {}, token = "token-1", address = "peer:1") {
    const retry = { base: 0.01, factor: 1, max: 0.01 };
    const defaults = {
      device: "laptop",
      retry,
      makeCarrier: this.make,
      carriers: ["websocket"],
      webSocket: class {},
    };
    const client = new Client(address, token, { ...defaults, ...options });
    client.heard = [];
    client.on("*", (event) => client.heard.push(event));
    this.clients.push(client);
    return client;
  }

  async accept() {
    await until(() => this.#waiting.length, "a connection");
    return this.#waiting.shift();
  }

  get nobodyElseCame() {
    return this.#waiting.length === 0;
  }

  /** Connect a client; give the server's end. */
  async connect(client, welcome = {}) {
    const connecting = client.connect();
    const conversation = await this.accept();
    await conversation.welcome(welcome);
    await connecting;
    return conversation;
  }

  async join(client, conversation, offset = 0) {
    const joining = client.join(ROOM);
    await conversation.answer("join", reply(offset, [], { recovered: false }));
    await joining;
  }

  end() {
    for (const client of this.clients) client.close(0);
  }
}
