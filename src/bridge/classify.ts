// Looks at one message: whether it can be admitted, to which task and how; or else what becomes of it.

import { environment } from '../base/environment.ts'
import { backoffMs } from '../base/time.ts'
import type { Delivery, Message } from '../contract/transport.ts'
import type { Dispatching } from '../dispatch/api.ts'
import type { DispatchOptions } from '../tasks/options.ts'
import type { SharedOptions } from '../tasks/task.ts'
import type { Copy } from './dead-letters.ts'
import { setAside } from './dead-letters.ts'
import type { DeadLetter, Envelope } from './envelope.ts'
import { decodeEnvelope, withAttempts } from './envelope.ts'
import type { DeadLetterReason } from './envelope-shape.ts'
import type { Settings } from './options.ts'
import { backoffOf, nameOf } from './options.ts'

/** As much of a message as is known of it: it names it in every log line and event. */
export interface About {
  queue: string
  urn?: string
  traceId?: string
  /** Its meta.id. */
  id?: string
}

export interface Admission {
  kind: 'admit'
  name: string
  params: unknown
  options: DispatchOptions
}

export type Ending =
  | { kind: 'ack'; taskId?: string }
  /** After a failed attempt. */
  | ({ kind: 'retry'; error: string; delayMs: number } & Message)
  | { kind: 'release'; error: string; delayMs: number }
  | { kind: 'drop'; error: string }
  | ({ kind: 'dead_letter'; reason: DeadLetterReason; error: string } & Message)

/** A message of an unknown URN is out of the way for so long before it is offered again. */
const RELEASE_MS = 5_000
const MAX_ID = 500

export class Case {
  readonly delivery: Delivery
  readonly about: About
  readonly #settings: Settings
  #envelope: Envelope | undefined

  constructor(delivery: Delivery, settings: Settings) {
    this.delivery = delivery
    this.#settings = settings
    this.about = { queue: delivery.queue }
  }

  /** Whether it was set aside before, and sent back. */
  get redriven(): boolean {
    return typeof this.#envelope?.redriven_at === 'number'
  }

