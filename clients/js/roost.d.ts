/**
 * JavaScript client of the Roost realtime platform.
 *
 * All times are seconds (`timeout: 10`), but for `time`, `since`, `exp` and `retryAt`, which
 * are unix milliseconds like Date.now().
 */

export const VERSION: string;

/**
 * What travels as `data`: JSON values, and bytes. Any view or ArrayBuffer goes out as bytes and
 * comes in as Uint8Array; at most 32 levels deep. Properties that are `undefined` are left out.
 */
export type Data = null | boolean | number | string | Uint8Array | Data[] | { [key: string]: Data };

/** Compared for equality only. */
export type Epoch = number | string;

/** A place in a room: offsets count 1, 2, 3 … within an epoch. */
export interface Position {
  epoch: Epoch;
  offset: number;
}

export type CarrierName = "websocket" | "sse" | "poll";

/**
 * offline: not connected, and no luck so far (or not begun). connecting: for the first time.
 * live: connected. recovering: lost, coming back. closed: ended for good.
 */
export type State = "offline" | "connecting" | "live" | "recovering" | "closed";

export interface Welcome {
  uid: string;
  product: string;
  device: string;
  session: string;
  gateway: string;
  ping: number;
  resume: string;
  exp: number;
  time: number;
  /** Acked positions of this device; null while storage is away. `gap`: messages were dropped. */
  inbox: { seq: number; bseq: number; gap: boolean } | null;
  [more: string]: unknown;
}

// --- events ---------------------------------------------------------------------------------

/**
 * One message of a room. Offsets of a room arrive in order, each once; a number left out was
 * announced before, by `missed`, `gap` with reason "epoch", or `rejoined` with `recovered` false.
 */
export interface MessageEvent {
  type: "message";
  room: string;
  epoch: Epoch;
  offset: number;
  /** "" is the server. */
  uid: string;
  data: any;
  time: number;
}

/**
 * The server left something out (`slow`, `lost`), or the room began anew (`epoch`: offsets count
 * again from 1, and what was not seen before is gone). The client fetches what is missing by
 * itself. Members with `presence` should ask for it again.
 */
export interface GapEvent {
  type: "gap";
  room: string;
  epoch: Epoch;
  offset: number;
  reason: "slow" | "lost" | "epoch";
}

/** Messages `first` … `last` of this room cannot be had any more. */
export interface MissedEvent {
  type: "missed";
  room: string;
  epoch: Epoch;
  first: number;
  last: number;
}

/**
 * The client is back in the room on a new connection, or joined it with `since`. `recovered`:
 * nothing is missing, what was said meanwhile follows. Otherwise `missed` messages are gone
 * (null: nobody knows how many) and the newest that the room has follow.
 */
export interface RejoinedEvent {
  type: "rejoined";
  room: string;
  epoch: Epoch;
  offset: number;
  recovered: boolean;
  missed: number | null;
  count: number;
}

/** The server put this connection into a room; the client treats it as joined. */
export interface SubscribedEvent {
  type: "subscribed";
  room: string;
  epoch: Epoch;
  offset: number;
  count: number;
}

/** No longer in the room: the server said so, or refused to let the client join again. */
export interface UnsubscribedEvent {
  type: "unsubscribed";
  room: string;
  reason: string;
}

/** A user's first connection came into the room, or the last one left; `count` is of connections. */
export interface MemberEvent {
  type: "joined" | "left";
  room: string;
  uid: string;
  count: number;
}

export interface CountEvent {
  type: "count";
  room: string;
  count: number;
}

/** A watched user came or went; `online` null: cannot be known now. */
export interface PresenceEvent {
  type: "presence";
  uid: string;
  online: boolean | null;
  devices: { device: string; kind?: string }[];
  since: number | null;
}

/** A message to this user. With `seq` or `bseq` it was kept: each comes once; `ack` it. */
export interface InboxEvent {
  type: "inbox";
  seq: number | null;
  bseq: number | null;
  mid: number;
  uid: string;
  data: any;
  time: number;
  /** Something before this one was dropped. */
  gap: boolean;
}

/** A device of `uid` has acked the message `mid`. */
export interface ReceiptEvent {
  type: "receipt";
  mid: number;
  uid: string;
  device: string;
  time: number;
}

/** `state` and `entered` of a spatial map, as the server sent them. */
export interface MapEvent {
  type: "state" | "entered";
  body: any;
}

/** The server will stop; the client moves by itself within `after` seconds. */
export interface GoawayEvent {
  type: "goaway";
  reason: string;
  after: number;
  to: string[];
}

/** The server ended the connection; without `reconnect` the client ends too. */
export interface KickedEvent {
  type: "kicked";
  code: string;
  reason: string;
  reconnect: boolean;
}

