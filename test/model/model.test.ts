// A short run of the model against every engine. `npm run model` is the long one.
import { expect, test } from 'vitest'
import { sharedUrl } from '../servers/shared.ts'
import { checkStore } from './check-store.ts'
import type { StoreKind } from './player.ts'
import { composed, memory, postgres, redis, sqlite } from './stores.ts'

const MINUTE_MS = 60_000

const SHORT: [kind: StoreKind, histories: number][] = [
  [memory, 500],
  [sqlite, 100],
  [composed, 300],
  [redis(() => sharedUrl('redis')), 60],
  [postgres(() => sharedUrl('postgres')), 30],
]

for (const [kind, histories] of SHORT) {
  test(
    `the ${kind.name} engine answers as the model does`,
    async () => {
      const { difference, seed } = await checkStore(kind, { histories, withinMs: MINUTE_MS })
      expect(difference, `seed ${seed}`).toBeUndefined()
    },
    2 * MINUTE_MS,
  )
}
