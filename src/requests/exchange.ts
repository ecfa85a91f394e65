// One request and its answer over a connection of its own, which the guard has let through.
import type { IncomingHttpHeaders, IncomingMessage } from 'node:http'
import { request as requestHttp } from 'node:http'
import { request as requestHttps } from 'node:https'
import type { Body } from './body.ts'
import { readBody } from './body.ts'
import type { Guard } from './guard.ts'

export interface Outgoing {
  readonly method: string
  readonly url: URL
  /** By their names in lower case. */
  readonly headers: Readonly<Record<string, string>>
  readonly body: Buffer | undefined
}

export interface Answer {
  readonly status: number
  readonly statusText: string
  readonly headers: IncomingHttpHeaders
  readonly body: Body
}

/** `cap`: how many bytes of the body are wanted. Rejects with the signal's reason once that aborts before the status was read. */
export async function exchange(
  { method, url, headers, body }: Outgoing,
  guard: Guard,
  signal: AbortSignal,
  cap: (status: number) => number,
): Promise<Answer> {
  guard.check(url)
  signal.throwIfAborted()
  const answer = await new Promise<IncomingMessage>((resolve, reject) => {
    const send = url.protocol === 'https:' ? requestHttps : requestHttp
    const request = send(url, {
      method,
      headers: { ...headers, ...(body === undefined ? {} : { 'content-length': String(body.length) }) },
      lookup: guard.lookup,
      // No pool: a connection that went stale would cost an attempt, and each one is to pass the guard.
      agent: false,
      signal,
    })
    request.on('response', resolve)
    request.on('error', (error) => reject(signal.aborted ? signal.reason : error))
    request.end(body)
  })
  const status = answer.statusCode as number
  return {
    status,
    statusText: answer.statusMessage ?? '',
    headers: answer.headers,
    body: await readBody(answer, cap(status), signal),
  }
}