/** An `error` that answers no request. */
export interface ErrorEvent {
  type: "error";
  code: string;
  message: string;
}

/** The client's state is now `state`; `reason` says why, `welcome` comes with "live". */
export interface StateChangedEvent {
  type: "state_changed";
  state: State;
  reason: string;
  welcome: Partial<Welcome>;
}

/** The application read too slowly: so many small events (joined, count, presence …) were left out. */
export interface OverflowEvent {
  type: "overflow";
  dropped: number;
}

/** A push this version does not know. */
export interface OtherEvent {
  type: "other";
  op: string;
  body: any;
}

export type Event =
  | MessageEvent
  | GapEvent
  | MissedEvent
  | RejoinedEvent
  | SubscribedEvent
  | UnsubscribedEvent
  | MemberEvent
  | CountEvent
  | PresenceEvent
  | InboxEvent
  | ReceiptEvent
  | MapEvent
  | GoawayEvent
  | KickedEvent
  | ErrorEvent
  | StateChangedEvent
  | OverflowEvent
  | OtherEvent;

export type EventType = Event["type"];

/** The event of this type. */
export type EventOf<T extends EventType> = Event extends infer Each
  ? Each extends { type: infer Type }
    ? T extends Type
      ? Each
      : never
    : never
  : never;

// --- replies --------------------------------------------------------------------------------

/** What `join` gives; the messages after `since` come as events. `offset` is the newest. */
export interface JoinReply {
  room: string;
  epoch: Epoch;
  offset: number;
  recovered: boolean;
  more: boolean;
  count: number;
}

/** What `history` gives: `offset` is the newest, `first` the oldest kept. */
export interface HistoryReply {
  room: string;
  epoch: Epoch;
  offset: number;
  first: number;
  recovered: boolean;
  messages: MessageEvent[];
  more: boolean;
}

/** What `inbox` gives: ask on from `seq` and `bseq` while `more`. */
export interface InboxReply {
  messages: InboxEvent[];
  gap: boolean;
  more: boolean;
  seq: number;
  bseq: number | null;
}

export interface PresenceReply {
  count: number;
  users: { uid: string; devices: { device: string; kind?: string }[]; since: number }[];
  /** Users whose presence cannot be known now. */
  unknown: string[];
}

export interface Profile {
  uid: string;
  name: string | null;
  profile: any;
}

// --- errors ---------------------------------------------------------------------------------

/** Base of all errors thrown on purpose. */
export class RoostError extends Error {
  code: string;
  /** The same request may work later. */
  retry: boolean;
}

/** The server's answer was `error`: `bad_field`, `forbidden`, `not_joined`, `busy` … */
export class RequestError extends RoostError {
  constructor(body: { code?: string; message?: string; retry?: boolean; [fact: string]: unknown });
  /** The server's sentence. */
  reason: string;
  /** The other fields of the answer: `field`, `limit`, `after` (ms) … */
  facts: Record<string, any>;
}

/** No answer within the time given ("no_answer"); whether it was carried out is not known. */
export class Timeout extends RoostError {}

/** The connection went before the answer came, or there is none now ("connection_lost"). */
export class ConnectionLost extends RoostError {}

/** The server sent what the protocol does not allow; the connection is given up. */
export class ProtocolError extends ConnectionLost {}

/** The client has ended and will not come back; `code` says why, "closed" after `close()`. */
export class ClientClosed extends RoostError {
  constructor(code: string, reason: string);
  reason: string;
}

// --- client ---------------------------------------------------------------------------------

export interface Timed {
  /** Seconds to wait for the answer; 10 by default. */
  timeout?: number;
}

export interface ClientOptions {
  /** Name of this device; the newest login of the same device wins. "js" by default. */
  device?: string;
  /** phone, web …; some device policies look at it. */
  kind?: string;
  /** Name and version of the application, for the server's logs. */
  client?: { name: string; version: string };
  /** Which to use, the best first; all three by default. */
  carriers?: CarrierName[];
  /** Where there is no global WebSocket (Node before 22): the class of the `ws` package. */
  webSocket?: new (url: string, protocols: string[]) => any;
  fetch?: typeof fetch;
  /** Plan to come back by until the server's welcome gives its own; seconds. */
  retry?: { base?: number; factor?: number; max?: number };
  /** Events that may wait to be read from `events()`; 10,000 by default. */
  eventLimit?: number;
  /** Times the client keeps, in seconds; for tests. */
  timings?: Partial<
    Record<"welcome" | "answer" | "probe" | "fallback" | "stable" | "wait" | "repeat", number>
  >;
}

/**
 * One device of one user. Requests give a promise of their answer, or of an error:
 * RequestError, Timeout, ConnectionLost or ClientClosed.
 */
