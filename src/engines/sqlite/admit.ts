// Decides, under the write lock, what each draft meets under its key.

import { supersededError } from '../../endings.ts'
import type { Draft, Verdict } from '../../engine.ts'
import { REFRESH_PRIORITY } from '../../engine.ts'
import { dueOf } from './new-run.ts'
import type { Run } from './rows.ts'
import {
  COMPLETED,
  isGone,
  isLive,
  isPending,
  isRemembered,
  isUsable,
  PENDING,
  RUNNING,
  standingOf,
} from './rows.ts'
import type { Slot, Step } from './step.ts'

export function admit(step: Step, drafts: readonly Draft[]): Verdict[] {
  step.load(drafts.map(({ id }) => id))
  return drafts.map((draft) => decide(step, draft))
}

/** The result that answers new drafts: that of the run which stands there, or else the one it has found there. */
export function acceptedOf({ run, older }: Slot, now: number): Run | undefined {
  if (run?.status === COMPLETED && isUsable(run, now)) return run
  return older !== undefined && isUsable(older, now) ? older : undefined
}

function decide(step: Step, draft: Draft): Verdict {
  const { now } = step
  const slot = step.slot(draft.id)
  const usable = draft.refresh ? undefined : acceptedOf(slot, now)

  const repeated = step.run(draft.id)
  if (repeated !== undefined) {
    watch(step, draft, repeated)
    if (usable === undefined || usable === repeated) return verdict('created', repeated)
    return verdict('stale', usable, { refreshId: draft.id })
  }

  const run = slot.run === undefined || isGone(slot.run, now) ? undefined : slot.run
  const live = run !== undefined && isLive(run)
  const remembered = run !== undefined && isRemembered(run, now)
  const answering = usable ?? (live || (remembered && !draft.refresh) ? run : undefined)
  const sameParams =
    draft.onMismatch === undefined || answering === undefined || answering.params === draft.params
  if (answering === undefined) {
    return created(step, draft, step.create(draft))
  }
  if (!sameParams && draft.onMismatch === 'reject') {
    step.total('rejected')
    return verdict('rejected', answering, { sameParams })
  }
  if (live && answering === run) return meet(step, draft, run)

  const value = answering.status === COMPLETED ? (answering.result as string) : answering.errors.at(-1)
  for (const follow of draft.then ?? []) step.following.followIf(follow, answering, value)
  if (usable === undefined) {
    step.total('negative')
    return verdict('negative', answering, { sameParams })
  }
  if (now < (usable.freshUntil as number)) {
    step.total('hit')
    return verdict('hit', usable, { sameParams, freshMs: (usable.freshUntil as number) - now })
  }
  step.total('stale')
  const refreshId = live ? run.id : remembered ? undefined : refresh(step, draft).id
  return verdict('stale', usable, { sameParams, ...(refreshId === undefined ? {} : { refreshId }) })
}

/** The draft's own follow-ups have been answered with the stale result, and are not told twice. */
function refresh(step: Step, draft: Draft): Run {
  const { attended: _, ...rest } = draft
  return step.create({ ...rest, then: [], priority: Math.min(draft.priority, REFRESH_PRIORITY) })
}

/** A live run stands under the key, and no result answers the draft. */
function meet(step: Step, draft: Draft, run: Run): Verdict {
  const { onDuplicate = {} } = draft
  const rerun = onDuplicate.running === 'rerunAfter'
  const next = draft.onDuplicate === undefined ? undefined : step.behind(run)
  if (rerun && next === undefined && run.status === RUNNING)
    return created(step, draft, step.createBehind(draft, run))
  const met = rerun && next !== undefined ? next : run
  const rule = met.status === RUNNING ? onDuplicate.running : onDuplicate.pending
  const sameParams = draft.onMismatch === undefined || met.params === draft.params
  switch (rule) {
    case 'reject':
      step.total('rejected')
      return verdict('rejected', met, { sameParams })
    case 'supersede': {
      for (const each of met === next ? [next] : [next, run])
        if (each !== undefined) step.cancel(each, supersededError(each.attempt, step.now, draft.id))
      return created(step, draft, met === next ? step.createBehind(draft, run) : step.create(draft))
    }
    case 'replace':
      step.rewrite(met, draft.params, draft.extra ?? null)
      merge(step, met, draft, true)
      step.total('joined')
      return verdict('joined', met)
    default:
      merge(step, met, draft)
      step.total('joined')
      return verdict('joined', met, { sameParams })
  }
}

function created(step: Step, draft: Draft, run: Run): Verdict {
  watch(step, draft, run)
  step.total('created')
  return verdict('created', run)
}

/** `replacing`: the due time becomes the draft's, be it later. */
function merge(step: Step, run: Run, draft: Draft, replacing = false): void {
  watch(step, draft, run)
  step.following.add(run, draft.then)
  step.attend(run, draft.attended)
  const retentionMs = Math.max(run.policy.retentionMs, draft.policy.retentionMs)
  // A run that waits for its next attempt keeps its back-off.
  const wanted = dueOf(draft, step.now, run.createdAt)
  const dueAt = run.attempt > 0 ? run.dueAt : replacing ? wanted : Math.min(run.dueAt, wanted)
  const { queue, name, group } = run.lane
  const raised = draft.priority > run.lane.priority
  if (retentionMs === run.policy.retentionMs && dueAt === run.dueAt && !raised) return
  const sooner = dueAt < run.dueAt
  run.policy.retentionMs = retentionMs
  run.dueAt = dueAt
  const pending = isPending(run)
  if (raised) {
    step.count(run.lane.id, pending ? -1 : 0, pending ? 0 : -1)
    run.lane = step.connection.lane(queue, name, draft.priority, group)
    step.count(run.lane.id, pending ? 1 : 0, pending ? 0 : 1)
  }
  if (run.status === PENDING && sooner) step.news.ready.push(run)
  step.changed(run)
}

function watch(step: Step, draft: Draft, run: Run): void {
  if (draft.watch) step.news.watched.push(run)
}

function verdict(
  outcome: Verdict['outcome'],
  run: Run,
  more: { sameParams?: boolean; refreshId?: string; freshMs?: number } = {},
): Verdict {
  return { outcome, entry: standingOf(run), sameParams: true, ...more }
}
