// The conformance suite of transports: what a broker's adapter must do to be one, as cases that any test runner can run.
import type { Case } from '../case.ts'
import { BATCHES } from './batches.ts'
import { BYTES } from './bytes.ts'
import { DELAYS } from './delays.ts'
import { LOOKS } from './looks.ts'
import { OWNERSHIP } from './ownership.ts'
import { RACES } from './races.ts'
import { RELEASES } from './releases.ts'
import type { TransportCases, TransportFactory } from './scene.ts'
import { TransportScene } from './scene.ts'
import { VISIBILITY } from './visibility.ts'
import { WAITS } from './waits.ts'

const GROUPS: Record<string, TransportCases> = {
  bytes: BYTES,
  waits: WAITS,
  delays: DELAYS,
  visibility: VISIBILITY,
  ownership: OWNERSHIP,
  releases: RELEASES,
  looks: LOOKS,
  batches: BATCHES,
  races: RACES,
}

/**
 * ```ts
 * for (const { name, run, skip } of transportConformance(factory)) test(name, { skip: skip !== undefined }, run)
 * ```
 * The cases are independent of each other and may run side by side; each uses queues of its own.
 */
export function transportConformance(factory: TransportFactory): Case[] {
  const skips = new Map(Object.entries(factory.skips ?? {}))
  const cases = Object.entries(GROUPS).flatMap(([group, cases]) =>
    Object.entries(cases).map(([name, play]): Case => {
      const skip = skips.get(name)
      skips.delete(name)
      return {
        name: `${factory.name}: ${group}: ${name}`,
        async run() {
          const scene = await TransportScene.set(factory)
          try {
            await play(scene)
          } finally {
            await scene.strike()
          }
        },
        ...(skip === undefined ? {} : { skip }),
      }
    }),
  )
  // A skip that names no case would hide that the case was renamed, and is run.
  for (const name of skips.keys()) throw new Error(`${factory.name} skips '${name}', which is no case.`)
  return cases
}
