// What a draft comes to, in one atomic step: the answer that stands under its key, a run that it joins or takes the place of, or a new one.

import type { Draft, Verdict } from '../../contract/engine.ts'
import { REFRESH_PRIORITY } from '../../contract/engine.ts'
import { supersededError } from '../../contract/store-errors.ts'
import type { Run, Slot } from './document-store.ts'
import { isLive, standingOf } from './document-store.ts'
import type { Course } from './transitions.ts'

export function admit(course: Course, draft: Draft): Verdict {
  const { now, table } = course
  const slot = course.slot(draft.id)
  const { run, accepted } = slot
  const usable = !draft.refresh && accepted !== undefined && now < (accepted.staleUntil as number)

  const repeated = table.find(draft.id)
  if (repeated !== undefined) {
    if (usable && accepted !== repeated) return verdict('stale', accepted, { refreshId: draft.id })
    return verdict('created', repeated)
  }

  const live = run !== undefined && isLive(run)
  const remembered = run?.status === 'failed' && now < (run.rememberedUntil as number)
  const answering = usable ? accepted : live || (remembered && !draft.refresh) ? run : undefined
  const sameParams =
    draft.onMismatch === undefined || answering === undefined || answering.params === draft.params
  if (answering !== undefined && !sameParams && draft.onMismatch === 'reject') {
    course.total('rejected')
    return verdict('rejected', answering, { sameParams })
  }
  if (answering === undefined) {
    if (accepted !== undefined && now >= (accepted.staleUntil as number)) table.dropAccepted(slot)
    course.total('created')
    return verdict('created', course.create(draft, slot))
  }
  if (usable) {
    course.followAtOnce(draft, answering)
    if (now < (answering.freshUntil as number)) {
      course.total('hit')
      return verdict('hit', answering, { sameParams, freshMs: (answering.freshUntil as number) - now })
    }
    course.total('stale')
    let refreshId = live ? run.id : undefined
    if (!live && !remembered) {
      const { attended: _, ...rest } = draft
      const priority = Math.min(draft.priority, REFRESH_PRIORITY)
      course.total('created')
      refreshId = course.create({ ...rest, then: [], priority }, slot).id
    }
    return verdict('stale', answering, { sameParams, ...(refreshId === undefined ? {} : { refreshId }) })
  }
  if (live) return meet(course, draft, slot, answering)
  course.followAtOnce(draft, answering)
  course.total('negative')
  return verdict('negative', answering, { sameParams })
}

/** A live run stands under the draft's key, and no result answers it. */
function meet(course: Course, draft: Draft, slot: Slot, run: Run): Verdict {
  const { onDuplicate = {} } = draft
  const rerun = onDuplicate.running === 'rerunAfter'
  if (rerun && slot.next === undefined && run.status === 'running') {
    course.total('created')
    return verdict('created', course.createBehind(draft, slot))
  }
  const met = rerun && slot.next !== undefined ? slot.next : run
  const rule = met.status === 'running' ? onDuplicate.running : onDuplicate.pending
  const sameParams = draft.onMismatch === undefined || met.params === draft.params
  switch (rule) {
    case 'reject':
      course.total('rejected')
      return verdict('rejected', met, { sameParams })
    case 'supersede': {
      const behind = met === slot.next
      if (slot.next !== undefined) supersede(course, slot.next, draft)
      if (!behind) supersede(course, run, draft)
      course.total('created')
      return verdict('created', behind ? course.createBehind(draft, slot) : course.create(draft, slot))
    }
    case 'replace':
      course.replace(met, draft)
      course.join(met, { ...draft, dueAt: Number.POSITIVE_INFINITY })
      course.total('joined')
      return verdict('joined', met)
    default:
      course.join(met, draft)
      course.total('joined')
      return verdict('joined', met, { sameParams })
  }
}

const supersede = (course: Course, run: Run, by: Draft): void =>
  course.cancelRun(run, supersededError(run.attempt, course.now, by.id))

function verdict(
  outcome: Verdict['outcome'],
  run: Run,
  more: { sameParams?: boolean; refreshId?: string; freshMs?: number } = {},
): Verdict {
  return { outcome, entry: standingOf(run), sameParams: true, ...more }
}
