// Requests to an HTTP interface: each is signed, sent again while that may help, and bounded in time.

import pRetry from 'p-retry'
import { DeferqError, maskUrl } from '../base/errors.ts'
import { timeoutSignal } from '../base/time.ts'
import type { Keys } from '../signing/signature.ts'
import { sign } from '../signing/signature.ts'
import { refusalOf } from './problems.ts'

export interface CallsOptions {
  /** The path at which the interface is mounted. */
  url: string
  /** None: the interface answers this machine alone, without signatures. */
  keys: Keys | undefined
  /** How long a call may take, with all its tries. */
  timeoutMs: number
}

export interface CallOptions {
  timeoutMs?: number
  signal?: AbortSignal
}

const TRIES = 4
const FIRST_PAUSE_MS = 50
/** The server, or a proxy before it, could not answer at that moment. */
const PASSING = new Set([408, 425, 429, 500, 502, 503, 504])

export class Calls {
  readonly #base: string
  readonly #keys: Keys | undefined
  readonly #timeoutMs: number

  constructor({ url, keys, timeoutMs }: CallsOptions) {
    this.#base = url.replace(/\/+$/, '')
    this.#keys = keys
    this.#timeoutMs = timeoutMs
  }

  get<Reply>(path: string, options?: CallOptions): Promise<Reply> {
    return this.#send('GET', path, '', options)
  }

  /** `body`: JSON, or its text. */
  post<Reply>(path: string, body: object | string, options?: CallOptions): Promise<Reply> {
    return this.#send('POST', path, typeof body === 'string' ? body : JSON.stringify(body), options)
  }

  /**
   * Every request may be repeated: a dispatch is known by the random part of its id, and the others change nothing the second time.
   * A request that is sent again is signed again, because the server accepts each signed id once.
   */
  async #send<Reply>(
    method: string,
    path: string,
    body: string,
    { timeoutMs = this.#timeoutMs, signal }: CallOptions = {},
  ): Promise<Reply> {
    const target = new URL(this.#base + path)
    const timeout = timeoutSignal(timeoutMs)
    const ending = signal === undefined ? timeout : AbortSignal.any([timeout, signal])
    try {
      return await pRetry(() => this.#try<Reply>(method, target, body, ending), {
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
        `The interface at ${this.#shown} could not be asked: ${why}.`,
        { cause: error },
      )
    }
  }

  async #try<Reply>(method: string, target: URL, body: string, signal: AbortSignal): Promise<Reply> {
    const headers: Record<string, string> = { 'user-agent': 'deferq' }
    if (body !== '') headers['content-type'] = 'application/json'
    if (this.#keys !== undefined) {
      const request = { method, target: target.pathname + target.search }
      Object.assign(headers, sign(this.#keys, { body, request }))
    }
    let response: Response
    let text: string
    try {
      response = await fetch(target, {
        method,
        headers,
        signal,
        // A redirect leads elsewhere, and the signature is for this path.
        redirect: 'manual',
        ...(body === '' ? {} : { body }),
      })
      text = await response.text()
    } catch (error) {
      if (signal.aborted) throw signal.reason
      const { cause } = error as { cause?: { code?: string; message?: string } }
      throw new Trouble(cause?.code ?? cause?.message ?? (error as Error).message, true, { cause: error })
    }
    const reply = parsed(text)
    if (response.ok && reply !== undefined) return reply as Reply
    throw this.#refused(response.status, reply)
  }

  #refused(status: number, reply: Record<string, unknown> | undefined): Error {
    const refusal = refusalOf(reply)
    if (PASSING.has(status)) {
      const said = refusal && `${status} ${refusal.code}: ${refusal.message}`
      return new Trouble(said ?? `it answered ${status}`, true)
    }
    if (refusal !== undefined) {
      refusal.message = `${this.#shown}: ${refusal.message}`
      return refusal
    }
    return new Trouble(
      status >= 200 && status < 300
        ? 'what answered is no interface of deferq'
        : `it answered ${status}. Is the path right at which the interface is mounted?`,
      false,
    )
  }

  get #shown(): string {
    return maskUrl(this.#base)
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
