/**
 * JavaScript client of the Roost realtime platform, for browsers and Node 18 or newer.
 *
 *   1 values       what travels as JSON, and back
 *   2 errors       what goes wrong, and what each promises
 *   3 connection   one connection without its carrier: requests, heartbeat
 *   4 stream       one room as its member sees it: order, jumps, losses
 *   5 session      what outlives a connection: rooms, watches, inbox, resume
 *   6 delivery     events on their way to the application
 *   7 carriers     WebSocket; HTTP as event stream or long polling
 *   8 client       what an application uses: dials, comes back, waits for answers
 *
 * Parts 1 to 6 do no I/O and read no clock: times are passed in. All times are seconds,
 * but for `time` and `exp` of the server, which are unix milliseconds.
 *
 * Source: docs/protocol.md. Types and their documentation: roost.d.ts.
 */

export const VERSION = "0.1.0";

const LARGEST_OUT = 64 * 1024; // bytes; what the server takes from a client
const DEEPEST = 32; // arrays and maps within each other
const LARGEST_NUMBER = 2 ** 31 - 1;
const HELD_MOST = 1000; // messages of a room; what comes beyond is fetched again instead of being held
const TRIES_MOST = 10; // failed history requests in a row before what is missing is given up
const WATCHED_AT_ONCE = 100; // users in one request
const OUTGOING_MOST = 256 * 1024; // bytes waiting for the carrier; above, requests wait too
const OFFLINE_AFTER = 3; // failed attempts in a row until `recovering` becomes `offline`
const AVOID = 600; // seconds during which a carrier that does not get through is left out
const CONFIRM_BYTES = 100 * 1024; // read from an event stream before the cursor is confirmed

/** Times the client keeps, in seconds. The first two are those of the protocol. */
const TIMINGS = {
  welcome: 10, // a connection without a welcome after this long is dead
  answer: 15, // so is one without any answer to what was asked this long ago
  probe: 5, // the same, when there is reason for doubt
  fallback: 4, // a WebSocket that is not open after this long gives way to HTTP
  pingShare: 0.8, // a `ping` goes out after this share of the welcome's `ping` without sending
  stable: 5, // a connection that lived this long starts the retry plan anew
  wait: 25, // how long a poll waits at the server
  repeat: 5, // how long a failed HTTP request is repeated
};

// --- 1 values -----------------------------------------------------------------------------------

const HALF_PAIR = /\p{Surrogate}/u;
const MARKS = new Set(["$bin", "$esc"]);
const utf8 = new TextEncoder();

/**
 * The text of one packet.
 * @throws {RequestError} bad_packet: above 64 KiB; the server would end the connection for it.
 * @throws {TypeError} a value that has no form on the wire.
 */
function encode(op, number, body) {
  const fields = {};
  for (const key of Object.keys(body)) {
    if (body[key] !== undefined) fields[key] = toWire(body[key], 0);
  }
  const text = JSON.stringify([op, number, fields]);
  const size = text.length * 3 > LARGEST_OUT ? utf8.encode(text).length : text.length;
  if (size > LARGEST_OUT) {
    const message = `packet of ${size} bytes; the server takes ${LARGEST_OUT}`;
    throw new RequestError({ code: "bad_packet", message, size, limit: LARGEST_OUT });
  }
  return text;
}

function toWire(value, depth) {
  if (typeof value === "string") return wireText(value);
  if (typeof value === "boolean" || value === null || Number.isFinite(value)) return value;
  if (typeof value !== "object") throw new TypeError(`${String(value)} has no form on the wire`);
  if (ArrayBuffer.isView(value)) value = new Uint8Array(value.buffer, value.byteOffset, value.byteLength);
  if (value instanceof ArrayBuffer) value = new Uint8Array(value);
  if (value instanceof Uint8Array) return { $bin: toBase64(value) };
  if (depth >= DEEPEST) throw new TypeError(`nested more than ${DEEPEST} deep`);
  if (Array.isArray(value)) return Array.from(value, (item) => toWire(item, depth + 1));
  if (typeof value.toJSON === "function") return toWire(value.toJSON(), depth + 1);
  const kind = Object.prototype.toString.call(value);
  if (kind !== "[object Object]") throw new TypeError(`${kind} has no form on the wire`);
  const made = Object.create(null);
  for (const key of Object.keys(value)) {
    if (value[key] !== undefined) made[wireText(key)] = toWire(value[key], depth + 1);
  }
  const keys = Object.keys(made);
  return keys.length === 1 && MARKS.has(keys[0]) ? { $esc: made } : made;
}

function wireText(text) {
  if (HALF_PAIR.test(text)) throw new TypeError("half a surrogate pair has no form on the wire");
  return text;
}

/**
 * The packet [op, number, body] of a text.
 * @throws {ProtocolError} it is none.
 */
function decode(text) {
  try {
    return readPacket(JSON.parse(text));
  } catch (error) {
    throw error instanceof RoostError ? error : new ProtocolError(`undecodable packet: ${error.message}`);
  }
}

function readPacket(packet) {
  const [op, number, body] = Array.isArray(packet) ? packet : [];
  if (typeof op !== "string" || !Number.isInteger(number) || !isMap(body)) {
    throw new ProtocolError("a packet is [string, id, map]");
  }
  return [op, number, readFields(body)];
}

function readFields(body) {
  for (const key of Object.keys(body)) body[key] = fromWire(body[key]);
  return body;
}

function fromWire(value) {
  if (typeof value !== "object" || value === null) return value;
  if (Array.isArray(value)) return value.map(fromWire);
  const [mark, another] = Object.keys(value);
  if (another === undefined && mark === "$bin") return fromBase64(value.$bin);
  const plain = another === undefined && mark === "$esc" ? value.$esc : value;
  if (!isMap(plain)) throw new ProtocolError("$esc holds no map");
  return readFields(plain);
}

