// How drafts are spelled for the script ADMIT, and how its answer is read.

import { DeferqError } from '../../base/errors.ts'
import type { AdmitOutcome, Draft, Policy, Standing, Verdict } from '../../contract/engine.ts'
import { KEY_LENGTH, VALUE } from '../../contract/engine.ts'
import type { Row } from './ids.ts'
import {
  followText,
  kindText,
  longId,
  longRun,
  packIds,
  readStanding,
  runIn,
  SHORT_ID,
  spread60,
} from './ids.ts'

/** Its length is stored in four hex digits, and a character may take three bytes. */
const MAX_SHAPE = 20_000

const OUTCOMES: readonly AdmitOutcome[] = ['created', 'joined', 'hit', 'stale', 'negative', 'rejected']

/** How the asking instance waits for such drafts. */
export interface Wait {
  want: string
  name: string
  member: string
}

/**
 * What drafts of one batch have in common is sent once, and of a row of them each thing in one argument: three arguments for each
 * draft took client and server longer than all else.
 */
export function admitArgs(drafts: readonly Draft[], address: string, wait?: Wait): string[] {
  const args: string[] = []
  const known = new Map<string, number>()
  for (let from = 0, to = 0; from < drafts.length; from = to) {
    const first = drafts[from] as Draft
    const { text } = shapeOf(first)
    let number = known.get(text)
    if (number === undefined) known.set(text, (number = known.size + 1))
    let ids = ''
    let params = ''
    let withLines = false
    const more: string[] = []
    for (to = from; to < drafts.length; to++) {
      const draft = drafts[to] as Draft
      if (draft !== first && !alike(first, draft)) break
      ids += spread60(draft.id)
      if (draft.params.includes('\n')) withLines = true
      params += `${draft.params}\n`
      if (draft.dueAt !== undefined) more.push(String(draft.dueAt))
      if (draft.then !== undefined && draft.then.length > 0) {
        more.push(String(draft.then.length))
        for (const follow of draft.then) more.push(followText(follow))
      }
    }
    const isAlone = to - from === 1
    const lengths = withLines && !isAlone ? `:${lengthsOf(drafts.slice(from, to))}` : ''
    args.push(number + lengths, packIds(ids), isAlone ? first.params : params)
    for (const each of more) args.push(each)
  }
  return [wait?.member ?? address, wait?.want ?? '', wait?.name ?? '', ...known.keys(), ...args]
}

const lengthsOf = (drafts: readonly Draft[]): string =>
  drafts.map(({ params }) => Buffer.byteLength(params)).join()

interface Shape {
  text: string
  kind: string
}

// The shape of the plain draft before is nearly always that of this one too.
let last: { of: Draft; shape: Shape } | undefined

/** What it may have in common with others of its batch. */
export function shapeOf(draft: Draft): Shape {
  if (last !== undefined && alike(last.of, draft)) return last.shape
  const kind = kindText(draft)
  const shape = { text: `*${termsOf(draft)};${kind}`, kind }
  checkShape(draft, shape.text)
  const { policy, then, onDuplicate, attended } = draft
  // A copy, without what is the draft's own and may be large.
  if ((then ?? onDuplicate ?? attended) === undefined)
    last = { of: { ...draft, id: '', params: '', [VALUE]: undefined, policy: { ...policy } }, shape }
  return shape
}

function termsOf(draft: Draft): string {
  const flags =
    (draft.refresh ? 'r' : '') +
    (draft.onMismatch === undefined ? '' : draft.onMismatch === 'join' ? 'j' : 'm') +
    (draft.watch ? 'w' : '') +
    (draft.dueAt === undefined ? '' : 'd') +
    (draft.then === undefined || draft.then.length === 0 ? '' : 't') +
    (draft.firstSend ? 'n' : '')
  const { priority, delayMs, maxDelayMs, attended } = draft
  const attend = attended === undefined ? '' : `${attended.running ? 'r' : 'p'}${attended.ms}`
  return `${priority},${delayMs},${flags}${duplicatesOf(draft)},${maxDelayMs ?? ''},${attend}`
}

