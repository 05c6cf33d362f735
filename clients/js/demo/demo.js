// A chat over Roost: what the JavaScript client can do, in one page.
//
//   door     a token is needed      client   one login of this tab      talks   rooms and people
//
// Everything shown comes from events of the client; what is sent stands below until it comes back.

import { Client } from "./roost.js";

const PAGE = 50; // messages asked for at a time
const NEAR = 80; // pixels from the end that count as "at the end"
const SIGNS = { connecting: "◌", live: "●", recovering: "↻", offline: "○", closed: "×" };
const FIRST_ROOM = "plaza/lobby";

const at = (id) => document.getElementById(id);
const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const calendar = new Intl.DateTimeFormat(undefined, { weekday: "long", day: "numeric", month: "long" });

const talks = new Map(); // "room plaza/lobby" or "user bob" -> Talk
let client = null;
let me = "";
let current = null;
let asking = 0; // timer of the next look at who is in the room

/** One conversation: what is known of it, and what of it was not read yet. */
class Talk {
  constructor(kind, name) {
    this.kind = kind;
    this.name = name;
    this.messages = []; // in order; {uid, text, time, offset?, mid?, fate?} or {notice}
    this.waiting = []; // sent, not confirmed: {id, text, time, state, why?}
    this.unread = 0;
    this.freshFrom = null; // first message that was not read when it was opened
    this.epoch = null;
    this.first = 0; // oldest offset the room keeps; 0 while unknown
    this.members = null;
    this.count = 0;
    this.draft = "";
    this.loaded = kind === "user";
  }

  get key() {
    return `${this.kind} ${this.name}`;
  }

  get oldest() {
    return this.messages.find((one) => one.offset)?.offset ?? 0;
  }

  has(offset) {
    return this.messages.some((one) => one.offset === offset);
  }
}

// --- the door

function takeToken() {
  const given = new URLSearchParams(location.hash.slice(1));
  if (given.has("token")) {
    sessionStorage.setItem("token", given.get("token"));
    if (given.has("room")) sessionStorage.setItem("room", given.get("room"));
    history.replaceState(null, "", location.pathname);
  }
  return sessionStorage.getItem("token");
}

function showDoor(error = "") {
  at("app").hidden = true;
  at("door").hidden = false;
  at("door-error").hidden = !error;
  at("door-error").textContent = error;
  at("door-token").focus();
}

at("door-form").addEventListener("submit", (event) => {
  event.preventDefault();
  sessionStorage.setItem("token", at("door-token").value.trim());
  at("door-token").value = "";
  enter();
});

function deviceName() {
  const known = sessionStorage.getItem("device");
  const name = known ?? `web-${crypto.getRandomValues(new Uint32Array(1))[0].toString(36)}`;
  sessionStorage.setItem("device", name);
  return name;
}

async function enter() {
  at("door").hidden = true;
  at("app").hidden = false;
  const options = { device: deviceName(), kind: "web", client: { name: "roost-demo", version: "1" } };
  client = new Client(location.origin, sessionStorage.getItem("token"), options);
  listen(client);
  showState();
  client.start();
}

at("leave").addEventListener("click", async () => {
  sessionStorage.clear();
  await client.close();
  location.reload();
});

// --- what the client says

function listen(source) {
  source.on("state_changed", ({ state, reason, welcome }) => {
    if (state === "live") welcomed(welcome);
    if (state === "closed") closed(reason);
    showState();
  });
  source.on("message", (event) => heard(talk("room", event.room), event));
  source.on("inbox", hearPrivate);
  source.on("receipt", ({ mid, uid }) => received(talks.get(`user ${uid}`), mid));
  source.on("missed", ({ room, first, last }) => note(room, `Messages ${first} to ${last} are gone.`));
  source.on("gap", ({ room, reason }) => {
    if (reason === "epoch") note(room, "The room began anew; what was said before is gone.");
    lookAround(room);
  });
  source.on("rejoined", ({ room, recovered, missed }) => {
    if (!recovered) note(room, missed ? `${missed} messages were missed.` : "Some messages may be missing.");
    lookAround(room);
  });
  for (const type of ["joined", "left", "count"]) {
    source.on(type, ({ room, count }) => {
      talk("room", room).count = count;
      lookAround(room);
    });
  }
  source.on("subscribed", ({ room }) => openRoom(room, true));
  source.on("unsubscribed", ({ room, reason }) => note(room, `You are no longer in this room (${reason}).`));
}

async function welcomed(welcome) {
  const again = me !== "";
  me = welcome.uid ?? me;
  at("me").textContent = me;
  if (again) return;
  const wanted = JSON.parse(sessionStorage.getItem("rooms") ?? "[]");
  const asked = sessionStorage.getItem("room");
  const rooms = new Set([...(asked ? [asked] : []), ...wanted]);
  if (!rooms.size) rooms.add(FIRST_ROOM);
  sessionStorage.removeItem("room");
  for (const room of rooms) await openRoom(room, current !== null);
}

