// The trace id of the run whose handler is under way: dispatches and sends made inside of it inherit it.
import { AsyncLocalStorage } from 'node:async_hooks'

// Not a variable of this module: a bootstrap file may bring a copy of the package of its own.
const STORAGE = Symbol.for('deferq.trace')
const shared = globalThis as { [STORAGE]?: AsyncLocalStorage<string> }

export const traceIdHere = (): string | undefined => shared[STORAGE]?.getStore()

/** Made with the first trace id, because from then on Node follows every promise of the process: who has none pays nothing. */
export function withTraceId<T>(traceId: string, run: () => T): T {
  shared[STORAGE] ??= new AsyncLocalStorage()
  return shared[STORAGE].run(traceId, run)
}
