// One attempt at a request: sends it, and judges by the answer whether it is done, given up or tried again.

import { STATUS_CODES } from 'node:http'
import { environment } from '../base/environment.ts'
import { isDeferqError } from '../base/errors.ts'
import type { Context } from '../tasks/task.ts'
import { isNoRetry, withoutRetry } from '../tasks/task.ts'
import { compose, masked } from './compose.ts'
import type { Answer } from './exchange.ts'
import type { Guard } from './guard.ts'
import type { Secrets } from './keys.ts'
import { follow } from './redirects.ts'
import type { Order, RequestResult } from './request-spec.ts'
import { Verdict } from './verdict.ts'

export interface Sender extends Secrets {
  readonly guard: Guard
  /** How many bytes of an answer's body are kept. */
  readonly maxBody: number
  readonly userAgent: string | undefined
}

// setTimeout() fires at once above it.
const LONGEST_MS = 2_147_483_647

export async function send(order: Order, context: Context, sender: Sender): Promise<RequestResult> {
  const verdict = new Verdict(order, context)
  if (verdict.expired()) throw verdict.givenUp('has expired, and was not sent', 'expired')
  const { answer, url } = await answered(order, context, sender, verdict)
  const { status, headers } = answer
  if (order.successCodes?.has(status) ?? (status >= 200 && status < 300)) {
    const { hidden, tookMs } = verdict
    return {
      status,
      headers: shown(headers, hidden),
      body: masked(answer.body.text, hidden),
      cut: answer.body.cut,
      ...(url.href === order.url.href ? {} : { url: url.href }),
      attempt: context.attempt,
      tookMs,
    }
  }
  const said = `was answered ${status}${STATUS_CODES[status] === undefined ? '' : ` ${STATUS_CODES[status]}`}`
  if (order.stopCodes.has(status))
    throw verdict.givenUp(`${said}, and is given up`, String(status), { answer })
  throw verdict.again(said, String(status), { answer })
}

/** What the receiver says within the time that there is; all else is thrown as the verdict on it. */
async function answered(
  order: Order,
  context: Context,
  sender: Sender,
  verdict: Verdict,
): ReturnType<typeof follow> {
  const { successCodes, stopCodes, timeoutMs } = order
  const deadline = new AbortController()
  const timer = environment.setTimeout(() => deadline.abort(), Math.min(timeoutMs, LONGEST_MS))
  const signal = AbortSignal.any([deadline.signal, context.signal])
  try {
    const { outgoing, hidden } = await compose(order, context, sender, sender.userAgent)
    verdict.hidden = hidden
    const named = (status: number): boolean => successCodes?.has(status) === true || stopCodes.has(status)
    return await follow(outgoing, { guard: sender.guard, signal, cap: sender.maxBody, named })
  } catch (error) {
    // The runner has let go of this attempt, and knows why.
    if (context.signal.aborted || isNoRetry(error)) throw error
    if (deadline.signal.aborted) throw verdict.again(`was not answered within ${timeoutMs} ms`, 'timeout')
    if (isDeferqError(error, 'ADDRESS_REFUSED')) throw withoutRetry(error)
    const { code = 'error', message } = error as NodeJS.ErrnoException
    const said = isDeferqError(error) ? `failed: ${message.replace(/\.$/, '')}` : `failed with ${code}`
    throw verdict.again(said, code, { cause: error })
  } finally {
    environment.clearTimeout(timer)
  }
}

/** Cookies are for browsers, and credentials. */
function shown(headers: Answer['headers'], hidden: readonly string[]): Record<string, string> {
  const kept: Record<string, string> = {}
  for (const [name, value] of Object.entries(headers)) {
    if (value === undefined || name === 'set-cookie') continue
    kept[name] = masked([value].flat().join(', '), hidden).toWellFormed()
  }
  return kept
}
