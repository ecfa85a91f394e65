// The contract between deferq and a message broker: what it carries, the verbs, and the laws that every transport keeps.
//
// A transport moves bytes. It knows nothing of tasks and nothing of what the bytes mean; the composed engine carries ids
// with it, the producer and the bridge carry envelopes.
//
// The laws (proved for each transport by `transportConformance` in `deferq/conformance`):
//  1. Answers line up with their inputs by index; a batch holds at most MAX_BATCH items.
//  2. Once `publish` has answered, the message outlives the crash of this process, and of the broker as far as the broker is
//     set up to (`caveats` says where it isn't).
//  3. A message is handed to one consumer at a time, first in, first out within a queue as far as releases and delays let it.
//  4. At least once: what a consumer neither acks, releases nor dead-letters within its visibility is handed out again, with
//     `deliveries` one higher. So a message that kills its consumers can be told from one that never ran.
//  5. `ack`, `release`, `deadLetter` and `extend` ask for ownership: a token whose visibility has passed is answered `lost` and
//     changes nothing.
//  6. `release` and `deadLetter` leave no moment at which the message is nowhere. Where the broker can't do both in one step, it
//     is put into its new place first: a crash in between makes two of it, never none (and `caveats` says so).
//  7. The bytes handed out are the bytes published, whatever they are.
//  8. Delays are kept by the broker, so that they outlive every process. A delayed message is never handed out early.
//  9. Every call settles within a bounded time: an absent broker is a DeferqError STORE_UNAVAILABLE. The transport connects
//     again by itself.

import { DeferqError } from '../base/errors.ts'
import { MAX_DURATION_MS } from '../base/time.ts'
import { checkBatch, MAX_BATCH } from './engine.ts'

/** Beside the body, where the broker has a place for it (AMQP); other transports carry the body alone. */
export interface Properties {
  type?: string
  messageId?: string
  correlationId?: string
  appId?: string
  contentType?: string
  contentEncoding?: string
  headers?: Readonly<Record<string, string | number>>
}

export interface Message {
  body: Uint8Array
  properties?: Properties
}

export interface Outgoing extends Message {
  queue: string
  /** Handed out no earlier than this long after the broker has taken it. */
  delayMs?: number
}

/** A message in a consumer's hands. */
export interface Delivery extends Message {
  queue: string
  /** Proves ownership; means something to the transport alone. */
  token: string
  /** How often it was handed out before, and came back because its consumer was gone: 0 the first time, and after a release. */
  deliveries: number
}

export interface Reservation {
  /** Earlier ones first, as long as they hold something. */
  queues: readonly string[]
  limit: number
  /** How long a delivery belongs to this consumer unless it is extended (a broker with connections may hold it for longer, while the connection lives). */
  visibilityMs: number
  /** Waits this long for the first message (0). */
  waitMs?: number
  /** Ends the wait early; what was found is handed out all the same. */
  signal?: AbortSignal
}

/** A delivery given back: as it is, changed, or to another queue. */
export interface Release extends Partial<Message> {
  delivery: Delivery
  /** Another queue than it came from. */
  queue?: string
  delayMs?: number
}

/** Without a body, the delivery's own bytes are set aside. */
export interface Burial extends Partial<Message> {
  delivery: Delivery
}

export type Answer = 'done' | 'lost'

/** What a broker can't tell is left out. */
export interface Depth {
  queue: string
  /** May be handed out now. */
  ready: number
  delayed?: number
  /** In consumers' hands. */
  reserved?: number
}

export interface Transport {
  /** Short, for messages: 'memory', 'redis', 'rabbitmq', 'postgres', 'sqlite'. */
  readonly name: string
  /** What this transport, opened like this, can't promise; empty when it keeps every law. */
  readonly caveats: readonly string[]

