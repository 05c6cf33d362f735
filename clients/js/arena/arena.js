// The arena over Roost: what is told of a map, drawn.
//
//   state ─▶ Scene: who is where, by the ticks that said so ─▶ drawn a little later, between two ticks
//   keys, pointer, touch ─▶ input {do: walk | fire}          oneself is drawn ahead, where one will be
//
// What the server says and does: worlds/arena.py. The protocol: docs/protocol.md, sections 4 to 6.

import { Client } from "../roost.js";

const LATE = 1.5; // ticks everything but oneself is shown late, so that the next one is there already
const SAMPLES = 4; // places remembered of each
const SHOT_MS = 160; // how long a shot is seen
const CHAT = "arena/chat";
const FIRST_MAP = "arena";
const BODY = 5;

/** What this client knows of a map: docs/protocol.md, section 6, Maps. */
export class Scene {
  /** @param entered body of an `enter` reply or of `entered` */
  constructor(entered, now) {
    this.map = entered.map;
    this.line = entered.line;
    this.you = entered.you;
    this.facts = entered;
    this.period = 1000 / (entered.rate ?? 10);
    this.begun = now - entered.tick * this.period; // when tick 0 was heard, or would have been
    this.things = new Map(); // id -> {id, kind, data, cell, places: [[tick, x, y]…]}
    this.ack = 0;
  }

  /** Take one `state`; gives its events. */
  take(state, now) {
    if (state.map !== this.map) return [];
    this.begun = Math.min(this.begun, now - state.tick * this.period) + 0.02; // forgets slowly how fast one was
    if (state.ack !== undefined) this.ack = state.ack;
    if (state.full) {
      for (const [id, thing] of this.things) if (thing.cell === state.cell) this.things.delete(id);
    }
    for (const [id, kind, x, y, data] of state.enter ?? []) {
      const thing = this.things.get(id) ?? { id, places: [] };
      Object.assign(thing, { kind, data, cell: state.cell });
      this.things.set(id, thing);
      place(thing, state.tick, x, y);
    }
    for (const [id, x, y] of state.move ?? []) {
      const thing = this.things.get(id);
      if (thing) place(thing, state.tick, x, y);
    }
    for (const id of state.leave ?? []) {
      if (this.things.get(id)?.cell === state.cell) this.things.delete(id);
    }
    return state.events ?? [];
  }

  get me() {
    return this.things.get(this.you);
  }

  /** The tick, with a fraction, that is going on. */
  tick(now) {
    return (now - this.begun) / this.period;
  }

  /** Where a thing is shown at a moment. */
  at(thing, now) {
    return between(thing.places, this.tick(now) - LATE);
  }
}

function place(thing, tick, x, y) {
  const { places } = thing;
  const last = places.at(-1);
  if (last && last[0] >= tick) {
    places[places.length - 1] = [tick, x, y];
    return;
  }
  // One that was not heard of stood still until a tick ago.
  if (last && last[0] < tick - 1) places.push([tick - 1, last[1], last[2]]);
  if (last && Math.hypot(last[1] - x, last[2] - y) > 30) places.length = 0; // it was put there
  places.push([tick, x, y]);
  while (places.length > SAMPLES) places.shift();
}

function between(places, tick) {
  let after = places.length - 1;
  while (after > 0 && places[after - 1][0] >= tick) after -= 1;
  const [t2, x2, y2] = places[after];
  if (after === 0 || tick >= t2) return [x2, y2];
  const [t1, x1, y1] = places[after - 1];
  const share = Math.max(0, (tick - t1) / (t2 - t1));
  return [x1 + (x2 - x1) * share, y1 + (y2 - y1) * share];
}

/** Oneself, ahead of what the server has said: walks at once, and drifts to where it will turn out to be. */
export class Ahead {
  constructor(x, y) {
    this.x = x;
    this.y = y;
  }

  step(seconds, heading, told, speed, lag, width, height) {
    const goal = [told[1] + heading[0] * speed * lag, told[2] + heading[1] * speed * lag];
    this.x += heading[0] * speed * seconds;
    this.y += heading[1] * speed * seconds;
    const far = Math.hypot(goal[0] - this.x, goal[1] - this.y);
    const share = far > 40 ? 1 : 1 - Math.exp(-6 * seconds);
    this.x = clamp(this.x + (goal[0] - this.x) * share, width);
    this.y = clamp(this.y + (goal[1] - this.y) * share, height);
  }
}

const clamp = (value, most) => Math.min(most, Math.max(0, value));

