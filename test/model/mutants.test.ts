// Bugs planted in the rules and in the lanes: the model must tell each of them from the real thing, or it proves nothing.
// The seams are the exported functions of the lifecycle and the methods of the lanes.
import { afterEach, expect, test, vi } from 'vitest'
import type { Draft } from '../../src/contract/engine.ts'
import type * as Admit from '../../src/contract/lifecycle/admit.ts'
import type * as Changes from '../../src/contract/lifecycle/changes.ts'
import type * as Ends from '../../src/contract/lifecycle/ends.ts'
import type { Ledger, RunRecord } from '../../src/contract/lifecycle/ledger.ts'
import type * as Lanes from '../../src/drivers/lanes.ts'

interface Rules {
  admit: typeof Admit
  changes: typeof Changes
  ends: typeof Ends
  lanes: typeof Lanes
}
type Seams = { [Module in keyof Rules]?: Partial<Rules[Module]> }

const FILES: Record<keyof Rules, string> = {
  admit: '../../src/contract/lifecycle/admit.ts',
  changes: '../../src/contract/lifecycle/changes.ts',
  ends: '../../src/contract/lifecycle/ends.ts',
  lanes: '../../src/drivers/lanes.ts',
}

const without =
  ({ admit }: Rules, ...fields: (keyof Draft)[]) =>
  <Run extends RunRecord>(ledger: Ledger<Run>, draft: Draft) => {
    const less: Draft = { ...draft }
    for (const field of fields) delete less[field]
    return admit.admit(ledger, less)
  }

const MUTANTS: Record<string, (rules: Rules) => Seams> = {
  'an outcome is accepted whatever its token': ({ ends }) => ({
    ends: {
      settle(ledger, outcome) {
        const run = ledger.run(outcome.id)
        return ends.settle(ledger, run?.token === undefined ? outcome : { ...outcome, token: run.token })
      },
    },
  }),
  'a claim counts no attempt': ({ ends }) => ({
    ends: {
      begin(ledger, run, token, leaseMs) {
        ends.begin(ledger, run, token, leaseMs)
        run.attempt--
      },
    },
  }),
  'a lease lasts twice as long': ({ ends }) => ({
    ends: { begin: (ledger, run, token, leaseMs) => ends.begin(ledger, run, token, 2 * leaseMs) },
  }),
  'a lost lease never fails a run': ({ ends }) => ({
    ends: {
      expire(ledger, run) {
        run.policy = { ...run.policy, maxAttempts: 100 }
        return ends.expire(ledger, run)
      },
    },
  }),
  'a run that is released has lost an attempt': ({ ends }) => ({
    ends: {
      settle(ledger, outcome) {
        const answer = ends.settle(ledger, outcome)
        const run = ledger.run(outcome.id)
        if (answer === 'settled' && outcome.kind === 'released' && run?.status === 'pending') run.attempt++
        return answer
      },
    },
  }),
  'nobody is ever missed': () => ({ ends: { isAbandoned: () => false } }),
  'a cancellation keeps its reason to itself': ({ ends }) => ({
    ends: { cancel: (ledger, run) => ends.cancel(ledger, run, undefined) },
  }),
  'a promotion leaves the priority': ({ changes }) => ({
    changes: { promote: (ledger, run) => changes.promote(ledger, run, undefined) },
  }),
  'an invalidation forgets to look at what runs': ({ changes }) => ({
    changes: {
      invalidate: (ledger, key) =>
        ledger.slot(key).run?.status === 'running' ? false : changes.invalidate(ledger, key),
    },
  }),
  'other params are joined all the same': (rules) => ({ admit: { admit: without(rules, 'onMismatch') } }),
  'a duplicate is always joined': (rules) => ({ admit: { admit: without(rules, 'onDuplicate') } }),
  'a refresh is answered by the old result': (rules) => ({ admit: { admit: without(rules, 'refresh') } }),
  'the last one in is the first one out': ({ lanes }) => ({
    lanes: {
      ReadyLanes: class<Run extends Lanes.Queued> extends lanes.ReadyLanes<Run> {
        override enqueue(run: Run, now: number): void {
          const born = -run.seq
          super.enqueue(Object.defineProperty(run, 'seq', { value: born, writable: true }), now)
        }
      },
    },
  }),
  'a pause is heard by nobody': ({ lanes }) => ({
    lanes: {
      ReadyLanes: class<Run extends Lanes.Queued> extends lanes.ReadyLanes<Run> {
        override pause(): void {
          // The bug.
        }
      },
    },
  }),
}

afterEach(() => {
  for (const file of Object.values(FILES)) vi.doUnmock(file)
  vi.resetModules()
})

for (const [bug, plant] of Object.entries(MUTANTS)) {
  test(`the model finds that ${bug}`, async () => {
    vi.resetModules()
    const rules = {
      admit: await vi.importActual<typeof Admit>(FILES.admit),
      changes: await vi.importActual<typeof Changes>(FILES.changes),
      ends: await vi.importActual<typeof Ends>(FILES.ends),
      lanes: await vi.importActual<typeof Lanes>(FILES.lanes),
    }
    for (const [module, replaced] of Object.entries(plant(rules)))
      vi.doMock(FILES[module as keyof Rules], () => ({ ...rules[module as keyof Rules], ...replaced }))
    const { MemoryEngine, MemoryStore } = await import('../../src/engines/memory/index.ts')
    const { checkStore } = await import('./check-store.ts')
    const { memoryWith } = await import('./stores.ts')
    const store = memoryWith(
      (now) => new MemoryStore(now),
      (shared) => new MemoryEngine({ store: shared }),
    )
    const { difference } = await checkStore(store, { histories: 1_000, seed: 1, shrink: false })
    expect(difference).toBeDefined()
  })
}