  /** Connects. Idempotent, as `close` is; other calls may open by themselves. */
  open(): Promise<void>
  /** Releases everything; what this consumer still holds is handed out again. Calls after it are refused with CLOSED. */
  close(): Promise<void>

  /** Makes queues that do not exist. When it rejects, each of the messages may or may not be stored. */
  publish(messages: readonly Outgoing[]): Promise<void>
  /** At most `limit` messages, and none when nothing has come within `waitMs`. */
  reserve(want: Reservation): Promise<Delivery[]>
  ack(deliveries: readonly Delivery[]): Promise<Answer[]>
  /** Puts messages back: at the end of their queue, or of another; `deliveries` starts again at 0. */
  release(releases: readonly Release[]): Promise<Answer[]>
  /** Moves messages to `<queue>.dlq`. */
  deadLetter(burials: readonly Burial[]): Promise<Answer[]>
  /** The heartbeat: what is still held stays so for `visibilityMs` from now. */
  extend(deliveries: readonly Delivery[], visibilityMs: number): Promise<Answer[]>

  /** A queue that does not exist is empty. */
  depth(queues: readonly string[]): Promise<Depth[]>
  /** The first messages of a queue that are ready, without taking them. */
  peek(queue: string, limit: number): Promise<Message[]>
  /** Troubles that no call can answer for, such as a lost connection; answers a function that stops listening. */
  onTrouble(hear: (error: DeferqError) => void): () => void
}

/** Where messages of a queue are set aside. */
export const deadLettersOf = (queue: string): string => `${queue}.dlq`

/** What every transport refuses before it sends anything; each calls these first. */
export function checkOutgoing(messages: readonly Outgoing[]): void {
  checkBatch(messages, 'publish')
  for (const { queue, delayMs } of messages) {
    checkQueue(queue)
    checkMs('delayMs', delayMs)
  }
}

export function checkReservation({ queues, limit, visibilityMs, waitMs }: Reservation): void {
  for (const queue of queues) checkQueue(queue)
  checkLimit('reserve', limit)
  checkVisibility(visibilityMs)
  checkMs('waitMs', waitMs)
}

export function checkReleases(releases: readonly Release[]): void {
  checkBatch(releases, 'release')
  for (const { queue, delayMs } of releases) {
    if (queue !== undefined) checkQueue(queue)
    checkMs('delayMs', delayMs)
  }
}

export function checkExtension(deliveries: readonly Delivery[], visibilityMs: number): void {
  checkBatch(deliveries, 'extend')
  checkVisibility(visibilityMs)
}

export function checkPeek(queue: string, limit: number): void {
  checkQueue(queue)
  checkLimit('peek', limit)
}

function checkLimit(method: string, limit: number): void {
  if (Number.isInteger(limit) && limit >= 1 && limit <= MAX_BATCH) return
  throw new DeferqError('INVALID_OPTION', `${method}() got limit ${limit}: use 1 to ${MAX_BATCH}.`)
}

/** The names that every broker can take: AMQP allows 255 bytes, and `.dlq` has to fit behind. */
function checkQueue(queue: string): void {
  if (typeof queue === 'string' && /^[^\x00-\x1f\x7f]+$/.test(queue) && Buffer.byteLength(queue) <= 200)
    return
  throw new DeferqError(
    'INVALID_OPTION',
    `The queue ${JSON.stringify(queue)} can't be used: take a name of 1 to 200 bytes without control characters.`,
  )
}

function checkVisibility(visibilityMs: number): void {
  checkMs('visibilityMs', visibilityMs)
  if (visibilityMs < 1) {
    throw new DeferqError('INVALID_OPTION', `visibilityMs is ${visibilityMs}: use 1 or more.`)
  }
}

function checkMs(option: string, ms: number | undefined): void {
  if (ms === undefined || (ms >= 0 && ms <= MAX_DURATION_MS)) return
  throw new DeferqError('INVALID_OPTION', `${option} is ${ms}: use milliseconds from 0 to 100 years.`)
}
