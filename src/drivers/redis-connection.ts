// The connection that carries commands: every call ends in bounded time, and what is safe to repeat survives
// a reconnect.

import type { Cluster, Redis } from 'ioredis'
import { DeadlineTimer } from '../base/deadline-timer.ts'
import { environment } from '../base/environment.ts'
import { DeferqError } from '../base/errors.ts'
import { sleep } from '../base/time.ts'
import type { Placed } from '../base/unordered-set.ts'
import { UnorderedSet } from '../base/unordered-set.ts'
import type { Client, ClientSettings, Library } from './redis-clients.ts'
import { commandClient } from './redis-clients.ts'
import type { Fault } from './redis-faults.ts'
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
  fail(error: unknown): void
}

/** What is sent until it is answered. */
interface Call<Answer> {
  send(client: Client, call: Call<Answer>): Promise<Answer>
  /** Also when it may have been done already. */
  resend: boolean
  deadline: number
  attempts: number
  /** It was sent before, and may have been done. */
  lost: boolean
  /** Why the server did not know what it was asked to run. */
  unknown: Fault | undefined
}

export class Connection {
  readonly client: Client
  readonly #Command: Library['Command']
  readonly #where: string
  readonly #timeoutMs: number
  /** A server before Redis 7, or a user who may not load functions: scripts then travel as such. */
  #hasFunctions = true
  readonly #waiting = new Set<Waiting>()
  readonly #sent = new UnorderedSet<Sent>()
  readonly #overdue = new DeadlineTimer((now) => this.#rejectOverdue(now))
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
      this.#heardAt = environment.monotonic()
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
    return this.command((client) => Promise.resolve(client))
  }

  /**
   * Runs a script on the node that holds its key, the first of its arguments. `again`: what it is handed instead when the connection
   * went while the answer was awaited, since it may have been done already then; null: it fails then.
   */
  run(script: Script, args: readonly string[], again: (() => readonly string[]) | null): Promise<unknown> {
    return this.#attempt({
      send: (client, { lost, unknown }) => {
        const rest = lost && again !== null ? again() : args
        if (script.function === undefined || !this.#hasFunctions) {
          return unknown === undefined
            ? this.#send(client, 'evalsha', script.sha, rest)
            : this.#send(client, 'eval', script.source, rest)
        }
        const { name, library } = script.function
        if (unknown === undefined) return this.#send(client, 'fcall', name, rest)
        return this.#define(client, library, unknown).then(() =>
          this.#hasFunctions
            ? this.#send(client, 'fcall', name, rest)
            : this.#send(client, 'evalsha', script.sha, rest),
        )
      },
      resend: again !== null,
      deadline: environment.monotonic() + this.#timeoutMs,
      attempts: 0,
      lost: false,
      unknown: undefined,
    })
  }

  async #define(client: Client, library: string, fault: Fault): Promise<void> {
    this.#hasFunctions = fault === 'unknown script' && (await load(client, library))
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
    const deadline = environment.monotonic() + this.#timeoutMs
    return this.#attempt({
      send: (client, { lost }) => send(client, lost),
      resend: true,
      deadline,
      attempts: 0,
      lost: false,
      unknown: undefined,
    })
  }

  /** The text of INFO, of each master. */
  info(section: string): Promise<string[]> {
    return this.command((client) => {
      const nodes = 'nodes' in client ? client.nodes('master') : [client as Redis]
      return Promise.all(nodes.map((node) => node.info(section)))
    })
  }

  /** Nearly always the only one: it takes one promise, and what it takes to make another one is made when it has failed. */
  #attempt<Answer>(call: Call<Answer>): Promise<Answer> {
    if (this.client.status !== 'ready') return this.#untilReady(call.deadline).then(() => this.#attempt(call))
    return new Promise((resolve) => {
      const fail = (error: unknown): void => resolve(this.#again(call, error))
      const sent: Sent = { deadline: call.deadline, fail, place: -1 }
      call.send(this.client, call).then(
        (value) => {
          this.#heard(sent)
          resolve(value)
        },
        (error: unknown) => {
          if (this.#heard(sent)) fail(error)
        },
      )
      this.#sent.add(sent)
      this.#overdue.by(call.deadline)
    })
  }

  /** False when it was overdue, and has failed by that. */
  #heard(sent: Sent): boolean {
    this.#heardAt = environment.monotonic()
    return this.#sent.delete(sent)
  }

  async #again<Answer>(call: Call<Answer>, error: unknown): Promise<Answer> {
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
    const left = call.deadline - environment.monotonic()
    call.lost ||= fault === 'lost'
    if ((call.lost && !call.resend) || left <= 0) {
      throw unavailable('The connection was lost to Redis', this.#where, error)
    }
    call.unknown = fault === 'unknown script' || fault === 'no functions' ? fault : undefined
    // From 10 ms up to 160: a failover takes a second or so, and a refusal costs the server next to nothing.
    if (call.unknown === undefined || call.attempts > MOST_UNKNOWN)
      await sleep(Math.min(10 * 2 ** Math.min(call.attempts, 4), left))
    call.attempts++
    return await this.#attempt(call)
  }

  #untilReady(deadline: number): Promise<void> {
    if (this.#closed) return Promise.reject(this.#closedError())
    return new Promise((resolve, reject) => {
      const waiting: Waiting = {
        resolve: () => {
          environment.clearTimeout(timer)
          resolve()
        },
        reject: (error) => {
          environment.clearTimeout(timer)
          reject(error)
        },
      }
      const timer = environment.setTimeout(
        () => {
          this.#waiting.delete(waiting)
          reject(unavailable('There is no connection to Redis', this.#where, this.#lastError))
        },
        Math.max(0, deadline - environment.monotonic()),
      )
      this.#waiting.add(waiting)
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
      sent.fail(OVERDUE)
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
/** So often what a server does not know is defined without a pause: one that forgets it again and again is asked no faster than one that is away. */
const MOST_UNKNOWN = 3

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
