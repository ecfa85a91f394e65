// The same handler for node:http, and for what is built on it: Express, Fastify, Koa.

import type { IncomingMessage, ServerResponse } from 'node:http'
import { environment } from '../base/environment.ts'
import type { Answer, Call } from './call.ts'
import { BODY_MS, consumed, overdue, Refusal, tooLarge } from './call.ts'
import type { Handler } from './handler.ts'

/**
 * Answers every request that it is given, past the web's own classes, which cost more than all the rest of a short
 * answer. Mount it before any body parser.
 */
export function toNodeListener(
  handler: Handler,
): (request: IncomingMessage, response: ServerResponse) => Promise<void> {
  return async (request, response) => {
    const answer = await handler.answer(callOf(request, response))
    await write(answer, request, response)
  }
}

function callOf(request: IncomingMessage, response: ServerResponse): Call {
  let aborting: AbortController | undefined
  return {
    method: request.method ?? 'GET',
    // Express takes the path of the mount away from `url`.
    target: (request as { originalUrl?: string }).originalUrl ?? request.url ?? '/',
    header(name) {
      const value = request.headers[name]
      return Array.isArray(value) ? value.join(', ') : value
    },
    async body(mostBytes) {
      if (request.readableDidRead) throw consumed()
      if (
        request.headers['content-length'] === undefined &&
        request.headers['transfer-encoding'] === undefined
      )
        return new Uint8Array()
      if (Number(request.headers['content-length']) > mostBytes) throw tooLarge(mostBytes)
      return gather(request, mostBytes)
    },
    get signal() {
      if (aborting === undefined) {
        const controller = new AbortController()
        aborting = controller
        if (response.destroyed) controller.abort()
        else response.once('close', () => controller.abort())
      }
      return aborting.signal
    },
    peer: request.socket.remoteAddress,
  }
}

/** By its events: an async iterator over them costs as much as the rest of a short answer. */
function gather(request: IncomingMessage, mostBytes: number): Promise<Uint8Array> {
  return new Promise((resolve, reject) => {
    const parts: Buffer[] = []
    let size = 0
    const settle = (settled: () => void): void => {
      environment.clearTimeout(timer)
      request.off('data', take).off('end', end).off('error', gone).off('close', gone)
      // What still comes must not crash anything, and is not kept.
      request.on('error', () => {})
      settled()
    }
    const refuse = (why: Error): void => {
      request.pause()
      settle(() => reject(why))
    }
    const take = (part: Buffer): void => {
      size += part.length
      if (size > mostBytes) refuse(tooLarge(mostBytes))
      else parts.push(part)
    }
    const end = (): void =>
      settle(() => resolve(parts.length === 1 ? (parts[0] as Buffer) : Buffer.concat(parts, size)))
    const gone = (): void => refuse(new Refusal(400, 'The connection was closed before the body had come.'))
    const timer = environment.setTimeout(() => refuse(overdue()), BODY_MS).unref()
    request.on('data', take).on('end', end).on('error', gone).on('close', gone)
  })
}

async function write(
  { status, headers, body }: Answer,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  if (response.destroyed) return
  if (body === undefined || typeof body === 'string') {
    if (body !== undefined) headers['content-length'] = String(Buffer.byteLength(body))
    response.writeHead(status, headers)
    response.end(body)
    return
  }
  response.writeHead(status, headers)
  if (request.method === 'HEAD') {
    response.end()
    await body.cancel()
    return
  }
  response.flushHeaders()
  const reader = body.getReader()
  // Told at once, and not with the next chunk, which may be long in coming.
  response.once('close', () => void reader.cancel().catch(() => {}))
  for (;;) {
    const { done, value } = await reader.read()
    if (done || response.destroyed) break
    if (!response.write(value)) await drained(response)
  }
  response.end()
}

const drained = (response: ServerResponse): Promise<void> =>
  new Promise((resolve) => {
    const settled = (): void => {
      response.off('drain', settled)
      response.off('close', settled)
      resolve()
    }
    response.on('drain', settled)
    response.on('close', settled)
  })
