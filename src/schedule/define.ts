// Checks the definition of a schedule and makes the template of its occurrences.
import { DeferqError } from '../base/errors.ts'
import type { Duration } from '../base/time.ts'
import type { Draft, FollowUp } from '../contract/engine.ts'
import { MAX_BATCH } from '../contract/engine.ts'
import type { Backend } from '../dispatch/backend.ts'
import { readExtra } from '../dispatch/run-extras.ts'
import { checkKnown, checkName, checkWhole } from '../tasks/check-options.ts'
import type { DispatchOptions } from '../tasks/options.ts'
import { isNamed } from '../tasks/options.ts'
import type { Definition, Missed, Template } from './state.ts'
import { timingOf } from './timing.ts'

/** How a schedule is written. */
export interface ScheduleDefinition {
  /** Minute, hour, day of month, month, day of week ('30 3 * * 1-5'); a field for seconds may stand before them. */
  cron?: string
  /** Or an interval, a second at least; the first occurrence is one interval after the definition. */
  every?: Duration
  /** Of `cron`, an IANA name ('UTC'). */
  timezone?: string
  /** The task that is run. */
  name: string
  params?: unknown
  /** For each occurrence, as with a dispatch. */
  options?: DispatchOptions
  /** Occurrences for which no worker was there within a minute: the last of them is made up for ('one'), none is, or each. */
  missed?: Missed
  /** With `missed: 'all'`: the last so many (100). */
  cap?: number
  /** It begins paused; one that is there already stays as it is. */
  paused?: boolean
}

export const KNOWN = ['cron', 'every', 'timezone', 'name', 'params', 'options', 'missed', 'cap', 'paused']

// An occurrence is a task of its own, due at its time: nothing it could share, or be put off by.
export const NOT_FOR_SCHEDULES = [
  'delay',
  'runAt',
  'refresh',
  'idempotencyKey',
  'traceId',
  'tx',
  'signal',
  'debounce',
  'throttle',
  'onDuplicate',
  'onAbandoned',
  'onMismatch',
] as const

// Longer than a worker's death in the middle of a tick goes unnoticed: see tick.ts.
export const GROUPED_RETENTION_MS = 86_400_000

export async function definitionOf(
  backend: Backend,
  key: string,
  written: ScheduleDefinition,
): Promise<Definition> {
  checkName(key, 'The key of a schedule')
  const where = `schedule('${key}')`
  checkKnown(written, KNOWN, where)
  const { name, params = {}, options = {}, missed = 'one', cap = 100, paused } = written
  const timing = await timingOf(written, where)
  if (missed !== 'skip' && missed !== 'one' && missed !== 'all')
    throw new DeferqError(
      'INVALID_OPTION',
      `${where}: missed is '${String(missed)}': use 'skip', 'one' or 'all'.`,
    )
  checkWhole(cap, 1, MAX_BATCH, `${where}: cap`)
  if (paused !== undefined && typeof paused !== 'boolean')
    throw new DeferqError('INVALID_OPTION', `${where}: paused must be true or false.`)
  return { key, timing, missed, cap, draft: await templateOf(backend, name, params, options, where) }
}

/** What each occurrence is made of: that it is one of its own is said by its key, so nothing is said of duplicates. */
export async function templateOf(
  backend: Backend,
  name: string,
  params: unknown,
  options: DispatchOptions,
  where: string,
): Promise<Template> {
  if (typeof options !== 'object' || options === null)
    throw new DeferqError('INVALID_OPTION', `${where}: options must be an object.`)
  const stray = NOT_FOR_SCHEDULES.find((option) => options[option] !== undefined)
  if (stray !== undefined) {
    throw new DeferqError(
      'INVALID_OPTION',
      `${where}: options.${stray} has no meaning for occurrences, each of which is a task of its own, due at its time.`,
    )
  }
  if ([options.callback ?? []].flat().some((callback) => !isNamed(callback))) {
    throw new DeferqError(
      'INVALID_OPTION',
      `${where}: a callback of a schedule must be the name of a task; a function would be gone with this process.`,
    )
  }
  const draft = await backend.draft(name, params, options)
  const template = { ...withoutAddress(draft), delayMs: 0 }
  const { everyMs: _, ...policy } = template.policy
  template.policy = policy
  if (template.group !== undefined) policy.retentionMs = Math.max(policy.retentionMs, GROUPED_RETENTION_MS)
  for (const own of ['onDuplicate', 'maxDelayMs', 'attended', 'refresh', 'onMismatch', 'watch'] as const)
    delete template[own]
  return template
}

/** The trace goes too: that of whoever defines the schedule is none of its occurrences'. */
export function withoutAddress({ id: _, then, extra, ...rest }: Draft): Template {
  const template: Template = rest
  const { traceId: __, ...said } = readExtra(extra)
  if (Object.keys(said).length > 0) template.extra = JSON.stringify(said)
  if (then !== undefined)
    template.then = then.map((follow: FollowUp) => ({ ...follow, draft: withoutAddress(follow.draft) }))
  return template
}
