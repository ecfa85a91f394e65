// Requests to an HTTP interface: signed anew each time, tried again while that may help, bounded in time.

import pRetry from 'p-retry'
import type { ErrorCode } from '../../base/errors.ts'
import { DeferqError, ERROR_CODES, maskUrl } from '../../base/errors.ts'
import { timeoutSignal } from '../../base/time.ts'
import type { Keys } from '../../signing/signature.ts'
import { sign } from '../../signing/signature.ts'

export interface CallsOptions {
  url: string
  keys: Keys | undefined
  /** How long a call may take, with all its tries. */
  timeoutMs: number
}

const VERSION = 1
const TRIES = 4
const FIRST_PAUSE_MS = 50
/** The server or what stands before it could not answer just now. */
const PASSING = new Set([408, 425, 429, 500, 502, 503, 504])

export class Calls {
  readonly #target: URL
  readonly #keys: Keys | undefined
  readonly #timeoutMs: number

  constructor({ url, keys, timeoutMs }: CallsOptions) {
    this.#target = new URL(`${url.replace(/\/+$/, '')}/engine`)
    this.#keys = keys
    this.#timeoutMs = timeoutMs
  }

  /**
   * Every verb may be repeated: drafts are known by their ids, the others change nothing the second time. A request that is sent
   * again is signed anew, because the server spends the id of each.
   */
  async send<Reply>(
    verb: string,
    members: object,
    { timeoutMs = this.#timeoutMs, signal }: { timeoutMs?: number; signal?: AbortSignal } = {},
  ): Promise<Reply> {
    const body = JSON.stringify({ version: VERSION, verb, ...members })
    const timeout = timeoutSignal(timeoutMs)
    const ending = signal === undefined ? timeout : AbortSignal.any([timeout, signal])
    try {
      return await pRetry(() => this.#try<Reply>(body, ending), {
        retries: TRIES - 1,
        minTimeout: FIRST_PAUSE_MS,
        factor: 3,
        randomize: true,
        signal: ending,
        shouldRetry: ({ error }) => (error as Trouble).passing === true,
      })
    } catch (error) {
      if (error instanceof DeferqError) throw error
      const why = error instanceof Trouble ? error.message : `it did not answer within ${timeoutMs} ms`
      throw new DeferqError(
        'STORE_UNAVAILABLE',
        `The interface at ${this.#shown()} could not be asked: ${why}.`,
        { cause: error },
      )
    }
  }

  async #try<Reply>(body: string, signal: AbortSignal): Promise<Reply> {
    const headers: Record<string, string> = { 'content-type': 'application/json', 'user-agent': 'deferq' }
    if (this.#keys !== undefined) {
      const { pathname, search } = this.#target
      const signature = sign(this.#keys, { body, request: { method: 'POST', target: pathname + search } })
      Object.assign(headers, signature)
    }
    let response: Response
    let text: string
    try {
      // A redirect would lead elsewhere what is signed for this path.
      response = await fetch(this.#target, { method: 'POST', headers, body, signal, redirect: 'manual' })
      text = await response.text()
    } catch (error) {
      if (signal.aborted) throw signal.reason
      const { cause } = error as { cause?: { code?: string; message?: string } }
      throw new Trouble(cause?.code ?? cause?.message ?? (error as Error).message, true, { cause: error })
    }
    const reply = parsed(text)
    if (response.ok && reply !== undefined) return reply as Reply
    throw refusal(response.status, reply, this.#shown())
  }

  #shown(): string {
    return maskUrl(this.#target.href.replace(/\/engine$/, ''))
  }
}

/** The other side does not answer as an interface of deferq does. */
class Trouble extends Error {
  readonly passing: boolean

  constructor(message: string, passing: boolean, options?: ErrorOptions) {
    super(message, options)
    this.passing = passing
  }
}

function parsed(text: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(text)
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : undefined
  } catch {
    return undefined
  }
}

function refusal(status: number, reply: Record<string, unknown> | undefined, where: string): Error {
  const { code, detail, title: _title, type: _type, status: _status, ...details } = reply ?? {}
  const known = ERROR_CODES.includes(code as ErrorCode)
  if (PASSING.has(status)) {
    const what = known ? `${status} ${String(code)}: ${String(detail)}` : `it answered ${status}`
    return new Trouble(what, true)
  }
  if (known) return new DeferqError(code as ErrorCode, `${where}: ${String(detail)}`, { details })
  return new Trouble(
    status >= 200 && status < 300
      ? 'what answered is no interface of deferq'
      : `it answered ${status}. Is the path right at which the interface is mounted?`,
    false,
  )
}