function closed(reason) {
  if (!sessionStorage.getItem("token")) return;
  sessionStorage.removeItem("token");
  showDoor(`The server let this login go: ${reason}. A new token is needed.`);
}

function hearPrivate({ uid, data, time, seq, bseq, gap }) {
  const one = talk("user", uid || "server");
  if (gap) one.messages.push({ notice: "Older messages were dropped before you came." });
  heard(one, { uid: uid || "server", data, time });
  if (seq !== null || bseq !== null) client.ack({ ...(seq && { seq }), ...(bseq && { bseq }) }).catch(() => {});
}

function heard(one, { uid, data, time, offset, epoch }) {
  if (epoch !== undefined) one.epoch = epoch;
  if (offset !== undefined && one.has(offset)) return;
  if (uid === me) one.waiting = one.waiting.filter((sent) => sent.id !== data?.id);
  const message = { uid, text: textOf(data), time, offset };
  one.messages.push(message);
  const seen = one === current && document.hasFocus() && atEnd();
  if (!seen && uid !== me) one.unread += 1;
  showLists();
  if (one === current) showMessages();
}

function textOf(data) {
  if (typeof data === "string") return data;
  return typeof data?.text === "string" ? data.text : JSON.stringify(data);
}

function note(room, words) {
  const one = talk("room", room);
  one.messages.push({ notice: words });
  if (one === current) showMessages();
}

// --- conversations

function talk(kind, name) {
  const key = `${kind} ${name}`;
  if (!talks.has(key)) talks.set(key, new Talk(kind, name));
  return talks.get(key);
}

async function openRoom(name, quietly = false) {
  const fresh = !talks.has(`room ${name}`);
  const one = talk("room", name);
  if (!quietly) open(one);
  if (!fresh && one.loaded) return;
  try {
    const reply = await client.join(name, { presence: true });
    one.epoch = reply.epoch;
    one.count = reply.count;
    await fetchNewest(one);
    remember();
  } catch (error) {
    talks.delete(one.key);
    if (one === current) open(talks.values().next().value ?? null);
    complain("room-error", error);
  }
  lookAround(name);
  showLists();
}

async function fetchNewest(one) {
  const page = await client.history(one.name, { limit: PAGE });
  one.first = page.first;
  add(one, page.messages);
  one.loaded = true;
}

/** Put messages from the room's history among those that are there. */
function add(one, messages) {
  for (const { uid, data, time, offset } of messages) {
    if (!one.has(offset)) one.messages.push({ uid, text: textOf(data), time, offset });
  }
  const place = new Map(one.messages.map((each, index) => [each, index]));
  one.messages.sort((a, b) => (a.offset && b.offset ? a.offset - b.offset : place.get(a) - place.get(b)));
  if (one === current) showMessages();
}

at("earlier").addEventListener("click", async () => {
  const one = current;
  const from = Math.max(one.first - 1, one.oldest - 1 - PAGE);
  const height = at("scroll").scrollHeight;
  try {
    const since = { epoch: one.epoch, offset: from };
    const page = await client.history(one.name, { since, limit: one.oldest - 1 - from });
    one.first = page.first;
    add(one, page.messages);
  } catch (error) {
    complain("compose-error", error);
  }
  at("scroll").scrollTop += at("scroll").scrollHeight - height;
});

function open(one) {
  if (current) current.draft = at("text").value;
  current = one;
  at("app").dataset.view = one ? "talk" : "list";
  if (!one) return;
  one.freshFrom = one.unread ? one.messages.length - one.unread : null;
  at("text").value = one.draft;
  read();
  showHead();
  showLists();
  showMessages(true);
  lookAround(one.name);
  if (matchMedia("(min-width: 44rem)").matches) at("text").focus();
}

function read() {
  if (!current || !current.unread || !document.hasFocus()) return;
  current.unread = 0;
  showLists();
}

at("drop").addEventListener("click", () => {
  const gone = current;
  talks.delete(gone.key);
  if (gone.kind === "room") client.leave(gone.name).catch(() => {});
  remember();
  open(talks.values().next().value ?? null);
  showLists();
});

function remember() {
  const rooms = [...talks.values()].filter((one) => one.kind === "room").map((one) => one.name);
  sessionStorage.setItem("rooms", JSON.stringify(rooms));
}

at("room-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const name = at("room-name").value.trim();
  at("room-error").hidden = true;
  if (name) openRoom(name.includes("/") ? name : `plaza/${name}`);
  at("room-name").value = "";
});

