// A callback by URL: the request that posts how a run has ended, as a task of its own.

import { DeferqError } from '../base/errors.ts'
import type { ExponentialBackoff } from '../base/time.ts'
import type { Callback, DispatchOptions, Link } from '../tasks/options.ts'
import { HTTP_REQUEST, isWebhook } from '../tasks/options.ts'
import type { RequestParams, WebhookCallback } from '../tasks/request-params.ts'
import { orderOf, policyOf } from './request-spec.ts'

// More than a day in all, and soon at first: a receiver is mostly away for a deployment, or for a night.
const ATTEMPTS = 16
const INTERVAL: ExponentialBackoff = { initial: '10s', max: '6h' }

/** The same options, with each URL among the callbacks as the task that posts to it. */
export function withWebhooks(options: DispatchOptions, where: string): DispatchOptions {
  const callbacks = [options.callback ?? []].flat() as Callback[]
  return { ...options, callback: callbacks.map((each) => (isWebhook(each) ? webhookOf(each, where) : each)) }
}

function webhookOf(callback: string | WebhookCallback, where: string): Link {
  const given: WebhookCallback = typeof callback === 'string' ? { url: callback } : callback
  const { on = 'both', attemptLimit = ATTEMPTS, ...rest } = given
  if ('body' in rest || 'json' in rest) {
    throw new DeferqError(
      'INVALID_OPTION',
      `${where}: the callback to a URL posts the outcome: leave out body and json.`,
    )
  }
  const params: RequestParams = { sign: true, attemptInterval: INTERVAL, ...stripped(rest), outcome: true }
  const order = orderOf(params, `${where}: the callback`)
  const { expiresAt } = order
  return {
    name: HTTP_REQUEST,
    params: { ...params, url: order.url.href, ...(expiresAt === undefined ? {} : { expiresAt }) },
    on,
    options: policyOf(order, attemptLimit, 0, `${where}: the callback`),
  }
}

function stripped<T extends object>(options: T): T {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)) as T
}