  /** `notice` names the task that follows a failure. Nothing that a message holds makes this throw. */
  async judge(deferq: Dispatching, notice: string): Promise<Admission | Ending> {
    const { body, deliveries } = this.delivery
    const { envelope, ...rest } = decodeEnvelope(body)
    this.#know(envelope ?? ('found' in rest ? rest.found : undefined))
    if (envelope === undefined) {
      const { refusal, error } = rest as { refusal: string; error: string }
      return this.aside('poison', `${refusal}: ${error}`)
    }
    this.#envelope = envelope
    if (deliveries > this.#settings.maxDeliveries)
      return this.aside('poison', `Its consumers died of it, or lost it, ${deliveries} times.`)
    const { id } = envelope.meta
    if (typeof id !== 'string' || id === '' || id.length > MAX_ID)
      return this.aside(
        'poison',
        `meta.id is no text of 1 to ${MAX_ID} characters: it could not be told from others.`,
      )
    let name: string | undefined
    try {
      name = await this.#resolve(envelope, deferq)
    } catch (error) {
      return this.failed(
        'failed',
        `Its handler could not be resolved: ${messageOf(error)}`,
        nameOfError(error),
      )
    }
    if (name === undefined) return this.#unknown(envelope)
    try {
      const params = this.#settings.params === undefined ? envelope.data : this.#settings.params(envelope)
      return { kind: 'admit', name, params, options: this.#options(envelope, name, deferq, notice) }
    } catch (error) {
      return this.failed('failed', `Its params could not be made: ${messageOf(error)}`, nameOfError(error))
    }
  }

  aside(reason: DeadLetterReason, error: string, exception: string | null = null, attempts?: number): Ending {
    const why: DeadLetter = {
      reason,
      error,
      exception,
      failed_at: environment.now(),
      original_queue: this.delivery.queue,
      attempts: attempts ?? this.#envelope?.attempts ?? 0,
      lang: 'node',
    }
    return { kind: 'dead_letter', reason, error, ...setAside(this.delivery, why) }
  }

  /** An attempt that failed before there was a run: back to the queue for another, or aside after the last. */
  failed(reason: DeadLetterReason, error: string, exception: string | null = null): Ending {
    const { body, properties } = this.delivery
    const attempts = (this.#envelope?.attempts ?? 0) + 1
    if (attempts >= (this.#settings.maxAttempts ?? 3)) return this.aside(reason, error, exception, attempts)
    const delayMs = backoffMs(backoffOf(this.#settings), attempts, undefined)
    const changed = { body: withAttempts(body, attempts) }
    if (properties === undefined) return { kind: 'retry', error, delayMs, ...changed }
    const headers = { ...properties.headers, 'x-attempts': attempts }
    return { kind: 'retry', error, delayMs, ...changed, properties: { ...properties, headers } }
  }

  #know(found: Readonly<Record<string, unknown>> | undefined): void {
    if (found === undefined) return
    const { job = found.urn, trace_id, meta } = found
    const id = (meta as { id?: unknown } | null | undefined)?.id
    if (typeof job === 'string') this.about.urn = job
    if (typeof trace_id === 'string') this.about.traceId = trace_id
    if (typeof id === 'string') this.about.id = id
  }

  async #resolve(envelope: Envelope, deferq: Dispatching): Promise<string | undefined> {
    const { handlers, resolve } = this.#settings
    const { job } = envelope
    const listed = handlers.get(job)
    if (listed !== undefined) return listed
    const resolved = await resolve?.(job, envelope)
    const name = resolved === undefined ? job : nameOf(resolved)
    if (name === undefined) throw new TypeError(`resolve('${job}') answered what is no task.`)
    if (deferq.tasks !== undefined) return deferq.tasks.has(name) ? name : undefined
    return resolved === undefined ? undefined : name
  }

  #unknown({ job }: Envelope): Ending {
    const error = `There is no handler for '${job}'.`
    switch (this.#settings.unknown) {
      case 'delete':
        return { kind: 'drop', error }
      case 'release':
        return { kind: 'release', error, delayMs: RELEASE_MS }
      case 'dead_letter':
        return this.aside('unknown_urn', error)
      case 'fail':
        return this.failed('unknown_urn', error)
    }
  }

  /** Under the message's id, remembered for as long whether it succeeds or fails; and set aside by a task that follows a failure. */
  #options(envelope: Envelope, name: string, deferq: Dispatching, notice: string): DispatchOptions {
    const { rememberMs, backoff } = this.#settings
    const { queue, body, properties } = this.delivery
    const { job: urn, attempts, trace_id: traceId, meta } = envelope
    const copy: Copy = { queue, text: Buffer.from(body).toString('utf8'), urn, attempts }
    if (properties !== undefined) copy.properties = properties
    const options: DispatchOptions = {
      idempotencyKey: meta.id,
      traceId,
      resultTtl: rememberMs,
      staleTtl: 0,
      failureTtl: rememberMs,
      onMismatch: 'join',
      callback: { name: notice, params: copy, on: 'failure' },
    }
    const retries = this.#retries(attempts, deferq.tasks?.get(name)?.options, deferq.defaults)
    if (retries !== undefined) options.retries = retries
    if (backoff !== undefined) options.backoff = backoff
    return options
  }

  /** Attempts elsewhere count; one is always left. */
  #retries(attempts: number, own: SharedOptions | undefined, defaults: SharedOptions): number | undefined {
    const { maxAttempts } = this.#settings
    if (maxAttempts === undefined && attempts === 0) return undefined
    const all = maxAttempts ?? (own?.retries ?? defaults.retries ?? 2) + 1
    return Math.max(0, all - 1 - attempts)
  }
}

export const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error))
export const nameOfError = (error: unknown): string | null => (error instanceof Error ? error.name : null)