const PENDING = { reject: 'R', replace: 'P', supersede: 'S' } as const
const RUNNING = { reject: 'X', supersede: 'Y', rerunAfter: 'Z' } as const

function duplicatesOf({ onDuplicate }: Draft): string {
  if (onDuplicate === undefined) return ''
  const { pending, running } = onDuplicate
  return (pending === undefined ? '' : PENDING[pending]) + (running === undefined ? '' : RUNNING[running])
}

const alike = (a: Draft, b: Draft): boolean =>
  a.name === b.name &&
  a.queue === b.queue &&
  a.priority === b.priority &&
  samePolicy(a.policy, b.policy) &&
  a.extra === b.extra &&
  a.refresh === b.refresh &&
  a.onMismatch === b.onMismatch &&
  a.onDuplicate === b.onDuplicate &&
  a.maxDelayMs === b.maxDelayMs &&
  a.attended === b.attended &&
  a.group === b.group &&
  a.watch === b.watch &&
  a.firstSend === b.firstSend &&
  a.delayMs === b.delayMs &&
  (a.dueAt === undefined) === (b.dueAt === undefined) &&
  (a.then === undefined || a.then.length === 0) === (b.then === undefined || b.then.length === 0)

const samePolicy = (a: Policy, b: Policy): boolean =>
  a === b ||
  (a.maxAttempts === b.maxAttempts &&
    a.resultTtlMs === b.resultTtlMs &&
    a.staleTtlMs === b.staleTtlMs &&
    a.failureTtlMs === b.failureTtlMs &&
    a.retentionMs === b.retentionMs &&
    a.everyMs === b.everyMs)

type Answer = [index: number, outcome: number, row: Row, same: number, refresh: string]

function answerOf(told: string | Answer): Answer {
  if (typeof told !== 'string') return told
  const digit = told.charCodeAt(5) - 48
  if (digit >= 4) {
    const text = told.slice(6)
    return [Number(told.slice(0, 4)), told.charCodeAt(4) - 48, [text, runIn(text)], 1, '']
  }
  const at = digit > 1 ? 6 + SHORT_ID : 6
  return [
    Number(told.slice(0, 4)),
    told.charCodeAt(4) - 48,
    [told.slice(at + SHORT_ID), told.slice(at, at + SHORT_ID)],
    digit & 1,
    told.slice(6, at),
  ]
}

export function admitReply(reply: unknown, drafts: readonly Draft[]): Verdict[] {
  const [now, answers] = reply as [number, (string | Answer)[]]
  const verdicts: Verdict[] = new Array(drafts.length)
  for (const told of answers) {
    const [index, number, row, same, refresh] = answerOf(told)
    const draft = drafts[index - 1] as Draft
    const verdict: Verdict = {
      outcome: OUTCOMES[number - 1] as AdmitOutcome,
      // Whatever answers stands under the draft's key.
      entry: readStanding([row[0], draft.id.slice(0, KEY_LENGTH) + longRun(row[1]), row[2]]),
      sameParams: same === 1,
    }
    if (refresh !== '') verdict.refreshId = longId(refresh)
    if (verdict.outcome === 'hit') verdict.freshMs = (verdict.entry.freshUntil as number) - now
    verdicts[index - 1] = verdict
  }
  for (let index = 0; index < drafts.length; index++) {
    verdicts[index] ??= { outcome: 'created', entry: created(drafts[index] as Draft, now), sameParams: true }
  }
  return verdicts
}

export function created(draft: Draft, now: number): Standing {
  return {
    id: draft.id,
    name: draft.name,
    queue: draft.queue,
    status: 'pending',
    priority: draft.priority,
    attempt: 0,
    createdAt: now,
    dueAt: Math.max(now, Math.min(draft.dueAt ?? now + draft.delayMs, now + (draft.maxDelayMs ?? Infinity))),
    errors: [],
  }
}

function checkShape({ name }: Draft, text: string): void {
  if (text.length <= MAX_SHAPE) return
  throw new DeferqError(
    'INVALID_OPTION',
    `The name, queue and options of the task '${name.slice(0, 100)}' are ${text.length} characters long, where ${MAX_SHAPE} is the most.`,
  )
}
