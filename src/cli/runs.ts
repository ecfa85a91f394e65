// Shows runs: as a document for programs, as a block or a table for people; and waits for one to end.
import { environment } from '../base/environment.ts'
import { maskUrl } from '../base/errors.ts'
import { sleep } from '../base/time.ts'
import type { Dispatched, Receipt } from '../tasks/task.ts'
import type { AnyDeferQ } from './bootstrap.ts'
import type { Scene } from './command.ts'
import type { Flags } from './flags.ts'
import type { Paint } from './format.ts'
import { block, clean, plain, readable, table } from './format.ts'

const REDRAW_MS = 250
/** A run that is due and still waits after this long: perhaps nobody runs a worker. */
const LONELY_MS = 3_000

export function runDocument(receipt: Receipt | Dispatched): unknown {
  const { result, ...rest } = receipt
  // Present where there is one, even if a task answered nothing.
  return plain(receipt.status === 'completed' ? { ...rest, result: result ?? null } : rest)
}

const COLOURS = {
  pending: 'yellow',
  running: 'cyan',
  completed: 'green',
  failed: 'red',
  cancelled: 'dim',
} as const

export function statusText(status: Receipt['status'], paint: Paint): string {
  return paint(COLOURS[status], status)
}

export function runBlock(receipt: Receipt | Dispatched, paint: Paint): string {
  const { startedAt, finishedAt, history, error } = receipt
  const waits = receipt.dueAt.getTime() - environment.now()
  const outcome = 'outcome' in receipt ? OUTCOMES[receipt.outcome] : undefined
  return block(
    [
      ['task', paint('bold', clean(receipt.name))],
      ['status', statusText(receipt.status, paint)],
      ['outcome', outcome],
      ['id', receipt.taskId],
      ['refreshed by', 'refreshId' in receipt ? receipt.refreshId : undefined],
      ['queue', receipt.queue === 'default' ? undefined : clean(receipt.queue)],
      ['trace', receipt.traceId === undefined ? undefined : clean(receipt.traceId)],
      ['priority', receipt.priority === 0 ? undefined : String(receipt.priority)],
      ['attempt', receipt.attempt === 0 ? undefined : String(receipt.attempt)],
      ['created', ago(receipt.createdAt)],
      [
        'due',
        receipt.status === 'pending' && waits > 0
          ? `${iso(receipt.dueAt)} (in ${readable(waits)})`
          : undefined,
      ],
      ['started', startedAt === undefined ? undefined : ago(startedAt)],
      ['finished', finishedAt === undefined ? undefined : finished(receipt)],
      ['progress', receipt.progress === undefined ? undefined : jsonText(receipt.progress)],
      ['result', receipt.status === 'completed' ? freshness(receipt) : undefined],
      ['error', error === undefined ? undefined : `${error.code}: ${clean(maskUrl(error.message))}`],
      ...history.map(({ attempt, at, error: each }) => {
        const message = `${each.name}: ${clean(maskUrl(each.message))}`
        return [`attempt ${attempt}`, `${iso(at)} ${message}`] as const
      }),
    ],
    paint,
  )
}

const OUTCOMES = {
  created: 'created: a new run',
  joined: 'joined: the run was there already',
  hit: 'hit: the result was there already',
  stale: 'stale: an older result, which is being refreshed',
  negative: 'negative: it failed a moment ago, and that is remembered',
} as const

/** Ids stand last and whole: they are long, and nothing else finds a run. */
export function runTable(receipts: readonly Receipt[], paint: Paint): string {
  const rows = receipts.map((receipt) => [
    statusText(receipt.status, paint),
    clean(receipt.name),
    clean(receipt.queue),
    String(receipt.attempt),
    readable(Math.max(0, environment.now() - receipt.createdAt.getTime())),
    took(receipt) ?? '-',
    receipt.taskId,
  ])
  return table(['STATUS', 'TASK', 'QUEUE', 'ATTEMPT', 'AGE', 'TOOK', 'ID'], rows, paint)
}

/** A value as people read it, and as programs can: JSON, on several lines where it is long. */
export function jsonText(value: unknown): string {
  const short = JSON.stringify(plain(value))
  const text = short.length <= 80 ? short : JSON.stringify(plain(value), null, 2)
  return text.replace(
    /[\u007f-\u009f]/g,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  )
}

function freshness(receipt: Receipt): string {
  const text = jsonText(receipt.result)
  const left = (receipt.freshUntil?.getTime() ?? 0) - environment.now()
  return left > 0 ? `${text}\nfresh for another ${readable(left)}` : text
}

function finished(receipt: Receipt): string {
  const time = took(receipt)
  return `${ago(receipt.finishedAt as Date)}${time === undefined ? '' : `, took ${time}`}`
}

function took({ startedAt, finishedAt }: Receipt): string | undefined {
  if (startedAt === undefined || finishedAt === undefined) return undefined
  return readable(Math.max(0, finishedAt.getTime() - startedAt.getTime()))
}

const iso = (date: Date): string => date.toISOString()
// The store's clock may be a little ahead of this one.
const ago = (date: Date): string =>
  `${iso(date)} (${readable(Math.max(0, environment.now() - date.getTime()))} ago)`

/** Waits for the run to end, with a line on the terminal meanwhile; throws as `deferq.result` does. */
export async function waitFor(
  { status, paint }: Scene<Flags>,
  deferq: AnyDeferQ,
  taskId: string,
  timeoutMs: number | undefined,
): Promise<void> {
  const over = new AbortController()
  const drawing = status === undefined ? undefined : draw(deferq, taskId, status, paint, over.signal)
  try {
    await deferq.result(taskId, timeoutMs === undefined ? {} : { timeout: timeoutMs })
  } finally {
    over.abort()
    await drawing
    status?.('')
  }
}

async function draw(
  deferq: AnyDeferQ,
  taskId: string,
  status: (text: string) => void,
  paint: Paint,
  signal: AbortSignal,
): Promise<void> {
  const since = environment.monotonic()
  while (!signal.aborted) {
    // A read that fails is the wait's to report, not the picture's.
    const receipt = await deferq.getStatus(taskId).catch(() => undefined)
    if (signal.aborted) return
    if (receipt !== undefined) status(statusLine(receipt, environment.monotonic() - since, paint))
    await sleep(REDRAW_MS, signal)
  }
}

function statusLine(receipt: Receipt, waitedMs: number, paint: Paint): string {
  const parts = [
    statusText(receipt.status, paint),
    clean(receipt.name),
    paint('dim', readable(Math.floor(waitedMs / 1_000) * 1_000)),
  ]
  const waits = receipt.dueAt.getTime() - environment.now()
  if (receipt.attempt > 1) parts.push(`attempt ${receipt.attempt}`)
  if (receipt.progress !== undefined) parts.push(JSON.stringify(plain(receipt.progress)))
  if (receipt.status === 'pending' && waits > 0) parts.push(`due in ${readable(waits)}`)
  else if (receipt.status === 'pending' && waitedMs > LONELY_MS)
    parts.push(paint('dim', 'nobody has taken it yet: is a deferq-worker running?'))
  return parts.join('  ')
}
