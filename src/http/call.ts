// A request and its answer as the handler sees them, whether they come from the web's classes or from node:http.
import { DeferqError } from '../base/errors.ts'

export interface Call {
  method: string
  /** The path with its query, as it was sent. */
  target: string
  /** By its name in lower case. */
  header(name: string): string | undefined
  /** All of it, in its bytes as they came. */
  body(mostBytes: number): Promise<Uint8Array>
  /** Aborted when nobody waits for the answer any more. */
  readonly signal: AbortSignal
  /** The other side's address, where it is known. */
  peer: string | undefined
}

export interface Answer {
  status: number
  headers: Record<string, string>
  body?: string | ReadableStream<Uint8Array>
}

/** A request that is refused for its form, with the status that says so. */
export class Refusal extends DeferqError {
  readonly status: number
  readonly headers: Record<string, string>

  constructor(status: number, message: string, headers: Record<string, string> = {}) {
    super('INVALID_REQUEST', message)
    this.status = status
    this.headers = headers
  }
}

/** A body is given this long to arrive: a caller that drips it in keeps no memory for longer. */
export const BODY_MS = 30_000

export const tooLarge = (mostBytes: number): Refusal =>
  new Refusal(413, `The body is larger than ${mostBytes} bytes.`, { connection: 'close' })

export const consumed = (): DeferqError =>
  new DeferqError(
    'INTERNAL',
    'The body was read before deferq got the request, so its signature can’t be verified: it covers the bytes as they were sent. ' +
      'Mount the interface before any body parser: app.use(‘/deferq’, toNodeListener(handler)) above app.use(express.json()); ' +
      'in Fastify within an onRequest hook; elsewhere hand over the request before anything reads it.',
    { details: { reason: 'consumed' } },
  )

export const overdue = (): Refusal =>
  new Refusal(408, `The body did not arrive within ${BODY_MS / 1_000} seconds.`, { connection: 'close' })
