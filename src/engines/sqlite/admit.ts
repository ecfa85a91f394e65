// Decides, under the write lock, what each draft meets under its key.
import type { Draft, Verdict } from '../../engine.ts'
import { REFRESH_PRIORITY } from '../../engine.ts'
import type { Run } from './rows.ts'
import { COMPLETED, isGone, isLive, isRemembered, isUsable, PENDING, standingOf } from './rows.ts'
import type { Slot, Step } from './step.ts'
import { dueOf } from './step.ts'

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
    const created = step.create(draft)
    watch(step, draft, created)
    step.total('created')
    return verdict('created', created)
  }
  if (!sameParams && draft.onMismatch === 'reject') {
    step.total('rejected')
    return verdict('rejected', answering, { sameParams })
  }
  if (live && answering === run) {
    merge(step, run, draft)
    step.total('joined')
    return verdict('joined', run, { sameParams })
  }

  const value = answering.status === COMPLETED ? (answering.result as string) : answering.errors.at(-1)
  for (const follow of draft.then ?? []) step.followIf(follow, answering, value)
  if (usable === undefined) {
    step.total('negative')
    return verdict('negative', answering, { sameParams })
  }
  if (now < (usable.freshUntil as number)) {
    step.total('hit')
    return verdict('hit', usable, { sameParams })
  }
  step.total('stale')
  const refreshId = live ? run.id : remembered ? undefined : refresh(step, draft).id
  return verdict('stale', usable, { sameParams, ...(refreshId === undefined ? {} : { refreshId }) })
}

/** The draft's own follow-ups have been answered with the stale result, and are not told twice. */
function refresh(step: Step, draft: Draft): Run {
  return step.create({ ...draft, then: [], priority: Math.min(draft.priority, REFRESH_PRIORITY) })
}

function merge(step: Step, run: Run, draft: Draft): void {
  watch(step, draft, run)
  step.addFollowUps(run, draft.then ?? [])
  const retentionMs = Math.max(run.policy.retentionMs, draft.policy.retentionMs)
  // A run that waits for its next attempt keeps its back-off.
  const dueAt = run.attempt === 0 ? Math.min(run.dueAt, dueOf(draft, step.now)) : run.dueAt
  const { queue, name } = run.lane
  const raised = draft.priority > run.lane.priority
  if (retentionMs === run.policy.retentionMs && dueAt === run.dueAt && !raised) return
  const sooner = dueAt < run.dueAt
  run.policy.retentionMs = retentionMs
  run.dueAt = dueAt
  const pending = run.status === PENDING
  if (raised) {
    step.count(run.lane.id, pending ? -1 : 0, pending ? 0 : -1)
    run.lane = step.connection.lane(queue, name, draft.priority)
    step.count(run.lane.id, pending ? 1 : 0, pending ? 0 : 1)
  }
  if (pending && sooner) step.news.ready.push(run)
  step.changed(run)
}

function watch(step: Step, draft: Draft, run: Run): void {
  if (draft.watch) step.news.watched.push(run)
}

function verdict(
  outcome: Verdict['outcome'],
  run: Run,
  more: { sameParams?: boolean; refreshId?: string } = {},
): Verdict {
  return { outcome, entry: standingOf(run), sameParams: true, ...more }
}
