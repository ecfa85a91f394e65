// How runs are born: under their key, behind another run, or as the follow-up of one that has ended.
import type { Draft, FollowUp, Parent } from '../engine.ts'
import type { Ledger, RunRecord, Slot } from './ledger.ts'
import { keyOf } from './ledger.ts'

/** A new run under its key. An ended run that stood there is moved aside; its result stays usable. */
export function create<Run extends RunRecord>(
  ledger: Ledger<Run>,
  draft: Draft,
  slot: Slot<Run>,
  parent: Parent | undefined = undefined,
): Run {
  const before = slot.run
  if (before !== undefined) ledger.put(before, slot.accepted === before ? 'accepted' : 'aside')
  const run = born(ledger, draft, slot, parent)
  slot.run = run
  ledger.put(run, 'stands')
  ledger.moved(run, undefined)
  ledger.ready(run)
  return run
}

/** A new run that waits behind the one under its key. It gets a ticket when that one has ended. */
export function createBehind<Run extends RunRecord>(ledger: Ledger<Run>, draft: Draft, slot: Slot<Run>): Run {
  const run = born(ledger, draft, slot, undefined)
  slot.next = run
  ledger.put(run, 'behind')
  ledger.moved(run, undefined)
  return run
}

function born<Run extends RunRecord>(
  ledger: Ledger<Run>,
  draft: Draft,
  slot: Slot<Run>,
  parent: Parent | undefined,
): Run {
  const run = ledger.make(draft, parent, slot)
  if (draft.then !== undefined) for (const follow of draft.then) ledger.addFollowUp(run, follow)
  if (draft.watch) ledger.watched(run)
  return run
}

/** The run that waits behind another takes its place. */
export function advanceNext<Run extends RunRecord>(ledger: Ledger<Run>, run: Run): void {
  const slot = ledger.slotOf(run)
  const { next } = slot
  if (next === undefined) return
  slot.next = undefined
  if (slot.run !== undefined) ledger.put(slot.run, slot.accepted === slot.run ? 'accepted' : 'aside')
  slot.run = next
  ledger.put(next, 'stands')
  ledger.ready(next)
}

/** Admits a follow-up, unless its id was admitted before. */
export function admitFollowUp<Run extends RunRecord>(
  ledger: Ledger<Run>,
  draft: Draft,
  parent: Parent | undefined,
): void {
  if (ledger.run(draft.id) !== undefined) return
  ledger.total('created')
  create(ledger, draft, ledger.slot(keyOf(draft.id)), parent)
}

/** Admits a follow-up if the run ended as the follow-up asks. */
export function follow<Run extends RunRecord>(
  ledger: Ledger<Run>,
  { on, draft, sameParent }: FollowUp,
  run: Run,
): void {
  if (on !== 'both' && (on === 'success') !== (run.status === 'completed')) return
  admitFollowUp(ledger, draft, sameParent ? run.parent : parentOf(run))
}

/** A follow-up's view of the ended run that it follows. */
function parentOf(run: RunRecord): Parent {
  const value = run.status === 'completed' ? run.result : run.errors.at(-1)
  const parent: Parent = { id: run.id, name: run.name, status: run.status as Parent['status'] }
  return value === undefined ? parent : { ...parent, value }
}
