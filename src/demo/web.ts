// The web app of the demo: dispatches reports, answers 202 until they are there, and serves the page.
import { readFile } from 'node:fs/promises'
import type { IncomingMessage, OutgoingHttpHeaders, ServerResponse } from 'node:http'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import type { Receipt } from '../index.ts'
import { DeferqError } from '../index.ts'
import { Ledger } from './ledger.ts'
import { PAGE, PAGE_POLICY } from './page.ts'
import type { Demo, Made, Wanted } from './report.ts'
import { reportsIn, wantedOf } from './report.ts'

export interface Web {
  /** Without a slash at its end. */
  url: string
  close(): Promise<void>
}

interface Needs {
  deferq: Demo
  folder: string
  /** A free one, unless given. */
  port: number | undefined
  /** The worker process of this moment, for the page. */
  workerPid(): number | undefined
}

const MOST_BYTES = 10_000
const MOST_LISTED = 500
const SHOWN_RUNS = 20
const STATUS_OF: Record<string, number> = {
  INVALID_PARAMS: 400,
  INVALID_ID: 400,
  TASK_NOT_FOUND: 404,
  STORE_UNAVAILABLE: 503,
  CLOSED: 503,
}

export async function serve(needs: Needs): Promise<Web> {
  const app = new App(needs)
  const server = createServer((request, response) => void app.answer(request, response))
  // Longer than the pauses of a client that polls.
  server.keepAliveTimeout = 30_000
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => reject(portError(error, needs.port)))
    // The backlog takes the whole crowd.
    server.listen({ host: '127.0.0.1', port: needs.port ?? 0, backlog: 511 }, resolve)
  })
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}

class App {
  readonly #needs: Needs
  readonly #ledger = new Ledger()

  constructor(needs: Needs) {
    this.#needs = needs
  }

