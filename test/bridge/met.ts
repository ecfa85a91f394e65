// A transport whose calls are announced, so that tests can fail them, count them, or die of them.
import type { Transport } from '../../src/contract/transport.ts'

/** The same transport; before each call `meet` is told its name, and may throw. */
export function met(transport: Transport, meet: (verb: string) => void): Transport {
  return new Proxy(transport, {
    get(target, verb) {
      const value = Reflect.get(target, verb, target)
      if (typeof value !== 'function') return value
      if (verb === 'onTrouble') return value.bind(target)
      return async (...args: unknown[]) => {
        meet(verb as string)
        return value.apply(target, args)
      }
    },
  })
}
