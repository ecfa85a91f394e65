// Which keys a queue has, and which queues one script may touch: on a cluster, those that share a slot.
import type { Target } from '../../drivers/redis-url.ts'

// The wire layout, fixed so that consumers and producers in other languages can join (by the plain name of the queue):
//   <queue>             list: the bytes of what is ready; producers RPUSH, consumers take from the left
//   <queue>:processing  list: the bytes of what is in consumers' hands; a consumer without leases acks by LREM
//   <queue>:delayed     sorted set: the bytes of what is delayed, by the time when it is due (epoch ms)
// Ours beside it, which nobody else needs to know:
//   <queue>:delayed:twins  sorted set: delayed messages whose bytes stood in the set already, each behind an id and ':'
//   <queue>:leases         sorted set: the tokens of what is in our consumers' hands, by the end of their visibility
//   <queue>:held           hash: per token, deliveries, ':' and the bytes
//   <queue>:strangers      hash: what lies in processing without a lease, and when it was first seen there
//   <queue>:looked         set while nobody need look for strangers
//   <queue>:sent:<id>      what a call was answered, for a moment, so that a resent one isn't done twice
export class Keys {
  readonly #prefix: string
  readonly #clustered: boolean

  constructor({ kind, prefix }: Target) {
    this.#prefix = prefix === undefined ? '' : `${prefix}:`
    this.#clustered = kind === 'cluster'
  }

  /**
   * On a cluster the name is made a hash tag, unless it brings one, so that all keys of a queue and of its dead letters lie
   * in one slot. Others who use the queue there have to write `{orders}` too, as their own layout demands of them.
   */
  of(queue: string): string {
    const name = this.#prefix + queue
    if (!this.#clustered || /\{[^}]+\}/.test(name)) return name
    const tag = name.replace(/(\.dlq)+$/, '')
    return tag === '' ? name : `{${tag}}${name.slice(tag.length)}`
  }

  /** Two queues in the same place can be changed in one step. */
  placeOf(queue: string): string {
    return this.#clustered ? (/\{([^}]+)\}/.exec(this.of(queue))?.[1] ?? this.of(queue)) : ''
  }

  /** Runs of queues that lie in one place, in order. */
  runs(queues: readonly string[]): string[][] {
    const runs: string[][] = []
    for (const queue of queues) {
      const last = runs.at(-1)
      if (last?.[0] !== undefined && this.placeOf(last[0]) === this.placeOf(queue)) last.push(queue)
      else runs.push([queue])
    }
    return runs
  }
}
