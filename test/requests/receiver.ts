// A receiver of requests on loopback that writes down what it got, and a deferq whose worker sends to it.
import type { IncomingHttpHeaders, IncomingMessage, ServerResponse } from 'node:http'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { onTestFinished } from 'vitest'
import type { AnyTask, ResultsOptions, WorkerOptions } from '../../src/index.ts'
import { DeferQ, Worker } from '../../src/index.ts'
import type { HttpRequestOptions } from '../../src/requests/index.ts'
import { httpRequest } from '../../src/requests/index.ts'

export const LOOPBACK = ['127.0.0.1', '::1']

export interface Got {
  method: string
  path: string
  headers: IncomingHttpHeaders
  body: string
  at: number
}

export interface Receiver {
  readonly url: string
  readonly port: number
  readonly got: Got[]
}

type Answering = (got: Got, response: ServerResponse, request: IncomingMessage, count: number) => unknown

/** Answers 200 unless told otherwise; `count` is 1 for the first request. */
export async function receiver(
  answer: Answering = (_got, response) => response.end('ok'),
): Promise<Receiver> {
  const got: Got[] = []
  const server = createServer(async (request, response) => {
    const chunks: Buffer[] = []
    try {
      for await (const chunk of request) chunks.push(chunk as Buffer)
    } catch {
      // The sender went away before it had sent everything.
      return
    }
    const each: Got = {
      method: request.method as string,
      path: request.url as string,
      headers: request.headers,
      body: Buffer.concat(chunks).toString(),
      at: performance.now(),
    }
    got.push(each)
    await answer(each, response, request, got.length)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  onTestFinished(async () => {
    server.closeAllConnections()
    await new Promise((resolve) => server.close(resolve))
  })
  const { port } = server.address() as AddressInfo
  return { url: `http://127.0.0.1:${port}`, port, got }
}

export interface Said {
  level: string
  message: string
  details: object
}

/** A deferq in memory, with a worker that may send to loopback. */
export function sending({
  http = {},
  tasks = [],
  worker = {},
  results,
}: {
  http?: HttpRequestOptions
  tasks?: AnyTask[]
  worker?: WorkerOptions
  results?: ResultsOptions
} = {}): { deferq: DeferQ; said: Said[] } {
  const said: Said[] = []
  const at =
    (level: string) =>
    (details: object, message: string): void =>
      void said.push({ level, message, details })
  const logger = { debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error') }
  const deferq = new DeferQ({
    tasks: [httpRequest({ allow: LOOPBACK, ...http }), ...tasks],
    logger,
    ...(results === undefined ? {} : { results }),
  })
  const runner = new Worker(deferq, worker)
  const run = runner.run()
  onTestFinished(async () => {
    await runner.abort()
    await run
    await deferq.close()
  })
  return { deferq: deferq as unknown as DeferQ, said }
}