at("person-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const name = at("person-name").value.trim();
  if (name) open(talk("user", name));
  at("person-name").value = "";
});

function complain(id, error) {
  at(id).textContent = error.reason ?? error.message;
  at(id).hidden = false;
}

// --- sending

at("compose").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = at("text").value.trim();
  if (!text || !current) return;
  at("text").value = "";
  at("compose-error").hidden = true;
  const sent = { id: crypto.getRandomValues(new Uint32Array(2)).join("-"), text, time: Date.now(), state: "waits" };
  current.waiting.push(sent);
  deliver(current, sent);
});

at("text").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    at("compose").requestSubmit();
  }
});

/** Send, and say what became of it; the same id again is the same message. */
async function deliver(one, sent) {
  sent.state = "waits";
  showMessages(true);
  const data = { text: sent.text, id: sent.id };
  try {
    if (one.kind === "room") {
      await client.publishSurely(one.name, data, { key: sent.id });
    } else {
      const options = { keep: true, key: sent.id, receipt: true };
      const { mid, online } = await client.send(one.name, data, options);
      one.waiting = one.waiting.filter((other) => other !== sent);
      one.messages.push({ uid: me, text: sent.text, time: sent.time, mid, fate: online ? "sent" : "kept" });
    }
  } catch (error) {
    Object.assign(sent, { state: "failed", why: error.reason ?? error.message });
  }
  showMessages();
}

/** A device of the receiver has it. */
function received(one, mid) {
  const sent = one?.messages.find((each) => each.mid === mid);
  if (sent) sent.fate = "received";
  if (one === current) showMessages();
}

// --- who is here

/** Ask who is in the open room, once for all that happened in a moment. */
function lookAround(name) {
  if (current?.name !== name || asking) return;
  asking = setTimeout(async () => {
    asking = 0;
    const one = current;
    if (one?.kind === "room") {
      const reply = await client.presenceRoom(one.name).catch(() => null);
      if (reply) Object.assign(one, { members: reply.users, count: reply.count });
    }
    showMembers();
    showHead();
  }, 150);
}

function showMembers() {
  const members = current?.kind === "room" ? (current.members ?? []) : [];
  at("members").hidden = current?.kind !== "room";
  at("members-about").textContent = members.length ? "" : "Too many to name, or nobody is known yet.";
  at("members-list").replaceChildren(
    ...members.map(({ uid, devices }) => {
      const button = element("button", {}, element("span", { className: "name" }, uid === me ? `${uid} (you)` : uid));
      if (devices.length > 1) button.append(element("span", { className: "note" }, `${devices.length} devices`));
      button.disabled = uid === me;
      button.addEventListener("click", () => open(talk("user", uid)));
      return element("li", {}, button);
    }),
  );
}

at("members-toggle").addEventListener("click", () => showSide(!("members" in at("app").dataset)));
at("members-close").addEventListener("click", () => showSide(false));

function showSide(open_) {
  if (open_) at("app").dataset.members = "";
  else delete at("app").dataset.members;
  at("members-toggle").setAttribute("aria-expanded", String(open_));
}

// --- showing

function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

function showState() {
  const { state, retryAt, carrier } = client;
  const left = retryAt ? Math.max(0, Math.ceil((retryAt - Date.now()) / 1000)) : null;
  const soon = left ? `, next try in ${left} s` : "";
  const by = { websocket: "", sse: " (event stream)", poll: " (long polling)" }[carrier] ?? "";
  const words = state === "live" ? `live${by}` : `${state}${soon}`;
  if (at("state-text").textContent !== words) at("state-text").textContent = words;
  at("state").dataset.state = state;
  at("state-sign").textContent = SIGNS[state];
  at("trouble").hidden = state === "live" || (state === "connecting" && !me);
  at("trouble-text").textContent = `Not connected${soon}. What you write is sent when the connection is back.`;
}

function showHead() {
  if (!current) return;
  const room = current.kind === "room";
  at("title").textContent = current.name;
  const people = current.count === 1 ? "1 connection" : `${current.count} connections`;
  at("about").textContent = room ? people : "Private. Kept until it is read, on all devices.";
  at("members-toggle").hidden = !room;
  at("drop").textContent = room ? "Leave" : "Close";
}

function showLists() {
  for (const [id, kind, none] of [["rooms", "room", "No room yet"], ["people", "user", "Nobody yet"]]) {
    const rows = [...talks.values()].filter((one) => one.kind === kind).map(row);
    at(id).replaceChildren(...(rows.length ? rows : [element("li", { className: "none" }, none)]));
  }
  const unread = [...talks.values()].reduce((sum, one) => sum + one.unread, 0);
  const elsewhere = unread - (current?.unread ?? 0);
  at("back-unread").textContent = elsewhere ? `${elsewhere} unread` : "";
  document.title = `${unread ? `(${unread}) ` : ""}${current?.name ?? "chat"} · Roost`;
}