function isMap(value) {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function toBase64(bytes) {
  let text = "";
  for (let at = 0; at < bytes.length; at += 8192)
    text += String.fromCharCode(...bytes.subarray(at, at + 8192));
  return btoa(text);
}

function fromBase64(text) {
  return Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
}

/** An integer of the server's, or an end to the connection. */
function whole(value) {
  if (!Number.isSafeInteger(value)) throw new ProtocolError(`not an integer: ${value}`);
  return value;
}

// --- 2 errors -----------------------------------------------------------------------------------

/** Base of all errors thrown on purpose; `retry`: the same request may work later. */
export class RoostError extends Error {
  code = "internal";
  retry = false;

  get name() {
    return this.constructor.name;
  }
}

/** The server's answer was `error`; `facts` are its other fields (`field`, `limit`, `after` …). */
export class RequestError extends RoostError {
  constructor({ code = "internal", message = "", retry = false, ...facts }) {
    super(message ? `${code}: ${message}` : code);
    Object.assign(this, { code, reason: message, retry: Boolean(retry), facts });
  }
}

/** No answer within the time given; whether it was carried out is not known. */
export class Timeout extends RoostError {
  code = "no_answer";
  retry = true;
}

/** The connection went before the answer came, or there is none now. */
export class ConnectionLost extends RoostError {
  code = "connection_lost";
  retry = true;
}

/** The server sent what the protocol does not allow; the connection is given up. */
export class ProtocolError extends ConnectionLost {}

/** The client has ended and will not come back; `code` and `reason` say why. */
export class ClientClosed extends RoostError {
  constructor(code, reason) {
    super(reason ? `${code}: ${reason}` : code);
    Object.assign(this, { code, reason });
  }
}

// --- 3 connection -------------------------------------------------------------------------------

/** When to come back: `random(0, min(max, base × factor^attempt))` seconds; attempts count from 0. */
class RetryPlan {
  constructor({ base = 0.5, factor = 2, max = 20 } = {}) {
    Object.assign(this, { base, factor, max });
  }

  delay(attempt, random) {
    return random() * Math.min(this.max, this.base * this.factor ** Math.min(attempt, 64));
  }
}

/** Seconds an error asks to wait. */
function after(error) {
  return error instanceof RequestError ? (error.facts.after ?? 0) / 1000 : 0;
}

/** A request waiting for its one reply; `settle` is called last, to tell whoever waits. */
class Request {
  done = false;
  value = undefined;
  error = null;

  constructor(op, sentAt, internal, then, settle) {
    Object.assign(this, { op, sentAt, internal, onReply: then, settle });
  }
}

/**
 * The state of one connection, from `hello` to its end.
 *
 * outgoing: texts to be sent. pending: requests by number, the oldest first. leaveAt,
 * leaveFor: when to move, and where to (`goaway`). left: another connection is being made
 * in its place; its end means nothing.
 */
class Connection {
  outgoing = [];
  pending = new Map();
  welcome = null;
  kick = null;
  leaveAt = null;
  leaveFor = [];
  left = false;
  #number = 0;
  #quiet = Infinity;
  #probedAt = null;

  constructor(now, timings) {
    this.openedAt = now;
    this.timings = timings;
    this.lastSent = this.lastAnswer = now;
  }

  /** The server has answered `hello`; from here on it has to hear the client. */
  welcomed(welcome) {
    this.welcome = welcome;
    this.#quiet = (welcome.ping ?? 30) * this.timings.pingShare;
  }

  post(op, body, now) {
    this.outgoing.push(encode(op, 0, body));
    this.lastSent = now;
  }

  request(op, body, now, { then = null, settle = null, internal = false } = {}) {
    do this.#number = (this.#number % LARGEST_NUMBER) + 1;
    while (this.pending.has(this.#number));
    this.outgoing.push(encode(op, this.#number, body));
    const request = new Request(op, now, internal, then, settle);
    this.pending.set(this.#number, request);
    this.lastSent = now;
    return request;
  }

  /** Give a reply to its request; an answer nobody waits for is dropped. */
  answer(op, number, body, now) {
    const request = this.pending.get(number);
    this.lastAnswer = now;
    this.#probedAt = null;
    if (request === undefined) return [];
    this.pending.delete(number);
    if (op === "error") return this.#finish(request, undefined, new RequestError(body));
    return this.#finish(request, body, null);
  }

  heartbeat(now) {
    if (now >= this.lastSent + this.#quiet) this.ping(now);
  }

  ping(now) {
    this.request("ping", {}, now, { internal: true });
  }

  /** There is reason for doubt: an answer has to come soon. */
  probe(now) {
    this.#probedAt ??= now;
    this.ping(now);
  }

  /** End the client's own requests that got no answer while others did. */
  expire(now) {
    const events = [];
    for (const [number, request] of this.pending) {
      if (!request.internal || request.sentAt > now - this.timings.answer) continue;
      this.pending.delete(number);
      events.push(...this.#finish(request, undefined, new Timeout(`${request.op}: no answer`)));
    }
    return events;
  }

  /** Has nothing been answered for too long? Ask only when nothing is left to read. */
  dead(now) {
    return now >= this.#deadAt();
  }

  wakeAt() {
    return Math.min(this.lastSent + this.#quiet, this.#deadAt());
  }

  /** End every request with ConnectionLost; the connection is gone. */
  failAll(reason) {
    const requests = [...this.pending.values()];
    this.pending.clear();
    return requests.flatMap((request) =>
      this.#finish(request, undefined, new ConnectionLost(`${request.op}: ${reason}`)),
    );
  }

  #finish(request, value, error) {
    Object.assign(request, { value, error });
    try {
      return request.onReply === null ? [] : request.onReply(this, request);
    } catch (malformed) {
      request.error = new ProtocolError(`reply to ${request.op}: ${malformed.message}`);
      throw request.error;
    } finally {
      request.done = true;
      request.settle?.(request);
    }
  }

  #deadAt() {
    const [oldest] = this.pending.values();
    if (oldest === undefined) return Infinity;
    if (this.welcome === null) return this.openedAt + this.timings.welcome;
    const usual = Math.max(oldest.sentAt, this.lastAnswer) + this.timings.answer;
    return this.#probedAt === null ? usual : Math.min(usual, this.#probedAt + this.timings.probe);
  }
}

/**
 * Look for the answer to `hello` among the first packets; null: not there yet. Otherwise the
 * packets that came after it, and `connection.welcome` or `connection.kick` is set.
 * @throws {RequestError} the server refused.
 */
function openConnection(connection, packets) {
  for (const [place, [op, number, body]] of packets.entries()) {
    if (op === "kick") connection.kick = body;
    else if (!connection.pending.delete(number)) continue;
    else if (op === "error") throw new RequestError(body);
    else connection.welcomed(body);
    return packets.slice(place + 1);
  }
  return null;
}

// --- 4 stream -----------------------------------------------------------------------------------

/** The record of a message body; bodies in a reply may leave out their room. */
function messageOf(body, room, epoch) {
  const { uid = "", data = null, time = 0 } = body;
  return { type: "message", room, epoch, offset: whole(body.offset), uid, data, time };
}

function messagesOf(bodies, room, epoch) {
  return (bodies ?? []).map((body) => messageOf(body, room, epoch));
}

/**
 * One room as its member sees it: messages in order, each once, losses announced.
 *
 *   offset   the last one delivered; everything up to it was delivered or announced
 *   held     pushes waiting for what is missing before them, without jumps
 *   target   the newest offset known to exist
 *   source   the connection whose pushes count (the one that answered the last join)
 *   round    number of the request that counts; answers to older ones are stale
 *
 * The stream says what to deliver and what to fetch; who asks, and when again after an
 * error, is the session's matter.
 */
class RoomStream {
  held = [];
  asked = false;
  round = 0;
  tries = 0;
  retryAt = 0;

  constructor(room, epoch, offset, presence, source) {
    Object.assign(this, { room, epoch, offset: whole(offset), target: offset, presence, source });
  }

  get position() {
    return { epoch: this.epoch, offset: this.offset };
  }

  get behind() {
    return this.target > this.offset;
  }

  /** Make answers to all earlier requests stale; give the number of the new one. */
  beginRound() {
    this.asked = false;
    return ++this.round;
  }

  forgetTries() {
    this.tries = this.retryAt = 0;
  }

  /** Take a pushed message; `skip`: the application is too slow, leave it to be fetched later. */
  push(body, events, skip = false) {
    const offset = whole(body.offset);
    if (offset <= this.offset) return;
    if (offset === this.offset + 1 && this.target < offset && !skip) {
      this.offset = this.target = offset;
      events.push(messageOf(body, this.room, this.epoch));
      return;
    }
    const afterHeld = this.held.length === 0 || offset === this.held.at(-1).offset + 1;
    const fits = offset > this.target && this.held.length < HELD_MOST;
    if (afterHeld && fits && !skip) this.held.push(messageOf(body, this.room, this.epoch));
    this.target = Math.max(this.target, offset);
  }

  /** Take a `gap`; give what is to be delivered, the gap last. */
  gap(epoch, offset, reason) {
    const events = [];
    if (reason === "epoch" || epoch !== this.epoch) {
      events.push(...this.giveUp());
      this.#move(epoch, 0);
      reason = "epoch";
    }
    this.target = Math.max(this.target, whole(offset));
    events.push({ type: "gap", room: this.room, epoch: this.epoch, offset, reason });
    return events;
  }

  /** Take the reply to the application's own join without `since`: begin at what it gives. */
  joined(reply) {
    this.#move(reply.epoch, whole(reply.offset));
  }

  /** Take the reply to a join with `since`; give the `rejoined` and what follows it. */
  rejoined(reply) {
    const { epoch } = reply;
    const newest = whole(reply.offset);
    const recovered = Boolean(reply.recovered) && epoch === this.epoch;
    const known = epoch === this.epoch && newest >= this.offset;
    let found = messagesOf(reply.messages, this.room, epoch);
    let missed = 0;
    const events = [];
    if (recovered) {
      this.#move(epoch, this.offset);
    } else {
      events.push(...this.#giveHeld());
      // A room that went back within its epoch: nobody can tell which of these were seen.
      if (epoch === this.epoch && !known) found = [];
      const fresh = found.find((message) => !known || message.offset > this.offset);
      const first = fresh?.offset ?? newest + 1;
      missed = known ? first - 1 - this.offset : null;
      this.#move(epoch, first - 1);
    }
    const { room } = this;
    events.push({
      type: "rejoined",
      room,
      epoch,
      offset: newest,
      recovered,
      missed,
      count: reply.count ?? 0,
    });
    this.#deliver(found, events);
    this.target = Math.max(this.offset, newest);
    return events;
  }

  /** Take a `subscribed` for a room this client is in already. */
  subscribed(epoch, offset) {
    if (epoch !== this.epoch) return this.gap(epoch, offset, "epoch");
    this.target = Math.max(this.target, whole(offset));
    return [];
  }

  /** Take a history reply; give what is to be delivered. Still `behind`: ask again. */
  history(reply) {
    const newest = whole(reply.offset);
    if (reply.epoch !== this.epoch) return this.giveUp(); // the `gap` that says so is on its way
    if (!reply.recovered && newest < this.offset) {
      const events = this.#giveHeld();
      this.#move(this.epoch, newest);
      return [
        ...events,
        { type: "gap", room: this.room, epoch: this.epoch, offset: newest, reason: "epoch" },
      ];
    }
    const found = messagesOf(reply.messages, this.room, this.epoch);
    const last = found.at(-1)?.offset ?? 0;
    const unfinished = Boolean(reply.more) && last > this.offset;
    const reach = unfinished ? last : newest;
    const ready = new Map();
    for (const message of this.held) if (message.offset <= reach) ready.set(message.offset, message);
    for (const message of found) ready.set(message.offset, message);
    this.held = this.held.filter((message) => message.offset > reach);
    const events = [];
    this.#deliver(
      [...ready.values()].sort((one, other) => one.offset - other.offset),
      events,
    );
    if (!unfinished) {
      this.#skipTo(newest, events);
      while (this.held[0]?.offset === this.offset + 1) this.#deliver([this.held.shift()], events);
    }
    return events;
  }

  /** Stop waiting for what is missing: announce it, and deliver what was held. */
  giveUp() {
    const events = this.#giveHeld();
    this.#skipTo(this.target, events);
    return events;
  }

  #giveHeld() {
    const events = [];
    this.#deliver(this.held, events);
    this.held = [];
    return events;
  }

  #deliver(found, events) {
    for (const message of found) {
      if (message.offset <= this.offset) continue;
      this.#skipTo(message.offset - 1, events);
      this.offset = message.offset;
      events.push(message);
    }
    this.target = Math.max(this.target, this.offset);
  }

  /** Everything up to `offset` that was not delivered is announced as missed. */
  #skipTo(offset, events) {
    if (offset <= this.offset) return;
    events.push({ type: "missed", room: this.room, epoch: this.epoch, first: this.offset + 1, last: offset });
    this.offset = offset;
  }

  /** Go on from another place; nothing asked or held before counts. */
  #move(epoch, offset) {
    this.beginRound();
    this.forgetTries();
    Object.assign(this, { epoch, offset, target: offset, held: [] });
  }
}

// --- 5 session ----------------------------------------------------------------------------------

/** The users a session watches; a new connection has to ask for them again. */
class Watches {
  users = new Set();
  #waiting = [];
  #at = 0;
  #tries = 0;
  #connection = null;

  constructor(random) {
    this.random = random;
  }

  /** A new connection: all are to be asked for. */
  begin(now) {
    const users = [...this.users];
    this.#waiting = [];
    for (let at = 0; at < users.length; at += WATCHED_AT_ONCE) {
      this.#waiting.push(users.slice(at, at + WATCHED_AT_ONCE));
    }
    this.#at = now;
    this.#tries = 0;
  }

  wakeAt() {
    return this.#waiting.length ? this.#at : Infinity;
  }

  step(connection, now, plan) {
    this.#connection = connection;
    if (now < this.#at) return;
    for (const users of this.#waiting.splice(0)) {
      const againAt = now + plan.delay(this.#tries, this.random);
      const then = (over, request) => this.#answered(users, againAt, over, request);
      connection.request("watch", { users }, now, { then, internal: true });
    }
  }

  /** The application's own request was answered. */
  changed(users, off, request) {
    if (request.error !== null) return [];
    for (const uid of users) off ? this.users.delete(uid) : this.users.add(uid);
    return [];
  }

  #answered(users, againAt, connection, request) {
    if (connection !== this.#connection) return [];
    if (request.error === null) {
      this.#tries = 0;
      const found = request.value.users ?? [];
      return found.map(({ uid, online }) => ({ type: "presence", uid, online, devices: [], since: null }));
    }
    if (request.error.retry) {
      this.#waiting.push(users);
      this.#tries += 1;
      this.#at = Math.max(this.#at, againAt);
    }
    return [];
  }
}

/** Pushes that need no state: body -> event. */
const PUSHES = {
  joined: ({ room, uid, count }) => ({ type: "joined", room, uid, count }),
  left: ({ room, uid, count }) => ({ type: "left", room, uid, count }),
  count: ({ room, count }) => ({ type: "count", room, count }),
  presence: ({ uid, online, devices, since }) => {
    return { type: "presence", uid, online: online ?? null, devices: devices ?? [], since: since ?? null };
  },
  receipt: ({ mid, uid, device, time }) => ({ type: "receipt", mid, uid, device, time }),
  state: (body) => ({ type: "state", body }),
  entered: (body) => ({ type: "entered", body }),
  goaway: ({ reason = "", after: seconds = 0, to }) => ({
    type: "goaway",
    reason,
    after: seconds,
    to: to ?? [],
  }),
  error: ({ code = "", message = "" }) => ({ type: "error", code, message }),
  kick: ({ code = "", reason = "", reconnect = true }) => ({ type: "kicked", code, reason, reconnect }),
};

/** Kinds of events that may be left out when the application reads too slowly. */
const DROPPABLE = new Set(["joined", "left", "count", "presence", "receipt", "state", "other"]);

function eventOf(op, body) {
  return Object.hasOwn(PUSHES, op) ? PUSHES[op](body) : { type: "other", op, body };
}

function inboxOf({ seq = null, bseq = null, mid = 0, uid = "", data = null, time = 0, gap = false }) {
  return { type: "inbox", seq, bseq, mid, uid, data, time, gap };
}

/**
 * One login of one device, over as many connections as it takes.
 *
 * It is attached to one connection at a time. On a new one it joins its rooms again from
 * where the application is, then fetches what is missing. While the client moves (`goaway`)
 * the older connection may still bring replies and messages; each room listens to the
 * connection that answered its last join.
 */
class Session {
  connection = null; // the one in use
  resume = null; // what the next `hello` shows; null before the first welcome
  paused = false; // the application is too slow; room messages are left to be fetched later
  streams = new Map();
  seq = 0;
  bseq = 0;
  #hello;
  #random;
  #now = 0;
  #events = [];
  #busy = new Set();
  #watches;

  constructor(hello, plan, random) {
    this.plan = plan;
    this.#hello = hello;
    this.#random = random;
    this.#watches = new Watches(random);
  }

  /** The body of `hello`: with the token, or with `resume` when that is null. */
  hello(token) {
    return { v: 1, ...(token === null ? { resume: this.resume } : { token }), ...this.#hello };
  }

  /** Go on over a connection that has its welcome: join and watch again. */
  attach(connection, now) {
    const { resume = null, retry, inbox } = connection.welcome;
    this.#now = now;
    this.connection = connection;
    this.resume = resume;
    this.plan = new RetryPlan({ ...this.plan, ...retry });
    this.seq = Math.max(this.seq, inbox?.seq ?? 0);
    this.bseq = Math.max(this.bseq, inbox?.bseq ?? 0);
    this.#watches.begin(now);
    for (const stream of this.streams.values()) {
      stream.beginRound();
      stream.forgetTries();
      this.#busy.add(stream.room);
    }
    this.#tendAll();
  }

  /** The connection is gone: its requests end with ConnectionLost. */
  detach(connection, reason) {
    if (connection === this.connection) {
      this.connection = null;
      for (const stream of this.streams.values()) stream.beginRound();
    }
    this.#events.push(...connection.failAll(reason));
  }

  /**
   * Take packets in their order.
   * @throws {ProtocolError} one is not what the protocol says; what came before it counts.
   */
  receive(connection, packets, now) {
    this.#now = now;
    for (const [op, number, body] of packets) {
      try {
        if (number && (op === "ok" || op === "error" || op === "pong")) {
          this.#events.push(...connection.answer(op, number, body, now));
        } else {
          this.#push(connection, op, body);
        }
      } catch (error) {
        throw error instanceof RoostError ? error : new ProtocolError(`${op}: ${error.message}`);
      }
    }
  }

  /** Do what is due by now: heartbeat, repeated joins and history requests. */
  step(now) {
    this.#now = now;
    if (this.connection === null) return;
    this.connection.heartbeat(now);
    this.#events.push(...this.connection.expire(now));
    this.#tendAll();
  }

  /** The time by which `step` is to be called; Infinity when nothing is planned. */
  wakeAt() {
    if (this.connection === null) return Infinity;
    let at = this.#watches.wakeAt();
    for (const room of this.#busy) {
      const stream = this.streams.get(room);
      const waits = stream !== undefined && !stream.asked;
      if (waits && (!this.paused || stream.source !== this.connection)) at = Math.min(at, stream.retryAt);
    }
    return at;
  }

  /** The application has caught up: fetch what was left out. */
  resumeReading(now) {
    this.#now = now;
    this.paused = false;
    this.#tendAll();
  }

  takeEvents() {
    return this.#events.splice(0);
  }

  /** Join a room; late or not, an `ok` makes it a member. The result: the reply without its messages. */
  join(connection, room, since, presence, now, settle) {
    const place = since ? { epoch: since.epoch, offset: since.offset } : undefined;
    const then = (over, request) => this.#joined(room, place, presence, over, request);
    return connection.request("join", { room, since: place, presence }, now, { then, settle });
  }

  /** Leave a room; nothing of it is heard from here on, whatever the answer. */
  leave(connection, room, now, settle) {
    const request = connection.request("leave", { room }, now, { settle });
    this.streams.delete(room);
    return request;
  }

  watch(connection, users, off, now, settle) {
    const then = (_over, request) => this.#watches.changed(users, off, request);
    return connection.request("watch", { users, off }, now, { then, settle });
  }

  /** Show a newer token; its `resume` is taken over. */
  refresh(connection, token, now, settle) {
    const then = (_over, { error, value }) => {
      if (error === null) this.resume = value.resume ?? this.resume;
      return [];
    };
    return connection.request("refresh", { token }, now, { then, settle });
  }

  #joined(room, since, presence, connection, request) {
    if (request.error !== null) return [];
    const reply = request.value;
    const { epoch, offset, recovered = false, more = false, count = 0 } = reply;
    const begin = since ?? reply;
    const stream =
      this.streams.get(room) ?? new RoomStream(room, begin.epoch, begin.offset, presence, connection);
    this.streams.set(room, stream);
    Object.assign(stream, { presence, source: connection });
    stream.joined(begin);
    request.value = { room, epoch, offset, recovered, more, count };
    const events = since ? stream.rejoined(reply) : [];
    this.#busy.add(room);
    this.#tend(room);
    return events;
  }

  // --- pushes

  static #OWN = {
    message: (session, connection, body) => session.#message(connection, body),
    gap: (session, connection, body) => session.#gap(connection, body),
    inbox: (session, _connection, body) => session.#inbox(body),
    subscribed: (session, connection, body) => session.#subscribed(connection, body),
    unsubscribed: (session, connection, body) => session.#unsubscribed(connection, body),
    kick: (session, connection, body) => session.#kick(connection, body),
    goaway: (session, connection, body) => session.#goaway(connection, body),
  };

  #push(connection, op, body) {
    if (Object.hasOwn(Session.#OWN, op)) Session.#OWN[op](this, connection, body);
    else if (connection === this.connection) this.#events.push(eventOf(op, body));
  }

  #message(connection, body) {
    const stream = this.streams.get(body.room);
    if (stream === undefined || stream.source !== connection) return;
    stream.push(body, this.#events, this.paused);
    if (stream.behind && !stream.asked) this.#look(stream);
  }

  #gap(connection, body) {
    const stream = this.streams.get(body.room);
    if (stream === undefined || stream.source !== connection) return;
    this.#events.push(...stream.gap(body.epoch, body.offset, body.reason ?? "lost"));
    this.#look(stream);
  }

  #inbox(body) {
    const inbox = inboxOf(body);
    const stream = inbox.seq !== null ? "seq" : inbox.bseq !== null ? "bseq" : null;
    if (stream !== null) {
      if (whole(inbox[stream]) <= this[stream]) return;
      this[stream] = inbox[stream];
    }
    this.#events.push(inbox);
  }

  #subscribed(connection, { room, epoch, offset, count = 0 }) {
    if (connection !== this.connection) return;
    const stream = this.streams.get(room);
    this.#events.push({ type: "subscribed", room, epoch, offset, count });
    if (stream === undefined) {
      this.streams.set(room, new RoomStream(room, epoch, offset, false, connection));
      return;
    }
    stream.source = connection;
    this.#events.push(...stream.subscribed(epoch, offset));
    this.#look(stream);
  }

  #unsubscribed(connection, { room, reason = "" }) {
    if (connection === this.connection && this.streams.delete(room)) {
      this.#events.push({ type: "unsubscribed", room, reason });
    }
  }

  #kick(connection, body) {
    connection.kick = body;
    if (connection === this.connection && !connection.left) this.#events.push(eventOf("kick", body));
  }

  #goaway(connection, body) {
    if (connection !== this.connection) return;
    connection.leaveAt = this.#now + this.#random() * (body.after ?? 0);
    connection.leaveFor = body.to ?? [];
    this.#events.push(eventOf("goaway", body));
  }

  // --- rooms that are to be joined again or lack messages

  #look(stream) {
    this.#busy.add(stream.room);
    this.#tend(stream.room);
  }

  #tendAll() {
    for (const room of [...this.#busy]) this.#tend(room);
    if (this.connection !== null) this.#watches.step(this.connection, this.#now, this.plan);
  }

  /** Send the request this room needs now, if any. */
  #tend(room) {
    const stream = this.streams.get(room);
    if (stream === undefined) this.#busy.delete(room);
    else if (this.connection === null || stream.asked || this.#now < stream.retryAt) return;
    else if (stream.source !== this.connection) this.#ask("join", stream);
    else if (!stream.behind) this.#busy.delete(room);
    else if (!this.paused) this.#ask("history", stream);
  }

  #ask(op, stream) {
    const round = stream.beginRound();
    const then = (connection, request) => this.#asked(stream, round, connection, request);
    const body = { room: stream.room, since: stream.position };
    if (op === "join") body.presence = stream.presence;
    stream.asked = true;
    this.connection.request(op, body, this.#now, { then, internal: true });
  }

  #asked(stream, round, connection, request) {
    if (stream.round !== round || this.streams.get(stream.room) !== stream) return [];
    const { op, error, value } = request;
    const before = stream.offset;
    let events;
    stream.asked = false;
    if (error !== null) {
      events = this.#refused(stream, op, error);
    } else if (op === "join") {
      stream.source = connection;
      stream.forgetTries();
      events = stream.rejoined(value);
    } else {
      events = stream.history(value);
      if (stream.behind && stream.offset === before) {
        events.push(...this.#refused(stream, op, new ProtocolError("history without progress")));
      } else {
        stream.forgetTries();
      }
    }
    this.#look(stream);
    return events;
  }

  #refused(stream, op, error) {
    stream.tries += 1;
    if (error.retry && (op === "join" || stream.tries < TRIES_MOST)) {
      const pause = Math.max(after(error), this.plan.delay(stream.tries - 1, this.#random));
      stream.retryAt = this.#now + pause;
      return [];
    }
    stream.forgetTries();
    const events = stream.giveUp();
    if (op === "join") {
      this.streams.delete(stream.room);
      events.push({ type: "unsubscribed", room: stream.room, reason: error.code });
    }
    return events;
  }
}

// --- 6 delivery ---------------------------------------------------------------------------------

/**
 * Where events go: to callbacks, or into a queue the application reads.
 *
 * With any callback set, all events go to callbacks (those without one are dropped). The
 * queue never makes the reader wait: when it is full, the session leaves room messages to be
 * fetched later, and events of the droppable kinds are counted instead of kept.
 */
class Delivery {
  #callbacks = new Map();
  #limit;
  #waiting = [];
  #running = false;
  #queue = [];
  #readers = [];
  #dropped = 0;
  #ended = false;

  constructor(limit) {
    this.#limit = limit;
  }

  on(type, callback) {
    const known = this.#callbacks.get(type) ?? new Set();
    this.#callbacks.set(type, known.add(callback));
    return () => known.delete(callback);
  }

  get full() {
    return this.#queue.length >= this.#limit;
  }

  get halfEmpty() {
    return this.#queue.length <= this.#limit / 2;
  }

  put(events) {
    for (const event of events) {
      if (this.#callbacks.size) this.#waiting.push(event);
      else if (this.#readers.length) this.#readers.shift()(event);
      else if (DROPPABLE.has(event.type) && this.full) this.#dropped += 1;
      else this.#queue.push(event);
    }
    if (this.#running) return;
    this.#running = true;
    while (this.#waiting.length) this.#call(this.#waiting.shift());
    this.#running = false;
  }

  /** Say how many events were left out, if any. */
  caughtUp() {
    const dropped = this.#dropped;
    this.#dropped = 0;
    if (dropped) this.put([{ type: "overflow", dropped }]);
  }

  /** Nothing follows what is in the queue. */
  end() {
    this.#ended = true;
    for (const reader of this.#readers.splice(0)) reader(null);
  }

  /** A promise of the next event; of null after the last one. */
  take() {
    if (this.#queue.length) return Promise.resolve(this.#queue.shift());
    if (this.#ended) return Promise.resolve(null);
    return new Promise((resolve) => this.#readers.push(resolve));
  }

  #call(event) {
    for (const type of [event.type, "*"]) {
      for (const callback of this.#callbacks.get(type) ?? []) {
        try {
          callback(event);
        } catch (error) {
          console.error("roost: a callback failed", error);
        }
      }
    }
  }
}

// --- 7 carriers ---------------------------------------------------------------------------------
//
// A carrier moves packets and knows nothing of what they say:
//
//   start(hello)   begin; `hello` is the text of the first packet
//   send(texts)    packets, in order; after `start` only
//   backlog        bytes that wait to be sent
//   close()        end, once what was sent is out
//
// and calls, never from within these: on.open() (there is somebody at the other end),
// on.packets(list), on.closed(reason) once. A carrier that turns out to be of no use
// here calls on.useless() before.

const sleep = (seconds) => new Promise((resolve) => setTimeout(resolve, seconds * 1000));

/** Every packet one text message of a WebSocket. */
class WebSocketCarrier {
  #socket;
  #hello = "";

  constructor(base, WebSocketClass, on) {
    const url = new URL("ws", base);
    url.protocol = url.protocol.replace("http", "ws");
    this.#socket = new WebSocketClass(url.href, ["roost.v1.json"]);
    this.#socket.onopen = () => {
      this.#socket.send(this.#hello);
      on.open();
    };
    this.#socket.onmessage = ({ data }) => {
      try {
        on.packets([decode(data)]);
      } catch (error) {
        on.closed(error.message);
      }
    };
    this.#socket.onerror = () => {}; // `close` follows
    this.#socket.onclose = ({ code, reason }) => on.closed(reason || `connection closed (${code})`);
  }

  get backlog() {
    return this.#socket.bufferedAmount;
  }

  start(hello) {
    this.#hello = hello;
  }

  send(texts) {
    if (this.#socket.readyState === 1) for (const text of texts) this.#socket.send(text);
  }

  close() {
    this.#socket.close(1000);
    // In Node a server that is gone would keep the process waiting.
    if (this.#socket.terminate) setTimeout(() => this.#socket.terminate(), 1000).unref();
  }
}

/** Bytes of an event stream -> its events: `id:` and `data:` lines up to an empty one. */
class EventReader {
  #text = new TextDecoder();
  #rest = "";
  #id = 0;
  #data = "";

  take(bytes) {
    const lines = (this.#rest + this.#text.decode(bytes, { stream: true })).split(/\r?\n/);
    const events = [];
    this.#rest = lines.pop();
    for (const line of lines) {
      const [, field, content] = /^(\w*)(?:: ?(.*))?$/.exec(line) ?? [];
      if (field === "id") this.#id = Number(content);
      if (field === "data") this.#data += content;
      if (line !== "") continue;
      if (this.#data) events.push({ id: this.#id, data: this.#data });
      this.#data = "";
    }
    return events;
  }
}

/**
 * A session of HTTP requests. Packets go out by POST, one request at a time; they come in
 * as server-sent events, or with the answers of waiting polls. Every request may be repeated:
 * the cursor says what has come in, `n` the number of the first packet going out.
 */
class HttpCarrier {
  backlog = 0;
  #base;
  #fetch;
  #streaming;
  #timings;
  #on;
  #sid = "";
  #cursor = 0;
  #unconfirmed = 0; // bytes read since the cursor was told
  #n = 1;
  #queue = [];
  #sending = null; // promise that all of the queue was sent
  #proof = null; // timer; an event stream has to bring something soon after something was asked
  #aborts = new Set();
  #over = false;

  constructor(base, fetch, streaming, timings, on) {
    this.#base = base;
    this.#fetch = fetch;
    this.#streaming = streaming;
    this.#timings = timings;
    this.#on = on;
  }

  start(hello) {
    this.#run(hello).catch((error) => this.#end(error.message));
  }

  send(texts) {
    for (const text of texts) {
      this.#queue.push(text);
      this.backlog += text.length;
    }
    if (this.#sid) this.#pump();
  }

  close() {
    Promise.race([this.#sending, this.#sending && sleep(1)]).then(() => {
      this.#end("closed");
      const url = this.#url("poll/close", { sid: this.#sid });
      if (this.#sid) this.#fetch(url, { method: "POST", keepalive: true }).catch(() => {});
      this.#sid = "";
    });
  }

  async #run(hello) {
    const [, number, body] = JSON.parse(hello);
    const answer = await this.#ask("poll/open", {}, JSON.stringify(body), this.#timings.welcome);
    this.#on.open();
    if (answer.status !== 200) {
      if (typeof answer.body?.code !== "string") throw new ConnectionLost(`HTTP status ${answer.status}`);
      this.#on.packets([["error", number, readFields(answer.body)]]);
      return;
    }
    this.#sid = answer.body.sid;
    this.#on.packets([["ok", number, readFields(answer.body.welcome)]]);
    this.#pump();
    await (this.#streaming ? this.#stream() : this.#poll());
  }

  #pump() {
    const next = () => {
      this.#sending = null;
      if (this.#queue.length && !this.#over) this.#pump();
    };
    this.#sending ??= this.#sendAll()
      .catch((error) => this.#end(error.message))
      .then(next);
  }

  /** Send what waits, in one request after the other. */
  async #sendAll() {
    await null; // packets of the same moment go together
    while (this.#queue.length && !this.#over) {
      const texts = [];
      for (let size = 0; this.#queue.length; texts.push(this.#queue.shift())) {
        size += this.#queue[0].length * 3;
        if (texts.length && size > LARGEST_OUT) break;
      }
      if (this.#streaming) this.#proof ??= setTimeout(() => this.#heldBack(), this.#timings.probe * 1000);
      await this.#exchange(texts, 0);
      this.#n += texts.length;
      this.backlog -= texts.reduce((sum, text) => sum + text.length, 0);
    }
  }

  async #poll() {
    while (!this.#over) {
      const begun = performance.now();
      const found = await this.#exchange([], this.#timings.wait);
      // An empty answer that did not wait: something between here and there ends polls early.
      if (!found && performance.now() - begun < 2000) await sleep(0.5);
    }
  }

  async #stream() {
    const options = { headers: { accept: "text/event-stream" } };
    for (let failures = 0; !this.#over;) {
      const before = this.#cursor;
      const query = { sid: this.#sid, cursor: before };
      try {
        await this.#request("sse", query, options, Infinity, (response) => this.#read(response));
      } catch (error) {
        if (error instanceof ConnectionLost) throw error;
      }
      failures = this.#cursor > before ? 0 : failures + 1;
      if (failures >= 3) {
        this.#on.useless();
        throw new ConnectionLost("no event stream");
      }
      if (!this.#over) await sleep(Math.random() * 0.5 * failures);
    }
  }

  /** Read events until the stream ends. */
  async #read(response) {
    if (response.status === 404) throw new ConnectionLost("the session is gone");
    if (!response.ok) throw new Error(`HTTP status ${response.status}`);
    const reader = response.body.getReader();
    const events = new EventReader();
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      const packets = [];
      for (const { id, data } of events.take(value)) {
        if (id <= this.#cursor) continue;
        if (id !== this.#cursor + 1) throw new ProtocolError("packets are missing");
        packets.push(decode(data));
        this.#cursor = id;
      }
      if (packets.length) this.#taken(packets);
      this.#unconfirmed += value.length;
      if (this.#unconfirmed > CONFIRM_BYTES) this.#exchange([], 0).catch((error) => this.#end(error.message));
    }
  }

  #taken(packets) {
    clearTimeout(this.#proof ?? undefined);
    this.#proof = 0;
    if (!this.#over) this.#on.packets(packets);
  }

  #heldBack() {
    this.#on.useless();
    this.#end("the event stream is held back");
  }

  /** One poll request, repeated until it is answered; how many new packets it brought. */
  async #exchange(texts, wait) {
    const giveUpAt = performance.now() + this.#timings.repeat * 1000;
    const n = this.#n;
    for (let tries = 0; ; tries++) {
      let failure;
      try {
        this.#unconfirmed = 0;
        const query = { sid: this.#sid, cursor: this.#cursor, n, wait };
        const { status, body } = await this.#ask(
          "poll",
          query,
          `[${texts.join()}]`,
          wait + this.#timings.welcome,
        );
        if (status === 200) return this.#answered(body);
        failure = new ConnectionLost(status === 404 ? "the session is gone" : `HTTP status ${status}`);
        if (status < 500 && status !== 429) throw failure;
      } catch (error) {
        if (error instanceof ConnectionLost) throw error;
        failure = error;
      }
      if (this.#over || performance.now() > giveUpAt) throw failure;
      await sleep(Math.random() * Math.min(2, 0.2 * 2 ** tries));
    }
  }

  #answered({ cursor, packets }) {
    const fresh = whole(cursor) - this.#cursor;
    if (fresh <= 0) return 0;
    if (fresh > packets.length) throw new ProtocolError("packets are missing");
    this.#cursor = cursor;
    this.#taken(packets.slice(-fresh).map(readPacket));
    return fresh;
  }

  #ask(path, query, body, seconds) {
    const post = { method: "POST", body, headers: { "content-type": "application/json" } };
    return this.#request(path, query, post, seconds, async (response) => {
      const text = await response.text();
      return { status: response.status, body: text.startsWith("{") ? JSON.parse(text) : null };
    });
  }

  /** One HTTP request, cut off after so many seconds; what `read` makes of the response. */
  async #request(path, query, options, seconds, read) {
    const abort = new AbortController();
    const timer = seconds === Infinity ? undefined : setTimeout(() => abort.abort(), seconds * 1000);
    this.#aborts.add(abort);
    try {
      const { signal } = abort;
      return await read(await this.#fetch(this.#url(path, query), { cache: "no-store", ...options, signal }));
    } finally {
      clearTimeout(timer);
      this.#aborts.delete(abort);
    }
  }

  #url(path, query) {
    return `${new URL(path, this.#base)}?${new URLSearchParams(query)}`;
  }

  #end(reason) {
    if (this.#over) return;
    this.#over = true;
    clearTimeout(this.#proof ?? undefined);
    for (const abort of this.#aborts) abort.abort();
    this.#on.closed(reason);
  }
}

const CARRIERS = {
  websocket: (base, { webSocket }, _timings, on) => new WebSocketCarrier(base, webSocket, on),
  sse: (base, { fetch }, timings, on) => new HttpCarrier(base, fetch, true, timings, on),
  poll: (base, { fetch }, timings, on) => new HttpCarrier(base, fetch, false, timings, on),
};

// --- 8 client -----------------------------------------------------------------------------------

/** A connection with its carrier; what comes before `attach` waits for it. */
class Link {
  over = false;
  suspect = false; // dead at the last look; a second look decides
  heard = false; // the server said something
  #rest = [];
  #take = null;
  #finish;
  #open;
  #closed;

  /** The body of the welcome is in `connection`; rejects when there will be none. */
  opened = new Promise((resolve, reject) => (this.#open = { resolve, reject }));
  /** The reason why it ended. */
  ended = new Promise((resolve) => (this.#finish = resolve));
  /** The carrier has come to its end too. */
  gone = new Promise((resolve) => (this.#closed = resolve));

  constructor(name, connection) {
    this.name = name;
    this.connection = connection;
    this.opened.catch(() => {});
  }

  packets(found) {
    if (this.over) return;
    this.heard = true;
    if (this.#take !== null) return this.#take(found);
    if (this.connection.welcome !== null || this.connection.kick !== null) return this.#rest.push(...found);
    try {
      const rest = openConnection(this.connection, found);
      if (rest === null) return;
      this.#rest = rest;
      this.#open.resolve();
    } catch (error) {
      this.#open.reject(error);
    }
  }

  /** From here on packets go to `take`, those first that came behind the welcome. */
  attach(take) {
    this.#take = take;
    take(this.#rest);
  }

  flush() {
    const texts = this.connection.outgoing.splice(0);
    if (texts.length && !this.over) this.carrier.send(texts);
  }

  closed(reason) {
    this.#closed();
    this.end(reason);
  }

  end(reason, error = new ConnectionLost(reason)) {
    if (this.over) return;
    this.over = true;
    this.carrier?.close();
    this.#open.reject(error);
    this.#finish(reason);
  }
}

/** One device of one user. */
export class Client {
  #options;
  #timings;
  #session;
  #delivery;
  #token;
  #configured;
  #bases;
  #next = 0;
  #avoided = new Map(); // name of a carrier -> {times, until}
  #state = "offline";
  #welcome = {};
  #link = null; // the one in use
  #links = new Set(); // it, and one that is being left
  #dialing = null;
  #owner = null; // of all that keep a connection, the one that may dial
  #ended = null;
  #attempt = 0;
  #retryAt = null;
  #wake = () => {};
  #timer = undefined;
  #full = []; // requests that wait until the carrier has sent what it has
  #waiters = new Set(); // of waitLive

  constructor(address, token, options = {}) {
    const { device = "js", kind, client = { name: "roost-client-js", version: VERSION } } = options;
    this.#options = {
      webSocket: globalThis.WebSocket,
      fetch: globalThis.fetch?.bind(globalThis),
      ...options,
    };
    this.#options.carriers ??= ["websocket", "sse", "poll"];
    this.#options.random ??= Math.random;
    this.#timings = { ...TIMINGS, ...options.timings };
    this.#session = new Session({ device, kind, client }, new RetryPlan(options.retry), this.#options.random);
    this.#delivery = new Delivery(options.eventLimit ?? 10_000);
    this.#token = token;
    this.#configured = this.#bases = [address].flat().map(baseOf);
  }

  // --- the connection

  get state() {
    return this.#state;
  }

  get carrier() {
    return this.#link?.name ?? null;
  }

  get welcome() {
    return this.#welcome;
  }

  get retryAt() {
    return this.#retryAt;
  }

  get rooms() {
    return [...this.#session.streams.keys()];
  }

  position(room) {
    return this.#session.streams.get(room)?.position ?? null;
  }

  async connect(timeout = 10) {
    const owner = this.#begin();
    const deadline = this.#now() + timeout;
    let failure = new Timeout("no time to connect");
    for (let tried = 0; tried < this.#bases.length && this.#now() < deadline; tried++) {
      try {
        const link = await this.#dial(deadline);
        this.#attach(link);
        this.#keep(owner, link);
        return this.#welcome;
      } catch (error) {
        failure = error;
        if (isFinal(error)) break;
      }
    }
    if (this.#ended !== null) throw this.#ended;
    this.#owner = null;
    this.#listen(false);
    this.#change("offline", failure.message);
    throw failure;
  }

  start() {
    this.#keep(this.#begin(), null);
  }

  retryNow() {
    this.#wake();
    if (this.#link === null) return;
    this.#link.connection.probe(this.#now());
    this.#settle();
  }

  async close(linger = 1) {
    const link = this.#link;
    if (this.#ended !== null) return;
    if (link !== null) {
      link.connection.post("bye", {}, this.#now());
      link.flush();
    }
    this.#end("closed", "");
    if (link !== null) await Promise.race([link.gone, sleep(linger)]);
  }

  refresh(token, { timeout = 10 } = {}) {
    const fresh = token === undefined ? this.#freshToken() : Promise.resolve(token);
    return fresh.then((shown) =>
      this.#ask("refresh", timeout, (connection, now, settle) =>
        this.#session.refresh(connection, shown, now, settle),
      ),
    );
  }

  // --- what comes in

  on(type, callback) {
    return this.#delivery.on(type, callback);
  }

  async *events() {
    for (let event; (event = await this.#delivery.take()) !== null;) {
      if (this.#session.paused && this.#delivery.halfEmpty) this.#caughtUp();
      yield event;
    }
  }

  // --- requests

  request(op, body, { timeout = 10 } = {}) {
    return this.#ask(op, timeout, (connection, now, settle) => connection.request(op, body, now, { settle }));
  }

  post(op, body) {
    if (this.#ended !== null) throw this.#ended;
    if (this.#link === null) throw new ConnectionLost("not connected");
    if (this.#isFull()) throw new Timeout("the server does not read");
    this.#link.connection.post(op, body, this.#now());
    this.#link.flush();
  }

  join(room, { since = null, presence = false, timeout = 10 } = {}) {
    return this.#ask("join", timeout, (connection, now, settle) =>
      this.#session.join(connection, room, since, presence, now, settle),
    );
  }

  async leave(room, { timeout = 10 } = {}) {
    await this.#ask("leave", timeout, (connection, now, settle) =>
      this.#session.leave(connection, room, now, settle),
    );
  }

  async publish(room, data, { key, timeout } = {}) {
    const { epoch, offset } = await this.request("publish", { room, data: data ?? null, key }, { timeout });
    return { epoch, offset };
  }

  async publishSurely(room, data, { key = randomKey(), timeout = 30 } = {}) {
    const deadline = this.#now() + timeout;
    for (let attempt = 0; ; attempt++) {
      let pause;
      try {
        await this.#waitLive(deadline);
        const left = Math.max(0.001, deadline - this.#now());
        return await this.publish(room, data, { key, timeout: Math.min(left, 10) });
      } catch (error) {
        const rejoining = error.code === "not_joined" && this.#session.streams.has(room);
        if (!error.retry && !rejoining) throw error;
        pause = Math.max(after(error), this.#session.plan.delay(attempt, this.#options.random));
        if (this.#now() + pause >= deadline) throw error;
      }
      await sleep(pause);
    }
  }

  async history(room, { since, limit, timeout } = {}) {
    const place = since && { epoch: since.epoch, offset: since.offset };
    const reply = await this.request("history", { room, since: place, limit }, { timeout });
    const { epoch, offset, first, recovered, more } = reply;
    return { room, epoch, offset, first, recovered, messages: messagesOf(reply.messages, room, epoch), more };
  }

  presenceRoom(room, options) {
    return this.request("presence", { room }, options);
  }

  presenceUsers(users, options) {
    return this.request("presence", { users }, options);
  }

  async watch(users, { off = false, timeout = 10 } = {}) {
    const reply = await this.#ask("watch", timeout, (connection, now, settle) =>
      this.#session.watch(connection, users, off, now, settle),
    );
    return new Map((reply.users ?? []).map(({ uid, online }) => [uid, online]));
  }

  async profile(users, options) {
    return (await this.request("profile", { users }, options)).users;
  }

  async setProfile(fields, options) {
    return (await this.request("profile", { set: fields }, options)).users[0];
  }

  send(to, data, { keep, ttl, key, receipt, timeout } = {}) {
    return this.request("send", { to, data: data ?? null, keep, ttl, key, receipt }, { timeout });
  }

  async ack({ seq, bseq }, options) {
    await this.request("ack", { seq, bseq }, options);
  }

  async inbox(after, { bafter, limit, timeout } = {}) {
    const reply = await this.request("inbox", { after, bafter, limit }, { timeout });
    return { ...reply, messages: reply.messages.map(inboxOf) };
  }

  async call(method, args, { room, map, timeout } = {}) {
    return (await this.request("call", { method, args, room, map }, { timeout })).result ?? null;
  }

  enter(map, data, options) {
    return this.request("enter", { map, data }, options);
  }

  input(n, data) {
    this.post("input", { n, data });
  }

  async exit(options) {
    await this.request("exit", {}, options);
  }

  async ping(options) {
    const begun = this.#now();
    await this.request("ping", {}, options);
    return this.#now() - begun;
  }

  // --- how a connection is made

  #begin() {
    if (this.#ended !== null) throw this.#ended;
    if (this.#owner !== null) throw new Error("connect() or start() was called before");
    this.#listen(true);
    this.#change("connecting");
    return (this.#owner = {});
  }

  /**
   * Log in at the next address, over the first carrier that gets through.
   * @throws {RequestError | ClientClosed} the server refused.
   * @throws {RoostError} nobody answered.
   */
  async #dial(deadline) {
    const base = this.#bases[this.#next++ % this.#bases.length];
    const names = this.#candidates();
    const silent = [];
    for (const [place, name] of names.entries()) {
      try {
        const link = await this.#logInSomehow(base, name, deadline, place + 1 < names.length);
        this.#avoided.delete(name);
        for (const other of silent) this.#avoid(other, 2);
        return link;
      } catch (error) {
        const spoke = error instanceof RequestError || error instanceof ClientClosed || error.heard;
        if (spoke || place + 1 === names.length || this.#now() >= deadline) throw error;
        silent.push(name);
      }
    }
  }

  /** The carriers to try: what is there and gets through, and one of those that are HTTP requests. */
  #candidates() {
    const able = this.#options.carriers.filter(
      (name) => this.#options[name === "websocket" ? "webSocket" : "fetch"],
    );
    if (!able.length)
      throw new ClientClosed("no_carrier", "no WebSocket and no fetch here; give one as an option");
    const good = able.filter((name) => (this.#avoided.get(name)?.until ?? 0) <= this.#now());
    const names = good.length ? good : able;
    const http = names.find((name) => name !== "websocket");
    return names.filter((name) => name === "websocket" || name === http);
  }

  /** Leave a carrier out for a while once it was of no use so many times. */
  #avoid(name, often = 1) {
    const times = (this.#avoided.get(name)?.times ?? 0) + 1;
    this.#avoided.set(name, { times, until: times >= often ? this.#now() + AVOID : 0 });
  }

  /** By `resume`, or by token where that is refused. */
  async #logInSomehow(base, name, deadline, mayFallBack) {
    if (this.#session.resume !== null) {
      try {
        return await this.#logIn(base, name, null, deadline, mayFallBack);
      } catch (error) {
        if (error.code !== "unauthorized") throw error;
        this.#session.resume = null;
      }
    }
    return this.#logIn(base, name, await this.#freshToken(), deadline, mayFallBack);
  }

  async #logIn(base, name, token, deadline, mayFallBack) {
    const now = this.#now();
    const connection = new Connection(now, this.#timings);
    const link = new Link(name, connection);
    const limit = (seconds) => {
      const left = Math.min(seconds, deadline - now);
      const tooLate = () => link.end("no welcome", new Timeout("no welcome"));
      return setTimeout(tooLate, left * 1000);
    };
    let timer = limit(mayFallBack && name === "websocket" ? this.#timings.fallback : this.#timings.welcome);
    const open = () => {
      clearTimeout(timer);
      timer = limit(this.#timings.welcome);
    };
    const on = {
      open,
      packets: (found) => link.packets(found),
      closed: (reason) => link.closed(reason),
      useless: () => this.#avoid(name),
    };
    try {
      if (this.#ended !== null) throw this.#ended;
      connection.request("hello", this.#session.hello(token), now);
      link.carrier =
        this.#options.makeCarrier?.(name, base, on) ?? CARRIERS[name](base, this.#options, this.#timings, on);
      this.#dialing = link;
      link.carrier.start(...connection.outgoing.splice(0));
      await link.opened;
      refuseKick(connection);
      return link;
    } catch (error) {
      link.end(error.message);
      error.heard = link.heard;
      throw error;
    } finally {
      clearTimeout(timer);
      this.#dialing = null;
    }
  }

  async #freshToken() {
    if (typeof this.#token !== "function") return this.#token;
    try {
      return await this.#token();
    } catch (error) {
      throw new ConnectionLost(`no token: ${error.message}`);
    }
  }

  // --- how it is kept

  #keep(owner, link) {
    this.#stay(owner, link).catch((error) => {
      console.error("roost: a defect of the client", error);
      this.#end("internal", error.message);
    });
  }

  /** Wait for the end, come back, wait again; until the client ends or another owner took over. */
  async #stay(owner, link) {
    for (;;) {
      link ??= await this.#establish();
      if (link === null) return;
      if (link !== this.#link) this.#attach(link);
      this.#lost(link, await link.ended);
      if (this.#owner !== owner || this.#ended !== null) return;
      if (this.#now() - link.connection.openedAt >= this.#timings.stable) this.#attempt = 0;
      link = null;
      await this.#pause(this.#session.plan.delay(this.#attempt++, this.#options.random));
    }
  }

  /** Dial until a connection stands; null when the client has ended. */
  async #establish() {
    while (this.#ended === null) {
      try {
        return await this.#dial(this.#now() + 2 * this.#timings.welcome);
      } catch (error) {
        if (isFinal(error)) this.#end(error.code, error.reason);
        if (this.#ended !== null) break;
        const delay = this.#session.plan.delay(this.#attempt++, this.#options.random);
        if (this.#attempt >= OFFLINE_AFTER && this.#link === null) this.#change("offline", error.message);
        await this.#pause(Math.max(after(error), delay));
      }
    }
    return null;
  }

  async #pause(seconds) {
    if (this.#ended !== null) return;
    this.#retryAt = Date.now() + seconds * 1000;
    await new Promise((resolve) => {
      const timer = setTimeout(resolve, seconds * 1000);
      this.#wake = () => resolve(clearTimeout(timer));
    });
    this.#retryAt = null;
    this.#wake = () => {};
  }

  /** Make this the link in use. */
  #attach(link) {
    if (this.#ended !== null) return link.end("closed");
    this.#links.add(link);
    this.#link = link;
    this.#welcome = link.connection.welcome;
    this.#session.attach(link.connection, this.#now());
    // An event stream has to show that it is not held back somewhere.
    if (link.name === "sse") link.connection.ping(this.#now());
    this.#change("live", "", this.#welcome);
    link.attach((packets) => this.#takeIn(link, packets));
    for (const waiter of this.#waiters) waiter(null);
  }

  #takeIn(link, packets) {
    try {
      this.#session.receive(link.connection, packets, this.#now());
    } catch (error) {
      link.end(error.message);
    }
    this.#settle();
  }

  /** Do what is due by now. */
  #tick() {
    const now = this.#now();
    for (const link of this.#links) {
      // A timer may come before packets that are there already: look twice.
      const dead = link.connection.dead(now);
      if (dead && link.suspect) link.end("no answer");
      link.suspect = dead;
      if (!link.connection.left && link.connection.leaveAt !== null && now >= link.connection.leaveAt)
        this.#move(link);
    }
    this.#session.step(now);
    this.#settle();
  }

  /** After `goaway`, at its time: a new owner makes the next connection. */
  #move(link) {
    link.connection.left = true;
    const wanted = link.connection.leaveFor
      .map((place) => baseAt(place, this.#configured[0]))
      .filter(Boolean);
    if (wanted.length) {
      this.#bases = [...wanted, ...this.#configured.filter((base) => !wanted.includes(base))];
      this.#next = 0;
    }
    this.#keep((this.#owner = {}), null);
  }

  /** Bring out what has gathered: events, packets, ends; and plan the next look. */
  #settle() {
    this.#delivery.put(this.#session.takeEvents());
    if (this.#delivery.full) this.#session.paused = true;
    for (const link of this.#links) {
      const { kick, pending } = link.connection;
      link.flush();
      if (kick !== null) link.end(`kicked: ${kick.code}`);
      else if (link !== this.#link && this.#link !== null && !pending.size) link.end("moved");
    }
    while (this.#full.length && !this.#isFull(0)) this.#full.shift()();
    this.#plan();
  }

  #plan() {
    clearTimeout(this.#timer);
    const now = this.#now();
    let at = this.#session.wakeAt();
    for (const { connection, suspect } of this.#links) {
      at = Math.min(
        at,
        suspect ? now + 0.2 : connection.wakeAt(),
        connection.pending.size ? now + 2 : Infinity,
      );
      if (!connection.left) at = Math.min(at, connection.leaveAt ?? Infinity);
    }
    if (this.#full.length) at = now + 0.02;
    if (at < Infinity)
      this.#timer = setTimeout(() => this.#tick(), Math.max(0.01, Math.min(at - now, 60)) * 1000);
  }

  /** The connection is over: fail what waits, say so. */
  #lost(link, reason) {
    const { kick, left } = link.connection;
    if (kick !== null && !left && kick.reconnect === false) this.#end(kick.code, kick.reason ?? "");
    this.#links.delete(link);
    this.#session.detach(link.connection, reason);
    if (link === this.#link) {
      this.#link = null;
      for (const call of this.#full.splice(0)) call();
      if (this.#ended === null) this.#change("recovering", reason);
    }
    this.#settle();
  }

  #caughtUp() {
    this.#delivery.caughtUp();
    this.#session.resumeReading(this.#now());
    this.#settle();
  }

  /** Close for good. */
  #end(code, reason) {
    if (this.#ended !== null) return;
    this.#ended = new ClientClosed(code, reason);
    this.#listen(false);
    this.#wake();
    for (const link of [this.#dialing, ...this.#links]) link?.end("closed", this.#ended);
    for (const waiter of this.#waiters) waiter(this.#ended);
    this.#change("closed", this.#ended.message);
    this.#delivery.end();
  }

  #change(state, reason = "", welcome = {}) {
    if (state === this.#state) return;
    this.#state = state;
    this.#delivery.put([{ type: "state_changed", state, reason, welcome }]);
  }

  // --- how answers are waited for

  /** Send a request and wait for its result; `send(connection, now, settle)` puts it on the wire. */
  #ask(op, timeout, send) {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => finish(new Timeout(`${op}: no answer in ${timeout} s`)), timeout * 1000);
      const finish = (error, value) => {
        clearTimeout(timer);
        if (error === null) resolve(value);
        else reject(error);
      };
      const begin = () => {
        try {
          if (this.#ended !== null) throw this.#ended;
          if (this.#link === null) throw new ConnectionLost("not connected");
          send(this.#link.connection, this.#now(), ({ error, value }) => finish(error, value));
          this.#link.flush();
        } catch (error) {
          finish(error);
        }
      };
      if (this.#isFull()) this.#full.push(begin);
      else begin();
      this.#plan();
    });
  }

  #isFull(waiting = this.#full.length) {
    return this.#link !== null && (waiting > 0 || this.#link.carrier.backlog > OUTGOING_MOST);
  }

  #waitLive(deadline) {
    if (this.#ended !== null) throw this.#ended;
    if (this.#link !== null) return undefined;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => waiter(new Timeout("not connected")), (deadline - this.#now()) * 1000);
      const waiter = (error) => {
        clearTimeout(timer);
        this.#waiters.delete(waiter);
        if (error === null) resolve();
        else reject(error);
      };
      this.#waiters.add(waiter);
    });
  }

  // --- its surroundings

  #now() {
    return performance.now() / 1000;
  }

  #look = () => {
    if (globalThis.document?.visibilityState !== "hidden") this.retryNow();
  };

  #leave = () => {
    for (const link of this.#links) link.end("the page was left");
  };

  /** A network that comes or goes, and a page that is looked at again, are reasons to look at once. */
  #listen(on) {
    const change = on ? "addEventListener" : "removeEventListener";
    for (const type of ["online", "offline"]) globalThis[change]?.(type, this.#look);
    globalThis[change]?.("pagehide", this.#leave);
    globalThis.document?.[change]("visibilitychange", this.#look);
  }
}

/** Turn a kick that came instead of the welcome into what the caller does about it. */
function refuseKick({ kick }) {
  if (kick === null) return;
  const { code, reason = "", reconnect = true } = kick;
  if (reconnect) throw new ConnectionLost(`kicked: ${code} ${reason}`);
  if (code === "unauthorized") throw new RequestError({ code, message: reason });
  throw new ClientClosed(code, reason);
}

/** Will the same attempt fail again? */
function isFinal(error) {
  return error instanceof ClientClosed || (error instanceof RequestError && !error.retry);
}

/** The address requests are made from: http(s), with a path that ends in "/". */
function baseOf(address) {
  const text = String(address);
  const url = new URL(text.includes("://") ? text.replace(/^ws/, "http") : `http://${text}`);
  if (!url.pathname.endsWith("/")) url.pathname += "/";
  return `${url.origin}${url.pathname}`;
}

/** The same at another host; null when that is no address. */
function baseAt(place, base) {
  try {
    const url = new URL(base);
    return baseOf(`${url.protocol}//${new URL(`http://${place}`).host}${url.pathname}`);
  } catch {
    return null;
  }
}

function randomKey() {
  return Array.from({ length: 4 }, () => Math.floor(Math.random() * 2 ** 32).toString(16)).join("");
}

/** For tests. */
export const inside = {
  Connection,
  HttpCarrier,
  RetryPlan,
  RoomStream,
  Session,
  TIMINGS,
  decode,
  encode,
  openConnection,
};
