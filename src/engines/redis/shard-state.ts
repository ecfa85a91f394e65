// The state of each shard between two rounds, and the sum of the answers of several shards.
import type { Claimed, Settled, Standing, Want } from '../../contract/engine.ts'
import type { SettleReply, SpelledWant } from './encode-want.ts'
import { readMalformed } from './ids.ts'

export interface TurnsOptions {
  /** The shards' tags, with which their keys begin. */
  tags: readonly string[]
  address: string
  /** Sends the script SETTLE; `again` instead, when that may have been done already. */
  send(shard: number, args: readonly string[], again: readonly string[] | null): Promise<unknown>
  /** Sends the script LEAVE. */
  leave(shard: number, args: readonly string[]): Promise<unknown>
  /** A run has ended that this instance waits for. */
  ended(run: Standing): void
  trouble(message: string, error?: unknown): void
}

/** The answer to an end of a run by itself. */
export const endedAlone = (): SettleReply => ({
  answers: ['settled'],
  claimed: [],
  nextDueMs: undefined,
  more: false,
  malformed: [],
})

export interface ShardState {
  /** It had more than was asked for, or said that something is ready. */
  hot: boolean
  waiting: Waiting[]
}

/** As whom this instance waits at a shard, and for which want. */
export interface Waiting {
  member: string
  want: Want
  spelled: SpelledWant
}

export function gather(settled: Settled & { claimed: Claimed[] }, reply: SettleReply): void {
  for (const one of reply.claimed) settled.claimed.push(one)
  if (reply.nextDueMs !== undefined) {
    settled.nextDueMs = Math.min(settled.nextDueMs ?? Number.POSITIVE_INFINITY, reply.nextDueMs)
  }
  const malformed = readMalformed(reply.malformed)
  if (malformed.length > 0) settled.malformed = [...(settled.malformed ?? []), ...malformed]
}
