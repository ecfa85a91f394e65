// What a database has to do for the SQL transport; the transport does what is the same for all.
import type { Delivery, Depth, Message, Outgoing, Reservation } from '../../contract/transport.ts'
import type { Look } from '../../drivers/transport-wait.ts'

/** To the end of a queue. */
export interface Move {
  delivery: Delivery
  queue: string
  delayMs: number
  body: Uint8Array | undefined
}

/**
 * A message is a row. What isn't in a consumer's hands has no token; what is ready lies in the order of the time since which
 * it is. A lease that has ended is no state of its own: whoever looks for messages finds it, counts it, and takes it over.
 */
export interface Dialect {
  readonly name: string
  readonly caveats: readonly string[]
  open(): Promise<void>
  close(): Promise<void>
  publish(messages: readonly Outgoing[]): Promise<void>
  /** A token is the row's number, '.' and this secret. */
  take(want: Reservation, secret: string): Promise<Look>
  /** These three answer the tokens that were held. */
  ack(tokens: readonly string[]): Promise<string[]>
  move(moves: readonly Move[]): Promise<string[]>
  extend(tokens: readonly string[], visibilityMs: number): Promise<string[]>
  depth(queues: readonly string[]): Promise<Depth[]>
  peek(queue: string, limit: number): Promise<Message[]>
  /** Ends the leases in these queues whose secret begins so. */
  leave(consumer: string, queues: readonly string[]): Promise<void>
  /** Rings when something may have come into these queues; answers how to stop. */
  listen(queues: readonly string[], ring: () => void): () => void
}

/** The number of the row; undefined where it is no token of ours. */
export function rowOf(token: string): number | undefined {
  const number = /^(\d{1,15})\../.exec(token)?.[1]
  return number === undefined ? undefined : Number(number)
}
