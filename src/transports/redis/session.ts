// One opened Redis transport: its connection, its scripts, and its waits.

import type { Redis } from 'ioredis'
import { environment } from '../../base/environment.ts'
import type { Client, ClientSettings } from '../../drivers/redis-clients.ts'
import { loadLibrary } from '../../drivers/redis-clients.ts'
import { Connection } from '../../drivers/redis-connection.ts'
import { judge } from '../../drivers/redis-faults.ts'
import type { Target } from '../../drivers/redis-url.ts'
import { Bells } from './bells.ts'
import type { ScriptName } from './scripts.ts'
import { SCRIPTS } from './scripts.ts'

type Argument = string | Buffer

export class Session {
  readonly connection: Connection
  readonly bells: Bells
  /** How all tokens of this consumer begin; nobody can guess it. */
  readonly consumer = environment.randomBytes(9).toString('base64url')
  readonly #target: Target
  readonly #rememberMs: string
  #calls = 0

  static async open(target: Target, settings: ClientSettings, trouble: (error: unknown) => void) {
    const library = await loadLibrary()
    const connect = (): Connection =>
      new Connection(library, target, settings, { trouble, resumed: () => {} })
    return new Session(target, settings, connect, trouble)
  }

  private constructor(
    target: Target,
    settings: ClientSettings,
    connect: () => Connection,
    trouble: (error: unknown) => void,
  ) {
    this.#target = target
    // A call is resent within its time, and may wait as long again in a server that hangs.
    this.#rememberMs = String(2 * settings.timeoutMs)
    this.connection = connect()
    this.bells = new Bells({ connect, blockMs: Math.min(2_000, settings.timeoutMs / 2), trouble })
  }

  /** Runs a script over these keys; it is sent again when the connection went while its answer was awaited. */
  run(name: ScriptName, keys: readonly string[], args: readonly Argument[]): Promise<unknown> {
    return this.connection.command((client) => this.#send(client, name, keys, args))
  }

  /** By its id, the script knows a call that has been done already. */
  once(name: 'publish' | 'ack' | 'release', keys: readonly string[], args: readonly Argument[]) {
    return this.run(name, keys, [this.#id(), this.#rememberMs, ...args])
  }

  /**
   * Each time it is sent, it takes under tokens of its own: a server that hung may do the first one after the second, and
   * must not put other messages under tokens that are already in use.
   */
  reserve(keys: readonly string[], limit: number, visibilityMs: number): Promise<unknown> {
    const id = this.#id()
    let sent = 0
    return this.connection.command((client) =>
      this.#send(client, 'reserve', keys, [id, String(sent++), String(limit), String(visibilityMs)]),
    )
  }

  async #send(client: Client, name: ScriptName, keys: readonly string[], args: readonly Argument[]) {
    const { source, sha } = SCRIPTS[name]
    const redis = client as Redis &
      Record<'evalshaBuffer' | 'evalBuffer', (...args: unknown[]) => Promise<unknown>>
    // An array is spread by ioredis: JavaScript itself allows no more than about 100,000 arguments.
    try {
      return await redis.evalshaBuffer(sha, keys.length, keys, args)
    } catch (error) {
      if (judge(error, this.#target.masked) !== 'unknown script') throw error
      return await redis.evalBuffer(source, keys.length, keys, args)
    }
  }

  #id(): string {
    return `${this.consumer}.${(++this.#calls).toString(36)}`
  }

  end(): void {
    this.bells.close()
    this.connection.close()
  }
}
