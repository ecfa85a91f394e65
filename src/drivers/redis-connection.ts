// The connection that carries commands: every call ends in bounded time, and what is safe to repeat survives
// a reconnect.
import type { Cluster, Redis } from 'ioredis'
import { Alarm } from '../alarm.ts'
import type { Placed } from '../bag.ts'
import { Bag } from '../bag.ts'
import { DeferqError } from '../errors.ts'
import { sleep } from '../time.ts'
import type { Client, ClientSettings, Library } from './redis-clients.ts'
import { commandClient } from './redis-clients.ts'
import { isLoginFault, judge, loginFault, unavailable } from './redis-faults.ts'
import type { Target } from './redis-url.ts'

export interface Script {
  source: string
  sha: string
  /** The same as a Redis function, and the library that FUNCTION LOAD takes: defined once instead of with each call. */
  function?: { name: string; library: string }
}

interface Waiting {
  resolve(): void
  reject(error: DeferqError): void
}

/** A command whose answer is awaited. */
interface Sent extends Placed {
  deadline: number
  reject(error: Error): void
}

export class Connection {
  readonly client: Client
  readonly #Command: Library['Command']
  readonly #where: string
  readonly #timeoutMs: number
  /** A server before Redis 7, or a user who may not load functions: scripts then travel as such. */
  #hasFunctions = true
  readonly #waiting = new Set<Waiting>()
  readonly #sent = new Bag<Sent>()
  readonly #overdue = new Alarm((now) => this.#rejectOverdue(now))
  #heardAt = 0
  #lastError: unknown
  #closed = false

  /** `resumed` is called after each connection but the first: the store may be another one, or empty. */
  constructor(
    library: Library,
    target: Target,
    settings: ClientSettings,
    { trouble, resumed }: { trouble(error: unknown): void; resumed(): void },
  ) {
    this.#Command = library.Command
    this.#where = target.masked
    this.#timeoutMs = settings.timeoutMs
    this.client = commandClient(library, target, settings)
    const failed = (error: Error): void => {
      this.#lastError = error
      trouble(error)
      // Waiting would not help: the same login is refused again.
      if (isLoginFault(error)) this.#release((waiting) => waiting.reject(loginFault(error, this.#where)))
    }
    this.client.on('error', failed)
    if (target.kind === 'cluster') (this.client as Cluster).on('node error', failed)
    let connected = false
    this.client.on('ready', () => {
      this.#heardAt = performance.now()
      this.#release((waiting) => waiting.resolve())
      if (connected) resumed()
      connected = true
    })
    // The first failure is told by the event; ioredis goes on trying until close().
    this.client.connect().catch(() => {})
  }

  close(): void {
    this.#closed = true
    this.#overdue.stop()
    this.#release((waiting) => waiting.reject(this.#closedError()))
    this.client.disconnect()
  }

  /** Waits until commands can be sent. */
  ready(): Promise<unknown> {
    return this.#attempt((client) => Promise.resolve(client))
  }