export class Client {
  /**
   * @param address "http://host:7001", "wss://host/path", "host:7001", or a list of these;
   *   attempts take turns.
   * @param token a token, or a function that gives one (or a promise of one).
   */
  constructor(
    address: string | URL | (string | URL)[],
    token: string | (() => string | Promise<string>),
    options?: ClientOptions,
  );

  readonly state: State;
  /** What the connection goes over; null without one. */
  readonly carrier: CarrierName | null;
  /** The last welcome; {} before the first. */
  readonly welcome: Partial<Welcome>;
  /** When the next attempt begins, unix ms; null when none is planned. */
  readonly retryAt: number | null;
  /** The rooms the client is in, or joins again after each loss. */
  readonly rooms: string[];
  /** The place up to which this room was delivered, what `since` takes; null: not in it. */
  position(room: string): Position | null;

  /** Log in. From then on it comes back by itself. When this fails it may be called again. */
  connect(timeout?: number): Promise<Welcome>;
  /** Log in, trying for as long as it takes; only a refusal ends it. */
  start(): void;
  /** Do not wait for the next attempt; on a live connection, ask whether it is. */
  retryNow(): void;
  /** Say bye and end for good; waits up to `linger` seconds for the connection to close. */
  close(linger?: number): Promise<void>;
  /** Show a newer token; by default a new one of the function. */
  refresh(token?: string, options?: Timed): Promise<{ exp: number; resume: string }>;

  /**
   * Call `callback` for events of that type, "*" for all; gives a function that ends it. Set
   * callbacks before connecting. Events without a callback are dropped; with any callback set
   * `events()` gives nothing.
   */
  on<T extends EventType>(type: T, callback: (event: EventOf<T>) => void): () => void;
  on(type: "*", callback: (event: Event) => void): () => void;
  /**
   * Events as they come, until the client ends. An application that reads too slowly holds up
   * nobody: room messages above `eventLimit` are left at the server and fetched later.
   */
  events(): AsyncGenerator<Event, void, void>;

  /**
   * Join a room; after a loss the client joins it again where it was. With `since` it goes on
   * after that place: `rejoined` and the messages come as events. `presence`: hear `joined`,
   * `left` and `count`.
   */
  join(room: string, options?: Timed & { since?: Position | null; presence?: boolean }): Promise<JoinReply>;
  leave(room: string, options?: Timed): Promise<void>;
  /** Publish; gives the place it got. The same `key` again: the same message. */
  publish(room: string, data: Data, options?: Timed & { key?: string }): Promise<Position>;
  /** Publish, repeating with one key over time-outs, losses and busy servers; 30 s by default. */
  publishSurely(room: string, data: Data, options?: Timed & { key?: string }): Promise<Position>;
  /** What a room keeps after `since`, or the newest; at most 300. */
  history(room: string, options?: Timed & { since?: Position; limit?: number }): Promise<HistoryReply>;
  presenceRoom(room: string, options?: Timed): Promise<PresenceReply>;
  presenceUsers(users: string[], options?: Timed): Promise<PresenceReply>;
  /** Hear `presence` of these users from now on; gives uid -> online now (null: unknown). */
  watch(users: string[], options?: Timed & { off?: boolean }): Promise<Map<string, boolean | null>>;
  profile(users: string[], options?: Timed): Promise<Profile[]>;
  /** Change one's own profile; a `name` that is taken: "conflict". */
  setProfile(fields: { name?: string; [field: string]: Data | undefined }, options?: Timed): Promise<Profile>;
  /** Send to users. With `keep` it waits for those who are away, `ttl` seconds. */
  send(
    to: string | string[],
    data: Data,
    options?: Timed & { keep?: boolean; ttl?: number; key?: string; receipt?: boolean },
  ): Promise<{ mid: number; online: number }>;
  /** Inbox messages up to these numbers were dealt with by this device. */
  ack(place: { seq?: number; bseq?: number }, options?: Timed): Promise<void>;
  /** Kept messages after a number; without `bafter` no broadcasts. */
  inbox(after: number, options?: Timed & { bafter?: number; limit?: number }): Promise<InboxReply>;
  /** Call a method of a room's or a map's logic. */
  call(method: string, args?: Data, options?: Timed & { room?: string; map?: string }): Promise<any>;
  /** Enter a spatial map; `state` follows. After a loss, enter again. */
  enter(map: string, data?: Data, options?: Timed): Promise<any>;
  /** Send input number `n`; a later `state` carries `ack`. */
  input(n: number, data: Data): void;
  exit(options?: Timed): Promise<void>;
  /** The seconds an answer took. */
  ping(options?: Timed): Promise<number>;

  /** Send any op; gives the body of its reply. */
  request(op: string, body: { [field: string]: Data | undefined }, options?: Timed): Promise<any>;
  /** Send any op without wanting an answer. */
  post(op: string, body: { [field: string]: Data | undefined }): void;
}