function row(one) {
  const button = element("button", { className: one.unread ? "unread" : "" });
  button.append(element("span", { className: "name" }, one.name));
  if (one.unread) {
    button.append(element("span", { className: "count" }, `${one.unread}`, element("span", { className: "out" }, " unread")));
  }
  button.setAttribute("aria-current", String(one === current));
  button.addEventListener("click", () => open(one));
  return element("li", {}, button);
}

const atEnd = () => at("scroll").scrollHeight - at("scroll").scrollTop - at("scroll").clientHeight < NEAR;

function showMessages(toEnd = false) {
  if (!current) return;
  const stay = !toEnd && !atEnd();
  const rows = [];
  let before = {};
  current.messages.forEach((one, index) => {
    if (index === current.freshFrom) rows.push(element("li", { className: "rule fresh" }, "New"));
    rows.push(...messageRows(one, before));
    before = one;
  });
  for (const sent of current.waiting) rows.push(waitingRow(sent));
  at("log").replaceChildren(...rows);
  const room = current.kind === "room";
  at("earlier").hidden = !(room && current.loaded && current.oldest > current.first && current.first > 0);
  at("beginning").hidden = !(room && current.loaded && rows.length && at("earlier").hidden);
  at("beginning").textContent = "This is all the room keeps.";
  showEmpty(rows.length === 0);
  if (!stay) at("scroll").scrollTop = at("scroll").scrollHeight;
  at("newest").hidden = !stay;
}

function showEmpty(empty) {
  at("empty").hidden = !empty;
  const room = current.kind === "room";
  const words = room ? "Say something; everybody here hears it." : "It waits for them when they are away.";
  at("empty").replaceChildren(element("strong", {}, room ? "Nothing was said here yet" : "No messages yet"), words);
}

function messageRows(one, before) {
  if (one.notice) return [element("li", { className: "notice" }, one.notice)];
  const rows = [];
  const day = calendar.format(one.time);
  const newDay = before.time === undefined || calendar.format(before.time) !== day;
  if (newDay) rows.push(element("li", { className: "rule" }, day));
  const follows = !newDay && before.uid === one.uid && one.time - before.time < 300_000;
  const fate = one.fate ? element("p", { className: "fate" }, FATES[one.fate]) : null;
  rows.push(messageRow(one.uid, one.text, one.time, follows, fate));
  return rows;
}

function messageRow(uid, text, time, follows, fate = null) {
  const by = element("div", { className: "by" }, element("strong", {}, uid), " ");
  by.append(element("time", { className: "small", dateTime: new Date(time).toISOString() }, clock.format(time)));
  const face = element("span", { className: "face", ariaHidden: "true" }, [...uid][0]?.toUpperCase() ?? "?");
  const body = element("div", { className: "body" }, by, element("div", { className: "words" }, text));
  if (fate) body.append(fate);
  const kind = ["message", ...(uid === me ? ["mine"] : []), ...(follows ? ["follows"] : [])];
  return element("li", { className: kind.join(" ") }, face, body);
}

const FATES = { waits: "sending …", sent: "sent", kept: "kept until they come", received: "received" };

function waitingRow(sent) {
  const one = current;
  const fate = element("p", { className: "fate" }, FATES[sent.state] ?? `not sent: ${sent.why}`);
  if (sent.state === "failed") {
    const again = element("button", { className: "quiet" }, "Try again");
    again.addEventListener("click", () => deliver(one, sent));
    fate.append(again);
  }
  const made = messageRow(me, sent.text, sent.time, true, fate);
  if (sent.state === "waits" || sent.state === "failed") made.classList.add(sent.state);
  return made;
}

// --- the page itself

at("newest").addEventListener("click", () => showMessages(true));
at("scroll").addEventListener("scroll", () => {
  if (!atEnd()) return;
  at("newest").hidden = true;
  read();
});
at("back").addEventListener("click", () => open(null));
at("retry").addEventListener("click", () => client.retryNow());
addEventListener("focus", read);
addEventListener("keydown", (event) => {
  if (!event.altKey || !["ArrowUp", "ArrowDown"].includes(event.key)) return;
  event.preventDefault();
  const all = [...talks.values()].sort((a, b) => a.kind.localeCompare(b.kind));
  const step = event.key === "ArrowUp" ? -1 : 1;
  open(all[(all.indexOf(current) + step + all.length) % all.length]);
});
addEventListener("hashchange", () => {
  if (location.hash.includes("token=")) location.reload();
});
setInterval(() => client && showState(), 1_000);

if (takeToken()) enter();
else showDoor();
