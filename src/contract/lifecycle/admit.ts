// What a draft comes to, by what stands under its key: the table in contract/engine.ts, as code.
import type { AdmitOutcome, Draft } from '../engine.ts'
import { REFRESH_PRIORITY } from '../engine.ts'
import { create, createBehind, follow } from './births.ts'
import { reschedule } from './changes.ts'
import { supersede } from './ends.ts'
import type { Ledger, RunRecord, Slot } from './ledger.ts'
import { dueOf, isLive, keyOf } from './ledger.ts'

/** The answer to a draft, with the record of the run that answers. */
export interface Decision<Run extends RunRecord = RunRecord> {
  outcome: AdmitOutcome
  run: Run
  sameParams: boolean
  refreshId?: string
  freshMs?: number
}

export function admit<Run extends RunRecord>(ledger: Ledger<Run>, draft: Draft): Decision<Run> {
  const { now } = ledger
  const slot = ledger.slot(keyOf(draft.id))
  const { run, accepted } = slot
  const usable = !draft.refresh && accepted !== undefined && now < (accepted.staleUntil as number)

  const repeated = ledger.run(draft.id)
  if (repeated !== undefined) {
    if (usable && accepted !== repeated)
      return { outcome: 'stale', run: accepted, sameParams: true, refreshId: draft.id }
    return { outcome: 'created', run: repeated, sameParams: true }
  }

  const live = run !== undefined && isLive(run)
  const remembered = run?.status === 'failed' && now < run.rememberedUntil
  const answering = usable ? accepted : live || (remembered && !draft.refresh) ? run : undefined
  if (answering === undefined) {
    if (accepted !== undefined && now >= (accepted.staleUntil as number)) forgetAccepted(ledger, slot)
    ledger.total('created')
    return { outcome: 'created', run: create(ledger, draft, slot), sameParams: true }
  }
  const sameParams = draft.onMismatch === undefined || answering.params === draft.params
  if (!sameParams && draft.onMismatch === 'reject') {
    ledger.total('rejected')
    return { outcome: 'rejected', run: answering, sameParams }
  }
  if (usable) return answerFrom(ledger, draft, slot, answering, sameParams, remembered)
  if (live) return meet(ledger, draft, slot, answering)
  followAtOnce(ledger, draft, answering)
  ledger.total('negative')
  return { outcome: 'negative', run: answering, sameParams }
}

/** A usable result answers: `hit` while it is fresh, then `stale` with one run that refreshes it. */
function answerFrom<Run extends RunRecord>(
  ledger: Ledger<Run>,
  draft: Draft,
  slot: Slot<Run>,
  answering: Run,
  sameParams: boolean,
  remembered: boolean,
): Decision<Run> {
  const freshUntil = answering.freshUntil as number
  followAtOnce(ledger, draft, answering)
  if (ledger.now < freshUntil) {
    ledger.total('hit')
    return { outcome: 'hit', run: answering, sameParams, freshMs: freshUntil - ledger.now }
  }
  ledger.total('stale')
  let refreshId = slot.run !== undefined && isLive(slot.run) ? slot.run.id : undefined
  if (refreshId === undefined && !remembered) {
    const { attended: _, ...rest } = draft
    const priority = Math.min(draft.priority, REFRESH_PRIORITY)
    ledger.total('created')
    refreshId = create(ledger, { ...rest, then: [], watch: false, priority }, slot).id
  }
  return { outcome: 'stale', run: answering, sameParams, ...(refreshId === undefined ? {} : { refreshId }) }
}

/** A live run stands under the draft's key and no result answers: the draft joins the run, unless `onDuplicate` says otherwise. */
function meet<Run extends RunRecord>(
  ledger: Ledger<Run>,
  draft: Draft,
  slot: Slot<Run>,
  standing: Run,
): Decision<Run> {
  const { onDuplicate = {} } = draft
  const rerun = onDuplicate.running === 'rerunAfter'
  if (rerun && slot.next === undefined && standing.status === 'running') {
    ledger.total('created')
    return { outcome: 'created', run: createBehind(ledger, draft, slot), sameParams: true }
  }
  const met = rerun && slot.next !== undefined ? slot.next : standing
  const sameParams = draft.onMismatch === undefined || met.params === draft.params
  switch (met.status === 'running' ? onDuplicate.running : onDuplicate.pending) {
    case 'reject':
      ledger.total('rejected')
      return { outcome: 'rejected', run: met, sameParams }
    case 'supersede': {
      const behind = met === slot.next
      if (slot.next !== undefined) supersede(ledger, slot.next, draft.id)
      if (!behind) supersede(ledger, standing, draft.id)
      ledger.total('created')
      const run = behind ? createBehind(ledger, draft, slot) : create(ledger, draft, slot)
      return { outcome: 'created', run, sameParams: true }
    }
    case 'replace':
      replace(ledger, met, draft)
      join(ledger, met, { ...draft, dueAt: Number.POSITIVE_INFINITY })
      ledger.total('joined')
      return { outcome: 'joined', run: met, sameParams: true }
    default:
      join(ledger, met, draft)
      ledger.total('joined')
      return { outcome: 'joined', run: met, sameParams }
  }
}

/** One more caller asks for a live run: it takes over the larger priority and retention, and the earlier due time. */
function join<Run extends RunRecord>(ledger: Ledger<Run>, run: Run, draft: Draft): void {
  const { retentionMs } = draft.policy
  if (retentionMs > run.policy.retentionMs) run.policy = { ...run.policy, retentionMs }
  for (const each of draft.then ?? []) ledger.addFollowUp(run, each)
  if (draft.watch) ledger.watched(run)
  attend(ledger, run, draft)
  // A run that was tried before keeps its back-off.
  const wanted = run.attempt === 0 ? dueOf(ledger, draft, run.createdAt) : run.dueAt
  if (wanted < run.dueAt) run.runAt = draft.dueAt
  reschedule(ledger, run, Math.min(run.dueAt, wanted), Math.max(run.priority, draft.priority))
}

/** The draft's params, extra and due time replace those of a pending run. A back-off stays. */
function replace<Run extends RunRecord>(ledger: Ledger<Run>, run: Run, draft: Draft): void {
  run.params = draft.params
  run.extra = draft.extra
  if (run.attempt > 0) return
  run.runAt = draft.dueAt
  run.dueAt = dueOf(ledger, draft, run.createdAt)
  if (run.place !== 'behind') ledger.ready(run)
}

/** The run lives as long as the longer of both callers asks; for good, if one of them sets no time. */
function attend<Run extends RunRecord>(ledger: Ledger<Run>, run: Run, { attended }: Draft): void {
  const before = run.attended
  if (before === undefined) return
  if (attended === undefined) run.attended = undefined
  else {
    const ms = Math.max(before.ms, attended.ms)
    run.attended = { ms, running: before.running && attended.running, until: ledger.now + ms }
  }
  ledger.attended(run)
}

/** The run that answers has ended already: what should follow it is admitted now. */
function followAtOnce<Run extends RunRecord>(ledger: Ledger<Run>, draft: Draft, run: Run): void {
  for (const each of draft.then ?? []) follow(ledger, each, run)
}

function forgetAccepted<Run extends RunRecord>(ledger: Ledger<Run>, slot: Slot<Run>): void {
  const { accepted } = slot
  slot.accepted = undefined
  if (accepted !== undefined && accepted !== slot.run) ledger.put(accepted, 'aside')
}