/** Directions of what is held down: keys, and a stick of the finger. */
export function headingOf(keys, stick) {
  const way = stick ?? [
    (keys.has("right") ? 1 : 0) - (keys.has("left") ? 1 : 0),
    (keys.has("down") ? 1 : 0) - (keys.has("up") ? 1 : 0),
  ];
  const length = Math.hypot(...way);
  return length ? [way[0] / length, way[1] / length] : [0, 0];
}

// --- the page

if (typeof document !== "undefined") begin();

function begin() {
  const at = (id) => document.getElementById(id);
  const canvas = at("canvas");
  const pen = canvas.getContext("2d");
  const map = at("minimap").getContext("2d");
  const style = getComputedStyle(document.documentElement);
  const color = (name) => style.getPropertyValue(`--${name}`).trim();

  let client = null;
  let scene = null;
  let ahead = null;
  let wanted = null; // [map, line]: where one wants to be
  let travelling = false;
  let number = 0; // of the last input
  let heading = [0, 0];
  let facing = [1, 0];
  let lag = 0.15;
  let sentAt = 0;
  let aim = null; // point on the canvas that is shot at while it is held
  let shotAt = 0;
  let offer = null;
  let blips = [];
  let drawnAt = performance.now();
  const keys = new Set();
  let stick = null;
  const shots = [];
  const flashes = new Map();

  // --- who plays

  function takeToken() {
    const given = new URLSearchParams(location.hash.slice(1));
    for (const name of ["token", "name"]) if (given.has(name)) sessionStorage.setItem(name, given.get(name));
    if (given.has("token")) history.replaceState(null, "", location.pathname);
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
    sessionStorage.setItem("name", at("door-name").value.trim());
    play();
  });

  function deviceName() {
    const name = sessionStorage.getItem("device") ?? `arena-${crypto.getRandomValues(new Uint32Array(1))[0].toString(36)}`;
    sessionStorage.setItem("device", name);
    return name;
  }

  function play() {
    at("door").hidden = true;
    at("app").hidden = false;
    const options = { device: deviceName(), kind: "web", client: { name: "roost-arena", version: "1" } };
    client = new Client(location.origin, sessionStorage.getItem("token"), options);
    client.on("state_changed", changed);
    client.on("state", ({ body }) => hear(body));
    client.on("entered", ({ body }) => entered(body));
    client.on("inbox", inbox);
    client.on("message", ({ room, uid, data }) => room === CHAT && say(uid, data));
    client.start();
    canvas.focus();
    requestAnimationFrame(draw);
  }

  async function changed({ state, reason }) {
    at("state").dataset.state = state;
    at("state").textContent = state === "live" ? "live" : `${state} …`;
    if (state === "closed" && sessionStorage.getItem("token")) {
      sessionStorage.removeItem("token");
      showDoor(`The server let this login go: ${reason}. A new token is needed.`);
    }
    if (state !== "live") return;
    go(...(wanted ?? [FIRST_MAP]));
    if (client.rooms.includes(CHAT)) return;
    try {
      await client.join(CHAT);
      for (const { uid, data } of (await client.history(CHAT, { limit: 30 })).messages) say(uid, data);
    } catch (error) {
      say("", `no chat: ${error.message}`);
    }
  }

  // --- where one is

  /** Be in a map (a line of it, or any), coming from where one is. Through doors the server leads. */
  async function go(name, line) {
    wanted = [name, line];
    if (travelling) return;
    travelling = true;
    try {
      while (wanted && client.state === "live") {
        const [map, toLine] = wanted;
        if (scene && (scene.map !== map || (toLine && scene.line !== toLine))) {
          scene = null;
          await client.exit().catch(() => {});
        }
        const called = sessionStorage.getItem("name");
        const body = { map, data: called ? { name: called } : {} };
        if (toLine) body.line = toLine;
        const reply = await client.request("enter", body);
        if (wanted[0] === map && wanted[1] === toLine) {
          entered(reply);
          return;
        }
        scene = new Scene(reply, performance.now());
      }
    } catch (error) {
      notice(`${wanted[0]}: ${error.message}`);
      wanted = [scene?.map ?? FIRST_MAP];
      if (!scene && client.state === "live") setTimeout(() => go(...wanted), 2000);
    } finally {
      travelling = false;
    }
  }

  function entered(body) {
    if (body.away) {
      notice(`The ${body.map} is away for a moment.`, true);
      return;
    }
    notice("");
    scene = new Scene(body, performance.now());
    wanted = [body.map];
    number = Math.max(number, body.ack ?? 0);
    ahead = null;
    blips = [];
    at("map").textContent = body.line === undefined ? body.map : `${body.map} ${body.line}`;
    send({ do: "walk", dx: heading[0], dy: heading[1] });
    askTop();
  }

  function hear(state) {
    if (!scene) return;
    const now = performance.now();
    const before = scene.ack;
    for (const event of scene.take(state, now)) happened(event, now);
    if (scene.ack !== before && scene.ack === number) lag += 0.2 * ((now - sentAt) / 1000 - lag);
    const { me } = scene;
    if (me) {
      at("hp").textContent = me.data.hp;
      at("score").textContent = me.data.score;
      const [, x, y] = me.places.at(-1);
      Object.assign(canvas.dataset, { x, y, things: scene.things.size });
      ahead ??= new Ahead(me.places.at(-1)[1], me.places.at(-1)[2]);
    }
  }

  function happened(event, now) {
    if (event.shot) shots.push({ way: event.shot, by: event.by, until: now + SHOT_MS });
    if (event.hit) flashes.set(event.hit, now + SHOT_MS);
    if (event.fell === scene.you) notice("You fell, and stand up elsewhere.");
    if (event.blips) blips = event.blips;
  }

  function send(data) {
    if (!scene || client.state !== "live") return;
    number += 1;
    sentAt = performance.now();
    client.input(number, data);
  }

  // --- duels

  at("duel").addEventListener("click", async () => {
    try {
      const rank = 1000 + (scene?.me?.data.score ?? 0);
      await client.call("match.find", { mode: "duel", rank }, { map: FIRST_MAP });
      notice("Looking for somebody to fight …");
    } catch (error) {
      notice(error.message);
    }
  });

  function inbox({ uid, data }) {
    const match = uid === "" ? data?.match : null;
    if (!match) return;
    offer = match.state === "offered" ? match : null;
    at("offer").hidden = !offer;
    at("offer-text").textContent = offer ? `Somebody would fight you. ${Math.round(offer.within)} s` : "";
    if (match.state === "made") go(match.map, match.line);
    if (match.state === "ended" && match.reason !== "declined") notice(`No duel: ${match.reason}.`);
    if (match.state === "waiting") notice("Looking for somebody else …");
  }

  for (const [id, yes] of [["offer-yes", true], ["offer-no", false]]) {
    at(id).addEventListener("click", () => {
      at("offer").hidden = true;
      client.call("match.accept", { match: offer.match, yes }, { map: FIRST_MAP }).catch((error) => notice(error.message));
      canvas.focus();
    });
  }

  // --- what one does

  const KEYS = {
    ArrowLeft: "left",
    ArrowRight: "right",
    ArrowUp: "up",
    ArrowDown: "down",
    KeyA: "left",
    KeyD: "right",
    KeyW: "up",
    KeyS: "down",
  };

  function walk() {
    const way = headingOf(keys, stick);
    if (Math.hypot(way[0] - heading[0], way[1] - heading[1]) < 0.05) return;
    heading = way;
    if (way[0] || way[1]) facing = way;
    send({ do: "walk", dx: way[0], dy: way[1] });
  }

  addEventListener("keydown", (event) => {
    if (event.target.matches("input, textarea, button") || event.ctrlKey || event.metaKey || event.altKey) return;
    if (KEYS[event.code]) keys.add(KEYS[event.code]);
    else if (event.code === "Space") fire(nearest());
    else if (event.code === "Enter") at("text").focus();
    else return;
    event.preventDefault();
    walk();
  });
  addEventListener("keyup", (event) => {
    keys.delete(KEYS[event.code]);
    walk();
  });
  addEventListener("blur", () => {
    keys.clear();
    stick = aim = null;
    walk();
  });

  let stickId = null;
  let stickFrom = null;
  canvas.addEventListener("pointerdown", (event) => {
    canvas.focus();
    canvas.setPointerCapture(event.pointerId);
    if (event.pointerType !== "mouse" && event.offsetX < canvas.clientWidth / 2) {
      [stickId, stickFrom] = [event.pointerId, [event.offsetX, event.offsetY]];
    } else {
      aim = [event.offsetX, event.offsetY];
      fire(towards(aim));
    }
  });
  canvas.addEventListener("pointermove", (event) => {
    if (event.pointerId === stickId) {
      const way = [event.offsetX - stickFrom[0], event.offsetY - stickFrom[1]];
      stick = Math.hypot(...way) > 12 ? way : [0, 0];
      walk();
    } else if (aim) aim = [event.offsetX, event.offsetY];
  });
  for (const ending of ["pointerup", "pointercancel"]) {
    canvas.addEventListener(ending, (event) => {
      if (event.pointerId === stickId) {
        stickId = stick = null;
        walk();
      } else aim = null;
    });
  }

  function towards([x, y]) {
    return [x - canvas.clientWidth / 2, y - canvas.clientHeight / 2];
  }

  /** The way to the nearest that can be shot at, else where one looks. */
  function nearest() {
    let [best, far] = [facing, 100];
    const [, ownX, ownY] = scene?.me?.places.at(-1) ?? [];
    for (const thing of scene?.things.values() ?? []) {
      if (thing.id === scene.you || (thing.kind !== "player" && thing.kind !== "slime")) continue;
      const [, x, y] = thing.places.at(-1);
      const way = [x - ownX, y - ownY];
      if (Math.hypot(...way) < far) [best, far] = [way, Math.hypot(...way)];
    }
    return best;
  }

  function fire(way) {
    const length = Math.hypot(...way);
    const now = performance.now();
    if (!length || now - shotAt < 400) return;
    shotAt = now;
    facing = [way[0] / length, way[1] / length];
    send({ do: "fire", dx: facing[0], dy: facing[1] });
  }

  // --- what one sees

  function draw(now) {
    requestAnimationFrame(draw);
    const seconds = Math.min(0.1, (now - drawnAt) / 1000);
    drawnAt = now;
    const [width, height] = [canvas.clientWidth, canvas.clientHeight];
    const ratio = devicePixelRatio || 1;
    if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
      [canvas.width, canvas.height] = [Math.round(width * ratio), Math.round(height * ratio)];
    }
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.fillStyle = color("page");
    pen.fillRect(0, 0, width, height);
    if (!scene?.me || !ahead) return;
    if (aim) fire(towards(aim));
    const { facts } = scene;
    ahead.step(seconds, heading, scene.me.places.at(-1), facts.speed, lag, facts.width, facts.height);
    const scale = Math.max(width, height) / (2 * facts.view * 0.85);
    pen.translate(width / 2, height / 2);
    pen.scale(scale, scale);
    pen.translate(-ahead.x, -ahead.y);
    drawGround(facts, width / scale, height / scale);
    for (const kind of ["door", "heart", "slime", "player"]) {
      for (const thing of scene.things.values()) {
        if (thing.kind !== kind) continue;
        const [x, y] = thing.id === scene.you ? [ahead.x, ahead.y] : scene.at(thing, now);
        DRAWN[kind](thing, x, y, now);
      }
    }
    drawShots(now);
    drawMinimap(facts);
  }

  function drawGround(facts, wide, high) {
    pen.fillStyle = color("paper");
    pen.fillRect(0, 0, facts.width, facts.height);
    pen.strokeStyle = color("line");
    pen.lineWidth = 0.4;
    pen.beginPath();
    const step = 30;
    const [left, top] = [Math.max(0, ahead.x - wide / 2), Math.max(0, ahead.y - high / 2)];
    const [right, bottom] = [Math.min(facts.width, ahead.x + wide / 2), Math.min(facts.height, ahead.y + high / 2)];
    for (let x = Math.ceil(left / step) * step; x <= right; x += step) {
      pen.moveTo(x, top);
      pen.lineTo(x, bottom);
    }
    for (let y = Math.ceil(top / step) * step; y <= bottom; y += step) {
      pen.moveTo(left, y);
      pen.lineTo(right, y);
    }
    pen.stroke();
    pen.strokeStyle = color(facts.peaceful ? "accent" : "bad");
    pen.lineWidth = 2;
    pen.strokeRect(0, 0, facts.width, facts.height);
  }

  const DRAWN = {
    door(thing, x, y) {
      pen.fillStyle = color("accent");
      pen.fillRect(x - 7, y - 9, 14, 18);
      pen.fillStyle = color("on-accent");
      pen.beginPath();
      pen.arc(x + 4, y, 1.2, 0, 7);
      pen.fill();
      words(`to the ${thing.data}`, x, y - 12, "text");
    },
    heart(thing, x, y) {
      pen.fillStyle = "#d23b5c";
      pen.beginPath();
      pen.moveTo(x, y + 4);
      pen.bezierCurveTo(x - 8, y - 2, x - 3, y - 7, x, y - 2.5);
      pen.bezierCurveTo(x + 3, y - 7, x + 8, y - 2, x, y + 4);
      pen.fill();
    },
    slime(thing, x, y, now) {
      const wobble = Math.sin(now / 200 + thing.id) * 0.6;
      pen.fillStyle = flashed(thing, now) ? "#fff" : "#5a9a3c";
      pen.beginPath();
      pen.ellipse(x, y, 6 + wobble, 5 - wobble, 0, 0, 7);
      pen.fill();
      bar(x, y - 8, thing.data / 60);
    },
    player(thing, x, y, now) {
      const mine = thing.id === scene.you;
      pen.fillStyle = flashed(thing, now) ? "#fff" : `hsl(${(thing.id * 137) % 360} 55% 48%)`;
      pen.beginPath();
      pen.arc(x, y, BODY, 0, 7);
      pen.fill();
      pen.lineWidth = mine ? 1.4 : 0.6;
      pen.strokeStyle = color("text");
      pen.stroke();
      if (mine) {
        pen.beginPath();
        pen.moveTo(x + facing[0] * BODY, y + facing[1] * BODY);
        pen.lineTo(x + facing[0] * (BODY + 4), y + facing[1] * (BODY + 4));
        pen.stroke();
      }
      bar(x, y - 9, thing.data.hp / 100);
      words(`${thing.data.name} ${thing.data.score}`, x, y - 12, mine ? "accent" : "text");
    },
  };

  function flashed(thing, now) {
    const until = flashes.get(thing.id);
    if (until !== undefined && until < now) flashes.delete(thing.id);
    return until > now;
  }

  function bar(x, y, share) {
    pen.fillStyle = color("line");
    pen.fillRect(x - 6, y, 12, 1.6);
    pen.fillStyle = share > 0.35 ? "#3d9a50" : "#d23b3b";
    pen.fillRect(x - 6, y, 12 * clamp(share, 1), 1.6);
  }

  function words(text, x, y, name) {
    pen.fillStyle = color(name);
    pen.font = "4.5px system-ui, sans-serif";
    pen.textAlign = "center";
    pen.fillText(text, x, y);
  }

  function drawShots(now) {
    while (shots.length && shots[0].until < now) shots.shift();
    for (const { way, by, until } of shots) {
      pen.globalAlpha = clamp((until - now) / SHOT_MS, 1);
      pen.strokeStyle = by === scene.you ? color("accent") : color("bad");
      pen.lineWidth = 1.2;
      pen.beginPath();
      pen.moveTo(way[0], way[1]);
      pen.lineTo(way[2], way[3]);
      pen.stroke();
    }
    pen.globalAlpha = 1;
  }

  function drawMinimap(facts) {
    const size = 140;
    const scale = size / Math.max(facts.width, facts.height);
    const dot = (x, y, name, half) => {
      map.fillStyle = color(name);
      map.fillRect(x * scale - half, y * scale - half, 2 * half, 2 * half);
    };
    map.clearRect(0, 0, size, size);
    for (const [x, y] of blips) dot(x, y, "bad", 1.5);
    for (const [x, y] of facts.doors ?? []) dot(x, y, "accent", 2.5);
    dot(ahead.x, ahead.y, "text", 2.5);
  }

  // --- beside the map

  let hiding = 0;
  function notice(text, stays = false) {
    clearTimeout(hiding);
    at("notice").hidden = !text;
    at("notice").textContent = text;
    if (text && !stays) hiding = setTimeout(() => (at("notice").hidden = true), 3000);
  }

  async function askTop() {
    if (!scene || client.state !== "live") return;
    const rows = await client.call("top", {}, { map: scene.map }).catch(() => null);
    if (!rows) return;
    at("top").replaceChildren(
      ...rows.map(([name, score]) => {
        const row = document.createElement("li");
        const points = document.createElement("span");
        row.textContent = name;
        points.textContent = score;
        row.append(points);
        return row;
      }),
    );
  }
  setInterval(askTop, 3000);

  function say(uid, data) {
    const row = document.createElement("li");
    const who = document.createElement("strong");
    who.textContent = uid ? `${uid} ` : "";
    row.append(who, typeof data === "string" ? data : (data?.text ?? JSON.stringify(data)));
    const log = at("log");
    log.append(row);
    while (log.children.length > 200) log.firstChild.remove();
    log.scrollTop = log.scrollHeight;
  }

  at("compose").addEventListener("submit", (event) => {
    event.preventDefault();
    const text = at("text").value.trim();
    at("text").value = "";
    canvas.focus();
    if (text) client.publishSurely(CHAT, { text }).catch((error) => notice(error.message));
  });

  if (takeToken()) play();
  else showDoor();
}
