// One attempt at a request: sends it, and judges by the answer whether it is done, given up or tried again.
import { STATUS_CODES } from 'node:http'
import { DeferqError, isDeferqError } from '../errors.ts'
import type { Context } from '../task.ts'
import { isNoRetry, withoutRetry, withRetryAt } from '../task.ts'
import { backoffMs } from '../time.ts'
import type { Secrets } from './compose.ts'
import { compose, masked } from './compose.ts'
import type { Answer } from './exchange.ts'
import type { Guard } from './guard.ts'
import type { Order, RequestResult } from './order.ts'
import { follow } from './redirects.ts'
import { retryAfterMs } from './retry-after.ts'
import { tallied } from './tally.ts'

export interface Sender extends Secrets {
  readonly guard: Guard
  /** How many bytes of an answer's body are kept. */
  readonly maxBody: number
  readonly userAgent: string | undefined
}

const EXCERPT = 500
// setTimeout() fires at once above it.
const LONGEST_MS = 2_147_483_647
// No receiver puts a request off for longer, nor has it sent in a tight loop.
const MOST_MS = 86_400_000
const LEAST_MS = 1_000

export async function send(order: Order, context: Context, sender: Sender): Promise<RequestResult> {
  const begun = performance.now()
  const took = (): number => Math.round(performance.now() - begun)
  const expired = (inMs: number): boolean =>
    order.expiresAt !== undefined && context.startedAt.getTime() + took() + inMs >= order.expiresAt
  const to = `${order.method} to ${order.url.host}`
  let hidden: readonly string[] = []

  const failure = (what: string, label: string, more: Partial<Told> = {}): DeferqError => {
    const { answer, cause } = more
    const details: Record<string, unknown> = { tookMs: took(), attempts: tallied(context, label) }
    if (answer !== undefined) {
      details.status = answer.status
      const excerpt = masked(answer.body.text, hidden).slice(0, EXCERPT).toWellFormed()
      if (excerpt !== '') details.body = excerpt
    }
    return new DeferqError('REQUEST_FAILED', `${to} ${what}.`, {
      details,
      ...(cause === undefined ? {} : { cause }),
    })
  }
  const again = (what: string, label: string, more: Partial<Told> = {}): DeferqError => {
    const interval = backoffMs(order.interval, context.attempt, undefined)
    const asked = more.answer && retryAfterMs(more.answer.headers['retry-after'], more.answer.headers.date)
    const waitMs =
      asked === undefined ? interval : Math.min(MOST_MS, Math.max(asked, Math.min(LEAST_MS, interval)))
    if (!expired(waitMs)) return withRetryAt(failure(what, label, more), waitMs)
    return withoutRetry(failure(`${what}, and expires before another attempt`, label, more))
  }

  if (expired(0)) throw withoutRetry(failure('has expired, and was not sent', 'expired'))
  const deadline = new AbortController()
  const timer = setTimeout(() => deadline.abort(), Math.min(order.timeoutMs, LONGEST_MS))
  const signal = AbortSignal.any([deadline.signal, context.signal])
  let sent: Awaited<ReturnType<typeof follow>>
  try {
    const composed = await compose(order, context, sender, sender.userAgent)
    hidden = composed.hidden
    const named = (status: number): boolean =>
      order.successCodes?.has(status) === true || order.stopCodes.has(status)
    sent = await follow(composed.outgoing, { guard: sender.guard, signal, cap: sender.maxBody, named })
  } catch (error) {
    // The runner has let go of this attempt, and knows why.
    if (context.signal.aborted) throw error
    if (deadline.signal.aborted) throw again(`was not answered within ${order.timeoutMs} ms`, 'timeout')
    if (isNoRetry(error)) throw error
    if (isDeferqError(error, 'ADDRESS_REFUSED')) throw withoutRetry(error)
    const { code, message } = error as NodeJS.ErrnoException
    const label = code ?? 'error'
    const said = isDeferqError(error) ? `failed: ${message.replace(/\.$/, '')}` : `failed with ${label}`
    throw again(said, label, { cause: error })
  } finally {
    clearTimeout(timer)
  }
  const { answer, url } = sent
  const { status } = answer
  if (order.successCodes?.has(status) ?? (status >= 200 && status < 300)) {
    const moved = url.href === order.url.href ? {} : { url: url.href }
    const body = masked(answer.body.text, hidden)
    const headers = headersOf(answer, hidden)
    return { status, headers, body, cut: answer.body.cut, ...moved, attempt: context.attempt, tookMs: took() }
  }
  const said = `was answered ${status}${STATUS_CODES[status] === undefined ? '' : ` ${STATUS_CODES[status]}`}`
  if (order.stopCodes.has(status))
    throw withoutRetry(failure(`${said}, and is given up`, String(status), { answer }))
  throw again(said, String(status), { answer })
}

interface Told {
  answer: Answer
  cause: unknown
}

function headersOf({ headers }: Answer, hidden: readonly string[]): Record<string, string> {
  const kept: Record<string, string> = {}
  for (const [name, value] of Object.entries(headers)) {
    if (value === undefined || name === 'set-cookie') continue
    kept[name] = masked([value].flat().join(', '), hidden).toWellFormed()
  }
  return kept
}
