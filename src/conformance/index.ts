// The conformance suite: what an engine must do to be one, as cases that any test runner can run.

import { ADMIT } from './admit.ts'
import { ATTENDED } from './attended.ts'
import type { Case } from './case.ts'
import { CLAIM } from './claim.ts'
import { DUPLICATES } from './duplicates.ts'
import { ENDS } from './ends.ts'
import { FLOW } from './flow.ts'
import { FOLLOW_UPS } from './follow-ups.ts'
import { FORGET } from './forget.ts'
import { HAND_OVER } from './hand-over.ts'
import { HASTEN } from './hasten.ts'
import { LEASES } from './leases.ts'
import { MAINTENANCE } from './maintenance.ts'
import { ORDER } from './order.ts'
import { OVERVIEW } from './overview.ts'
import { OWN_WORK } from './own-work.ts'
import { RACES } from './races.ts'
import type { Cases, Factory } from './scene.ts'
import { NotSo, Scene } from './scene.ts'
import { TICKS } from './ticks.ts'

export type { Case } from './case.ts'
export type { Factory, Harness } from './scene.ts'
export { TestEnvironment } from './test-environment.ts'
export { transportConformance } from './transports/index.ts'
export type { TransportFactory, TransportHarness } from './transports/scene.ts'

/**
 * ```ts
 * for (const { name, run } of conformance(factory)) test(name, run)
 * ```
 * The cases are independent of each other and may run side by side. Give them a minute each where the clock is a real one: what
 * fails while the machine stands still is played again.
 */
export function conformance(factory: Factory): Case[] {
  const groups: Record<string, Cases> = {
    admit: ADMIT,
    claim: { ...CLAIM, ...ORDER },
    'hand-over': HAND_OVER,
    'own work': OWN_WORK,
    leases: LEASES,
    ends: ENDS,
    hasten: HASTEN,
    'follow-ups': FOLLOW_UPS,
    forget: FORGET,
    overview: OVERVIEW,
    maintenance: MAINTENANCE,
    duplicates: DUPLICATES,
    attended: ATTENDED,
    flow: FLOW,
    ticks: TICKS,
    races: RACES,
  }
  return Object.entries(groups).flatMap(([group, cases]) =>
    Object.entries(cases).map(([name, play]) => ({
      name: `${factory.name}: ${group}: ${name}`,
      run: () => run(factory, play),
    })),
  )
}

/** A machine that stood still for a while proves nothing: what failed then is played again, with more time for everything. */
async function run(factory: Factory, play: (scene: Scene) => Promise<void>): Promise<void> {
  for (let slower = 1; ; slower *= 2) {
    const scene = await Scene.set(factory, slower)
    try {
      await play(scene)
      return
    } catch (error) {
      if (slower === 4 || error instanceof NotSo || !scene.missedItsMoment) throw error
    } finally {
      await scene.strike()
    }
  }
}
