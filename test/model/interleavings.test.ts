// Every interleaving of the small worlds to a small depth, and probes that nothing was vacuous. `npm run model -- --interleavings` goes deeper.
import { expect, test } from 'vitest'
import { explore } from './interleavings.ts'
import { SCENARIOS } from './scenarios.ts'

const DEPTH = 6

/** Every outcome, and every way of a run from one state to the next, that this depth can reach. */
const PROBES = [
  'dispatch: created',
  'dispatch: joined',
  'dispatch: hit',
  'dispatch: stale',
  'dispatch: negative',
  'dispatch: rejected',
  'resent: created',
  'resent: joined',
  'claimed',
  'extend: held',
  'extend: lost',
  'extend: cancelled',
  'settle completed: settled',
  'settle failed: settled',
  'settle retry: settled',
  'settle released: settled',
  'settle completed: lost',
  'settle again completed: settled',
  'running to completed',
  'running to failed',
  'lease lost: pending',
  'cancel: cancelled',
  'cancel: ended',
  'cancelled from pending',
  'cancelled from running',
  'invalidate: 0',
  'invalidate: 1',
]

test('no interleaving breaks a law, and every outcome and transition is reached', () => {
  const reached = new Set<string>()
  for (const scenario of SCENARIOS) {
    const { violation, reached: here } = explore(scenario, DEPTH)
    expect(violation, scenario.name).toBeUndefined()
    for (const what of here.keys()) reached.add(what)
  }
  expect(PROBES.filter((probe) => !reached.has(probe))).toEqual([])
}, 120_000)
