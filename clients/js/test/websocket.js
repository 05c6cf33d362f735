/**
 * A WebSocket of text messages for Node that has none (before 22): as much of RFC 6455 as a client
 * needs with a server that keeps to it. For tests; applications take the `ws` package.
 */

import { randomBytes } from "node:crypto";
import { request } from "node:http";

const TEXT = 1;
const CLOSE = 8;
const PING = 9;
const PONG = 10;

export class TestWebSocket {
  readyState = 0;
  bufferedAmount = 0;
  #socket = null;
  #rest = Buffer.alloc(0);
  #parts = [];
  #end = { code: 1006, reason: "" };

  constructor(url, protocols) {
    const headers = {
      connection: "Upgrade",
      upgrade: "websocket",
      "sec-websocket-version": 13,
      "sec-websocket-key": randomBytes(16).toString("base64"),
      "sec-websocket-protocol": protocols.join(", "),
    };
    this.asked = request(url.replace(/^ws/, "http"), { headers });
    this.asked.on("upgrade", (_response, socket, head) => this.#opened(socket, head));
    this.asked.on("response", () => this.asked.destroy(new Error("no upgrade")));
    this.asked.on("error", () => this.#closed());
    this.asked.end();
  }

  send(text) {
    this.#write(TEXT, Buffer.from(text));
  }

  close(code = 1000) {
    if (this.readyState === 0) this.asked.destroy(new Error("closed"));
    if (this.readyState === 1) this.#write(CLOSE, Buffer.from([code >> 8, code & 255]));
    this.readyState = Math.max(this.readyState, 2);
  }

  terminate() {
    this.#socket?.destroy();
  }

  #opened(socket, head) {
    this.#socket = socket.setNoDelay();
    this.readyState = 1;
    socket.on("data", (data) => this.#take(data));
    socket.on("error", () => {});
    socket.on("close", () => this.#closed());
    this.onopen();
    if (head.length) this.#take(head);
  }

  #closed() {
    if (this.readyState === 3) return;
    this.readyState = 3;
    this.onclose(this.#end);
  }

  #write(opcode, payload) {
    const mask = randomBytes(4);
    const { length } = payload;
    const size = length < 126 ? [length | 128] : length < 65536 ? [254, length >> 8, length & 255] : null;
    const head = size ? Buffer.from(size) : Buffer.from([255, 0, 0, 0, 0, 0, 0, 0, 0]);
    if (!size) head.writeUInt32BE(length, 5);
    const masked = Buffer.from(payload.map((byte, place) => byte ^ mask[place % 4]));
    this.#socket.write(Buffer.concat([Buffer.from([128 | opcode]), head, mask, masked]));
  }

  #take(data) {
    this.#rest = Buffer.concat([this.#rest, data]);
    while (this.#rest.length >= 2) {
      let [first, size] = this.#rest;
      const head = size < 126 ? 2 : size === 126 ? 4 : 10;
      if (this.#rest.length < head) return;
      if (size === 126) size = this.#rest.readUInt16BE(2);
      else if (size === 127) size = this.#rest.readUInt32BE(6);
      if (this.#rest.length < head + size) return;
      const payload = this.#rest.subarray(head, head + size);
      this.#rest = this.#rest.subarray(head + size);
      this.#frame(first & 15, Boolean(first & 128), payload);
    }
  }

  #frame(opcode, fin, payload) {
    if (opcode === PING) return this.#write(PONG, payload);
    if (opcode === PONG) return;
    if (opcode === CLOSE) {
      if (payload.length) this.#end = { code: payload.readUInt16BE(0), reason: payload.toString("utf8", 2) };
      this.close();
      return this.#socket.end();
    }
    this.#parts.push(payload);
    if (fin) this.onmessage({ data: Buffer.concat(this.#parts.splice(0)).toString() });
  }
}
