// Decides, under the write lock, what each draft meets under its key.
import type { Draft, PromoteAnswer, Verdict } from '../../contract/engine.ts'
import { REFRESH_PRIORITY } from '../../contract/engine.ts'
import type { Run } from './rows.ts'
import {
  BEHIND,
  COMPLETED,
  dueOf,
  isGone,
  isLive,
  isRemembered,
  isUsable,
  PENDING,
  RUNNING,
  standingOf,
} from './rows.ts'
import type { Step } from './step.ts'
import type { Slot } from './step-cache.ts'

export function admit(step: Step, drafts: readonly Draft[]): Verdict[] {
  step.load(drafts.map(({ id }) => id))
  return drafts.map((draft) => {
    const verdict = decide(step, draft)
    // The follow-ups of this draft are born before the next draft.
    step.followUps.admit()
    return verdict
  })
}

/** The result that answers new drafts: that of the run which stands there, or else the one it has found there. */
export function acceptedOf({ run, older }: Slot, now: number): Run | undefined {
  if (run?.status === COMPLETED && isUsable(run, now)) return run
  return older !== undefined && isUsable(older, now) ? older : undefined
}

function decide(step: Step, draft: Draft): Verdict {
  const { now } = step
  // Known already, unless a draft before it has ended what was of this very step.
  if (!step.knows(draft.id)) step.load([draft.id])
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
  if (live && answering === run) {
    return meet(step, draft, slot, run)
  }

  const value = answering.status === COMPLETED ? (answering.result as string) : answering.errors.at(-1)
  for (const follow of draft.then ?? []) step.followUps.followIf(follow, answering, value)
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
  step.total('created')
  return step.create({ ...rest, then: [], priority: Math.min(draft.priority, REFRESH_PRIORITY) })
}

/** A live run stands under the draft's key, and no result answers it. */
function meet(step: Step, draft: Draft, slot: Slot, run: Run): Verdict {
  const { onDuplicate = {} } = draft
  const rerun = onDuplicate.running === 'rerunAfter'
  if (rerun && slot.next === undefined && run.status === RUNNING) {
    return created(step, draft, step.createBehind(draft, run))
  }
  const met = rerun && slot.next !== undefined ? slot.next : run
  const sameParams = draft.onMismatch === undefined || met.params === draft.params
  switch (met.status === RUNNING ? onDuplicate.running : onDuplicate.pending) {
    case 'reject':
      step.total('rejected')
      return verdict('rejected', met, { sameParams })
    case 'supersede':
      return supersede(step, draft, met.slot === BEHIND)
    case 'replace':
      step.setParams(met, draft.params)
      step.setExtra(met, draft.extra ?? null)
      if (met.attempt === 0) putOff(step, met, dueOf(draft, step.now, met.createdAt))
      merge(step, met, { ...draft, dueAt: Number.POSITIVE_INFINITY })
      step.total('joined')
      return verdict('joined', met)
    default:
      merge(step, met, draft)
      step.total('joined')
      return verdict('joined', met, { sameParams })
  }
}

/** The draft takes the place of what stands there and of what waits behind it, or only of the latter. */
function supersede(step: Step, draft: Draft, behind: boolean): Verdict {
  // What this very step has created, or added to a run, has to be there before that can end.
  step.flush()
  step.load([draft.id])
  const { run, next } = step.slot(draft.id)
  if (next !== undefined) step.supersede(next, draft.id)
  if (run !== undefined && !behind) step.supersede(run, draft.id)
  step.followUps.admit()
  return created(
    step,
    draft,
    behind && run !== undefined ? step.createBehind(draft, run) : step.create(draft),
  )
}

function created(step: Step, draft: Draft, run: Run): Verdict {
  watch(step, draft, run)
  step.total('created')
  return verdict('created', run)
}

/** Due now, where it is pending. */
export function promote(step: Step, ids: readonly string[], priority: number | undefined): PromoteAnswer[] {
  step.load(ids)
  return ids.map((id) => {
    const run = step.run(id)
    if (run === undefined || isGone(run, step.now)) return 'unknown'
    if (!isLive(run)) return 'ended'
    if (run.status !== PENDING) return 'running'
    advance(step, run, Math.min(run.dueAt, step.now), priority ?? run.lane.priority)
    return 'due'
  })
}

/** Later or earlier. */
function putOff(step: Step, run: Run, dueAt: number): void {
  if (dueAt === run.dueAt) return
  const sooner = dueAt < run.dueAt
  run.dueAt = dueAt
  if (sooner && run.status === PENDING && run.slot !== BEHIND) step.news.ready.push(run)
  step.changed(run)
}

function merge(step: Step, run: Run, draft: Draft): void {
  watch(step, draft, run)
  step.attend(run, draft.attended)
  step.addFollowUps(run, draft.then ?? [])
  const retentionMs = Math.max(run.policy.retentionMs, draft.policy.retentionMs)
  // A run that waits for its next attempt keeps its back-off.
  const dueAt = run.attempt === 0 ? Math.min(run.dueAt, dueOf(draft, step.now, run.createdAt)) : run.dueAt
  if (retentionMs === run.policy.retentionMs && dueAt === run.dueAt && draft.priority <= run.lane.priority)
    return
  run.policy.retentionMs = retentionMs
  advance(step, run, dueAt, draft.priority)
}

function advance(step: Step, run: Run, dueAt: number, atLeast: number): void {
  const { queue, name, group, priority } = run.lane
  const sooner = dueAt < run.dueAt
  run.dueAt = dueAt
  const pending = run.status === PENDING
  if (atLeast > priority) {
    step.count(run.lane.id, pending ? -1 : 0, pending ? 0 : -1)
    run.lane = step.connection.lane(queue, name, atLeast, group)
    step.count(run.lane.id, pending ? 1 : 0, pending ? 0 : 1)
  }
  if (pending && sooner && run.slot !== BEHIND) step.news.ready.push(run)
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