  /**
   * Runs a script on the node that holds its key, the first that it is handed. Told `lost` when the connection went while the
   * answer was awaited, since it may have been done already then; not to be sent again, it fails.
   */
  run(script: Script, handed: (lost: boolean) => readonly string[], again: boolean): Promise<unknown> {
    return this.#attempt((client, lost) => {
      const rest = handed(lost)
      if (script.function === undefined || !this.#hasFunctions) return this.#asText(client, script, rest)
      const { name, library } = script.function
      return this.#send(client, 'fcall', name, rest).catch(async (error) => {
        const fault = judge(error, this.#where)
        if (fault !== 'unknown script' && fault !== 'no functions') throw error
        this.#hasFunctions = fault === 'unknown script' && (await load(client, library))
        if (this.#hasFunctions) return this.#send(client, 'fcall', name, rest)
        return this.#asText(client, script, rest)
      })
    }, again)
  }

  async #asText(client: Client, script: Script, rest: readonly string[]): Promise<unknown> {
    try {
      return await this.#send(client, 'evalsha', script.sha, rest)
    } catch (error) {
      if (judge(error, this.#where) !== 'unknown script') throw error
      return await this.#send(client, 'eval', script.source, rest)
    }
  }

  /**
   * A script with one key. The client's own methods flatten what they are given, at 0.1 µs for each argument; and JavaScript passes no
   * more than about 100,000.
   */
  #send(client: Client, name: string, what: string, rest: readonly string[]): Promise<unknown> {
    const command = new this.#Command(name, [], { replyEncoding: 'utf8' })
    command.args = [what, '1', ...rest]
    return client.sendCommand(command) as Promise<unknown>
  }

  /** Any single command, on a connected client; `lost` when it was sent before, and may have been done. */
  command<Answer>(send: (client: Client, lost: boolean) => Promise<Answer>): Promise<Answer> {
    return this.#attempt(send)
  }

  /** The text of INFO, of each master. */
  info(section: string): Promise<string[]> {
    return this.#attempt((client) => {
      const nodes = 'nodes' in client ? client.nodes('master') : [client as Redis]
      return Promise.all(nodes.map((node) => node.info(section)))
    })
  }

  async #attempt<Answer>(
    send: (client: Client, lost: boolean) => Promise<Answer>,
    resend = true,
  ): Promise<Answer> {
    const deadline = performance.now() + this.#timeoutMs
    let lost = false
    for (let attempt = 0; ; attempt++) {
      if (this.client.status !== 'ready') await this.#untilReady(deadline)
      try {
        return await this.#within(deadline, send(this.client, lost))
      } catch (error) {
        if (this.#closed) throw this.#closedError()
        if (error === OVERDUE) {
          throw unavailable(
            `No answer came within ${this.#timeoutMs} ms from Redis`,
            this.#where,
            this.#lastError,
          )
        }
        const fault = judge(error, this.#where)
        if (fault instanceof DeferqError) throw fault
        const left = deadline - performance.now()
        lost ||= fault === 'lost'
        if ((lost && !resend) || left <= 0) {
          throw unavailable('The connection was lost to Redis', this.#where, error)
        }
        // From 10 ms up to 160: a failover takes a second or so, and a refusal costs the server next to
        // nothing.
        await sleep(Math.min(10 * 2 ** Math.min(attempt, 4), left))
      }
    }
  }

  #untilReady(deadline: number): Promise<void> {
    if (this.#closed) return Promise.reject(this.#closedError())
    return new Promise((resolve, reject) => {
      const waiting: Waiting = {
        resolve: () => {
          clearTimeout(timer)
          resolve()
        },
        reject: (error) => {
          clearTimeout(timer)
          reject(error)
        },
      }
      const timer = setTimeout(
        () => {
          this.#waiting.delete(waiting)
          reject(unavailable('There is no connection to Redis', this.#where, this.#lastError))
        },
        Math.max(0, deadline - performance.now()),
      )
      this.#waiting.add(waiting)
    })
  }

  #within<Answer>(deadline: number, answer: Promise<Answer>): Promise<Answer> {
    return new Promise((resolve, reject) => {
      const sent = { deadline, reject, place: -1 }
      this.#sent.add(sent)
      this.#overdue.by(deadline)
      const heard = (): void => {
        this.#sent.delete(sent)
        this.#heardAt = performance.now()
      }
      answer.then(
        (value) => {
          heard()
          resolve(value)
        },
        (error: unknown) => {
          heard()
          reject(error)
        },
      )
    })
  }

  /** A connection on which nothing has come in all that time is dead, though nobody has said so, and is replaced. */
  #rejectOverdue(now: number): number {
    let next = Number.POSITIVE_INFINITY
    let late = false
    for (const sent of this.#sent.all()) {
      if (sent.deadline > now) {
        next = Math.min(next, sent.deadline)
        continue
      }
      late = true
      this.#sent.delete(sent)
      sent.reject(OVERDUE)
    }
    if (late && now - this.#heardAt >= this.#timeoutMs && 'stream' in this.client)
      this.client.stream.destroy(new Error(`Nothing came for ${this.#timeoutMs} ms.`))
    return next
  }

  #release(tell: (waiting: Waiting) => void): void {
    const all = [...this.#waiting]
    this.#waiting.clear()
    for (const waiting of all) tell(waiting)
  }

  #closedError(): DeferqError {
    return closedError(this.#where)
  }
}

const OVERDUE = new Error('overdue')

export function closedError(where: string): DeferqError {
  return new DeferqError('CLOSED', `This connection to Redis (${where}) is closed: open a new one.`)
}

/** On every master, because a function that one lacks is likely to be new to all; false where it is not allowed. */
async function load(client: Client, library: string): Promise<boolean> {
  const nodes = 'nodes' in client ? client.nodes('master') : [client]
  try {
    await Promise.all(
      nodes.map((node) =>
        node.function('LOAD', library).catch((error: Error) => {
          if (!/already exists/.test(error.message)) throw error
        }),
      ),
    )
    return true
  } catch (error) {
    if (/NOPERM|unknown command|unknown subcommand/i.test((error as Error).message)) return false
    throw error
  }
}
