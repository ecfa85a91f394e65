// Looks at messages that were set aside, and sends them back to where they came from, as they were.

import { environment } from '../base/environment.ts'
import { DeferqError } from '../base/errors.ts'
import type { Message, Properties, Release, Transport } from '../contract/transport.ts'
import { deadLettersOf } from '../contract/transport.ts'
import { checkKnown, checkName, checkWhole } from '../tasks/check-options.ts'
import { decodeEnvelope, redriven } from './envelope.ts'
import { isObject } from './envelope-text.ts'

/** What can be told of a message in any queue, whether it is an envelope or not. */
export interface Described {
  urn?: string
  id?: string
  traceId?: string
  createdAt?: number
  attempts?: number
  /** Why it was set aside; for what is no envelope at all, its headers say so, or its bytes do. */
  reason?: string
  error?: string
  exception?: string
  failedAt?: number
  originalQueue?: string
  /** The whole of it, where its body is a JSON object. */
  found?: Readonly<Record<string, unknown>>
  body: Uint8Array
}

export interface RedriveOptions {
  /** The queue they go to (for each the one it came from). */
  to?: string
  /** At most so many (all). */
  max?: number
  /** Only says what would be sent. */
  dryRun?: boolean
  /** Those for which it answers true (all). */
  select?: (message: Described) => boolean
}

export interface Redriven {
  from: string
  /** How many were sent, by the queue they went to; in a dry run, how many would be. */
  sent: Readonly<Record<string, number>>
  count: number
  /** How many were looked at. */
  looked: number
  /** Of those looked at, what was sent, or would be. */
  messages: Described[]
}

const BATCH = 100
const VISIBILITY_MS = 60_000
// A broker whose consumers are told of messages needs a moment to tell.
const WAIT_MS = 1_000
/** A look takes nothing, and sees no more than these. */
export const MOST_SEEN = 1_000
const OURS = ['x-dead-letter-reason', 'x-dead-letter-queue', 'x-dead-letter-error']

export const asideOf = (queue: string): string => (queue.endsWith('.dlq') ? queue : deadLettersOf(queue))

export function describe({ body, properties }: Message): Described {
  const decoded = decodeEnvelope(body)
  const found: Readonly<Record<string, unknown>> = decoded.envelope ?? decoded.found ?? {}
  const meta = isObject(found.meta) ? found.meta : {}
  const why = isObject(found.dead_letter) ? found.dead_letter : {}
  const headers = properties?.headers ?? {}
  const refused = decoded.refusal !== undefined
  const all = {
    urn: found.job ?? found.urn,
    id: meta.id,
    traceId: found.trace_id,
    createdAt: meta.created_at,
    attempts: found.attempts,
    reason: why.reason ?? headers['x-dead-letter-reason'] ?? (refused ? 'poison' : undefined),
    error:
      why.error ??
      headers['x-dead-letter-error'] ??
      (refused ? `${decoded.refusal}: ${decoded.error}` : undefined),
    exception: why.exception,
    failedAt: why.failed_at,
    originalQueue: why.original_queue ?? headers['x-dead-letter-queue'],
  }
  const kinds: Record<string, string> = { createdAt: 'number', attempts: 'number', failedAt: 'number' }
  const known = Object.entries(all).filter(
    ([name, value]) => typeof value === (kinds[name] ?? 'string') && value !== '',
  )
  return { ...Object.fromEntries(known), ...(Object.keys(found).length === 0 ? {} : { found }), body }
}

/**
 * From `<queue>.dlq` back, each in one step of the broker's that leaves no moment in which it is nowhere. The annotation goes,
 * the attempts start again at 0, and `redriven_at` says when; every other byte stays. What is not selected goes to the end of its queue.
 */
export async function redrive(
  transport: Transport,
  queue: string,
  options: RedriveOptions = {},
): Promise<Redriven> {
  const { to, max, dryRun = false, select = () => true } = options
  checkKnown(options, ['to', 'max', 'dryRun', 'select'], 'redrive(): options')
  checkName(queue, 'redrive(): queue')
  if (to !== undefined) checkName(to, 'redrive(): to')
  if (max !== undefined) checkWhole(max, 1, Number.MAX_SAFE_INTEGER, 'redrive(): max')
  const from = asideOf(queue)
  if (to === from)
    throw new DeferqError('INVALID_OPTION', `redrive(): to is '${to}', from where the messages are taken.`)
  const sent: Record<string, number> = Object.create(null)
  const result = { from, sent, count: 0, looked: 0, messages: [] as Described[] }
  const note = (message: Described, target: string): void => {
    sent[target] = (sent[target] ?? 0) + 1
    result.count++
    if (result.messages.length < MOST_SEEN) result.messages.push(message)
  }
  const wanted = (message: Described): string | undefined =>
    (max === undefined || result.count < max) && select(message) ? (to ?? homeOf(message, from)) : undefined
  const [depth] = await transport.depth([from])
  // What comes while this runs, and what it puts back itself, is not looked at: so it comes to an end.
  const ready = depth?.ready ?? 0
  if (dryRun) {
    for (const message of ready === 0 ? [] : await transport.peek(from, Math.min(ready, MOST_SEEN))) {
      if (max !== undefined && result.count >= max) break
      result.looked++
      const described = describe(message)
      const target = wanted(described)
      if (target !== undefined) note(described, target)
    }
    return result
  }
  while (result.looked < ready && (max === undefined || result.count < max)) {
    const most = Math.min(BATCH, ready - result.looked, max === undefined ? BATCH : max - result.count)
    const deliveries = await transport.reserve({
      queues: [from],
      limit: most,
      visibilityMs: VISIBILITY_MS,
      waitMs: WAIT_MS,
    })
    if (deliveries.length === 0) break
    const chosen: { message: Described; target: string | undefined }[] = []
    const releases = deliveries.map((delivery): Release => {
      const message = describe(delivery)
      const target = wanted(message)
      chosen.push({ message, target })
      if (target === undefined) return { delivery }
      const { body, properties } = delivery
      const release = { delivery, queue: target, body: redriven(body, environment.now()) }
      return properties === undefined ? release : { ...release, properties: unmarked(properties) }
    })
    result.looked += deliveries.length
    const answers = await transport.release(releases)
    for (const [index, answer] of answers.entries()) {
      const { message, target } = chosen[index] as (typeof chosen)[number]
      if (answer === 'done' && target !== undefined) note(message, target)
    }
  }
  return result
}

const homeOf = ({ originalQueue }: Described, from: string): string =>
  originalQueue === undefined || originalQueue === from ? from.slice(0, -'.dlq'.length) : originalQueue

function unmarked({ headers, ...properties }: Properties): Properties {
  if (headers === undefined) return properties
  const kept = Object.entries(headers).filter(([name]) => !OURS.includes(name))
  const attempts: [string, number][] = 'x-attempts' in headers ? [['x-attempts', 0]] : []
  return { ...properties, headers: Object.fromEntries([...kept, ...attempts]) }
}
