// Brings back what died with other workers, and clears away what has expired, every now and then.

import { environment } from '../base/environment.ts'
import type { Logger } from '../base/log.ts'
import { sleep } from '../base/time.ts'
import type { Engine, Swept } from '../contract/engine.ts'

const LIMIT = 500

export interface SweeperNeeds {
  engine: Engine
  sweepMs: number
  swept(swept: Swept): void
  trouble(error: unknown, message: string): void
}

export async function sweepUntil(
  signal: AbortSignal,
  { engine, sweepMs, swept, trouble }: SweeperNeeds,
): Promise<void> {
  while (!signal.aborted) {
    try {
      const found = await engine.sweep(LIMIT)
      swept(found)
      if (
        found.requeued.length + found.failed.length >= LIMIT ||
        found.abandoned.length >= LIMIT ||
        found.removed >= LIMIT
      )
        continue
    } catch (error) {
      trouble(error, 'a sweep failed; it is tried again')
    }
    // Spread, so that the workers of a fleet don't all sweep at the same moments.
    await sleep(sweepMs * (0.75 + environment.random() * 0.5), signal)
  }
}

export function reportSwept({ requeued, failed, abandoned }: Swept, logger: Logger): void {
  if (requeued.length > 0)
    logger.warn({ requeued }, `${requeued.length} abandoned tasks went back to their queue`)
  if (failed.length > 0)
    logger.error({ failed }, `${failed.length} tasks failed: their attempts died with their workers`)
  if (abandoned.length > 0)
    logger.info({ abandoned }, `${abandoned.length} runs were cancelled: nobody asked for them any more`)
}