  async answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    try {
      await this.#route(request, response)
    } catch (error) {
      const code = error instanceof DeferqError ? error.code : 'INTERNAL'
      const message = error instanceof Error ? error.message : String(error)
      if (response.headersSent) response.destroy()
      else json(response, STATUS_OF[code] ?? 500, { error: { code, message } })
    }
  }

  async #route(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { pathname, searchParams } = new URL(`http://app${request.url}`)
    const asked = (): Wanted => wantedOf(searchParams.get('year'), searchParams.get('format'))
    const [, first, second = ''] = pathname.split('/')
    // Node leaves the body of an answer to HEAD out by itself.
    const method = request.method === 'HEAD' ? 'GET' : request.method
    switch (`${method} /${first}${second === '' ? '' : '/…'}`) {
      case 'GET /':
        return send(response, 200, PAGE, {
          'content-type': 'text/html; charset=utf-8',
          'content-security-policy': PAGE_POLICY,
        })
      case 'GET /report':
        return this.#ask(response, asked())
      case 'POST /reports':
        return this.#ask(response, await posted(request, searchParams))
      case 'DELETE /report':
        return json(response, 200, {
          forgotten: await this.#needs.deferq.invalidate('report.generate', asked()),
        })
      case 'GET /tasks/…':
        return this.#show(response, second)
      case 'GET /runs':
        return json(response, 200, await this.#runs())
      case 'GET /reports/…':
        return this.#download(response, second)
      default:
        json(response, 404, {
          error: { code: 'NOT_FOUND', message: `There is no ${request.method} ${pathname} here.` },
        })
    }
  }

  /** What a request handler looks like with deferq: it dispatches, and says where the work stands. */
  async #ask(response: ServerResponse, wanted: Wanted): Promise<void> {
    const receipt = await this.#needs.deferq.dispatch('report.generate', wanted)
    this.#ledger.note(receipt, wanted)
    json(response, statusOf(receipt), { outcome: receipt.outcome, ...shown(receipt) }, pointer(receipt))
  }

  async #show(response: ServerResponse, taskId: string): Promise<void> {
    const receipt = await this.#needs.deferq.getStatus<Made>(taskId)
    json(response, statusOf(receipt), shown(receipt), pointer(receipt))
  }

  async #runs(): Promise<object> {
    const { deferq, workerPid } = this.#needs
    const [{ receipts }, { totals }] = await Promise.all([
      deferq.list({ name: 'report.generate', limit: MOST_LISTED }),
      deferq.stats(),
    ])
    const runs = (receipts as Receipt<Made>[])
      .sort((one, other) => other.createdAt.getTime() - one.createdAt.getTime())
      .slice(0, SHOWN_RUNS)
      .map((receipt) => ({ ...shown(receipt), ...this.#ledger.of(receipt.taskId) }))
    return { runs, asked: this.#ledger.totals, completed: totals.completed ?? 0, worker: workerPid() }
  }

  async #download(response: ServerResponse, name: string): Promise<void> {
    const [, year, format] = /^report-(\d{4})\.([a-z]+)$/.exec(name) ?? []
    const wanted = wantedOf(year, format)
    const file = `report-${wanted.year}.${wanted.format}`
    const content = await readFile(join(reportsIn(this.#needs.folder), file)).catch(() => undefined)
    if (content === undefined)
      return json(response, 404, {
        error: { code: 'NOT_FOUND', message: 'This report has not been made yet.' },
      })
    send(response, 200, content, {
      'content-type': 'text/plain; charset=utf-8',
      'content-disposition': `attachment; filename="${file}.txt"`,
    })
  }
}

function shown(receipt: Receipt<Made>): object {
  const { taskId, status, attempt, progress, createdAt, startedAt, finishedAt, result, error } = receipt
  return {
    taskId,
    status,
    attempt,
    progress,
    createdAt,
    startedAt,
    finishedAt,
    result,
    ...(error === undefined ? {} : { error: { code: error.code, message: error.message } }),
  }
}

const isUnderWay = ({ status }: Receipt): boolean => status === 'pending' || status === 'running'

const statusOf = (receipt: Receipt): number =>
  isUnderWay(receipt) ? 202 : receipt.status === 'completed' ? 200 : 500

const pointer = (receipt: Receipt): OutgoingHttpHeaders =>
  isUnderWay(receipt) ? { location: `/tasks/${receipt.taskId}`, 'retry-after': '1' } : {}

/** JSON or a form's fields, in the body; or the query. */
async function posted(request: IncomingMessage, query: URLSearchParams): Promise<Wanted> {
  let text = ''
  request.setEncoding('utf8')
  for await (const part of request as AsyncIterable<string>) {
    text += part
    if (text.length > MOST_BYTES) throw new DeferqError('INVALID_PARAMS', 'The body is too long.')
  }
  if (!/\bjson\b/.test(request.headers['content-type'] ?? '')) {
    const fields = text.trim() === '' ? query : new URLSearchParams(text)
    return wantedOf(fields.get('year'), fields.get('format'))
  }
  let body: { year?: unknown; format?: unknown } | null
  try {
    body = JSON.parse(text)
  } catch (cause) {
    throw new DeferqError('INVALID_PARAMS', 'The body is no JSON.', { cause })
  }
  return wantedOf(body?.year, body?.format)
}

function json(
  response: ServerResponse,
  status: number,
  body: object,
  headers: OutgoingHttpHeaders = {},
): void {
  send(response, status, `${JSON.stringify(body)}\n`, { 'content-type': 'application/json', ...headers })
}

function send(
  response: ServerResponse,
  status: number,
  body: string | Buffer,
  headers: OutgoingHttpHeaders,
): void {
  response.writeHead(status, {
    'cache-control': 'no-store',
    'content-length': Buffer.byteLength(body),
    'x-content-type-options': 'nosniff',
    ...headers,
  })
  response.end(body)
}

function portError(error: NodeJS.ErrnoException, port: number | undefined): Error {
  const instead = 'Give another one with --port=, or leave it out for a free one.'
  if (error.code === 'EADDRINUSE')
    return new DeferqError('USAGE', `The port ${port} is in use. ${instead}`, { cause: error })
  if (error.code === 'EACCES')
    return new DeferqError('USAGE', `The port ${port} may not be opened by this user. ${instead}`, {
      cause: error,
    })
  return error
}
