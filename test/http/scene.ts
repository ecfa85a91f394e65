// What the tests of the interface work with: a deferq on a store of its own, its handler, and signed requests.
import type { RequestListener } from 'node:http'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { MemoryEngine, MemoryStore } from '../../src/engines/memory/index.ts'
import type { Handler, HandlerOptions } from '../../src/http/index.ts'
import { createHandler, keysOf, sign, toNodeListener } from '../../src/http/index.ts'
import type { AnyTask, Logger } from '../../src/index.ts'
import { DeferQ, task, Worker } from '../../src/index.ts'

export const SECRET = 'a secret of the tests, which is long enough'
export const KEYS = keysOf(SECRET, 'secret')
export const BASE = 'http://there.test/deferq'

export const report = task('report.generate', {
  resultTtl: '1h',
  retries: 0,
  backoff: 0,
  run: async ({ year }: { year: number }) => ({ year, rows: 3 }),
})
export const broken = task('report.break', {
  retries: 0,
  failureTtl: '1h',
  run: async (_params: object): Promise<never> => {
    throw new Error('no paper at postgres://me:hidden@db/reports')
  },
})
export const hiddenTask = task('hidden.task', { run: async () => 'hidden' })

export interface Scene {
  deferq: DeferQ
  store: MemoryStore
  handler: Handler
  /** Lines of the log. */
  logged: { level: string; text: string }[]
  work(): Promise<void>
  ask(method: string, path: string, body?: unknown, more?: Record<string, string>): Promise<Response>
  close(): Promise<void>
}

/** `clock`: the store's, where a test moves it by hand. */
export function setScene(
  options: Partial<HandlerOptions> = {},
  more: readonly AnyTask[] = [],
  clock?: () => number,
): Scene {
  const logged: Scene['logged'] = []
  const line =
    (level: string) =>
    (details: object, message: string): void => {
      logged.push({ level, text: `${message} ${Object.values(details).map(String).join(' ')}` })
    }
  const logger: Logger = {
    debug: line('debug'),
    info: line('info'),
    warn: line('warn'),
    error: line('error'),
  }
  const store = new MemoryStore(clock)
  const engine = new MemoryEngine({ store })
  const deferq = new DeferQ({
    engine,
    tasks: [report, broken, hiddenTask, ...more],
    logger,
  }) as unknown as DeferQ
  const allow = ['report.generate', 'report.break', ...more.map(({ name }) => name)]
  const handler = createHandler(deferq, { allow, ...(options.auth ? {} : { secrets: SECRET }), ...options })
  const workers: Worker[] = []
  return {
    deferq,
    store,
    handler,
    logged,
    async work() {
      const worker = new Worker(deferq, { concurrency: 4 })
      workers.push(worker)
      void worker.run()
    },
    ask: (method, path, body, headers) => handler(signedRequest(method, `${BASE}${path}`, body, headers)),
    async close() {
      for (const worker of workers) await worker.stop()
      await deferq.close()
    },
  }
}

/** Texts and bytes go as they are, everything else as JSON. */
export function signedRequest(
  method: string,
  url: string,
  body?: unknown,
  more: Record<string, string> = {},
  keys = KEYS,
): Request {
  const { pathname, search } = new URL(url)
  const text =
    body === undefined || typeof body === 'string' ? (body as string | undefined) : JSON.stringify(body)
  const key = more['idempotency-key']
  const request = { method, target: pathname + search, ...(key === undefined ? {} : { idempotencyKey: key }) }
  const signature = sign(keys, { body: text ?? '', request })
  const type: Record<string, string> = text === undefined ? {} : { 'content-type': 'application/json' }
  return new Request(url, {
    method,
    headers: { ...type, ...signature, ...more },
    ...(text === undefined ? {} : { body: text }),
  })
}

export async function jsonOf(response: Response): Promise<Record<string, unknown>> {
  return (await response.json()) as Record<string, unknown>
}

/** Serves on a free port of this machine; answers the address without a path. */
export async function served(listener: RequestListener): Promise<{ url: string; close(): Promise<void> }> {
  const server = createServer(listener)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}

export const listenerOf = (handler: Handler): RequestListener => {
  const listener = toNodeListener(handler)
  return (request, response) => void listener(request, response)
}
