// The option `results`: large results in a Keyv store, behind any engine.

import { DeferqError } from '../base/errors.ts'
import type { Engine } from '../contract/engine.ts'
import { checkKnown } from '../tasks/check-options.ts'
import type { ResultsOptions } from '../tasks/options.ts'

const UNITS: Record<string, number> = { b: 1, kb: 1_024, mb: 1_048_576 }

/** Wraps what makes the engine; a malformed option is refused at once. */
export function resultsApart(
  make: () => Promise<Engine>,
  results: ResultsOptions | undefined,
): () => Promise<Engine> {
  if (results === undefined) return make
  checkKnown(results, ['store', 'above'], 'new DeferQ(): results')
  const above = bytesOf(results.above ?? '64kb')
  const { store } = results
  if (typeof store?.getMany !== 'function') {
    throw new DeferqError(
      'INVALID_OPTION',
      'new DeferQ(): results.store must be a Keyv (version 5): new Keyv({ store: new KeyvRedis(url) }).',
    )
  }
  return async () => {
    const { Offload } = await import('../drivers/offload.ts')
    return new Offload(await make(), { store, above })
  }
}

function bytesOf(size: number | string): number {
  const [, count, unit] =
    typeof size === 'string' ? (/^\s*(\d+(?:\.\d+)?)\s*(b|kb|mb)\s*$/i.exec(size) ?? []) : ['', size, 'b']
  const bytes = Number(count) * (UNITS[String(unit).toLowerCase()] ?? Number.NaN)
  if (Number.isFinite(bytes) && bytes >= 0) return Math.round(bytes)
  throw new DeferqError(
    'INVALID_OPTION',
    `new DeferQ(): results.above is ${JSON.stringify(size)}, which is no size. Use bytes (65536) or text with a unit ('64kb', '1mb').`,
  )
}
