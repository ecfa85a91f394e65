// One opened store: its connections, its shards, and the news it brings.

import { isDeferqError } from '../../base/errors.ts'
import type { Hint, Selector } from '../../contract/engine.ts'
import { caveatsOf } from '../../drivers/redis-caveats.ts'
import type { ClientSettings } from '../../drivers/redis-clients.ts'
import { hintClient, loadLibrary } from '../../drivers/redis-clients.ts'
import { Connection } from '../../drivers/redis-connection.ts'
import type { Troubles } from '../../drivers/redis-troubles.ts'
import type { Target } from '../../drivers/redis-url.ts'
import { endedIn, longId, readMalformed } from './ids.ts'
import type { ScriptName, Scripts } from './scripts.ts'
import { Turns } from './shard-rounds.ts'
import { shardTags } from './shards.ts'
import { bindStore } from './store.ts'
import { Subscriber } from './subscriber.ts'

const CLUSTER_SHARDS = 12
/**
 * How long closing waits until this instance's waits are taken back; they also go when nobody hears their
 * hint.
 */
const LEAVE_MS = 500

export interface SessionOptions {
  target: Target
  prefix: string
  shards: number | undefined
  settings: ClientSettings
  scripts: Scripts
  address: string
  tell(hint: Hint): void
  troubles: Troubles
}

export class Session {
  readonly connection: Connection
  readonly #options: SessionOptions
  readonly #subscriber: Subscriber
  turns!: Turns
  tags: string[] = []
  caveats: string[] = []

  /**
   * Answers an open session, or cleans up and throws. `abandoned`: told at once how to end it before that.
   */
  static async open(options: SessionOptions, abandoned: (end: () => void) => void): Promise<Session> {
    const session = new Session(options, await loadLibrary())
    abandoned(() => session.#end())
    try {
      await session.#begin()
      return session
    } catch (error) {
      session.#end()
      throw error
    }
  }

  private constructor(options: SessionOptions, library: Awaited<ReturnType<typeof loadLibrary>>) {
    const { target, settings, prefix, address, tell, troubles } = options
    this.#options = options
    const trouble = (error: unknown): void => {
      troubles.hear(`The connection to Redis at ${target.masked} has trouble.`, error)
    }
    this.connection = new Connection(library, target, settings, {
      trouble,
      resumed: () => void this.#resume(),
    })
    this.#subscriber = new Subscriber({
      make: () => hintClient(library, target, settings, this.connection.client),
      channels: [`${prefix}:${address}`, `${prefix}:all`],
      hear: (_channel, message) => this.#hear(message),
      resumed: () => {
        this.turns.forget()
        tell({ kind: 'changed' })
        tell({ kind: 'work' })
      },
      trouble,
    })
  }

  get hears(): boolean {
    return this.#subscriber.hears
  }

  async #begin(): Promise<void> {
    const { target, prefix, shards: wanted, address, tell, troubles } = this.#options
    await this.connection.ready()
    const usual = target.kind === 'cluster' ? CLUSTER_SHARDS : 1
    const [shards, { caveats, warnings }] = await Promise.all([
      bindStore(this.connection, prefix, wanted, usual),
      caveatsOf(this.connection, target),
    ])
    this.caveats = caveats
    this.tags = shardTags(prefix, shards)
    this.turns = new Turns({
      tags: this.tags,
      address,
      send: (shard, args, again) => this.run('settle', shard, args, again),
      leave: (shard, args) => this.run('leave', shard, args),
      ended: (run) => tell({ kind: 'ended', id: run.id, run }),
      trouble: (message, error) => troubles.hear(message, error),
    })
    for (const warning of warnings) troubles.hear(warning)
    await this.#subscriber.start()
  }

  /**
   * A store that lost its data, or was replaced, may have been opened by others in the meantime with other
   * shards.
   */
  async #resume(): Promise<void> {
    if (this.tags.length === 0) return
    this.turns.forget()
    try {
      await bindStore(this.connection, this.#options.prefix, this.tags.length, this.tags.length)
    } catch (error) {
      if (isDeferqError(error, 'STORE_MISMATCH')) this.#options.troubles.hear(error.message, error)
    }
  }

  async close(): Promise<void> {
    if (this.connection.client.status === 'ready') await this.turns.leave(LEAVE_MS)
    this.#end()
  }

  #end(): void {
    this.#subscriber.close()
    this.connection.close()
  }

  /**
   * `again` is sent where the script may have been done already: the same, other arguments, or (null)
   * nothing.
   */
  run(
    name: ScriptName,
    shard: number,
    args: readonly string[],
    again: readonly string[] | null = args,
  ): Promise<unknown> {
    const { scripts, target } = this.#options
    // A node of a cluster tells only how many heard a message there.
    const counted = target.kind === 'cluster' ? '0' : '1'
    const tag = this.tags[shard] as string
    const resent = again && ((): string[] => [tag, `${counted}+`, ...again])
    return this.connection
      .run(scripts[name], [tag, counted, ...args], resent)
      .then((reply) => this.#told(name, reply))
  }

  #told(name: ScriptName, reply: unknown): unknown {
    if (typeof reply === 'string') return reply
    // Every script that reads runs ends its answer with what it had to set aside.
    const malformed = Array.isArray(reply) ? reply.at(-1) : undefined
    for (const { id, reason } of readMalformed(malformed)) {
      this.#options.troubles.hear(`The entry ${id} can’t be read and was set aside. ${reason}`)
    }
    if (name === 'admit' || name === 'settle') {
      for (const message of (reply as unknown[]).at(-2) as string[]) this.#hear(message)
    }
    return reply
  }

  #hear(message: string): void {
    const { tell } = this.#options
    const rest = message.slice(1)
    switch (message[0]) {
      case 'w': {
        const [shard, member = ''] = rest.split(' ')
        this.turns.heat(Number(shard), member)
        tell({ kind: 'work' })
        break
      }
      case 'h': {
        const at = rest.indexOf(' ')
        this.turns.hand(Number(rest.slice(0, at)), rest.slice(at + 1))
        break
      }
      case 'i':
        tell({ kind: 'invalidated', selector: JSON.parse(rest) as Selector })
        break
      case 'E':
        for (const run of endedIn(rest)) tell({ kind: 'ended', id: run.id, run })
        break
      case 'e':
      case 'c': {
        const kind = message[0] === 'e' ? 'ended' : 'cancelled'
        for (let at = 0; at < rest.length; at += 59) tell({ kind, id: longId(rest.slice(at, at + 59)) })
      }
    }
  }
}
